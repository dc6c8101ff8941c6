//! A sealed generation becomes index files and value segments. The order is the promise:
//!
//! 1. the start of the log segment behind the generation is synced; if one of the generation's own
//!    becomes a value segment, so are all of them, whatever the sync policy; if none does, nobody
//!    will read them again
//! 2. copied values and index files are written and synced
//! 3. their directory is synced
//! 4. one MANIFEST edit names them all, and what of the log is not needed any more
//! 5. the view is swapped
//! 6. logs are released
//!
//! Values are written once: a log segment that is mostly live values becomes a value segment as
//! it is (*promotion*); of the others the survivors are copied, in the order of their memtable. A
//! B-tree keyspace separates large values; a hash keyspace every value, and every delete that may
//! hide something: only their records hold the keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use memtable::{Cursor, Kind, Memtable, Order};
use vfs::Name;
use vfs::planted::{self, Bug};
use vfs::sync::atomic::Ordering;
use vfs::sync::mistake;
use wal::{Segment, SegmentId};

use crate::catalog::{Change, SegmentOrigin, SegmentRecord};
use crate::error::Result;
use crate::files::Files;
use crate::index::{Delta, FlushEntry, FlushValue, Installed};
use crate::merge::{self, AtClose};
use crate::options::IndexKind;
use crate::reap;
use crate::record::{self, Record, RecordKind, ValuePtr};
use crate::seal::seal;
use crate::state::State;
use crate::view::{Generation, KeyspaceView, View};
use crate::vlog::{self, Place, Segments, ValueWriter};

/// Flushes the oldest sealed generation. False if there is none.
pub(crate) fn flush_oldest(state: &State) -> Result<bool> {
    let _flushing = state.flushing.lock();
    let _guard = state.guard("flush");
    state.check_sound()?;
    state.check_held()?;
    let (view, generation) = loop {
        let view = state.view();
        let Some(generation) = view.sealed.last().cloned() else { return Ok(false) };
        let Some(full) = full_index(&view, &generation) else { break (view, generation) };
        drop((view, generation));
        merge::merge_keyspace(state, full, AtClose::GoOn)?;
    };
    let flush = || flush(state, &view, &generation).map_err(|error| state.judge(error));
    state.with_reserve(flush)?;
    drop((view, generation));
    state.files.sweep();
    state.restore_reserve()?;
    state.wake_merge();
    Ok(true)
}

/// A keyspace that has something to flush and whose index takes no flush before a merge.
fn full_index(view: &View, generation: &Generation) -> Option<u32> {
    let memtables = generation.memtables.read();
    let mut some = memtables.iter().filter(|(_, memtable)| !memtable.is_empty());
    let is_full = |id: u32| view.keyspace(id).is_some_and(|keyspace| keyspace.index.is_full());
    some.find(|(id, _)| is_full(*id)).map(|(id, _)| *id)
}

/// Seals the active generation, if it holds anything, and flushes everything sealed by then. What
/// readers saw expire is durable afterwards even if there was nothing to flush.
pub(crate) fn flush_all(state: &State) -> Result<()> {
    let newest = {
        let mut commit = state.commit.lock();
        state.check_sound()?;
        state.check_held()?;
        if !state.view().active.is_empty() {
            state.with_reserve(|| seal(state, &mut commit).map_err(|error| state.judge(error)))?;
        }
        state.view().sealed.first().map_or(Weak::new(), Arc::downgrade)
    };
    // What is sealed meanwhile is not waited for: writers may always be ahead.
    let waits = |view: &View| view.sealed.iter().any(|some| Arc::as_ptr(some) == newest.as_ptr());
    while waits(&state.view()) && flush_oldest(state)? {}
    state.write_down_clock()
}

