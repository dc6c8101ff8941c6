//! Recovers an image twice and asks the oracle about both.
//!
//! open -> read: a state in D..=A? -> check: sound, no stray files -> write + sync -> crash
//! -> open -> read: the same and the write? -> sometimes: compact, close, open, read: the same?

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use engine::{Db, WriteOptions};
use vfs::sim::{ImageKind, SimDisk};
use vfs::{Env, SimEnv};

use super::copies;
use super::history::{Bounds, History, Seen, State, diff, visible, will_expire};
use super::observe;
use super::plan::Config;
use super::workload::Recording;

/// How far the clock is ahead at the second recovery where something may expire until then.
const LATER: Duration = Duration::from_secs(10);

/// A state that a crash may leave, and what a reader sees of it.
#[derive(Clone)]
struct Candidate {
    state: State,
    seen: Seen,
}

/// What the oracle allows at a boundary.
pub(super) struct Allowed {
    pub(super) bounds: Bounds,
    candidates: Vec<Candidate>,
    copies: Vec<copies::Allowed>,
}

/// What a recovery shows.
#[derive(Clone)]
pub(super) struct Shown {
    /// Of the database.
    pub(super) seen: Seen,
    /// Of its checkpoints.
    copies: copies::Shown,
}

impl Allowed {
    pub(super) fn new(recording: &Recording, boundary: usize) -> Allowed {
        let bounds = recording.history.bounds(boundary);
        let copies = copies::allowed(&recording.copies, boundary, bounds.clock_ms);
        Allowed::within(&recording.history, bounds, copies)
    }

    /// What is allowed between these bounds.
    pub(super) fn within(
        history: &History,
        bounds: Bounds,
        copies: Vec<copies::Allowed>,
    ) -> Allowed {
        let states = history.candidates(bounds);
        let candidate = |state| Candidate { seen: visible(&state, bounds.clock_ms), state };
        Allowed { bounds, candidates: states.into_iter().map(candidate).collect(), copies }
    }

    /// How many checkpoints are read.
    pub(super) fn copies(&self) -> usize {
        self.copies.len()
    }

    /// Moves to a later boundary.
    pub(super) fn advance(&mut self, recording: &Recording, boundary: usize) {
        let bounds = recording.history.bounds(boundary);
        if self.bounds == bounds {
            self.copies = copies::allowed(&recording.copies, boundary, bounds.clock_ms);
        } else {
            *self = Allowed::new(recording, boundary);
        }
    }

    /// An error unless a recovery may show this.
    pub(super) fn judge(&self, shown: &Shown) -> Result<()> {
        self.find(&shown.seen)?;
        copies::judge(&shown.copies, &self.copies)
    }

    /// Those of the states that look like this: what was read once stays so.
    pub(super) fn only(&self, seen: &Seen) -> Allowed {
        let same = self.candidates.iter().filter(|candidate| candidate.seen == *seen).cloned();
        Allowed { bounds: self.bounds, candidates: same.collect(), copies: self.copies.clone() }
    }

    /// The states that look like this.
    pub(super) fn find(&self, seen: &Seen) -> Result<Vec<State>> {
        let same = self.candidates.iter().filter(|candidate| candidate.seen == *seen);
        let states: Vec<State> = same.map(|candidate| candidate.state.clone()).collect();
        if !states.is_empty() {
            return Ok(states);
        }
        let oldest = &self.candidates.first().expect("at least one state is allowed").seen;
        let newest = &self.candidates.last().expect("at least one state is allowed").seen;
        let Bounds { durable, attempted, .. } = self.bounds;
        bail!(
            "no state of {durable}..={attempted} commits; against the oldest of them\n{}\
             against the newest\n{}",
            diff(oldest, seen),
            diff(newest, seen)
        )
    }
}

/// What a recovery showed.
pub(super) struct Recovered {
    pub(super) shown: Shown,
    /// Calls until the open returned.
    pub(super) open_calls: usize,
}

/// How an image is recovered.
pub(super) struct Recovery {
    pub(super) config: Config,
    pub(super) seed: u64,
    /// Also compact, close and open once more.
    pub(super) settle: bool,
}

impl Recovery {
    fn env(&self, clock_ms: u64, ahead: Duration) -> SimEnv {
        let sim = Env::sim(self.seed ^ 0x5eed_0000);
        sim.clock.set_wall_ms(clock_ms);
        sim.clock.advance(ahead);
        sim
    }

