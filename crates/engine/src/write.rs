//! The write path, top to bottom.
//!
//! check -> make room -> [commit lock: seq, log frame, memtables] -> bytes in place, perhaps
//! synced -> visible -> acknowledged
//!
//! 1. Nothing is changed by a write that is refused.
//! 2. A write is visible only when it and everything before it is in the log's files.
//! 3. A write is acknowledged as durable only when the log is synced up to it.
//! 4. Waiting for memory, or for merges to come along, holds no lock that a flush or merge needs.

use std::sync::Arc;
use std::time::Duration;

use memtable::{Entry, Kind, Memtable};
use vfs::sync::atomic::Ordering;
use vfs::sync::{MutexGuard, mistake};
use wal::Staged;

use vfs::planted::{self, Bug};

use crate::batch::{Batch, BatchEntry};
use crate::error::{Error, ErrorKind, Result};
use crate::flush;
use crate::merge::{self, AtClose};
use crate::options::{BATCH_LEN_MAX, VALUE_LEN_MAX, WriteOptions};
use crate::read;
use crate::record::{self, Record, RecordKind, ValuePtr};
use crate::seal::seal;
use crate::state::{Commit, State};

/// Where the last record of a batch may start at the latest: a pointer's offset ends at 1 GiB,
/// and the headers of segment and frame come before.
const LAST_RECORD_MAX: usize = (1 << 30) - 4096;

/// When an entry vanishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expiry {
    Never,
    /// So long after the write.
    After(Duration),
    /// In milliseconds since 1970, not 0.
    At(u64),
}

impl Expiry {
    pub(crate) fn of_ttl(ttl: Option<Duration>) -> Expiry {
        ttl.map_or(Expiry::Never, Expiry::After)
    }
}

/// One write of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Op<'a> {
    pub(crate) keyspace: u32,
    pub(crate) kind: RecordKind,
    pub(crate) expiry: Expiry,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl Op<'_> {
    fn encoded_len(&self) -> usize {
        record::encoded_len(self.key.len(), self.value.len(), self.expiry != Expiry::Never)
    }
}

/// Writes a batch.
pub(crate) fn write_batch(state: &State, batch: &Batch, options: &WriteOptions) -> Result<()> {
    if batch.owner != state.owner {
        return Err(Error::invalid("the batch was made by another database"));
    }
    if let Some(name) = &batch.foreign {
        return Err(Error::invalid(format!("keyspace {name:?} belongs to another database")));
    }
    let mut ops = Vec::with_capacity(batch.entries.len());
    ops.extend(batch.entries.iter().map(|entry| op_of(batch, entry, options)));
    write(state, &ops, options)
}

/// A batch's entry as an operation.
pub(crate) fn op_of<'a>(batch: &'a Batch, entry: &BatchEntry, options: &WriteOptions) -> Op<'a> {
    let ttl = entry.ttl.or(options.ttl).filter(|_| entry.kind == RecordKind::Put);
    let BatchEntry { keyspace, kind, .. } = *entry;
    let (key, value) = (batch.key(entry), batch.value(entry));
    Op { keyspace, kind, expiry: Expiry::of_ttl(ttl), key, value }
}

