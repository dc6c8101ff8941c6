//! Merges of a hash index: `diskhash` says which files and merges them; here is what it asks about
//! slots. Only their records know.
//!
//! 1. A slot goes only when a newer one of its key stays, or when it hides nothing: it is a
//!    tombstone or expired, and no older slot of its key can exist.
//! 2. A record that is not there any more was shadowed, and so is every slot that leads to it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use diskhash::{Cursor, Job, Owner, RUN, Verdict};

use vfs::planted::{self, Bug};

use crate::compact::is_expired;
use crate::dissolve::{self, Dissolver};
use crate::error::{Error, ErrorKind, Result};
use crate::files::Files;
use crate::hash_delta::{HashIndex, into_delta, unchanged};
use crate::hash_due;
use crate::hash_table::{HashTable, Sweep};
use crate::index::{Delta, Merge, MergeContext};
use crate::listed::Listed;
use crate::record::ValuePtr;
use crate::slot::{Expiry, Slot};
use crate::vlog::{Segments, Values};

/// Slots that a step of a search looks at: some milliseconds of work.
const STEP_SLOTS: u64 = 16_384;
/// Searches of one full merge: one that finds something, one that finds it gone, and one more for
/// what flushes brought meanwhile.
const FULL_SEARCHES_MAX: usize = 3;

/// The merge an index needs most; as part of a full merge, until there are no runs that were there
/// when it began, and no partition holds anything that hides nothing.
pub(crate) fn plan(index: &HashIndex, context: &MergeContext) -> Option<Box<dyn Merge>> {
    let full = context.full.as_deref();
    let table = &index.table;
    let now_ms = context.now_ms;
    let merge = |work, dissolve| {
        let owner = SlotOwner {
            files: context.files.clone(),
            keyspace: context.keyspace,
            segments: context.segments.clone(),
            dissolver: Dissolver::new(context, dissolve),
            now_ms,
            garbage: BTreeMap::new(),
            older: None,
            doubtful: HashSet::new(),
            failure: None,
        };
        Some(Box::new(HashMerge { table: table.clone(), work, owner }) as Box<_>)
    };
    let mut sweep = table.sweep.lock();
    let is_idle = !matches!(*sweep, Sweep::Folding { .. } | Sweep::Rewriting);
    if full.is_none() && is_idle && is_due(index, context, now_ms) {
        let (upto, runs) = (index.generation().id(), index.generation().stats().runs);
        *sweep = if runs > 0 { Sweep::Folding { upto } } else { Sweep::Rewriting };
    }
    let folds = full.is_some_and(|full| {
        let upto = *full.newest_file.get_or_init(|| index.generation().id());
        has_runs_of(index, upto)
    });
    if let Some(job) = table.table.plan(folds).or_else(|| go_on(index, &mut sweep)) {
        let dissolve = dissolve::spaces(context, &job.listed().into_iter().collect());
        return merge(Work::Job(Box::new(job)), dissolve);
    }
    if index.generation().is_empty() {
        return None;
    }
    let full = full?;
    match *sweep {
        Sweep::Clean { generation, until_ms }
            if generation == index.generation().id()
                && until_ms.is_none_or(|until_ms| now_ms < until_ms) =>
        {
            None
        }
        _ if !full.begin_round(FULL_SEARCHES_MAX) => None,
        _ => {
            let (cursor, generation) = (index.generation().cursor(), index.generation().id());
            let search = Search { cursor, generation, until_ms: None };
            merge(Work::Search(Box::new(search)), Listed::default())
        }
    }
}

/// True while runs with a number up to this are there: they stood when something began that is
/// not to go on for ever, however many come meanwhile.
fn has_runs_of(index: &HashIndex, upto: u64) -> bool {
    let files = index.generation().files();
    files.iter().any(|(name, _)| name.kind == RUN && name.id <= upto)
}

/// The next job of a sweep that was begun. Without one nothing is known of what is there now.
fn go_on(index: &HashIndex, sweep: &mut Sweep) -> Option<Job> {
    let table = &index.table.table;
    let job = match *sweep {
        Sweep::Folding { upto } => has_runs_of(index, upto).then(|| table.plan(true)).flatten(),
        Sweep::Rewriting => table.plan_rewrite(),
        Sweep::Unknown | Sweep::Clean { .. } => return None,
    };
    if job.is_none() {
        *sweep = Sweep::Unknown;
    }
    job
}