    pub(super) fn run(&self, image: &SimDisk, allowed: &Allowed) -> Result<Recovered> {
        let clock_ms = allowed.bounds.clock_ms;
        let (fs, sim) = (copies::home(image)?, self.env(clock_ms, Duration::ZERO));
        let before = observe::kept_files(&fs)?;
        let db = Db::open_on(fs.clone(), sim.env.clone(), self.config.options());
        let db = db.context("open")?;
        let open_calls = image.boundaries() - 1;
        if !db.stats().recovery.clean {
            observe::require_kept(&before, &fs)?;
        }
        let seen = observe::read(&db).context("first recovery")?;
        let states = allowed.find(&seen).context("first recovery")?;
        observe::check(&db, &fs).context("first recovery")?;
        write_probe(&db).context("write after recovery")?;
        let next = image.crash(ImageKind::SyncedOnly, self.seed);
        // Beside the recovered database, with which they may share files.
        let copies = copies::read(image, &sim, self.config, allowed.copies.len())?;
        copies::judge(&copies, &allowed.copies)?;
        image.kill();
        drop(db);
        self.again(&next, clock_ms, &states, &seen)?;
        Ok(Recovered { shown: Shown { seen, copies }, open_calls })
    }

    /// The second recovery: what the first one showed and the write after it, however late it is.
    fn again(&self, image: &SimDisk, clock_ms: u64, states: &[State], seen: &Seen) -> Result<()> {
        let ahead = if will_expire(states, clock_ms) { LATER } else { Duration::ZERO };
        let (fs, sim) = (copies::home(image)?, self.env(clock_ms, ahead));
        let later_ms = vfs::Clock::wall_ms(&*sim.clock);
        let db = Db::open_on(fs.clone(), sim.env.clone(), self.config.options());
        let mut db = db.context("second open")?;
        let found = observe::read(&db).context("second recovery")?;
        let expected = |state: &State| with_probe(visible(state, later_ms));
        let same = match ahead.is_zero() {
            true => found == with_probe(seen.clone()),
            false => states.iter().any(|state| expected(state) == found),
        };
        ensure!(
            same,
            "the second recovery differs from the first:\n{}",
            diff(&with_probe(seen.clone()), &found)
        );
        if self.settle {
            observe::check(&db, &fs).context("second recovery")?;
            sim.spawner.run_until_idle();
            db.compact().context("compact after recovery")?;
            db.collect_garbage().context("garbage collection after recovery")?;
            db.close().context("close after recovery")?;
            db = Db::open_on(fs.clone(), sim.env.clone(), self.config.options())
                .context("open after a clean close")?;
            let settled = observe::read(&db).context("after a clean close")?;
            ensure!(settled == found, "after compact and close:\n{}", diff(&found, &settled));
            observe::check(&db, &fs).context("after a clean close")?;
            observe::require_nothing_set_aside(&fs)?;
            observe::require_small(&db.stats(), &settled)?;
        }
        image.kill();
        drop(db);
        Ok(())
    }
}

/// A durable batch over all keyspaces.
fn write_probe(db: &Db) -> Result<()> {
    let mut batch = db.batch();
    for (name, _) in db.keyspaces()? {
        batch.put(&observe::keyspace(db, &name)?, "probe", "after the crash");
    }
    Ok(db.write(batch, WriteOptions::default().durable())?)
}

fn with_probe(mut seen: Seen) -> Seen {
    let value: Arc<[u8]> = b"after the crash".as_slice().into();
    for entries in seen.values_mut() {
        entries.insert(b"probe".to_vec(), value.clone());
    }
    seen
}

thread_local! {
    /// What the last panic of this thread said, while [`guard`] runs.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static GUARDED: RefCell<bool> = const { RefCell::new(false) };
}

/// Panics inside [`guard`] are findings, not noise: they are kept instead of printed.
pub(super) fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if GUARDED.with(|guarded| *guarded.borrow()) {
                let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line()));
                let payload = panic.payload();
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("?");
                let text = format!("panic{}: {text}", place.unwrap_or_default());
                // A panic while another unwinds ends the process: the last chance to say it.
                if let Some(first) = PANIC.with(|last| last.borrow_mut().replace(text)) {
                    eprintln!("{first}, and then:");
                    loud(panic);
                }
            } else {
                loud(panic);
            }
        }));
    });
}

/// Runs something that may panic; a panic is an error.
pub(super) fn guard<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    GUARDED.with(|guarded| *guarded.borrow_mut() = true);
    PANIC.with(|last| last.borrow_mut().take());
    let result = catch_unwind(AssertUnwindSafe(run));
    GUARDED.with(|guarded| *guarded.borrow_mut() = false);
    result.unwrap_or_else(|_| {
        let text = PANIC.with(|last| last.borrow_mut().take());
        Err(anyhow!(text.unwrap_or_else(|| "panic".to_owned())))
    })
}
