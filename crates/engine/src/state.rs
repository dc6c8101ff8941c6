//! Everything that is shared, and every lock in the engine that has a place in the order.
//!
//! Lock order, never one while holding one below it: flushing, merging, collecting, manifest,
//! commit, view, then the leaves (segments of a generation, failure, pins). The file-level lock is `LOCK`.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use memtable::Memtable;
use vfs::planted::{self, Bug};
use vfs::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vfs::sync::{Mutex, OnceLock, Swap, mistake};
use vfs::{Job, Lock};
use wal::{Log, Staged};

use crate::catalog::Change;
use crate::collecting::Collecting;
use crate::compact::is_expired;
use crate::counters::Counters;
use crate::error::{Error, ErrorKind, Result};
use crate::files::Files;
use crate::history::History;
use crate::index::{Abandon, Delta, Installed};
use crate::listed::Listed;
use crate::manifest::Manifest;
use crate::pace::{Pace, Paced};
use crate::pins::{Pin, Pins};
use crate::reap::{self, Unlisted};
use crate::record::ValuePtr;
use crate::turns::Turns;
use crate::view::{KeyspaceView, View};

/// What the writers share.
pub(crate) struct Commit {
    /// Seq of the newest batch that was given one.
    pub(crate) last_seq: u64,
    /// The newest staged frame: what an unlogged batch must not overtake.
    pub(crate) last_staged: Option<Staged>,
    /// The active generation's memtables, by keyspace.
    pub(crate) memtables: Vec<(u32, Arc<Memtable>)>,
    /// What the active generation holds so far.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) log_bytes: u64,
    /// True if it holds batches that are in no log.
    pub(crate) unlogged: bool,
    /// Where the newest batch's records are; kept for its memory.
    pub(crate) pointers: Vec<ValuePtr>,
    /// How quickly the active generation may fill.
    pub(crate) paced: Paced,
}

/// The state of an open database.
pub(crate) struct State {
    // Constant after open.
    pub(crate) files: Arc<Files>,
    pub(crate) log: Log,
    /// Tells this open database from every other one in the process.
    pub(crate) owner: u64,
    /// Leaf. Gone after close, so that the directory can be opened again; nothing is changed in it
    /// from then on.
    lock: Mutex<Option<Box<dyn Lock>>>,
    /// Set once, right after.
    pub(crate) jobs: OnceLock<Jobs>,

    // Lock-free.
    /// Everything up to this seq is in the log's files and may be read.
    visible: AtomicU64,
    /// Some writer should wait; see [`View::is_pressed`].
    pressed: AtomicBool,
    /// How quickly writers may write.
    pub(crate) pace: Pace,
    /// An index may need a merge.
    pub(crate) merges_wait: AtomicBool,
    /// The last flush promoted at least half of its log segments.
    pub(crate) promotes: AtomicBool,
    failed: AtomicBool,
    pub(crate) closed: AtomicBool,
    pub(crate) counters: Counters,

    /// 1. Held by the one who flushes.
    pub(crate) flushing: Mutex<()>,
    /// 2. Held by the one who merges.
    pub(crate) merging: Mutex<()>,
    /// 3. Held by the one who collects garbage, for a step at a time.
    pub(crate) collecting: Mutex<Collecting>,
    /// 4. Held while an edit is made durable and its view is swapped in.
    pub(crate) manifest: Mutex<Manifest>,
    /// 5. Log order, next seq, active memtables. Held while staging; never across a sync.
    pub(crate) commit: Mutex<Commit>,
    /// What readers see. Replaced under `swapping`.
    view: Swap<View>,
    /// 6. Held to replace the view; never across I/O.
    swapping: Mutex<()>,
    /// Leaf. Why the database is read-only.
    failure: Mutex<Option<Error>>,
    /// Leaf. Files that garbage collection could not read, and why.
    pub(crate) unreadable: Mutex<BTreeMap<u32, Error>>,
    /// Leaf. Address spaces in which much may have died that no merge has met: a keyspace was
    /// dropped.
    pub(crate) doubtful: Mutex<Listed>,
    /// Leaf. Who holds which memory.
    pub(crate) pins: Mutex<Pins>,
    /// Leaf. What open transactions need to know of flushed generations.
    pub(crate) history: Mutex<History>,
    /// 0. Held by a loser of optimistic attempts while it tries again.
    pub(crate) turns: Turns,
}