/// Looks from time to time whether much has expired. (Damage is not met here but by a merge.)
fn is_due(index: &HashIndex, context: &MergeContext, now_ms: u64) -> bool {
    let (interval, now) = (context.files.options.gc_interval, context.files.env.clock.mono());
    let mut next_look = index.table.next_look.lock();
    if interval.is_zero() || now < *next_look {
        return false;
    }
    *next_look = now.saturating_add(interval);
    hash_due::is_due(index.generation(), &*context.files.env.rng, now_ms).unwrap_or(false)
}

struct HashMerge {
    table: Arc<HashTable>,
    work: Work,
    owner: SlotOwner,
}

enum Work {
    Job(Box<Job>),
    /// Looks whether a rewrite would drop anything.
    Search(Box<Search>),
}

struct Search {
    cursor: Cursor,
    generation: u64,
    /// No slot that was seen expires before; `None`: none expires.
    until_ms: Option<u64>,
}

impl Merge for HashMerge {
    fn step(&mut self) -> Result<bool> {
        match &mut self.work {
            Work::Job(job) => {
                let done = job.step(&mut self.owner);
                if let Some(error) = self.owner.failure.take() {
                    return Err(error);
                }
                let done = done?;
                if done {
                    self.owner.dissolver.finish()?;
                }
                Ok(done)
            }
            Work::Search(search) => search.step(&mut self.owner, &self.table),
        }
    }

    fn finish(self: Box<Self>) -> Delta {
        let HashMerge { table, work, owner } = *self;
        match work {
            Work::Job(job) => {
                owner.dissolver.into_delta(into_delta(table, job.finish(), owner.garbage))
            }
            Work::Search(_) => unchanged(),
        }
    }
}

impl Search {
    fn step(&mut self, owner: &mut SlotOwner, table: &HashTable) -> Result<bool> {
        for _ in 0..STEP_SLOTS {
            let Some((_, slot)) = self.cursor.next()? else {
                let (generation, until_ms) = (self.generation, self.until_ms);
                *table.sweep.lock() = Sweep::Clean { generation, until_ms };
                return Ok(true);
            };
            let slot = Slot::decode(slot);
            match owner.life(slot)? {
                Life::Over => {
                    *table.sweep.lock() = Sweep::Rewriting;
                    return Ok(true);
                }
                Life::Until(ms) => {
                    self.until_ms = Some(self.until_ms.map_or(ms, |old| old.min(ms)))
                }
                Life::Endless => {}
            }
        }
        Ok(false)
    }
}

/// How long a slot counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    /// It is a tombstone, has expired, or its record was dropped.
    Over,
    /// At least until then, in milliseconds since 1970.
    Until(u64),
    Endless,
}

/// Answers what a merge asks about slots.
struct SlotOwner {
    files: Arc<Files>,
    keyspace: u32,
    /// Where the records are.
    segments: Arc<Segments>,
    /// Copies records out of address spaces that are nearly empty.
    dissolver: Dissolver,
    now_ms: u64,
    /// Dead bytes found, by file.
    garbage: BTreeMap<u32, u64>,
    /// The key of the older slot that was asked about last: it is compared with many.
    older: Option<(ValuePtr, Option<Vec<u8>>)>,
    /// Slots of one hash of which one has a damaged record.
    doubtful: HashSet<ValuePtr>,
    /// What kept it from answering.
    failure: Option<Error>,
}