/// Writes some operations together or not at all.
pub(crate) fn write(state: &State, ops: &[Op<'_>], options: &WriteOptions) -> Result<()> {
    write_if(state, ops, options, &|| Ok(()))
}

/// As [`write`], if `admit` agrees. It is asked under the commit lock, in one step with the
/// batch's place in the order: until the batch is in the memtables nothing else is written.
pub(crate) fn write_if(
    state: &State,
    ops: &[Op<'_>],
    options: &WriteOptions,
    admit: &dyn Fn() -> Result<()>,
) -> Result<()> {
    state.check_writable()?;
    options.validate()?;
    let len = check(ops)?;
    if ops.is_empty() {
        return if options.durable { sync(state) } else { Ok(()) };
    }
    let timed = ops.iter().any(|op| matches!(op.expiry, Expiry::After(_)));
    let now_ms = if timed { state.now_ms() } else { 0 };
    let stage = || {
        stage(state, ops, len, now_ms, options, admit)
            .map_err(|error| after_loss(state, state.judge(error)))
    };
    let staged = match ops.iter().all(|op| op.kind == RecordKind::Delete) {
        true => state.with_reserve(stage)?,
        false => require_reserve(state).and_then(|()| stage())?,
    };
    if mistake("a write is visible before it is in place") {
        state.publish(staged.seq);
    }
    if let Some(frame) = &staged.frame {
        let durable = options.durable;
        if planted::is(Bug::FailedCommitShown) {
            state.publish(staged.seq);
        }
        state.log.commit(frame, durable).map_err(|error| state.judge(error.into()))?;
    }
    state.publish(staged.seq);
    Ok(())
}

/// Refuses to fill what the reserve gave back: that is for what makes room.
fn require_reserve(state: &State) -> Result<()> {
    if state.restore_reserve()? {
        return Ok(());
    }
    let path = state.files.fs.path().display();
    let message = format!("no space left: {path} has less free than twice the reserve's bytes");
    Err(Error::new(ErrorKind::NoSpace, message))
}

/// Returns when everything that is logged is on stable storage, and what readers saw expire.
pub(crate) fn sync(state: &State) -> Result<()> {
    state.log.sync().map_err(|error| state.judge(error.into()))?;
    state.write_down_clock()
}

/// Lets an optimistic writer that lost see, when it tries again, what it lost to: the winner may
/// still be waiting for its sync. Any other error passes. The caller holds no lock.
pub(crate) fn after_loss(state: &State, error: Error) -> Error {
    if error.kind() == ErrorKind::Conflict {
        state.counters.conflicts.fetch_add(1, Ordering::Relaxed);
        // A failure here is in the next attempt's way, which reports it.
        drop(publish_all(state));
    }
    error
}

/// Returns when everything that has a seq is in the log's files and visible.
fn publish_all(state: &State) -> Result<()> {
    let (seq, frame) = {
        let commit = state.commit.lock();
        (commit.last_seq, commit.last_staged)
    };
    if state.visible() < seq {
        if let Some(frame) = &frame {
            state.log.commit(frame, false).map_err(|error| state.judge(error.into()))?;
        }
        state.publish(seq);
    }
    Ok(())
}

/// Checks every limit; returns the bytes of all records.
fn check(ops: &[Op<'_>]) -> Result<usize> {
    let mut len = 0;
    for op in ops {
        read::check_key(op.key)?;
        if op.value.len() > VALUE_LEN_MAX {
            let found = op.value.len();
            let message = format!("the value has {found} bytes, at most {VALUE_LEN_MAX}");
            return Err(Error::invalid(message));
        }
        if len > LAST_RECORD_MAX || len + op.encoded_len() > BATCH_LEN_MAX {
            let message = format!("the batch has more than {BATCH_LEN_MAX} encoded bytes");
            return Err(Error::invalid(message));
        }
        len += op.encoded_len();
    }
    Ok(len)
}

/// A batch that has its place in the order.
struct Placed {
    seq: u64,
    /// What must be in place before it may be seen; `None` if nothing was ever logged.
    frame: Option<Staged>,
}

/// Gives the batch its seq, writes its frame and fills the memtables.
fn stage(
    state: &State,
    ops: &[Op<'_>],
    len: usize,
    now_ms: u64,
    options: &WriteOptions,
    admit: &dyn Fn() -> Result<()>,
) -> Result<Placed> {
    let mut commit = commit_with_room(state, ops)?;
    let _guard = state.guard("write");
    admit()?;
    let seq = commit.last_seq + 1;
    if seq > record::SEQ_MAX {
        return Err(Error::invalid("the database has used up its sequence numbers"));
    }
    commit.pointers.clear();
    if options.disable_wal {
        commit.unlogged = true;
    } else {
        let staged = append(state, &mut commit, ops, seq, len, now_ms)?;
        commit.last_staged = Some(staged);
    }
    commit.last_seq = seq;
    insert(&mut commit, ops, seq, now_ms, state.files.options.inline_max);
    let user: usize = ops.iter().map(|op| op.key.len() + op.value.len()).sum();
    state.counters.user_bytes.fetch_add(user as u64, Ordering::Relaxed);
    Ok(Placed { seq, frame: commit.last_staged })
}

/// The absolute expiry of an entry, in milliseconds since 1970; 0 for never.
fn expiry_of(op: &Op<'_>, now_ms: u64) -> u64 {
    let ttl = match op.expiry {
        Expiry::Never => return 0,
        Expiry::At(expiry) => return expiry,
        Expiry::After(ttl) => ttl,
    };
    let ttl_ms = u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    now_ms.saturating_add(ttl_ms).max(1)
}

/// Writes the batch's records as one frame of the log.
fn append(
    state: &State,
    commit: &mut Commit,
    ops: &[Op<'_>],
    seq: u64,
    len: usize,
    now_ms: u64,
) -> Result<Staged> {
    let db_id = state.files.db_id;
    let Commit { pointers, memtables, .. } = commit;
    let table = match ops {
        [op] => find(memtables, op.keyspace),
        _ => None, // in a batch the table looks ahead itself
    };
    let clock = &state.files.clock;
    let told = clock.due().map(|told_ms| (told_ms, record::clock(seq, told_ms)));
    let told = told.filter(|(_, record)| len + record.encoded_len() <= BATCH_LEN_MAX);
    let frame_len = len + told.map_or(0, |(_, record)| record.encoded_len());
    let staged = state.log.stage(seq, frame_len, &mut |address, out| {
        if let Some(table) = table {
            table.expect(ops[0].key);
        }
        pointers.clear();
        let mut at = 0;
        for op in ops {
            let Op { keyspace, kind, key, value, .. } = *op;
            let expiry = expiry_of(op, now_ms);
            let record = Record { keyspace, seq, kind, expiry, key, value };
            let len = record.encoded_len();
            let mut address = address;
            address.offset += at as u64;
            record::encode(db_id, address, &record, &mut out[at..at + len]);
            pointers.push(ValuePtr::new(address, len));
            at += len;
        }
        if let Some((_, record)) = &told {
            let mut address = address;
            address.offset += at as u64;
            record::encode(db_id, address, record, &mut out[at..]);
            at += record.encoded_len();
        }
        assert!(at == out.len(), "the records fill the frame");
    })?;
    if let Some((told_ms, _)) = told {
        clock.wrote(told_ms);
    }
    if staged.rotated {
        follow_rotation(state)?;
    }
    if staged.runs_short {
        state.wake_ready();
    }
    let frame_len = staged.end.offset - staged.position.offset;
    commit.log_bytes += frame_len;
    state.counters.log_bytes.fetch_add(frame_len, Ordering::Relaxed);
    Ok(staged)
}

/// The active generation's records go on in the log's next segment.
fn follow_rotation(state: &State) -> Result<()> {
    let segment = state.log.segment(state.log.active()).expect("the log has its active segment");
    let view = state.view();
    let mut segments = view.active.segments.write();
    if segments.last().is_none_or(|last| last.id() != segment.id()) {
        segments.push(segment);
    }
    if state.promotes.load(Ordering::Relaxed) {
        state.wake_flush();
    }
    state.check_held()
}

fn find(memtables: &[(u32, Arc<Memtable>)], keyspace: u32) -> Option<&Arc<Memtable>> {
    let index = memtables.binary_search_by_key(&keyspace, |(id, _)| *id).ok()?;
    memtables.get(index).map(|(_, table)| table)
}

/// Puts the entries of a batch into their memtables.
fn insert(commit: &mut Commit, ops: &[Op<'_>], seq: u64, now_ms: u64, inline_max: usize) {
    let mut at = 0;
    for run in ops.chunk_by(|one, next| one.keyspace == next.keyspace) {
        let pointer = |index: usize| commit.pointers.get(at + index).copied();
        let entry = |(index, op)| entry(op, seq, now_ms, pointer(index), inline_max);
        let table = find(&commit.memtables, run[0].keyspace).expect("every keyspace was looked up");
        let before = table.bytes();
        match run {
            [op] => table.insert_one(entry((0, op))),
            _ => table.insert(&run.iter().enumerate().map(entry).collect::<Vec<_>>()),
        }
        // A reader may have put the keys in order in between, which takes less than was allowed
        // for.
        let grown = table.bytes().saturating_sub(before);
        at += run.len();
        commit.bytes += grown;
        commit.entries += run.len() as u64;
    }
}

/// One write as its memtable holds it: with the value itself, or with the pointer to a large one
/// that the log holds.
fn entry<'a>(
    op: &Op<'a>,
    seq: u64,
    now_ms: u64,
    pointer: Option<ValuePtr>,
    inline_max: usize,
) -> Entry<'a> {
    let kind = match op.kind {
        RecordKind::Delete => Kind::Delete,
        RecordKind::Put if pointer.is_some() && op.value.len() > inline_max => Kind::Pointer,
        RecordKind::Put => Kind::Put,
    };
    let value = if kind == Kind::Put { op.value } else { &[] };
    let pointer = pointer.map_or(0, ValuePtr::bits);
    Entry { key: op.key, seq, kind, expiry: expiry_of(op, now_ms), pointer, value }
}

/// The commit lock, with room in the active generation. Waits for flushes and merges if it must:
/// a write is delayed, never failed, for want of memory. A write to a keyspace that is not there
/// is refused before it seals anything.
fn commit_with_room<'a>(state: &'a State, ops: &[Op<'_>]) -> Result<MutexGuard<'a, Commit>> {
    let mut may_wait = true;
    loop {
        if state.is_pressed() {
            make_room(state)?;
        }
        let mut commit = state.commit.lock();
        state.check_writable()?;
        require_keyspaces(&commit, ops)?;
        if !is_full(state, &commit) {
            let wait = may_wait.then(|| pace(state, &mut commit, ops.len())).flatten();
            let Some(wait) = wait else { return Ok(commit) };
            drop(commit);
            state.files.env.clock.sleep(wait);
            may_wait = false;
            continue;
        }
        if !state.is_pressed() {
            seal(state, &mut commit)?;
            return Ok(commit);
        }
    }
}

fn require_keyspaces(commit: &Commit, ops: &[Op<'_>]) -> Result<()> {
    for op in ops {
        if find(&commit.memtables, op.keyspace).is_none() {
            let message = format!("keyspace number {} was dropped", op.keyspace);
            return Err(Error::new(ErrorKind::NotFound, message));
        }
    }
    Ok(())
}

fn is_full(state: &State, commit: &Commit) -> bool {
    let options = &state.files.options;
    commit.bytes >= options.memtable_bytes
        || commit.entries >= options.memtable_entries
        || commit.log_bytes >= options.log_bytes
}

/// How long a write of so many entries is to wait because merges are behind.
fn pace(state: &State, commit: &mut Commit, entries: usize) -> Option<Duration> {
    let limit = state.pace.limit()?;
    let options = &state.files.options;
    let filled = (commit.bytes as f64 / options.memtable_bytes as f64)
        .max(commit.entries as f64 / options.memtable_entries as f64)
        .max(commit.log_bytes as f64 / options.log_bytes as f64);
    let wait = commit.paced.wait(limit, filled, state.files.env.clock.mono(), entries)?;
    state.counters.slowed.fetch_add(1, Ordering::Relaxed);
    Some(wait)
}

/// Does, or waits for, the flushes and merges that writers are waiting for. Only when the active
/// generation is full: until then there is no hurry.
fn make_room(state: &State) -> Result<()> {
    if !is_full(state, &state.commit.lock()) {
        return Ok(());
    }
    state.counters.stalls.fetch_add(1, Ordering::Relaxed);
    let options = &state.files.options;
    while state.view().sealed.len() >= options.sealed_max {
        flush::flush_oldest(state)?;
    }
    loop {
        let view = state.view();
        let stalled =
            view.keyspaces.iter().find(|keyspace| keyspace.index.is_stalled(&state.files));
        let Some(keyspace) = stalled.map(|keyspace| keyspace.id) else { return Ok(()) };
        merge::merge_keyspace(state, keyspace, AtClose::GiveUp)?;
    }
}

#[cfg(test)]
mod tests;
