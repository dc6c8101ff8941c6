//! Reads a store whole, every way there is, and says if the ways agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use engine::{Db, ErrorKind, IndexKind as EngineKind, Keyspace, Range, Snapshot, Stats};
use vfs::{Fs, Kind, Listing, Name};

use super::history::Seen;
use crate::kind::Kind as IndexKind;

/// Keys that are looked up even where no scan shows them.
const KEYS: [&[u8]; 10] = [b"a", b"b", b"c", b"d", b"e", b"f", b"x", b"y", b"probe", b"nothing"];
/// Of the many keys that a scan shows, one in so many is looked up too.
const LOOKED_UP: usize = 16;
/// Scans with fewer entries are looked up whole.
const FEW: usize = 32;
/// Bytes around a value in its record and its frame.
const RECORD: usize = 64;
/// Bytes of headers that value files may have.
const SLACK: u64 = 2048;

/// A keyspace that exists.
pub fn keyspace(db: &Db, name: &str) -> Result<Keyspace> {
    if name == engine::DEFAULT_KEYSPACE {
        return Ok(db.default_keyspace().clone());
    }
    let known = db.keyspaces().context("list of keyspaces")?;
    let kind = known.into_iter().find(|(known, _)| known == name);
    let kind = kind.with_context(|| format!("there is no keyspace {name}"))?.1;
    db.keyspace(name, IndexKind::of(kind).options()).with_context(|| format!("keyspace {name}"))
}

/// Everything in the store. An error if it cannot be read, or if scans and gets disagree.
pub fn read(db: &Db) -> Result<Seen> {
    let mut seen = Seen::new();
    for (name, _) in db.keyspaces().context("list of keyspaces")? {
        let keyspace = keyspace(db, &name)?;
        let kind = IndexKind::of(keyspace.kind());
        let entries = scan(kind, keyspace.iter(), keyspace.iter()).with_context(|| name.clone())?;
        if !kind.is_ordered() {
            require_refusal(keyspace.prefix("a"))?;
            require_refusal(keyspace.range("a".."b"))?;
        }
        for key in looked_up(&entries) {
            let value = keyspace.get(key).with_context(|| format!("get in {name}"))?;
            agree(&name, key, value.as_deref(), &entries)?;
            let contains = keyspace.contains(key).with_context(|| format!("contains in {name}"))?;
            ensure!(
                contains == entries.contains_key(key),
                "contains says {contains} of {name}/{}",
                key.escape_ascii()
            );
        }
        seen.insert(name, entries);
    }
    Ok(seen)
}

