//! What others do to a store under a workload: a transaction that loses, a second process, a clock
//! that goes back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engine::{Db, ErrorKind};
use vfs::{Clock, Env};

use super::copies;
use super::history::visible;
use super::observe;
use super::run::{Run, TICK, require_equal};

impl Run {
    /// A transaction that reads what somebody else then writes: it must not commit.
    pub(super) fn contend(&mut self) -> Result<()> {
        let main = self.keyspace(self.main_name())?;
        let mut transaction = self.db().transaction();
        transaction.get(&main, "b")?;
        transaction.put(&main, "c", "what must not be")?;
        self.put("b", 45)?;
        let lost = transaction.commit().map_err(|error| error.kind());
        ensure!(lost == Err(ErrorKind::Conflict), "a transaction over a write ended in {lost:?}");
        Ok(())
    }

    /// A value expires and is seen to have expired; the clock goes back, also over a clean close,
    /// and then on again.
    pub(super) fn back(&mut self) -> Result<()> {
        self.put_ttl("a")?;
        self.tick();
        // Looks at the clock, whatever the entries are.
        self.db().transaction().rollback();
        self.verify()?;
        let late_ms = self.sim.clock.wall_ms();
        let expected = visible(&self.history.now(), late_ms);
        self.sim.clock.set_wall_ms(late_ms - 2 * millis(TICK));
        require_equal(&expected, &observe::read(self.db())?).context("the clock went back")?;
        self.restart()?;
        require_equal(&expected, &observe::read(self.db())?).context("back over a close")?;
        self.sim.clock.set_wall_ms(late_ms);
        Ok(())
    }

    /// Nobody else can open the store, and it notices when somebody could. The last thing that is
    /// done to a run.
    pub(super) fn require_lock(&self) -> Result<()> {
        let env = Env::sim(self.seed).env;
        let second = Db::open_on(self.fs.clone(), env, self.config.options());
        let second = second.err().map(|error| error.kind());
        ensure!(second == Some(ErrorKind::Locked), "a second open ended in {second:?}");
        copies::replace_lock(&self.disk);
        let refused = self.db().flush().err().map(|error| error.kind());
        ensure!(refused == Some(ErrorKind::Locked), "a flush without LOCK ended in {refused:?}");
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("seconds")
}