impl SlotOwner {
    fn values(&self) -> Values<'_> {
        let (db_id, keyspace) = (self.files.db_id, self.keyspace);
        Values { db_id, keyspace, segments: &self.segments, verifies: true }
    }

    fn is_same(&mut self, newer: Slot, older: Slot) -> Result<bool> {
        if planted::is(Bug::MergeTrustsHash) {
            return Ok(true);
        }
        if self.older.as_ref().is_none_or(|(pointer, _)| *pointer != older.pointer) {
            let key = self.values().record(older.pointer, |record, _| Ok(record.key.to_vec()));
            let Some(key) = unless_damaged(key)? else { return Ok(self.doubt(newer, older)) };
            if key.is_none() {
                let place = self.segments.place_or_surely_none(older.pointer.address());
                if !matches!(unless_damaged(place)?, Some(None)) {
                    return Ok(self.doubt(newer, older));
                }
            }
            self.older = Some((older.pointer, key));
        }
        let key = self.older.as_ref().and_then(|(_, key)| key.as_deref());
        let same = match key {
            None => true, // its record was dropped: some newer slot shadows it
            Some(key) => {
                let same = self.values().record(newer.pointer, |record, _| Ok(record.key == key));
                match unless_damaged(same)? {
                    Some(same) => same.unwrap_or(false),
                    None => self.doubt(newer, older),
                }
            }
        };
        if same {
            self.segments.charge(older.pointer, &mut self.garbage)?;
        }
        Ok(same)
    }

    /// Nobody can tell whose a damaged record was: both slots stay, whatever they say, and reads say
    /// so. If the newer one went, what it hides would come back, now or when the damage is repaired.
    fn doubt(&mut self, newer: Slot, older: Slot) -> bool {
        self.doubtful.extend([newer.pointer, older.pointer]);
        false
    }

    /// Whether a slot still counts, if nothing older than it does.
    fn life(&self, slot: Slot) -> Result<Life> {
        if slot.is_delete {
            return Ok(Life::Over);
        }
        let expiry = match slot.expiry(self.now_ms) {
            Expiry::Never => 0,
            Expiry::Passed => return Ok(Life::Over),
            Expiry::NotBefore(ms) => ms,
            Expiry::AskRecord => {
                let expiry = self.values().record(slot.pointer, |record, _| Ok(record.expiry));
                let Some(expiry) = unless_damaged(expiry)? else { return Ok(Life::Endless) };
                let Some(expiry) = expiry else { return Ok(Life::Over) };
                expiry
            }
        };
        Ok(match expiry {
            0 => Life::Endless,
            ms if is_expired(ms, self.now_ms) => Life::Over,
            ms => Life::Until(ms),
        })
    }

    fn verdict(&mut self, slot: Slot, oldest: bool) -> Result<Verdict> {
        // Nobody can tell where the record is if the table that says so is damaged: the slot stays.
        let place = unless_damaged(self.segments.place_or_surely_none(slot.pointer.address()))?;
        match place.map(|place| place.is_some()) {
            Some(true) => {}
            Some(false) => return Ok(Verdict::Drop),
            None => return Ok(Verdict::Keep),
        }
        if self.doubtful.contains(&slot.pointer) {
            return Ok(Verdict::Keep);
        }
        if !oldest || self.life(slot)? != Life::Over {
            let kept = self.dissolver.pointer(slot.pointer, &mut self.garbage)?;
            return Ok(match kept {
                Some(pointer) if pointer == slot.pointer => Verdict::Keep,
                Some(pointer) => Verdict::Replace(slot.at(pointer).encode().to_vec()),
                None => Verdict::Drop,
            });
        }
        self.segments.charge(slot.pointer, &mut self.garbage)?;
        Ok(Verdict::Drop)
    }

    /// Keeps the engine's error for [`HashMerge::step`]; the merge only learns that it must end.
    fn answer<T>(&mut self, result: Result<T>) -> vfs::Result<T> {
        result.map_err(|error| {
            self.failure = Some(error);
            vfs::Error::invalid("the merge's owner cannot answer", self.files.fs.path())
        })
    }
}

/// What was read; `None` if that was damaged. A merge of an index must not end for it: the damage is
/// reported by whoever reads the value, by `check` and by garbage collection.
fn unless_damaged<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
        read => read.map(Some),
    }
}

impl Owner for SlotOwner {
    fn same_key(&mut self, newer: &[u8], older: &[u8]) -> vfs::Result<bool> {
        let same = self.is_same(Slot::decode(newer), Slot::decode(older));
        self.answer(same)
    }

    fn judge(&mut self, slot: &[u8], oldest: bool) -> vfs::Result<Verdict> {
        let verdict = self.verdict(Slot::decode(slot), oldest);
        self.answer(verdict)
    }
}
