//! Reads a store whole, every way there is, and says if the ways agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use engine::{Db, Keyspace, KeyspaceOptions, Range, Snapshot, Stats};
use vfs::{Fs, Kind};

use super::history::Seen;

/// Keys that are looked up even where no scan shows them.
const KEYS: [&[u8]; 9] = [b"a", b"b", b"c", b"d", b"t", b"x", b"y", b"probe", b"nothing"];

/// A keyspace that exists.
pub fn keyspace(db: &Db, name: &str) -> Result<Keyspace> {
    if name == engine::DEFAULT_KEYSPACE {
        return Ok(db.default_keyspace().clone());
    }
    db.keyspace(name, KeyspaceOptions::btree()).with_context(|| format!("keyspace {name}"))
}

/// Everything in the store. An error if it cannot be read, or if scans and gets disagree.
pub fn read(db: &Db) -> Result<Seen> {
    let mut seen = Seen::new();
    for (name, _) in db.keyspaces().context("list of keyspaces")? {
        let keyspace = keyspace(db, &name)?;
        let entries = scan(keyspace.iter(), keyspace.iter()).with_context(|| name.clone())?;
        for key in KEYS.into_iter().chain(entries.keys().map(Vec::as_slice)) {
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

/// One keyspace as a snapshot shows it.
pub fn read_snapshot(
    snapshot: &Snapshot,
    keyspace: &Keyspace,
) -> Result<BTreeMap<Vec<u8>, Arc<[u8]>>> {
    let entries = scan(snapshot.iter(keyspace), snapshot.iter(keyspace))?;
    for key in KEYS.into_iter().chain(entries.keys().map(Vec::as_slice)) {
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

/// A scan, ascending and then descending.
fn scan(forward: Range, backward: Range) -> Result<BTreeMap<Vec<u8>, Arc<[u8]>>> {
    let mut ascending = Vec::new();
    for entry in forward {
        let (key, value) = entry.context("scan")?;
        ascending.push((key.to_vec(), Arc::<[u8]>::from(&*value)));
    }
    let mut left = ascending.iter().rev();
    for entry in backward.rev() {
        let (key, value) = entry.context("reverse scan")?;
        let same = left.next().is_some_and(|(k, v)| k[..] == key[..] && v[..] == value[..]);
        ensure!(same, "the reverse scan differs at {}", key.escape_ascii());
    }
    if let Some((key, _)) = left.next() {
        bail!("the reverse scan ends before {}", key.escape_ascii());
    }
    let count = ascending.len();
    ensure!(ascending.is_sorted_by(|a, b| a.0 < b.0), "the scan is not in order");
    let entries: BTreeMap<_, _> = ascending.into_iter().collect();
    assert!(entries.len() == count, "sorted keys are distinct");
    Ok(entries)
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
    let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
    for entry in listing.entries.iter().filter(|entry| !entry.name.quarantined) {
        *counts.entry(entry.name.kind).or_default() += 1;
    }
    let mut count = |kind: &str| counts.remove(&Kind::new(kind)).unwrap_or(0);
    let tables: u64 = stats.keyspaces.iter().flat_map(|k| &k.levels).map(|(files, _)| files).sum();
    let (found, named) = (count("tbl"), tables);
    ensure!(found == named, "{found} tables in the directory, {named} in the index");
    let found = count("wal") + count("val");
    let named = stats.log_segments + stats.value_segments + stats.retired_files;
    ensure!(found == named, "{found} segments in the directory, {named} in use");
    ensure!(count("manifest") == 1, "not one MANIFEST");
    ensure!(counts.is_empty(), "files of unknown kinds: {counts:?}");
    Ok(())
}

/// No file is set aside: what a first clean close and the open behind it leave.
pub fn require_nothing_set_aside(fs: &Arc<dyn Fs>) -> Result<()> {
    let listing = fs.list().context("list of files")?;
    let aside = listing.entries.iter().find(|entry| entry.name.quarantined);
    ensure!(aside.is_none(), "{aside:?} is still there after a clean close");
    Ok(())
}
