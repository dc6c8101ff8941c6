//! One process on a disk with a fault: it opens the store, goes through a script, goes on after
//! errors, and ends. Every answer on the way is judged.
//!
//! ```text
//! disk of an earlier process + fault -> open -> steps -> [faults end] -> writes, reads -> close, drop or kill
//! ```
//!
//! 1. A call of the store does what it says, or returns an error that names a file.
//! 2. A refused write changed nothing; only one that ends all writes may be there afterwards.
//! 3. After a sync that failed nothing is acknowledged, and nobody syncs that file again.
//! 4. Reads are right or errors; when the disk is well again they are right.

use anyhow::{Context, Result, anyhow, bail, ensure};
use engine::ErrorKind;
use vfs::sim::{CallKind, Fault, SimDisk, Times, What};

use super::call::Op;
use super::copies;
use super::history::{Bounds, visible};
use super::observe;
use super::plan::Jobs;
use super::recovery::Allowed;
use super::run::Run;
use super::workload;

/// How often a process tries to open a store that does not open.
const OPENS_MAX: usize = 2;
/// A process that makes more calls of the disk than this does not end.
const CALLS_MAX: u64 = 2_000_000;
/// Steps of background work after which it counts as endless.
const JOB_STEPS_MAX: usize = 1000;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Opens the store.
    Open,
    /// A call of the workload.
    Call(Op),
    /// Closes the store.
    Close,
    /// Drops the store.
    Drop,
}

impl Step {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Step::Open => "open",
            Step::Call(op) => op.name(),
            Step::Close => "close",
            Step::Drop => "drop",
        }
    }

    /// The step of a name.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(name: &str) -> Result<Step> {
        Ok(match name {
            "open" => Step::Open,
            "close" => Step::Close,
            "drop" => Step::Drop,
            name => Step::Call(Op::parse(name)?),
        })
    }

    /// True if its success promises something to a writer.
    fn acknowledges(self) -> bool {
        match self {
            Step::Open | Step::Drop => false,
            Step::Close => true,
            Step::Call(op) => !matches!(op, Op::Snapshot | Op::Tick | Op::Jobs | Op::Reopen),
        }
    }
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It closes the store.
    Close,
    /// It drops the store.
    Drop,
    /// It is killed.
    Kill,
}

impl End {
    /// Every end.
    pub const ALL: [End; 3] = [End::Close, End::Drop, End::Kill];
}

/// A process under a fault.
pub(super) struct Trial {
    pub(super) run: Run,
    fault: Option<Fault>,
    /// How many calls there were before each step.
    pub(super) starts: Vec<u64>,
    /// How many when it had returned and nothing was read yet.
    pub(super) returns: Vec<u64>,
    /// Errors so far.
    pub(super) errors: usize,
    /// Failed syncs that earlier openings of the store met.
    forgiven: usize,
    /// The faults are over.
    healed: bool,
    /// The store was opened behind a write in doubt, and nobody could read yet which state it shows.
    in_doubt: bool,
}

impl Trial {
    /// On the disk that `before` left, or a copy of it.
    pub(super) fn new(before: &Run, disk: SimDisk, fault: Option<Fault>) -> Result<Trial> {
        let run = before.resume(disk)?;
        run.disk.limit_calls(CALLS_MAX);
        if let Some(fault) = fault {
            run.disk.fault(fault);
        }
        Ok(Trial {
            run,
            fault,
            starts: Vec::new(),
            returns: Vec::new(),
            errors: 0,
            forgiven: 0,
            healed: false,
            in_doubt: false,
        })
    }

    /// Goes through the steps, whatever fails.
    pub(super) fn go(&mut self, steps: &[Step]) -> Result<()> {
        for step in steps {
            self.starts.push(self.run.disk.calls());
            self.returns.push(u64::MAX);
            self.step(*step).with_context(|| format!("at {}", step.name()))?;
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Open | Step::Call(Op::Reopen) => return self.reopen(),
            _ if !self.run.has_db() => return Ok(()),
            Step::Drop => {
                self.run.drop_store();
                self.returned();
                return self.require_no_second_sync();
            }
            _ => {}
        }
        let (failed, before) = (self.run.has_failed(), self.failed_syncs());
        let result = match step {
            Step::Close => self.run.close().map_err(Into::into),
            Step::Call(Op::Jobs) => self.run_jobs(),
            Step::Call(op) if self.makes_sense(op)? => workload::step(&mut self.run, op),
            _ => return Ok(()),
        };
        self.returned();
        let syncs_failed = match self.run.config.jobs {
            Jobs::Lazy => self.failed_syncs(),
            // Background work that runs behind the call may have failed.
            Jobs::Seeded => before,
        };
        match result {
            Ok(()) if step.acknowledges() && self.may_not_acknowledge(step) => {
                ensure!(!failed, "it succeeds though the store takes no more writes");
                ensure!(syncs_failed == 0, "it succeeds though a sync failed");
            }
            Ok(()) => {}
            Err(error) => self.accept(error)?,
        }
        if self.run.has_db() { self.verify() } else { self.require_no_second_sync() }
    }