/// Makes the start of the log that the next flush leaves durable, for which the flush would wait: a
/// sync is short while the segment holds little. Of other segments nobody asks for it, and a sync
/// in the midst of a page of 2 MiB has all of it written twice.
pub(crate) fn start_log(state: &State) -> Result<()> {
    let view = state.view();
    if view.sealed.is_empty() || view.active.segments.read().len() > 1 {
        return Ok(());
    }
    state.log.start_active().map_err(|error| state.judge(error.into()))
}

/// Syncs the active generation's full log segments, if the last generation's were promoted: these
/// will be too, and their flush must not wait for all of them at once.
pub(crate) fn write_back(state: &State) -> Result<()> {
    if !state.promotes.load(Ordering::Relaxed) {
        return Ok(());
    }
    state.check_sound()?;
    state.log.write_back().map_err(|error| state.judge(error.into()))
}

/// What a flush decided about the generation's log segments.
struct Plan {
    promoted: BTreeSet<SegmentId>,
    /// Live separated bytes by segment.
    live: BTreeMap<SegmentId, u64>,
}

/// What a flush built. Until it is kept, dropping it removes the files again: a full disk stays
/// no fuller.
struct Output<'a> {
    state: &'a State,
    deltas: Vec<(u32, Delta)>,
    copied: Vec<SegmentRecord>,
}

impl Output<'_> {
    /// The files belong to the database now.
    fn keep(mut self) {
        let (deltas, copied) = (std::mem::take(&mut self.deltas), std::mem::take(&mut self.copied));
        let counters = &self.state.counters;
        let index_bytes: u64 = deltas.iter().map(|(_, delta)| delta.bytes_written).sum();
        let value_bytes: u64 = copied.iter().map(|segment| segment.len).sum();
        counters.flush_bytes.fetch_add(index_bytes, Ordering::Relaxed);
        counters.value_bytes.fetch_add(value_bytes, Ordering::Relaxed);
        counters.flushes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        let State { files, .. } = self.state;
        for (_, delta) in self.deltas.drain(..) {
            self.state.abandon(delta.abandon);
        }
        self.copied.drain(..).for_each(|segment| files.abandon(segment.name()));
    }
}

fn flush(state: &State, view: &View, generation: &Arc<Generation>) -> Result<()> {
    let segments = generation.segments.read().clone();
    let last = segments.last().expect("a generation has a log segment").id();
    state.log.start_after(last)?;
    let plan = plan(state, view, generation, &segments)?;
    if !plan.promoted.is_empty() && !planted::is(Bug::FlushBeforeLogSync) {
        state.log.sync_sealed(last)?;
    }
    // Everything in the generation is in place, and will be durable, whoever has not yet said so.
    let flushed_seq = generation.last_seq().max(view.flushed_seq);
    if !mistake("a flush does not publish") {
        state.publish(flushed_seq);
    }
    state.promotes.store(2 * plan.promoted.len() >= segments.len(), Ordering::Relaxed);
    let output = build(state, view, generation, &segments, &plan)?;
    if !planted::is(Bug::TableNameUnsynced) {
        state.sync_dir()?;
    }
    install(state, generation, &segments, &plan, output, flushed_seq)
}

/// Decides which segments are promoted, over all keyspaces.
fn plan(
    state: &State,
    view: &View,
    generation: &Generation,
    segments: &[Arc<Segment>],
) -> Result<Plan> {
    let mut live: BTreeMap<SegmentId, u64> = BTreeMap::new();
    for (id, memtable) in generation.memtables.read().iter() {
        let Some(keyspace) = view.keyspace(*id) else { continue };
        // In the order in which keys came: sums need no other, and memory is read front to back.
        let mut scan = memtable.scan(u64::MAX);
        while let Some(entry) = scan.next() {
            if entry.pointer != 0 && needs_record(keyspace, entry.kind) {
                let pointer = ValuePtr::from_bits(entry.pointer);
                let len = match entry.kind {
                    Kind::Pointer => vlog::record_len(find(segments, pointer.segment())?, pointer)?,
                    _ => logged_len(&entry),
                };
                *live.entry(pointer.segment()).or_default() += len;
            }
        }
    }
    let promote_min = state.files.options.promote_min;
    let mut promoted = BTreeSet::new();
    for segment in segments {
        let bytes = live.get(&segment.id()).copied().unwrap_or(0);
        if bytes > 0 && bytes as f64 >= promote_min * segment.len() as f64 {
            promoted.insert(segment.id());
        }
    }
    Ok(Plan { promoted, live })
}

