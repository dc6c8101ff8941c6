//! Appending: stage, then commit. The write path of a log, top to bottom.
//!
//! ```text
//! stage   lock the tail -> rotate if full -> encode the frame -> (mapped) it is in place
//! commit  (positional) one leader writes what all have staged
//!         (durable)    one leader syncs what is in place: earlier segments, names, this one
//! ```

use std::sync::Arc;
use std::time::Duration;

use vfs::planted::{self, Bug};
use vfs::sync::atomic::Ordering;
use vfs::sync::{MutexGuard, mistake};
use vfs::{Env, Error, Job, Name, Next, Result};

use crate::format::{self, FRAME_HEADER_LEN, FrameKind, HEADER_LEN, RECORD_LEN_MAX, SEQ_MAX};
use crate::log::{Closed, Log, Staged, sealed_meta};
use crate::meta::SegmentMeta;
use crate::options::{AppendMode, Durability};
use crate::position::{Position, SegmentId};
use crate::segment::Segment;
use crate::tail::Tail;

/// What is synced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Everything there is.
    All,
    /// Everything before the active segment, and its start.
    Sealed,
}

impl Log {
    /// Appends a record with the next seq and commits it as the policy says. Gives its position.
    ///
    /// # Errors
    /// As [`Log::stage`] and [`Log::commit`].
    pub fn append(&self, payload: &[u8]) -> Result<Position> {
        let staged = {
            let mut tail = self.lock_tail()?;
            let seq = tail.seq_floor() + 1;
            let fill = &mut |_, out: &mut [u8]| out.copy_from_slice(payload);
            self.stage_in(&mut tail, seq, payload.len(), fill)?
        };
        self.commit(&staged, false)?;
        Ok(staged.position)
    }

    /// Appends records with the next seqs, all or none: after a crash either every one of them is
    /// there or none. Gives their positions, in order.
    ///
    /// # Errors
    /// As [`Log::append`]; `Invalid` if the batch with its frame headers is longer than
    /// [`RECORD_LEN_MAX`].
    pub fn append_batch(&self, payloads: &[&[u8]]) -> Result<Vec<Position>> {
        let lens = payloads.iter().map(|payload| format::frame_len(payload.len() as u64));
        let batch_len = lens.fold(0_u64, u64::saturating_add);
        self.check_len("batch", batch_len)?;
        let Some((last, earlier)) = payloads.split_last() else { return Ok(Vec::new()) };
        let mut positions = Vec::with_capacity(payloads.len());
        let staged = {
            let mut tail = self.lock_tail()?;
            self.check_seq(&tail, tail.seq_floor().saturating_add(payloads.len() as u64))?;
            let rotated = self.make_room(&mut tail, batch_len)?;
            tail.drop_unfinished();
            let synced = self.synced.done();
            let kinds = earlier.iter().map(|payload| (FrameKind::More, payload));
            for (kind, payload) in kinds.chain([(FrameKind::Record, last)]) {
                let seq = tail.seq_floor() + 1;
                let fill = &mut |_, out: &mut [u8]| out.copy_from_slice(payload);
                positions.push(tail.encode((kind, seq), payload.len(), synced, fill));
            }
            let position = positions[0];
            self.finish(&mut tail, position, rotated)?
        };
        self.commit(&staged, false)?;
        Ok(positions)
    }

    /// Reserves `len` bytes at the end of the log for the record `seq`, rotating if the active
    /// segment is full, and lets `fill` write them: it gets the address of the first byte and the
    /// bytes, zeroed. In [`AppendMode::Mapped`] the record survives the death of the process when
    /// this returns; in [`AppendMode::Positional`], when a commit of it or of a later one does.
    ///
    /// `fill` runs under the log's lock: it must not call the log. If it panics nothing was staged.
    ///
    /// # Errors
    /// `Invalid` if `seq` is not above every earlier one or the record is longer than
    /// [`RECORD_LEN_MAX`]; `NoSpace` or `Io` if the next segment cannot be created: nothing has
    /// changed then and a later call may succeed. `Poisoned` after a failed write or sync.
    pub fn stage(
        &self,
        seq: u64,
        len: usize,
        fill: &mut dyn FnMut(Position, &mut [u8]),
    ) -> Result<Staged> {
        let mut tail = self.lock_tail()?;
        self.stage_in(&mut tail, seq, len, fill)
    }

    fn stage_in(
        &self,
        tail: &mut Tail,
        seq: u64,
        len: usize,
        fill: &mut dyn FnMut(Position, &mut [u8]),
    ) -> Result<Staged> {
        self.check_len("record", len as u64)?;
        self.check_seq(tail, seq)?;
        let rotated = self.make_room(tail, format::frame_len(len as u64))?;
        tail.drop_unfinished();
        let attests_all = planted::is(Bug::AttestsUnsynced);
        let synced = if attests_all { tail.end() } else { self.synced.done() };
        let position = tail.encode((FrameKind::Record, seq), len, synced, fill);
        self.finish(tail, position, rotated)
    }