/// Reads everything although calls may fail: what is read must be as in one of the states that are
/// expected. The errors met.
///
/// # Errors
/// If something is read that is not expected, or a scan goes on after an error.
pub fn read_through(db: &Db, expected: &[Seen]) -> Result<Vec<engine::Error>> {
    let known = db.keyspaces().context("list of keyspaces")?;
    let same =
        |seen: &&Seen| seen.len() == known.len() && seen.keys().all(|name| has(&known, name));
    let expected = expected.iter().find(same);
    let expected = expected.with_context(|| format!("not the keyspaces expected: {known:?}"))?;
    let mut errors = Vec::new();
    for (name, entries) in expected {
        let keyspace = keyspace(db, name)?;
        for key in looked_up(entries) {
            match keyspace.get(key) {
                Ok(value) => agree(name, key, value.as_deref(), entries)?,
                Err(error) => errors.push(error),
            }
        }
        let mut seen = BTreeMap::new();
        let mut range = keyspace.iter();
        let failure = loop {
            match range.next() {
                Some(Ok((key, value))) => drop(seen.insert(key.to_vec(), Arc::from(&*value))),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        match failure {
            None => ensure!(seen == *entries, "a scan of {name} succeeds and is wrong"),
            Some(error) => {
                let goes_on = range.any(|entry| entry.is_ok());
                ensure!(!goes_on, "a scan of {name} goes on after {error:?}");
                let right = seen.iter().all(|(key, value)| entries.get(key) == Some(value));
                ensure!(right, "a scan of {name} is wrong before it fails");
                errors.push(error);
            }
        }
    }
    Ok(errors)
}

fn has(known: &[(String, EngineKind)], name: &str) -> bool {
    known.iter().any(|(known, _)| known == name)
}

/// One keyspace as a snapshot shows it.
pub fn read_snapshot(
    snapshot: &Snapshot,
    keyspace: &Keyspace,
) -> Result<BTreeMap<Vec<u8>, Arc<[u8]>>> {
    let kind = IndexKind::of(keyspace.kind());
    let entries = scan(kind, snapshot.iter(keyspace), snapshot.iter(keyspace))?;
    for key in looked_up(&entries) {
        let value = snapshot.get(keyspace, key).context("get from a snapshot")?;
        agree(keyspace.name(), key, value.as_deref(), &entries)?;
    }
    Ok(entries)
}

fn agree(
    name: &str,
    key: &[u8],
    value: Option<&[u8]>,
    entries: &BTreeMap<Vec<u8>, Arc<[u8]>>,
) -> Result<()> {
    let scanned = entries.get(key).map(|value| &**value);
    let same = value == scanned;
    let [got, scanned] = [value, scanned].map(|value| value.map(<[u8]>::len));
    ensure!(same, "get of {name}/{} finds {got:?} bytes, the scan {scanned:?}", key.escape_ascii());
    Ok(())
}

/// Keys worth a look-up: those that may be there, and those that are, if they are few.
fn looked_up(entries: &BTreeMap<Vec<u8>, Arc<[u8]>>) -> impl Iterator<Item = &[u8]> {
    let step = if entries.len() < FEW { 1 } else { LOOKED_UP };
    KEYS.into_iter().chain(entries.keys().map(Vec::as_slice).step_by(step))
}

/// What a hash keyspace must answer to a question about order.
fn require_refusal(mut range: Range) -> Result<()> {
    let refused = matches!(range.next(), Some(Err(error)) if error.kind() == ErrorKind::Invalid);
    ensure!(refused, "a hash keyspace answers a range");
    Ok(())
}

/// A scan from the front and one from the back: in the order of keys and its reverse, or in any
/// orders.
fn scan(kind: IndexKind, front: Range, back: Range) -> Result<BTreeMap<Vec<u8>, Arc<[u8]>>> {
    let read = |entry: engine::Result<(engine::Key, engine::Value)>| {
        entry.map(|(key, value)| (key.to_vec(), Arc::<[u8]>::from(&*value)))
    };
    let mut ascending = front.map(read).collect::<engine::Result<Vec<_>>>().context("scan")?;
    let descending = back.rev().map(read).collect::<engine::Result<Vec<_>>>();
    let mut descending = descending.context("reverse scan")?;
    if kind.is_ordered() {
        descending.reverse();
    } else {
        ascending.sort();
        descending.sort();
    }
    let differs = ascending.iter().zip(descending.iter()).find(|(front, back)| front != back);
    if let Some(((key, _), _)) = differs {
        bail!("the reverse scan differs at {}", key.escape_ascii());
    }
    let [there, back] = [ascending.len(), descending.len()];
    ensure!(there == back, "the scan has {there} entries, the reverse scan {back}");
    let rises = ascending.is_sorted_by(|a, b| a.0 < b.0);
    ensure!(rises, "the scan is not in order or shows a key twice");
    Ok(ascending.into_iter().collect())
}

/// `Db::check` and the directory: no damage, and no file that nothing names but those set aside.
pub fn check(db: &Db, fs: &Arc<dyn Fs>) -> Result<()> {
    let report = db.check().context("check")?;
    ensure!(report.is_sound(), "check found {:?}", report.damage);
    ensure!(report.foreign.is_empty(), "foreign files: {:?}", report.foreign);
    check_files(&db.stats(), fs)
}

fn check_files(stats: &Stats, fs: &Arc<dyn Fs>) -> Result<()> {
    ensure!(stats.failure.is_none(), "the store became read-only: {:?}", stats.failure);
    let listing = fs.list().context("list of files")?;
    let mut counts = count_kinds(&listing);
    let mut count = |kind: &str| counts.remove(&Kind::new(kind)).unwrap_or(0);
    let retired = stats.retired_files;
    let found = [count("tbl"), count("wal") + count("val"), count("map")];
    let segments = stats.log_segments + stats.value_segments;
    let named = [index_files(stats, IndexKind::Btree), segments, stats.remap_tables];
    let (all_found, all_named) = (found.iter().sum::<u64>(), named.iter().sum::<u64>());
    ensure!(
        all_named <= all_found && all_found <= all_named + retired,
        "{found:?} tables, segments and remap tables in the directory, {named:?} in use, {retired} \
         held by readers"
    );
    ensure!(count("manifest") == 1, "not one MANIFEST");
    let reserve = count("reserve");
    // One pays for changes, one for opens.
    ensure!(reserve <= 2, "{reserve} reserve files");
    count("hash");
    ensure!(counts.is_empty(), "files of unknown kinds: {counts:?}");
    check_hash_tables(stats, fs, &listing)
}

/// Files that the indexes of a kind name.
fn index_files(stats: &Stats, kind: IndexKind) -> u64 {
    let of_kind = stats.keyspaces.iter().filter(|found| IndexKind::of(found.kind) == kind);
    of_kind.flat_map(|found| &found.levels).map(|(files, _)| files).sum()
}

/// Files and directories by kind, without those set aside.
fn count_kinds(listing: &Listing) -> BTreeMap<Kind, u64> {
    let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
    for entry in listing.entries.iter().filter(|entry| !entry.name.quarantined) {
        *counts.entry(entry.name.kind).or_default() += 1;
    }
    counts
}

/// One directory for each hash keyspace, with one generation and the files that it names; more
/// only while readers hold something. A directory whose files were all set aside stays until the
/// next clean close.
fn check_hash_tables(stats: &Stats, fs: &Arc<dyn Fs>, listing: &Listing) -> Result<()> {
    let hashed = stats.keyspaces.iter().filter(|k| IndexKind::of(k.kind) == IndexKind::Hash);
    let keyspaces = hashed.count() as u64;
    let (mut tables, mut files, mut generations) = (0, 0, 0);
    for entry in listing.entries.iter().filter(|entry| entry.is_dir && !entry.name.quarantined) {
        let inside = fs.open_dir(entry.name)?.list().context("list of a hash table's files")?;
        ensure!(inside.foreign.is_empty(), "foreign files: {:?}", inside.foreign);
        let mut counts = count_kinds(&inside);
        tables += u64::from(!counts.is_empty());
        let mut count = |kind: &str| counts.remove(&Kind::new(kind)).unwrap_or(0);
        files += count("run") + count("part");
        generations += count("gen");
        ensure!(counts.is_empty(), "files of unknown kinds in {}: {counts:?}", entry.name);
    }
    let named = index_files(stats, IndexKind::Hash);
    let exact = (tables, generations, files) == (keyspaces, keyspaces, named);
    let at_least = tables >= keyspaces && generations >= keyspaces && files >= named;
    ensure!(
        exact || (at_least && stats.retired_files > 0),
        "{tables} hash tables with {generations} generations and {files} files in the directory, \
         {keyspaces} with {named} files in use, {} held by readers",
        stats.retired_files
    );
    Ok(())
}

/// Names of data files, those in directories of hash tables too, as they were before they were set
/// aside.
///
/// # Errors
/// If a directory cannot be listed.
pub fn kept_files(fs: &Arc<dyn Fs>) -> Result<BTreeSet<String>> {
    let data = ["tbl", "map", "val", "run", "part"].map(Kind::new);
    let mut names = BTreeSet::new();
    for entry in fs.list().context("list of files")?.entries {
        if entry.is_dir {
            let inside = kept_files(&fs.open_dir(entry.name)?)?;
            names.extend(inside.into_iter().map(|name| format!("{}/{name}", entry.name)));
        } else if data.contains(&entry.name.kind) {
            names.insert(Name::new(entry.name.kind, entry.name.id).to_string());
        }
    }
    Ok(names)
}

/// An open that does not follow a clean close sets aside what it does not know, and removes none of
/// it: somebody else may know what it was.
///
/// # Errors
/// If a data file is gone.
pub fn require_kept(before: &BTreeSet<String>, fs: &Arc<dyn Fs>) -> Result<()> {
    let after = kept_files(fs)?;
    let gone: Vec<&String> = before.difference(&after).collect();
    ensure!(gone.is_empty(), "the open removed {gone:?}");
    Ok(())
}

/// No file is set aside: what a first clean close and the open behind it leave.
///
/// # Errors
/// If one is.
pub fn require_nothing_set_aside(fs: &Arc<dyn Fs>) -> Result<()> {
    for entry in fs.list().context("list of files")?.entries {
        ensure!(!entry.name.quarantined, "{entry:?} is still there after a clean close");
        if entry.is_dir {
            let inside = fs.open_dir(entry.name)?;
            let is_empty = inside.list().context("list of files")?.entries.is_empty();
            ensure!(!is_empty, "{entry:?} is still there after a clean close, empty");
            require_nothing_set_aside(&inside)?;
        }
    }
    Ok(())
}

/// After everything was merged and collected: value files hold what is live, what garbage the
/// bound allows, and headers.
///
/// # Errors
/// If they hold more.
pub fn require_small(stats: &Stats, seen: &Seen) -> Result<()> {
    let entries = seen.values().flatten();
    let live: u64 = entries.map(|(key, value)| (key.len() + value.len() + RECORD) as u64).sum();
    let kept = stats.value_segment_bytes;
    ensure!(kept <= 2 * live + SLACK, "{kept} bytes of value files for {live} live bytes");
    Ok(())
}