/// True if the index needs the record behind an entry, not only what the memtable holds of it.
fn needs_record(keyspace: &KeyspaceView, kind: Kind) -> bool {
    match (keyspace.kind, kind) {
        (IndexKind::BTree, _) => kind == Kind::Pointer,
        // Where nothing was ever flushed, a delete hides nothing.
        (IndexKind::Hash, Kind::Delete) => {
            !keyspace.index.is_empty() && !planted::is(Bug::HashDeleteForgotten)
        }
        (IndexKind::Hash, Kind::Put | Kind::Pointer) => true,
    }
}

/// Bytes of the record of an entry that is in memory.
fn logged_len(entry: &memtable::Entry<'_>) -> u64 {
    record::encoded_len(entry.key.len(), entry.value.len(), entry.expiry != 0) as u64
}

/// Visits the newest version of every key: in order, or in the order in which they came.
fn for_each_newest(
    memtable: &Arc<Memtable>,
    visit: &mut dyn FnMut(memtable::Entry<'_>) -> Result<()>,
) -> Result<()> {
    if memtable.order() == Order::Unordered {
        let mut scan = memtable.scan(u64::MAX);
        while let Some(entry) = scan.next() {
            visit(entry)?;
        }
        return Ok(());
    }
    let mut cursor: Cursor = memtable.cursor(u64::MAX);
    cursor.seek_first();
    while cursor.valid() {
        visit(cursor.entry())?;
        cursor.next();
    }
    Ok(())
}

/// Writes and syncs index files and copied values.
fn build<'a>(
    state: &'a State,
    view: &View,
    generation: &Generation,
    segments: &[Arc<Segment>],
    plan: &Plan,
) -> Result<Output<'a>> {
    let files = &state.files;
    let mut values = ValueWriter::new(files.clone());
    let mut output = Output { state, deltas: Vec::new(), copied: Vec::new() };
    for (id, memtable) in generation.memtables.read().iter() {
        let Some(keyspace) = view.keyspace(*id).filter(|_| !memtable.is_empty()) else { continue };
        let mut sink = keyspace.index.begin_flush(files, *id)?;
        for_each_newest(memtable, &mut |entry| {
            let (is_delete, expiry) = (entry.kind == Kind::Delete, entry.expiry);
            let value = separate(files, keyspace, segments, plan, &mut values, entry)?;
            sink.add(FlushEntry { key: entry.key, is_delete, expiry, value })
        })?;
        if let Some(delta) = sink.finish()? {
            output.deltas.push((*id, delta));
        }
    }
    values.finish()?;
    output.copied = values.take();
    Ok(output)
}

/// What the index gets of an entry: its record where the log keeps it or as a copy, or the value.
fn separate<'e>(
    files: &Files,
    keyspace: &KeyspaceView,
    segments: &[Arc<Segment>],
    plan: &Plan,
    values: &mut ValueWriter,
    entry: memtable::Entry<'e>,
) -> Result<FlushValue<'e>> {
    let needed = needs_record(keyspace, entry.kind);
    let pointer = ValuePtr::from_bits(entry.pointer);
    if needed && entry.pointer != 0 && plan.promoted.contains(&pointer.segment()) {
        return Ok(FlushValue::Pointer(pointer));
    }
    let mut copy = |kind, value: &[u8]| {
        let memtable::Entry { key, seq, expiry, .. } = entry;
        let record = Record { keyspace: keyspace.id, seq, kind, expiry, key, value };
        Ok(FlushValue::Pointer(values.append(&record)?))
    };
    match entry.kind {
        Kind::Delete if needed => copy(RecordKind::Delete, &[]),
        Kind::Delete => Ok(FlushValue::None),
        Kind::Put if !needed && entry.value.len() <= files.options.inline_max => {
            Ok(FlushValue::Inline(entry.value))
        }
        Kind::Put => copy(RecordKind::Put, entry.value),
        Kind::Pointer => {
            let segment = find(segments, pointer.segment())?;
            let place = Place { segment, offset: pointer.address().offset };
            let value = vlog::read_value(files.db_id, place, pointer, keyspace.id, entry.key)?;
            copy(RecordKind::Put, &value)
        }
    }
}