    /// The batch that starts at `position` is encoded: appends it.
    fn finish(&self, tail: &mut Tail, position: Position, rotated: bool) -> Result<Staged> {
        let (end, runs_short) = self.poison.watch(tail.finish())?;
        self.staged_bytes.store(tail.staged_bytes(), Ordering::Release);
        let address = Position { offset: position.offset + FRAME_HEADER_LEN, ..position };
        let seq = tail.seq_floor();
        Ok(Staged { position, address, end, seq, rotated, runs_short })
    }

    fn lock_tail(&self) -> Result<MutexGuard<'_, Tail>> {
        let tail = self.tail.lock();
        self.poison.check()?;
        if tail.active().sealed_len().is_some() {
            return Err(Error::invalid("the log is closed", self.fs.path()));
        }
        Ok(tail)
    }

    fn check_len(&self, what: &str, len: u64) -> Result<()> {
        if len <= u64::from(RECORD_LEN_MAX) {
            return Ok(());
        }
        let what = format!("a {what} of {len} bytes is longer than {RECORD_LEN_MAX}");
        Err(Error::invalid(what, self.fs.path()))
    }

    fn check_seq(&self, tail: &Tail, seq: u64) -> Result<()> {
        let floor = tail.seq_floor();
        if floor < seq && seq <= SEQ_MAX {
            return Ok(());
        }
        let what = format!("seq {seq} is not above {floor} and at most {SEQ_MAX}");
        Err(Error::invalid(what, self.fs.path()))
    }

    /// Rotates if frames of `len` bytes do not fit; true if it did.
    fn make_room(&self, tail: &mut Tail, len: u64) -> Result<bool> {
        if tail.has_room(len) {
            return Ok(false);
        }
        self.next_segment(tail, len)?;
        assert!(tail.has_room(len), "a new segment has room for what it was made for");
        Ok(true)
    }

    /// Returns when every byte of the log up to `staged.end` is in place, and, if `durable` or the
    /// policy is [`Durability::Always`], synced with all earlier segments and their names. Threads
    /// that wait share one write and one sync.
    ///
    /// # Errors
    /// What the disk said to the thread that led the group; `Poisoned` to all others, and to
    /// everyone after a failure. Whether the record survives is unknown then.
    pub fn commit(&self, staged: &Staged, durable: bool) -> Result<()> {
        let durable = durable || self.options.durability == Durability::Always;
        if durable && !planted::is(Bug::AckBeforeSync) {
            return self.sync_to(staged.end);
        }
        self.write_to(staged.end)?;
        if let Durability::EveryBytes(bytes) = self.options.durability
            && bytes <= self.unsynced_bytes()
        {
            return self.sync_to(staged.end);
        }
        Ok(())
    }

    fn unsynced_bytes(&self) -> u64 {
        let synced = self.synced_bytes.load(Ordering::Acquire);
        self.staged_bytes.load(Ordering::Acquire).saturating_sub(synced)
    }

    /// Makes memory ready for what will be appended next, in another thread than the appending one:
    /// a good moment is when [`Staged::runs_short`]. It changes nothing but the time that appends
    /// take (docs of `vfs::AppendMap`), and does nothing in other modes than
    /// [`AppendMode::Mapped`].
    pub fn make_ready(&self) {
        let active = Arc::clone(self.tail.lock().active());
        active.make_ready();
    }

    /// Makes everything durable that was staged before the call.
    pub fn sync(&self) -> Result<()> {
        let end = self.tail.lock().end();
        self.sync_to(end)
    }

    /// For [`Durability::Interval`]: syncs if the interval has passed since the last sync and
    /// something was staged. Does nothing under other policies.
    pub fn tick(&self) -> Result<()> {
        let Durability::Interval(interval) = self.options.durability else { return Ok(()) };
        let synced_at = Duration::from_millis(self.synced_at_ms.load(Ordering::Acquire));
        let is_due = synced_at + interval <= self.env.clock.mono();
        if is_due && self.unsynced_bytes() > 0 { self.sync() } else { Ok(()) }
    }

    /// For [`Durability::Interval`]: starts a job that syncs at every interval, until it is
    /// stopped, the log is gone or a sync fails. An owner with a timer of its own calls
    /// [`Log::tick`] instead. `Invalid` under other policies.
    pub fn spawn_interval(self: &Arc<Self>, env: &Env) -> Result<Box<dyn Job>> {
        let Durability::Interval(interval) = self.options.durability else {
            return Err(Error::invalid("the log's policy is not Interval", self.fs.path()));
        };
        let log = Arc::downgrade(self);
        let step = move || match log.upgrade().map(|log| log.sync()) {
            Some(Ok(())) => Next::ParkFor(interval),
            Some(Err(_)) | None => Next::Stop,
        };
        env.spawner.spawn("wal-interval", Box::new(step))
    }

    /// Everything before `target` is in place when this returns.
    fn write_to(&self, target: Position) -> Result<()> {
        if self.append_mode == AppendMode::Mapped {
            return self.poison.check();
        }
        self.written.reach(target, &self.poison, || {
            let (chunks, end) = {
                let mut tail = self.tail.lock();
                (tail.take_pending(), tail.end())
            };
            for chunk in chunks {
                chunk.segment.write(&chunk.bytes)?;
                self.tail.lock().reuse(chunk.bytes);
            }
            if mistake("what was staged behind a write counts as written") {
                return Ok(self.tail.lock().end());
            }
            Ok(end)
        })
    }

    /// Everything before `target` is durable when this returns.
    fn sync_to(&self, target: Position) -> Result<()> {
        let clock = &*self.env.clock;
        self.synced.reach_together(target, &self.poison, clock, || self.sync_upto(What::All))
    }

    /// Syncs segments, oldest first: one is only ever durable behind its predecessors. Gives up to
    /// where.
    fn sync_upto(&self, what: What) -> Result<Position> {
        let (mut end, segments, has_new_names, bytes) = {
            let tail = self.tail.lock();
            let has_new_names = tail.entries_synced < tail.active().id();
            (tail.end(), tail.unsynced.clone(), has_new_names, tail.staged_bytes())
        };
        if what == What::Sealed {
            end.offset = HEADER_LEN;
        }
        self.write_to(end)?;
        let (active, sealed) = segments.split_last().expect("the active segment is one of them");
        for segment in sealed.iter().filter(|_| !planted::is(Bug::OlderSegmentsUnsynced)) {
            segment.sync()?;
        }
        if has_new_names && !planted::is(Bug::RotationNamesUnsynced) {
            self.fs.sync_dir()?;
        }
        if what == What::All || !active.is_started() {
            active.sync()?;
        }
        segments.iter().for_each(|segment| segment.set_started());

        let mut tail = self.tail.lock();
        let is_done = |segment: &Segment| {
            segment.id() < end.segment
                || (segment.id() == end.segment && segment.sealed_len() == Some(end.offset))
        };
        tail.unsynced.retain(|segment| !is_done(segment));
        tail.entries_synced = tail.entries_synced.max(end.segment);
        drop(tail);
        if what == What::All {
            self.synced_bytes.fetch_max(bytes, Ordering::AcqRel);
            let now = u64::try_from(self.env.clock.mono().as_millis()).unwrap_or(u64::MAX);
            self.synced_at_ms.store(now, Ordering::Release);
        }
        Ok(end)
    }

    /// Ends the active segment and starts the next. Creates a file and writes its header; syncs
    /// nothing. Gives the ended segment; all its bytes are in place.
    ///
    /// # Errors
    /// As [`Log::stage`] when it rotates.
    pub fn rotate(&self) -> Result<SegmentMeta> {
        let (sealed, end) = {
            let mut tail = self.lock_tail()?;
            let (active, end) = (Arc::clone(tail.active()), tail.end());
            self.next_segment(&mut tail, 0)?;
            (active, end)
        };
        self.write_to(end)?;
        Ok(sealed_meta(&sealed))
    }

    /// Makes every segment up to `upto` durable, with the header of the one behind it and their
    /// names, and gives back the space that preallocation left behind their ends. Appends go on
    /// meanwhile. With `upto` the active segment or beyond: everything there is now.
    pub fn sync_sealed(&self, upto: SegmentId) -> Result<()> {
        let active = self.active();
        let sealed: Vec<Arc<Segment>> = {
            let segments = self.segments.read();
            let range = segments.range(..=upto).filter(|(id, _)| **id < active);
            range.map(|(_, segment)| Arc::clone(segment)).collect()
        };
        let successor = self.segments.read().range(..).map(|(id, _)| *id).find(|id| upto < *id);
        match successor {
            Some(segment) => self.sync_to(Position { segment, offset: HEADER_LEN })?,
            None => self.sync()?,
        }
        // Nobody syncs these any more, now that they are durable.
        sealed.iter().try_for_each(|segment| self.poison.watch(segment.cut()))
    }

    /// Makes everything before the active segment durable, with its start; appends go on
    /// meanwhile. For an owner that will want this of every segment, and not of many at once.
    ///
    /// # Errors
    /// What the disk said; the log is poisoned then. `Poisoned` after an earlier failure.
    pub fn write_back(&self) -> Result<()> {
        let start = Position { segment: self.active(), offset: HEADER_LEN };
        self.synced.reach(start, &self.poison, || self.sync_upto(What::Sealed))
    }

    /// Makes the start of the segment behind `upto` durable: its header and its name. For an owner
    /// that has made what is in segments up to `upto` durable elsewhere, and only needs the log
    /// from there on: they are in place when this returns, but not synced, and need not be.
    ///
    /// # Errors
    /// What the disk said; the log is poisoned then. `Poisoned` after an earlier failure.
    pub fn start_after(&self, upto: SegmentId) -> Result<()> {
        let next = self.segments.read().range(..).map(|(id, _)| *id).find(|id| upto < *id);
        let id = next.unwrap_or_else(|| self.active());
        self.write_to(Position { segment: id, offset: HEADER_LEN })?;
        self.start(id)
    }

    /// The same for the active segment, early: a sync of a segment that was just begun is short.
    ///
    /// # Errors
    /// As [`Log::start_after`].
    pub fn start_active(&self) -> Result<()> {
        self.start(self.active())
    }

    fn start(&self, id: SegmentId) -> Result<()> {
        let Some(segment) = self.segment(id).filter(|segment| !segment.is_started()) else {
            return Ok(());
        };
        self.poison.check()?;
        if planted::is(Bug::StartUnsynced) {
            return Ok(());
        }
        self.poison.watch(segment.sync().and_then(|()| self.fs.sync_dir()))?;
        segment.set_started();
        Ok(())
    }

    /// For a log that owns its directory's segment files: removes every file of its kind with an
    /// id below `first`, the oldest first, each removal durable before the next. What is kept is
    /// durable before anything is removed. Files of the same kind that other owners keep (sealed
    /// segments that were promoted to something else) would go too: such owners use
    /// [`Log::forget_before`] and remove files themselves.
    ///
    /// # Errors
    /// `Invalid` if `first` is no segment of the log.
    pub fn drop_before(&self, first: SegmentId) -> Result<()> {
        if self.segment(first).is_none() {
            let what = format!("segment {first} is not in the log");
            return Err(Error::invalid(what, self.fs.path()));
        }
        self.sync_to(Position { segment: first, offset: HEADER_LEN })?;
        let mut names: Vec<Name> = self.fs.list()?.entries.iter().map(|entry| entry.name).collect();
        names.retain(|name| {
            name.kind == self.options.kind && name.id < u64::from(first.0) && !name.quarantined
        });
        // Members of the chain go last: without its older members the log would otherwise seem
        // to start with a segment that recovery once put aside.
        let is_member = |name: &Name| {
            u32::try_from(name.id).is_ok_and(|id| self.segment(SegmentId(id)).is_some())
        };
        names.sort_unstable_by_key(|name| (is_member(name), name.id));
        self.forget_before(first);
        for name in names {
            self.fs.remove(name)?;
            self.fs.sync_dir()?;
        }
        Ok(())
    }

    /// [`Log::seal`] for who owns the log.
    ///
    /// A log that is dropped instead does no I/O at all: what was committed is as safe as the
    /// policy makes it.
    pub fn close(self) -> Result<Closed> {
        self.seal()
    }

    /// Ends the log: syncs everything, writes a seal behind it, cuts all segments of this open to
    /// their lengths and syncs again. The owner records the result, so that the next open knows
    /// where the log must end. Reads go on; appends are refused from here on.
    ///
    /// # Errors
    /// `Poisoned`, `Invalid` if the log was closed before, or what the disk says; the log can be
    /// opened again in any case.
    pub fn seal(&self) -> Result<Closed> {
        let (active, end) = loop {
            self.sync()?;
            let mut tail = self.lock_tail()?;
            let synced = self.synced.done();
            if synced < tail.end() {
                // Somebody appended in between.
                continue;
            }
            tail.drop_unfinished();
            let seal = (FrameKind::Seal, tail.active().meta().last_seq);
            tail.encode(seal, 0, synced, &mut |_, _| {});
            let (end, _) = self.poison.watch(tail.finish())?;
            tail.active().seal(end.offset);
            break (Arc::clone(tail.active()), end);
        };
        if planted::is(Bug::CloseUnsynced) {
            self.write_to(end)?;
            return Ok(Closed { end: active.meta() });
        }
        self.sync_to(end)?;
        self.sync_sealed(active.id())?;
        self.poison.watch(active.cut())?;
        Ok(Closed { end: active.meta() })
    }
}