/// The background jobs.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) flush: Box<dyn Job>,
    pub(crate) merge: Box<dyn Job>,
    pub(crate) gc: Option<Box<dyn Job>>,
    pub(crate) sync: Option<Box<dyn Job>>,
    /// Makes memory ready for the log, where it appends to a mapping, and the starts of its segments
    /// durable.
    pub(crate) ready: Option<Box<dyn Job>>,
}

/// What [`State::new`] needs.
pub(crate) struct Parts {
    pub(crate) files: Arc<Files>,
    pub(crate) log: Log,
    pub(crate) manifest: Manifest,
    pub(crate) commit: Commit,
    pub(crate) view: View,
}

impl State {
    pub(crate) fn new(parts: Parts, lock: Box<dyn Lock>) -> State {
        let Parts { files, log, manifest, commit, view } = parts;
        State {
            owner: files.env.rng.next_u64(),
            visible: AtomicU64::new(commit.last_seq),
            pressed: AtomicBool::new(view.is_pressed(&files)),
            pace: Pace::default(),
            merges_wait: AtomicBool::new(true),
            promotes: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            counters: Counters::default(),
            flushing: Mutex::new(()),
            merging: Mutex::new(()),
            collecting: Mutex::default(),
            manifest: Mutex::new(manifest),
            commit: Mutex::new(commit),
            view: Swap::new(Arc::new(view)),
            swapping: Mutex::new(()),
            failure: Mutex::new(None),
            unreadable: Mutex::default(),
            doubtful: Mutex::default(),
            pins: Mutex::new(Pins::default()),
            history: Mutex::new(History::default()),
            turns: Turns::default(),
            jobs: OnceLock::new(),
            files,
            log,
            lock: Mutex::new(Some(lock)),
        }
    }

