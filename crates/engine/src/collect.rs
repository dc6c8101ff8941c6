//! Garbage collection: which files, and one edit that lets the moved records count.
//!
//! 1. outputs and remap tables are written and synced
//! 2. their directory is synced
//! 3. one MANIFEST edit names them, and not the victims any more
//! 4. the view is swapped
//! 5. victims and replaced tables are removed when nobody holds them
//!
//! A collection that meets damage leaves the victim as it is and says so; the database goes on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use memtable::{Entry, Kind};
use vfs::planted::{self, Bug};
use vfs::sync::atomic::Ordering;
use vfs::sync::{MutexGuard, mistake};
use vfs::{Name, Next};
use wal::{Segment, SegmentId};

use crate::catalog::{Catalog, Change, RemapRecord, SegmentOrigin, SegmentRecord};
use crate::collecting::{Collecting, Failure, Output, Run};
use crate::error::{ErrorKind, Result};
use crate::files::{Files, REMAP};
use crate::listed::Listed;
use crate::moved;
use crate::reap;
use crate::remap::Remap;
use crate::sample;
use crate::state::State;
use crate::victims::{self, Zeal};
use crate::view::View;

/// How far a count may be from what a sample says before it is corrected: the share of the file.
const TOLERANCE: f64 = 0.10;
/// The same when a caller asks for all garbage to go.
const TOLERANCE_FULL: f64 = 0.02;
/// How long what was verified is taken for sound.
const VERIFIED_FOR: Duration = Duration::from_secs(60);
/// Stands for files that are no victims, where damage is noted.
const ELSEWHERE: u32 = 0;
/// Files that the background takes a sample of in a round although nothing was said of them.
const SAMPLES_PER_ROUND: usize = 4;

/// Collects garbage until there is no more than the options allow. An error that concerned some
/// victims only is returned in the end.
pub(crate) fn collect_all(state: &State) -> Result<()> {
    state.unreadable.lock().clear();
    let files: Vec<SegmentRecord> =
        state.manifest.lock().catalog().segments.values().cloned().collect();
    for files in files.chunks(SAMPLES_PER_ROUND) {
        // Not held for long, so that a close gets its turn.
        let mut collecting = state.collecting.lock();
        state.check_writable()?;
        sample(state, &mut collecting, files, TOLERANCE_FULL)?;
    }
    loop {
        // Not held for long, so that a close gets its turn.
        let mut collecting = state.collecting.lock();
        state.check_writable()?;
        if collecting.run.is_none() && !start(state, &mut collecting, Zeal::Full)? {
            let error = state.unreadable.lock().values().next().cloned();
            return error.map_or(Ok(()), Err);
        }
        match step(state, &mut collecting) {
            Err(error) if state.pays_for(&error) => {}
            done => drop(done?),
        }
    }
}

/// Does a bounded piece of the garbage collection that is due, if one is: at once when a file is
/// above the forced share; for the total bound only when nothing is to flush or merge.
pub(crate) fn background(state: &State) -> Result<Next> {
    let options = &state.files.options;
    let idle = Next::ParkFor(options.gc_interval);
    // Somebody else is collecting.
    let Some(mut collecting) = state.collecting.try_lock() else { return Ok(idle) };
    state.check_writable()?;
    let now = state.files.env.clock.mono();
    if let Some(left) = collecting.next_step.checked_sub(now).filter(|left| !left.is_zero()) {
        return Ok(Next::ParkFor(left));
    }
    let worked = (|| {
        if collecting.run.is_none() {
            look_around(state, &mut collecting)?;
            let is_busy =
                !state.view().sealed.is_empty() || state.merges_wait.load(Ordering::Relaxed);
            let zeal = if is_busy { Zeal::Forced } else { Zeal::Advised };
            if !start(state, &mut collecting, zeal)? {
                return Ok(None);
            }
        }
        step(state, &mut collecting).map(Some)
    })();
    match worked {
        Ok(None) => Ok(idle),
        Ok(Some(bytes)) => {
            let pause = options.gc_pause(bytes);
            collecting.next_step = now.saturating_add(pause.unwrap_or_default());
            Ok(pause.map_or(Next::Again, Next::ParkFor))
        }
        Err(error) if state.pays_for(&error) => Ok(Next::Again),
        // There will be room, or there will not; trying at once would only fill the disk again.
        Err(error) if error.kind() == ErrorKind::NoSpace => Ok(idle),
        Err(error) => Err(error),
    }
}