/// The generation's segment with this id.
fn find(segments: &[Arc<Segment>], id: SegmentId) -> Result<&Arc<Segment>> {
    let index = segments.binary_search_by_key(&id, |segment| segment.id());
    let found = index.ok().and_then(|index| segments.get(index));
    found.ok_or_else(|| vlog::missing_segment(id))
}

/// Makes the result durable and visible, and lets go of the logs.
fn install(
    state: &State,
    generation: &Arc<Generation>,
    segments: &[Arc<Segment>],
    plan: &Plan,
    output: Output<'_>,
    flushed_seq: u64,
) -> Result<()> {
    let mut manifest = state.manifest.lock();
    // Abandoned, if it must be, while nobody else can build on what it installed.
    let mut output = output;
    let now = state.view();
    let wal_min = first_segment_after(&now, generation);
    let mut changes = Vec::new();
    let mut added = Vec::new();
    for segment in segments.iter().filter(|segment| plan.promoted.contains(&segment.id())) {
        let record = promoted_record(segment, plan.live[&segment.id()]);
        changes.push(Change::SegmentAdded { segment: record });
        added.push(segment.clone());
    }
    for record in &output.copied {
        changes.push(Change::SegmentAdded { segment: record.clone() });
        added.push(state.files.open_segment(record)?);
    }
    let indexes = install_indexes(state, &now, &mut output, &mut changes)?;
    changes.push(Change::Flushed { seq: flushed_seq, wal_min: wal_min.0 });
    let next: Vec<_> = indexes.iter().map(|(id, new)| (*id, new.index.clone())).collect();
    let unlisted = reap::unlisted(manifest.catalog(), &reap::listed(&now, &next));
    changes.extend(unlisted.changes());
    if planted::is(Bug::LogRemovedEarly) {
        let kept = |segment: &&Arc<Segment>| plan.promoted.contains(&segment.id());
        let name = |segment: &Arc<Segment>| Name::new(wal::SEGMENT, segment.id().0.into());
        segments
            .iter()
            .filter(|segment| !kept(segment))
            .map(name)
            .for_each(|n| state.files.abandon(n));
    }
    if planted::is(Bug::FlushInHalves) {
        let first = changes.drain(..changes.len() / 2).collect();
        state.commit_changes(&mut manifest, first)?;
    }
    let edit = state.prepare(&mut manifest, changes)?;
    // From here on nobody but the MANIFEST knows whether the files count.
    output.keep();
    state.commit(&mut manifest, edit)?;
    let hand_over =
        || state.history.lock().flushed(generation, state.files.options.txn_history_bytes);
    let late = mistake("a generation leaves the view before the history has it");
    (!late).then(hand_over);
    if mistake("a generation leaves the view before its index comes") {
        state.swap_view(|view| View {
            sealed: view.sealed.clone(),
            ..next_view(view, generation, &[], Vec::new(), view.flushed_seq)
        });
    }
    if mistake("the manifest is free before the view is swapped") {
        drop(manifest);
    }
    state.swap_view(|view| {
        let mut next = next_view(view, generation, &indexes, added, flushed_seq);
        unlisted.remove_from(&mut next.segments, &state.files);
        next
    });
    late.then(hand_over);
    state.reaped(&unlisted);
    for (_, installed) in indexes {
        (installed.retire)(&state.files);
    }
    drop(now);
    state.pins.lock().flushed(generation, state.files.options.pinned_bytes_max);
    state.log.forget_before(wal_min);
    for segment in segments.iter().filter(|segment| !plan.promoted.contains(&segment.id())) {
        state.files.retire(Name::new(wal::SEGMENT, u64::from(segment.id().0)), segment);
    }
    Ok(())
}