    /// The calls of the workload know two keyspaces, and one may be gone.
    fn makes_sense(&self, op: Op) -> Result<bool> {
        let there = self.run.expects_second();
        Ok(there || matches!(op, Op::Flush | Op::Compact | Op::Gc | Op::Snapshot | Op::Tick))
    }

    /// False where there may be nothing to acknowledge.
    fn may_not_acknowledge(&self, step: Step) -> bool {
        // An expiry for a key that is not there, and a checkpoint, which changes another store.
        !matches!(step, Step::Call(Op::Expire | Op::Checkpoint))
    }

    fn run_jobs(&self) -> Result<()> {
        for _ in 0..JOB_STEPS_MAX {
            if !self.run.sim.spawner.step_one(0) {
                return Ok(());
            }
        }
        bail!("background work does not come to rest");
    }

    /// Syncs of the store's own files that failed since it was opened.
    fn failed_syncs(&self) -> usize {
        let all = self.run.disk.failed_syncs();
        all[self.forgiven..].iter().filter(|hit| copies::is_home(&hit.path)).count()
    }

    /// True if a sync of a directory failed and lost names that listings still show. A kernel to
    /// which that happens takes no more changes until the file system is mounted again (its
    /// journal is aborted), and then shows what is durable: there is no next process on this disk.
    pub(super) fn names_lost(&self) -> bool {
        let keeps = |what| matches!(what, What::SyncReverted | What::SyncSurvived);
        let failed = self.run.disk.failed_syncs();
        failed.iter().any(|hit| hit.kind == CallKind::SyncDir && !keeps(hit.what))
    }

    /// What failed was of an earlier process.
    fn forgive(&mut self) {
        self.forgiven = self.run.disk.failed_syncs().len();
        self.run.disk.forgive_failed_syncs();
    }

    /// Closes the store if it is open, and opens it, trying again.
    fn reopen(&mut self) -> Result<()> {
        if self.run.has_db() {
            self.verify()?;
            let syncs_failed = self.failed_syncs();
            match self.run.close() {
                Ok(()) => ensure!(syncs_failed == 0, "a close succeeds after a failed sync"),
                Err(error) => self.accept(error.into())?,
            }
            self.require_no_second_sync()?;
        }
        for _ in 0..OPENS_MAX {
            if self.names_lost() {
                return Ok(());
            }
            self.forgive();
            match self.run.open_store() {
                Ok(()) => {
                    self.in_doubt = true;
                    return self.verify();
                }
                Err(error) => self.accept(error)?,
            }
        }
        Ok(())
    }

    /// An error that the store may return; any other is what the oracle says.
    pub(super) fn accept(&mut self, error: anyhow::Error) -> Result<()> {
        self.errors += 1;
        let below = error.downcast_ref::<vfs::Error>().is_some();
        let Some(found) = error.downcast_ref::<engine::Error>() else {
            return if below { Ok(()) } else { Err(error) };
        };
        let names = found.to_string().contains("/sim");
        let kind = found.kind();
        match kind {
            ErrorKind::Io | ErrorKind::NoSpace | ErrorKind::ReadOnly | ErrorKind::Locked => {
                ensure!(names, "{found:?} names no file");
            }
            ErrorKind::Corrupt => {
                ensure!(names, "{found:?} names no file");
                ensure!(self.may_be_corrupt(), "no sync failed, and yet: {found:?}");
            }
            _ => bail!("unexpected: {found:?}"),
        }
        if !self.run.has_db() {
            return Ok(());
        }
        let struck = self.run.disk.faults_hit() > 0;
        ensure!(struck, "an error though nothing failed: {found:?}");
        Ok(())
    }

    /// After a failed sync of a log, what only that log held may be gone.
    fn may_be_corrupt(&self) -> bool {
        self.run.disk.failed_syncs().iter().any(|hit| hit.path.ends_with(".wal"))
    }

    /// A step returned; what follows are reads of this judge.
    fn returned(&mut self) {
        if let Some(last) = self.returns.last_mut() {
            *last = self.run.disk.calls().min(*last);
        }
    }

    /// What the store says now: right, or an error while the disk is not well.
    fn verify(&mut self) -> Result<()> {
        let errors = if self.in_doubt { self.find_state()? } else { self.read()? };
        let (count, healed) = (errors.len(), self.healed);
        let full = self.fault.is_some_and(|fault| fault.what == What::NoSpace);
        for error in errors {
            let corrupt = error.kind() == ErrorKind::Corrupt;
            ensure!(!healed || corrupt, "a read on a healthy disk: {error:?}");
            ensure!(!full || corrupt, "a read on a full disk: {error:?}");
            self.accept(error.into()).context("a read")?;
        }
        self.errors += count;
        self.require_no_second_sync()
    }

    /// The errors of a reader who otherwise finds what was acknowledged.
    fn read(&self) -> Result<Vec<engine::Error>> {
        let clock_ms = vfs::Clock::wall_ms(&*self.run.sim.clock);
        let mut expected = vec![visible(&self.run.now(), clock_ms)];
        if self.run.history.ends_with_keyspace() {
            expected.push(visible(&self.run.history.now(), clock_ms));
        }
        observe::read_through(self.run.db(), &expected)
    }