/// What nobody tells the background of: entries that expire, what a dropped keyspace leaves, and
/// values that no merge has yet found dead.
fn look_around(state: &State, collecting: &mut MutexGuard<'_, Collecting>) -> Result<()> {
    let doubtful = std::mem::take(&mut *state.doubtful.lock());
    let now = state.files.env.clock.mono();
    let is_due = collecting.next_round <= now;
    if !is_due && doubtful == Listed::default() {
        return Ok(());
    }
    let files: Vec<SegmentRecord> = {
        let manifest = state.manifest.lock();
        let catalog = manifest.catalog();
        collecting.sampled.retain(|id, _| catalog.segments.contains_key(id));
        let spaces = catalog.remaps.iter().filter(|(space, _)| doubtful.contains(**space));
        let led_to: HashSet<u32> =
            spaces.flat_map(|(_, remap)| remap.targets.iter().copied()).collect();
        let is_doubtful = |id: u32| doubtful.contains(id) || led_to.contains(&id);
        let all = catalog.segments.values();
        let (asked, others): (Vec<_>, Vec<_>) = all.partition(|file| is_doubtful(file.id));
        let new = others.into_iter().filter(|file| !collecting.sampled.contains_key(&file.id));
        let count = if is_due { SAMPLES_PER_ROUND } else { 0 };
        asked.into_iter().chain(new.take(count)).cloned().collect()
    };
    if is_due {
        collecting.next_round = now.saturating_add(state.files.options.gc_interval);
        if files.len() < SAMPLES_PER_ROUND {
            // All had their turn: from the beginning.
            collecting.sampled.clear();
        }
        // Index files in which much has expired.
        state.wake_merge();
        state.write_down_clock()?;
    }
    sample(state, collecting, &files, TOLERANCE)
}

/// Takes a sample of files and corrects the counts that prove wrong, in one edit.
fn sample(
    state: &State,
    collecting: &mut MutexGuard<'_, Collecting>,
    files: &[SegmentRecord],
    tolerance: f64,
) -> Result<()> {
    let view = state.view();
    let mut found = Vec::new();
    for file in files {
        let Some(segment) = view.segments.file(SegmentId(file.id)) else { continue };
        match sample::garbage(&state.files, &view, file, segment) {
            Ok(garbage) => found.push((file, garbage)),
            Err(error) => drop(state.unreadable.lock().insert(file.id, error)),
        }
    }
    drop(view);
    let mut manifest = state.manifest.lock();
    let mut changes = Vec::new();
    for (file, garbage) in found {
        let wrong = victims::is_wrong(file, garbage, tolerance);
        let known = manifest.catalog().segments.contains_key(&file.id);
        if wrong && known {
            changes.push(Change::GarbageSet { segment: file.id, bytes: garbage });
        }
        collecting.sampled.insert(file.id, if wrong { garbage } else { file.garbage });
    }
    if changes.is_empty() {
        return Ok(());
    }
    // Where not even this has space no collection ends: going on with counts that are known to be
    // wrong would find them wrong again.
    state.with_reserve(|| state.commit_changes(&mut manifest, changes.clone()))
}

/// Begins to rewrite the best victims, after a look at a sample of each. False if there are none.
fn start(state: &State, collecting: &mut MutexGuard<'_, Collecting>, zeal: Zeal) -> Result<bool> {
    let options = &state.files.options;
    loop {
        let (victims, view) = {
            let manifest = state.manifest.lock();
            let unreadable = state.unreadable.lock();
            let skip = |id: u32| unreadable.contains_key(&id);
            let candidates = victims::candidates(manifest.catalog(), options, zeal, &skip);
            (victims::choose(candidates, options.segment_bytes), state.view())
        };
        if victims.is_empty() {
            return Ok(false);
        }
        let is_new = |file: &&SegmentRecord| {
            let last = collecting.sampled.get(&file.id);
            last.is_none_or(|garbage| victims::is_wrong(file, *garbage, TOLERANCE))
        };
        let unsampled: Vec<SegmentRecord> = victims.iter().filter(is_new).cloned().collect();
        if unsampled.is_empty() {
            forget_verified(state, collecting, &view);
            let run = Run::new(&state.files, &view.segments, &victims);
            state.counters.gc_run_bytes.store(run.bytes_total, Ordering::Relaxed);
            state.counters.gc_run_done_bytes.store(0, Ordering::Relaxed);
            collecting.run = Some(run);
            return Ok(true);
        }
        drop(view);
        // Each file is sampled once for each count, so this ends.
        sample(state, collecting, &unsampled, TOLERANCE)?;
    }
}