/// The next version of every index that got entries; what was dropped meanwhile is abandoned.
fn install_indexes(
    state: &State,
    now: &View,
    output: &mut Output<'_>,
    changes: &mut Vec<Change>,
) -> Result<Vec<(u32, Installed)>> {
    let mut indexes = Vec::new();
    for (id, delta) in &mut output.deltas {
        let Some(keyspace) = now.keyspace(*id) else { continue };
        let mut installed = (delta.install)(&*keyspace.index)?;
        changes.append(&mut installed.changes);
        indexes.push((*id, installed));
    }
    let dropped = |(id, _): &mut (u32, Delta)| now.keyspace(*id).is_none();
    for (_, delta) in output.deltas.extract_if(.., dropped) {
        state.abandon(delta.abandon);
    }
    Ok(indexes)
}

/// Where the log goes on behind a generation.
fn first_segment_after(view: &View, generation: &Arc<Generation>) -> SegmentId {
    let index = view.sealed.iter().position(|sealed| Arc::ptr_eq(sealed, generation));
    let next = match index.expect("only a flush takes it out of the view") {
        0 => &view.active,
        _ if planted::is(Bug::WalMinTooHigh) => &view.active,
        index => &view.sealed[index - 1],
    };
    next.segments.read().first().expect("a generation has a log segment").id()
}

/// Its garbage is what is neither live nor the frame of a batch: a lower bound where batches that
/// skipped the log have used up seqs. (Rewriting the segment would not save the frames either.)
fn promoted_record(segment: &Arc<Segment>, live: u64) -> SegmentRecord {
    let meta = segment.meta();
    let frames = meta.last_seq.saturating_sub(meta.first_seq).saturating_add(1);
    // One more: the seal.
    let frame_bytes = frames.saturating_add(1).saturating_mul(wal::FRAME_HEADER_LEN);
    let records = meta.len.saturating_sub(wal::HEADER_LEN).saturating_sub(frame_bytes);
    SegmentRecord {
        id: meta.id.0,
        origin: SegmentOrigin::Promoted,
        len: meta.len,
        first_seq: meta.first_seq,
        last_seq: meta.last_seq,
        garbage: records.saturating_sub(live),
    }
}

/// The view without the generation, with what it became.
fn next_view(
    view: &View,
    generation: &Arc<Generation>,
    indexes: &[(u32, Installed)],
    added: Vec<Arc<Segment>>,
    flushed_seq: u64,
) -> View {
    let gone = generation.memtables.read();
    let is_gone = |table: &Arc<Memtable>| gone.iter().any(|(_, old)| Arc::ptr_eq(old, table));
    let keyspaces = view.keyspaces.iter().map(|old| {
        let installed = indexes.iter().find(|(id, _)| *id == old.id);
        let index = installed.map_or(&old.index, |(_, installed)| &installed.index).clone();
        let memtables = old.memtables.iter().filter(|table| !is_gone(table)).cloned().collect();
        Arc::new(KeyspaceView { index, memtables, ..KeyspaceView::clone(old) })
    });
    let mut segments = Segments::clone(&view.segments);
    added.into_iter().for_each(|segment| segments.add(segment));
    let mut sealed = view.sealed.clone();
    let oldest = sealed.pop().expect("the generation is sealed");
    assert!(Arc::ptr_eq(&oldest, generation), "generations are flushed in order");
    View {
        active: view.active.clone(),
        sealed,
        keyspaces: keyspaces.collect(),
        segments: Arc::new(segments),
        flushed_seq,
    }
}
