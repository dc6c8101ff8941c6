//! Opens a damaged database and holds every answer against what it was: right, or `Corrupt` by
//! name.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use engine::{Db, Error, ErrorKind, Keyspace, ReadMode};
use vfs::sim::SimDisk;

use super::base::{Answers, Base};
use super::case::{Case, CopyName};
use crate::crash::observe;
use crate::kind::Kind;

/// What a damaged database did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Verdict {
    /// It opened.
    pub(super) opened: bool,
    /// An error said `Corrupt`, `check` reported something, or recovery did.
    pub(super) noticed: bool,
    /// Keys that cannot be read.
    pub(super) unreadable: BTreeSet<usize>,
}

/// What a damaged database is asked besides the keys that need what is damaged, and, if those do
/// not notice, `check`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// None: every key, every scan and `check`. Else a sixteenth of the keys and, one time in
    /// four, a scan: other ones for other numbers.
    pub(super) turn: Option<usize>,
    /// Merges and collections follow, and everything is asked again, and after a reopen.
    pub(super) merges: bool,
}

impl Ask {
    pub(super) const EVERYTHING: Ask = Ask { turn: None, merges: true };

    pub(super) fn wants_key(self, key: usize) -> bool {
        self.turn.is_none_or(|turn| (key + turn).is_multiple_of(16))
    }

    /// Scans are numbered over all keyspaces, two each.
    pub(super) fn wants_scan(self, scan: usize, scans: usize) -> bool {
        self.turn.is_none_or(|turn| scan == turn % (4 * scans))
    }
}

/// What is expected of errors.
struct Names<'a> {
    /// The names of the damaged files; an error names one of them. None: it may name any.
    files: Vec<&'a str>,
    /// An error says where in the file.
    offset: bool,
}

impl Names<'_> {
    fn check(&self, error: &Error) -> Result<()> {
        let text = error.to_string();
        ensure!(
            error.kind() == ErrorKind::Corrupt,
            "{:?} instead of Corrupt: {text}",
            error.kind()
        );
        let named = self.files.is_empty() || self.files.iter().any(|name| text.contains(name));
        ensure!(named, "an error names none of {:?}: {text}", self.files);
        ensure!(!self.offset || text.contains("at byte"), "an error says no offset: {text}");
        Ok(())
    }
}

/// Strikes a copy of the base and judges it.
///
/// # Errors
/// If it must not be.
pub(super) fn judge(base: &Base, case: Case, read: ReadMode, ask: Ask) -> Result<Verdict> {
    let disk = base.disk.fork(1);
    for (path, damage) in case.damage(base) {
        disk.corrupt(path, &damage);
    }
    let mut verdict = judge_once(base, &disk, case, read, ask)?;
    if case.is_transient() {
        // One wrong read, and everything is as it was.
        let ask = Ask { merges: false, ..ask };
        let again = judge_once(base, &disk, case, read, ask).context("at the second open")?;
        ensure!(again.opened && !again.noticed, "a wrong read left damage on the disk");
    } else if !verdict.noticed {
        let untouched = base.disk.fork(1);
        for (path, damage) in case.damage(base) {
            untouched.corrupt(path, &damage);
        }
        let means_nothing = untouched.fingerprint() == base.fingerprint
            || adds_zeros(base, case)
            || adds_nothing(base, case);
        ensure!(means_nothing, "nobody noticed");
        verdict.noticed = false;
    }
    Ok(verdict)
}

/// Zeros behind the end of a segment are what preallocation leaves: the only bytes of a database
/// that mean nothing, and nobody counts them.
fn adds_zeros(base: &Base, case: Case) -> bool {
    let is_segment = ["wal", "val", "manifest"].contains(&base.files[case.file()].kind());
    matches!(case, Case::Grow { garbage: false, .. }) && is_segment
}

/// What an earlier recovery set aside is removed after a clean close, and so is a MANIFEST under a
/// number that is not its own, which is a switch that never finished (decision 0005): nobody asks
/// what is in them.
fn adds_nothing(base: &Base, case: Case) -> bool {
    let Case::Copy { name, .. } = case else { return false };
    name == CopyName::Quarantined || base.files[case.file()].kind() == "manifest"
}

fn names(base: &Base, case: Case) -> Names<'_> {
    let ranges = case.ranges();
    let named: BTreeSet<&str> = ranges.iter().map(|(file, ..)| base.files[*file].name()).collect();
    let offset = matches!(case, Case::Flip { .. } | Case::Once { .. });
    Names { files: named.into_iter().collect(), offset }
}

fn judge_once(
    base: &Base,
    disk: &SimDisk,
    case: Case,
    read: ReadMode,
    ask: Ask,
) -> Result<Verdict> {
    let names = names(base, case);
    let mut verdict = Verdict::default();
    let db = match base.open(disk, read) {
        Ok(db) => db,
        Err(error) if is_gone(base, case, &error) => {
            verdict.noticed = true;
            return Ok(verdict);
        }
        Err(error) => {
            names.check(&error).context("open")?;
            verdict.noticed = true;
            return Ok(verdict);
        }
    };
    verdict.opened = true;
    let recovery = db.stats().recovery;
    verdict.noticed = recovery.cut.is_some()
        || recovery.manifest_cut.is_some()
        || !recovery.quarantined.is_empty();
    let needing = base.needing(&case.ranges());
    let wants_key = |key: usize| ask.wants_key(key) || needing.contains(&key);
    let wants_scan = |scan: usize| ask.wants_scan(scan, 2 * base.answers.len());
    answers(base, &db, Wanted { key: &wants_key, scan: &wants_scan }, &names, &mut verdict)?;
    if let Some(lost) = verdict.unreadable.difference(&needing).next() {
        bail!("key {lost} is unreadable, and nothing that it needs is damaged");
    }
    if ask.turn.is_none() || !verdict.noticed {
        let report = db.check().context("check")?;
        for error in &report.damage {
            names.check(error).context("check")?;
        }
        verdict.noticed |= !report.is_sound();
        verdict.noticed |= !report.quarantined.is_empty() || !report.ignored.is_empty();
    }
    if ask.merges {
        merge(base, disk, db, read).context("after merges")?;
    }
    Ok(verdict)
}