/// Has what indexes say verified anew. Not for each of many collections that follow each other:
/// readers meet the same pages.
///
/// Postmortem: a page of an index that rotted behind its first read told a collection that a live
/// record was dead, and it was dropped.
fn forget_verified(state: &State, collecting: &mut MutexGuard<'_, Collecting>, view: &View) {
    let now = state.files.env.clock.mono();
    if collecting.next_forget <= now {
        collecting.next_forget = now.saturating_add(VERIFIED_FOR);
        view.keyspaces.iter().for_each(|keyspace| keyspace.index.forget_verified());
    }
}

/// Does a bounded piece of the collection under way; says how many bytes it read and wrote.
fn step(state: &State, collecting: &mut MutexGuard<'_, Collecting>) -> Result<u64> {
    let _guard = state.guard("garbage collection");
    let Some(mut run) = collecting.run.take() else { return Ok(0) };
    state.check_held()?;
    let (read, written) = (run.bytes_read, run.bytes_written());
    let stepped = run.step(&state.view());
    let (read, written) = (run.bytes_read - read, run.bytes_written() - written);
    let counters = &state.counters;
    counters.gc_read_bytes.fetch_add(read, Ordering::Relaxed);
    counters.gc_run_done_bytes.store(run.bytes_read, Ordering::Relaxed);
    if let Ok(false) = stepped {
        collecting.run = Some(run);
        return Ok(read + written);
    }
    counters.gc_run_bytes.store(0, Ordering::Relaxed);
    counters.gc_run_done_bytes.store(0, Ordering::Relaxed);
    match stepped {
        Ok(_) => {
            let doubt = run.doubt.take();
            install(state, run).map_err(|error| state.judge(error))?;
            let doubt = doubt.map(|error| (ELSEWHERE, error));
            state.unreadable.lock().extend(doubt);
        }
        Err(Failure::Source(error, victims)) => {
            let unreadable = victims.into_iter().map(|id| (id, error.clone()));
            state.unreadable.lock().extend(unreadable);
        }
        Err(Failure::Output(error)) => return Err(state.judge(error)),
    }
    Ok(read + written)
}

/// The files of a finished collection, open. Until it is kept, dropping it removes them.
struct Opened<'a> {
    state: &'a State,
    output: Output,
    segments: Vec<Arc<Segment>>,
    remaps: Vec<Arc<Remap>>,
    keep: bool,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        if !self.keep {
            let files = &self.state.files;
            self.output.segments.iter().for_each(|segment| files.abandon(segment.name()));
            self.output.tables.iter().for_each(|(_, table)| files.abandon(name_of(table)));
        }
    }
}

fn name_of(table: &RemapRecord) -> Name {
    Name::new(REMAP, table.file)
}

/// Makes the result durable and visible.
pub(crate) fn install(state: &State, run: Run) -> Result<()> {
    let files = &state.files;
    let written = run.bytes_written();
    let output = run.take();
    let (segments, remaps) = (Vec::new(), Vec::new());
    let mut opened = Opened { state, output, segments, remaps, keep: false };
    if !planted::is(Bug::MovedNameUnsynced) {
        state.sync_dir()?;
    }
    for record in &opened.output.segments {
        opened.segments.push(files.open_segment(record)?);
    }
    for (id, table) in &opened.output.tables {
        opened.remaps.push(Remap::open(files, *id, table)?);
    }
    let mut manifest = state.manifest.lock();
    let edit = Edit::new(manifest.catalog(), &reap::listed(&state.view(), &[]), &opened.output);
    let prepared = state.prepare(&mut manifest, edit.changes(&opened.output))?;
    if planted::is(Bug::VictimRemovedEarly) {
        edit.victims.iter().for_each(|victim| files.abandon(victim.name()));
    }
    opened.keep = true;
    state.commit(&mut manifest, prepared)?;
    let moved = opened.segments.clone();
    if mistake("victims go before the view is swapped") {
        edit.victims.iter().for_each(|victim| files.abandon(victim.name()));
    }
    state.swap_view(|view| edit.apply(view, &mut opened, files));
    drop(manifest);
    if planted::is(Bug::GcWritesBack) {
        write_back(state, &moved)?;
    }
    for table in edit.unlisted.values() {
        files.abandon(name_of(table));
    }
    let freed: u64 = edit.victims.iter().map(|victim| victim.len).sum();
    let counters = &state.counters;
    counters.gc_runs.fetch_add(1, Ordering::Relaxed);
    counters.gc_written_bytes.fetch_add(written, Ordering::Relaxed);
    counters.gc_reclaimed_bytes.fetch_add(freed.saturating_sub(written), Ordering::Relaxed);
    files.sweep();
    state.restore_reserve()?;
    Ok(())
}