    /// The newest view.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.get()
    }

    /// The newest view, for one look.
    #[inline]
    pub(crate) fn look(&self) -> impl Deref<Target = Arc<View>> {
        self.view.look()
    }

    /// Replaces the view by what `change` makes of the newest one.
    pub(crate) fn swap_view(&self, change: impl FnOnce(&View) -> View) {
        let _alone = self.swapping.lock();
        let next = change(&self.view.get());
        self.pressed.store(next.is_pressed(&self.files), Ordering::Relaxed);
        self.pace.follow(&next, &self.files);
        self.view.set(Arc::new(next));
    }

    pub(crate) fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }

    /// Lets readers see everything up to `seq`, all of which is in the log's files (or in none).
    pub(crate) fn publish(&self, seq: u64) {
        self.visible.fetch_max(seq, Ordering::AcqRel);
    }

    /// The newest state: the view is still the newest one after the seq was read.
    pub(crate) fn newest(&self) -> (Arc<View>, u64) {
        loop {
            let view = self.view();
            let seq = self.visible();
            let is_newest = Arc::ptr_eq(&view, &self.view.look());
            if is_newest || mistake("a view may be older than its seq") {
                assert!(view.flushed_seq <= seq, "a flush publishes before it swaps the view");
                return (view, seq);
            }
        }
    }

    /// Pins the newest state.
    pub(crate) fn pin(&self) -> Arc<Pin> {
        let (view, seq) = self.newest();
        let seq = if planted::is(Bug::SnapshotSeesLater) { u64::MAX } else { seq };
        let pin = Arc::new(Pin::new(seq, view));
        self.pins.lock().add(&pin);
        pin
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Milliseconds since 1970, never less than anybody was told before, also by earlier opens.
    pub(crate) fn now_ms(&self) -> u64 {
        self.files.now_ms()
    }

    /// True if an entry's time is over, which is then so for good. 0 is never.
    pub(crate) fn is_over(&self, expiry: u64) -> bool {
        let is_over = is_expired(expiry, self.now_ms());
        if is_over {
            self.files.clock.met(expiry);
        }
        is_over
    }

    /// Refuses calls after close.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::closed()) } else { Ok(()) }
    }

    /// Refuses writes after close and after a failure.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        self.check_sound()
    }

    /// Removes what was superseded and nobody holds any more, unless the directory was let go of:
    /// close does that under the manifest lock.
    pub(crate) fn sweep(&self) {
        let _manifest = self.manifest.lock();
        if self.check_held().is_ok() {
            self.files.sweep();
        }
    }

    /// Refuses writes, flushes and merges after a failure.
    pub(crate) fn check_sound(&self) -> Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(self.failure().expect("a failed database says why").as_read_only());
        }
        Ok(())
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.lock().clone()
    }

    /// Makes the database read-only; the first reason stays.
    pub(crate) fn fail(&self, error: &Error) {
        if planted::is(Bug::SyncRetried) {
            return;
        }
        let mut failure = self.failure.lock();
        failure.get_or_insert_with(|| error.clone());
        self.failed.store(true, Ordering::Release);
    }

    /// Judges an error of a write, flush or merge: a full disk passes and a refused call changed
    /// nothing; after everything else nobody knows what is on disk, so no more writes.
    pub(crate) fn judge(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::NoSpace if planted::is(Bug::FullDiskFatal) => self.fail_with(error),
            ErrorKind::NoSpace | ErrorKind::Invalid if !self.log.poisoned() => error,
            ErrorKind::Closed | ErrorKind::NotFound | ErrorKind::Conflict => error,
            _ => self.fail_with(error),
        }
    }

    /// As [`State::fail`]; returns the error for a caller whose change is in doubt.
    pub(crate) fn fail_with(&self, error: Error) -> Error {
        let error = error.in_doubt();
        self.fail(&error);
        error
    }

    /// Gives up the files of a change that is not made. If even that fails, nobody knows what is on
    /// disk, and the writes end.
    pub(crate) fn abandon(&self, abandon: Abandon) {
        if let Err(error) = abandon(&self.files) {
            self.fail_with(error);
        }
    }

    /// Makes new names durable. A failure ends the writes: a second try would prove nothing.
    pub(crate) fn sync_dir(&self) -> Result<()> {
        self.files.fs.sync_dir().map_err(|error| self.fail_with(error.into()))
    }

    /// Runs what ends in less being used; on a full disk once more, with what the reserve gives.
    pub(crate) fn with_reserve<T>(&self, mut run: impl FnMut() -> Result<T>) -> Result<T> {
        match run() {
            Err(error) if self.pays_for(&error) => run(),
            done => done,
        }
    }

    /// True if an error is a full disk's and the reserve gave its space back just now.
    pub(crate) fn pays_for(&self, error: &Error) -> bool {
        let pays = error.kind() == ErrorKind::NoSpace
            && !planted::is(Bug::ReserveUnused)
            && self.check_held().is_ok()
            && self.files.reserve.spend(&*self.files.fs);
        if pays {
            self.log.set_frugal(true);
        }
        pays
    }

    /// Puts the reserve's space aside again if there is plenty now. What it costs to look is paid
    /// only while it is missing. False if it is still missing.
    pub(crate) fn restore_reserve(&self) -> Result<bool> {
        if !self.files.reserve.is_spent() {
            return Ok(true);
        }
        // Close lets go of the directory under this lock.
        let _manifest = self.manifest.lock();
        self.check_held()?;
        let restored = self.files.reserve.restore(&*self.files.fs);
        self.log.set_frugal(!restored);
        Ok(restored)
    }

    /// Refuses to touch the directory when it is not, or may not be, this database's any more:
    /// `Closed` if it was let go of, `Locked` if somebody else may have it.
    pub(crate) fn check_held(&self) -> Result<()> {
        let lock = self.lock.lock();
        let Some(lock) = &*lock else { return Err(Error::closed()) };
        if planted::is(Bug::LockLossUnnoticed) {
            return Ok(());
        }
        let verified = lock.verify();
        if let Err(error) = &verified {
            self.fail(&unheld(error));
        }
        Ok(verified?)
    }

    /// Lets go of the directory. The caller holds every lock under which it is changed.
    pub(crate) fn release(&self) {
        *self.lock.lock() = None;
    }

    /// While it lives, a panic makes the database read-only: what it interrupted is half done.
    pub(crate) fn guard(&self, what: &'static str) -> PanicGuard<'_> {
        PanicGuard { state: self, what }
    }

    /// A sealed generation waits.
    pub(crate) fn wake_flush(&self) {
        if let Some(jobs) = self.jobs.get() {
            jobs.flush.wake();
        }
    }

    /// The log's mapping runs short of memory that is ready, or a segment was begun whose start is
    /// to be durable.
    pub(crate) fn wake_ready(&self) {
        if let Some(ready) = self.jobs.get().and_then(|jobs| jobs.ready.as_ref()) {
            ready.wake();
        }
    }

    /// There may be more garbage, or time to collect it.
    pub(crate) fn wake_gc(&self) {
        if let Some(gc) = self.jobs.get().and_then(|jobs| jobs.gc.as_ref()) {
            gc.wake();
        }
    }

    /// An index got new files.
    pub(crate) fn wake_merge(&self) {
        self.merges_wait.store(true, Ordering::Relaxed);
        if let Some(jobs) = self.jobs.get() {
            jobs.merge.wake();
        }
    }

    /// Installs a merge's result on top of the newest index.
    pub(crate) fn install(&self, keyspace: u32, delta: Delta) -> Result<()> {
        let Delta { mut install, abandon, garbage, copied, .. } = delta;
        let mut manifest = self.manifest.lock();
        // Postmortem: a flush whose edit failed left a hash table that the view does not have; the
        // merge that waited here met it, and an assertion.
        if let Err(error) = self.check_sound() {
            self.abandon(abandon);
            return Err(error);
        }
        let view = self.view();
        let Some(old) = view.keyspace(keyspace) else {
            self.abandon(abandon);
            return Ok(());
        };
        let opened = copied.iter().map(|record| self.files.open_segment(record));
        let opened: Result<Vec<_>> = opened.collect();
        let installed = opened.and_then(|opened| Ok((opened, install(&*old.index)?)));
        let (opened, Installed { mut changes, index, retire }) = match installed {
            Ok(installed) => installed,
            Err(error) => {
                self.abandon(abandon);
                return Err(error);
            }
        };
        changes.extend(copied.into_iter().map(|segment| Change::SegmentAdded { segment }));
        // A file that is not there any more needs no count.
        let known = |(segment, _): &(u32, u64)| manifest.catalog().segments.contains_key(segment);
        let garbage = garbage.into_iter().filter(known);
        changes.extend(garbage.map(|(segment, bytes)| Change::Garbage { segment, bytes }));
        let listed = reap::listed(&view, &[(keyspace, index.clone())]);
        let unlisted = reap::unlisted(manifest.catalog(), &listed);
        changes.extend(unlisted.changes());
        let edit = match self.prepare(&mut manifest, changes) {
            Ok(edit) => edit,
            Err(error) => {
                self.abandon(abandon);
                return Err(error);
            }
        };
        self.commit(&mut manifest, edit)?;
        self.swap_view(|view| {
            let old = view.keyspace(keyspace).expect("only the holder of the manifest drops it");
            let mut next = view.with_keyspace(KeyspaceView { index, ..KeyspaceView::clone(old) });
            if !opened.is_empty() {
                let segments = Arc::make_mut(&mut next.segments);
                opened.into_iter().for_each(|segment| segments.add(segment));
            }
            unlisted.remove_from(&mut next.segments, &self.files);
            next
        });
        self.reaped(&unlisted);
        retire(&self.files);
        Ok(())
    }

    /// Counts what an edit let go of.
    pub(crate) fn reaped(&self, unlisted: &Unlisted) {
        self.counters.gc_reclaimed_bytes.fetch_add(unlisted.bytes(), Ordering::Relaxed);
    }
}

/// See [`State::guard`].
pub(crate) struct PanicGuard<'a> {
    state: &'a State,
    what: &'static str,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = format!("a panic interrupted a {}", self.what);
            self.state.fail(&Error::new(ErrorKind::ReadOnly, message));
        }
    }
}

/// Why a database that cannot prove that it holds its directory takes no more writes.
///
/// Postmortem: we believed that nothing but a lost lock can go wrong with it. A look at the file
/// can fail too, and whoever was told that the file is gone, and not which, looked in vain.
fn unheld(error: &vfs::Error) -> Error {
    let path = error.path().display();
    let reason = match error {
        vfs::Error::Locked { .. } => {
            "was removed or replaced while the database was open".to_owned()
        }
        error => format!("could not be looked at: {error}"),
    };
    Error::new(ErrorKind::Locked, format!("{path} {reason}"))
}