/// Without its only MANIFEST a directory is no database, and says so.
fn is_gone(base: &Base, case: Case, error: &Error) -> bool {
    let is_manifest = base.files[case.file()].kind() == "manifest";
    let says = error.to_string().contains("no MANIFEST");
    case == (Case::Remove { file: u16::try_from(case.file()).expect("it was one") })
        && is_manifest
        && error.kind() == ErrorKind::Invalid
        && says
}

/// Whatever merges and collections do with the damage, nothing wrong comes of it.
fn merge(base: &Base, disk: &SimDisk, db: Db, read: ReadMode) -> Result<()> {
    let any = Names { files: Vec::new(), offset: false };
    for result in [db.compact(), db.collect_garbage(), db.flush(), db.compact()] {
        if let Err(error) = result {
            let stopped = [ErrorKind::Corrupt, ErrorKind::ReadOnly].contains(&error.kind());
            ensure!(stopped, "{:?}: {error}", error.kind());
        }
    }
    let mut verdict = Verdict::default();
    answers(base, &db, Wanted::ALL, &any, &mut verdict)?;
    if let Err(error) = db.close() {
        let stopped = [ErrorKind::Corrupt, ErrorKind::ReadOnly].contains(&error.kind());
        ensure!(stopped, "close: {:?}: {error}", error.kind());
    }
    match base.open(disk, read) {
        Ok(db) => answers(base, &db, Wanted::ALL, &any, &mut verdict).context("reopened"),
        Err(error) => any.check(&error).context("reopen"),
    }
}

/// Which keys and scans are asked for, by their numbers.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    key: &'a dyn Fn(usize) -> bool,
    scan: &'a dyn Fn(usize) -> bool,
}

impl Wanted<'_> {
    const ALL: Wanted<'static> = Wanted { key: &|_| true, scan: &|_| true };
}

/// Gets and scans, in both directions.
fn answers(
    base: &Base,
    db: &Db,
    wanted: Wanted<'_>,
    names: &Names<'_>,
    verdict: &mut Verdict,
) -> Result<()> {
    let known: BTreeSet<String> = db.keyspaces()?.into_iter().map(|(name, _)| name).collect();
    let expected = base.answers.iter().map(|answers| answers.keyspace.clone());
    ensure!(known == expected.collect(), "keyspaces are {known:?}");
    for (number, answers) in base.answers.iter().enumerate() {
        let keyspace = observe::keyspace(db, &answers.keyspace)?;
        gets(&keyspace, answers, wanted, names, verdict)?;
        for backwards in [false, true] {
            if (wanted.scan)(2 * number + usize::from(backwards)) {
                scan(&keyspace, answers, backwards, names, verdict)
                    .with_context(|| format!("keyspace {}", answers.keyspace))?;
            }
        }
    }
    Ok(())
}

fn gets(
    keyspace: &Keyspace,
    answers: &Answers,
    wanted: Wanted<'_>,
    names: &Names<'_>,
    verdict: &mut Verdict,
) -> Result<()> {
    let numbered = answers.gets.iter().enumerate();
    for (number, (key, value)) in numbered.filter(|(it, _)| (wanted.key)(answers.first + it)) {
        match keyspace.get(key) {
            Ok(found) => ensure!(
                found.as_deref() == value.as_deref(),
                "{} of {} answers {} instead of {}",
                shown(key),
                answers.keyspace,
                found.as_deref().map_or("nothing".to_owned(), shown),
                value.as_deref().map_or("nothing".to_owned(), shown),
            ),
            Err(error) => {
                names.check(&error).with_context(|| format!("get {}", shown(key)))?;
                verdict.noticed = true;
                verdict.unreadable.insert(answers.first + number);
            }
        }
    }
    Ok(())
}

fn shown(bytes: &[u8]) -> String {
    format!("\"{}\" ({} bytes)", bytes[..bytes.len().min(24)].escape_ascii(), bytes.len())
}

/// A scan is right up to its end, or up to an error, which is its last item.
fn scan(
    keyspace: &Keyspace,
    answers: &Answers,
    backwards: bool,
    names: &Names<'_>,
    verdict: &mut Verdict,
) -> Result<()> {
    let mut range = keyspace.iter();
    let mut ordered = answers.scan.iter();
    let mut seen = BTreeSet::new();
    loop {
        let entry = if backwards { range.next_back() } else { range.next() };
        let (key, value) = match entry {
            Some(Ok(entry)) => entry,
            Some(Err(error)) => {
                names.check(&error).context("scan")?;
                verdict.noticed = true;
                let more = range.next().is_some() || range.next_back().is_some();
                ensure!(!more, "a scan goes on after its error");
                return Ok(());
            }
            None => {
                let missed = answers.scan.len() - seen.len();
                ensure!(missed == 0, "a scan ends {missed} entries early and says nothing");
                return Ok(());
            }
        };
        let expected = match answers.kind {
            Kind::Btree if backwards => ordered.next_back(),
            Kind::Btree => ordered.next(),
            Kind::Hash => answers.scan.get_key_value(&*key),
        };
        let right = expected.is_some_and(|(k, v)| **k == *key && v[..] == value[..]);
        ensure!(right, "a scan shows {} wrongly", shown(&key));
        ensure!(seen.insert(key.to_vec()), "a scan shows {} twice", shown(&key));
    }
}