    /// The errors of a reader who otherwise finds one of the states that the store may have been
    /// left in. If there are none, that state is the one from which everything goes on.
    fn find_state(&mut self) -> Result<Vec<engine::Error>> {
        let clock_ms = vfs::Clock::wall_ms(&*self.run.sim.clock);
        let mut first = None;
        for state in self.run.history.candidates(self.bounds_after_kill()).into_iter().rev() {
            match observe::read_through(self.run.db(), &[visible(&state, clock_ms)]) {
                Ok(errors) => {
                    if errors.is_empty() {
                        self.in_doubt = false;
                        self.run.settle(state);
                    }
                    return Ok(errors);
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.expect("something may be left")).context("none of the states allowed")
    }

    /// R5: no sync is tried again, through the handle that failed or another.
    pub(super) fn require_no_second_sync(&self) -> Result<()> {
        let again = self.run.disk.syncs_again();
        if again == 0 {
            return Ok(());
        }
        let failed = self.run.disk.failed_syncs();
        bail!("{again} syncs are tried again; those that failed: {failed:?}");
    }

    /// True if what happened must not be noticed: calls that are continued or repeated.
    pub(super) fn must_be_transparent(&self) -> bool {
        let hits = self.run.disk.hits();
        let Some(fault) = self.fault else { return true };
        match fault.what {
            What::Short(_) => true,
            What::Interrupted => {
                fault.times == Times::Once && hits.iter().all(|hit| !hit.kind.syncs())
            }
            What::SyncLate => self.run.disk.failed_syncs().is_empty(),
            _ => false,
        }
    }

    /// The faults are over: a store that takes writes takes them, one that does not still reads.
    pub(super) fn heal(&mut self) -> Result<()> {
        let disk = self.run.disk.clone();
        match self.fault.map(|fault| fault.times) {
            Some(Times::UntilFreed) => disk.free(0),
            _ => disk.clear_faults(),
        }
        self.healed = true;
        if !self.run.has_db() && self.names_lost() {
            return Ok(());
        }
        if !self.run.has_db() {
            self.forgive();
            self.run.open_store().context("open on a healthy disk")?;
            self.in_doubt = true;
        }
        self.verify().context("on a healthy disk")?;
        if self.run.has_failed() {
            ensure!(!self.only_reservations(), "a refused reservation ended all writes");
            return Ok(());
        }
        for op in [Op::Put, Op::Batch, Op::Sync, Op::Flush, Op::Gc] {
            if self.makes_sense(op)? {
                let done = workload::step(&mut self.run, op);
                done.with_context(|| format!("{} on a healthy disk", op.name()))?;
            }
        }
        self.verify().context("written on a healthy disk")
    }

    /// True if nothing but finding space failed.
    fn only_reservations(&self) -> bool {
        let reserves = |kind| matches!(kind, CallKind::Preallocate | CallKind::Create);
        self.run.disk.hits().iter().all(|hit| hit.what == What::NoSpace && reserves(hit.kind))
    }

    /// Ends the process. Its disk is well afterwards.
    pub(super) fn end(&mut self, end: End) -> Result<()> {
        if self.run.has_db() {
            match end {
                End::Close => self.step(Step::Close).context("at the last close")?,
                End::Drop => self.step(Step::Drop).context("at the last drop")?,
                End::Kill => {}
            }
        }
        self.run.disk.clear_faults();
        self.run.disk.kill();
        if self.run.has_db() {
            self.run.drop_store();
        }
        Ok(())
    }

    /// What the disk may show afterwards: to the next process if the power stays on.
    pub(super) fn allowed_after_kill(&self) -> Allowed {
        self.allowed(self.bounds_after_kill())
    }

    fn bounds_after_kill(&self) -> Bounds {
        let lost =
            |path: &str| path.ends_with(".wal") || !path.contains('.') || path.ends_with("db");
        let lossy = self.run.disk.failed_syncs().iter().any(|hit| lost(&hit.path));
        let bounds = self.bounds();
        let durable = if lossy { bounds.durable } else { self.run.acknowledged };
        Bounds { durable: durable.max(bounds.durable), ..bounds }
    }

    /// As [`Trial::allowed_after_kill`], if it goes.
    pub(super) fn allowed_after_cut(&self) -> Allowed {
        self.allowed(self.bounds())
    }

    fn bounds(&self) -> Bounds {
        let bounds = self.run.history.bounds(usize::MAX);
        Bounds { attempted: self.run.history.len(), ..bounds }
    }

    fn allowed(&self, bounds: Bounds) -> Allowed {
        let copies = copies::allowed(&self.run.copies, usize::MAX - 1, bounds.clock_ms);
        Allowed::within(&self.run.history, bounds, copies)
    }

    /// What went wrong, as an error.
    pub(super) fn require_unnoticed(&self) -> Result<()> {
        match self.errors {
            0 => Ok(()),
            count => Err(anyhow!("{count} errors though nothing was to be noticed")),
        }
    }
}