/// For [`Bug::GcWritesBack`]: puts every record that moved once more.
fn write_back(state: &State, moved: &[Arc<Segment>]) -> Result<()> {
    let mut commit = state.commit.lock();
    for segment in moved {
        for frame in segment.frames() {
            moved::decode(state.files.db_id, segment, &frame?, &mut |_, _, record, _| {
                commit.last_seq += 1;
                let (key, seq, value) = (record.key, commit.last_seq, record.value);
                let entry = Entry { key, seq, kind: Kind::Put, expiry: 0, pointer: 0, value };
                let table = commit.memtables.iter().find(|(id, _)| *id == record.keyspace);
                table.into_iter().for_each(|(_, table)| table.insert_one(entry));
                Ok(())
            })?;
        }
    }
    state.publish(commit.last_seq);
    Ok(())
}

/// What a collection changes in a catalog, from which edits made meanwhile may have taken a victim
/// or an address space.
struct Edit {
    victims: Vec<SegmentRecord>,
    /// Tables that are not needed: no index lists their address space any more.
    unlisted: BTreeMap<u32, RemapRecord>,
    /// Of these address spaces, those that have an older table.
    remapped: Vec<u32>,
}

impl Edit {
    fn new(catalog: &Catalog, listed: &Listed, output: &Output) -> Edit {
        let known = |id: &SegmentId| catalog.segments.get(&id.0).cloned();
        let victims = output.victims.iter().filter_map(known).collect();
        let is_unlisted = |(id, _): &&(u32, RemapRecord)| !listed.contains(*id);
        let unlisted: BTreeMap<u32, RemapRecord> =
            output.tables.iter().filter(is_unlisted).cloned().collect();
        let is_remapped = |id: &&u32| catalog.remaps.contains_key(*id);
        let remapped = unlisted.keys().filter(is_remapped).copied().collect();
        Edit { victims, unlisted, remapped }
    }

    fn changes(&self, output: &Output) -> Vec<Change> {
        let removed = |victim: &SegmentRecord| Change::SegmentRemoved { id: victim.id };
        let mut changes: Vec<Change> = self.victims.iter().map(removed).collect();
        for segment in &output.segments {
            changes.push(Change::SegmentAdded { segment: segment.clone() });
        }
        for (id, remap) in &output.tables {
            if !self.unlisted.contains_key(id) {
                changes.push(Change::RemapSet { segment: *id, remap: remap.clone() });
            }
        }
        changes.extend(self.remapped.iter().map(|id| Change::RemapRemoved { segment: *id }));
        changes
    }

    /// The view with the outputs in the place of the victims, which are retired.
    fn apply(&self, view: &View, opened: &mut Opened<'_>, files: &Files) -> View {
        let mut next = view.clone();
        let segments = Arc::make_mut(&mut next.segments);
        for victim in &self.victims {
            let old = segments.remove(SegmentId(victim.id)).expect("the view has what is named");
            files.retire(victim.name(), &old);
        }
        for segment in opened.segments.drain(..) {
            segments.add_as(SegmentOrigin::Rewritten, segment);
        }
        for (remap, (id, _)) in opened.remaps.drain(..).zip(&opened.output.tables) {
            let set = (!self.unlisted.contains_key(id)).then_some(remap);
            if let Some(old) = segments.set_remap(SegmentId(*id), set) {
                files.retire(old.name(), &old);
            }
        }
        next
    }
}

#[cfg(test)]
mod tests;
