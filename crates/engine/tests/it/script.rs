//! A short history of writes, and what may be left of it.

use std::collections::BTreeMap;

use engine::{Db, IndexKind, Keyspace, KeyspaceOptions, Result, WriteOptions};

use crate::world::{Map, contents, key, other_kind, value};

/// Everything in a database, by keyspace.
pub(crate) type State = BTreeMap<String, Map>;

/// One call.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Keyspace, key, value bytes.
    Put(&'static str, u64, usize),
    /// With `WriteOptions::durable`.
    PutDurable(&'static str, u64, usize),
    Delete(&'static str, u64),
    /// Three puts and a delete over two keyspaces.
    Batch(u64, usize),
    Flush,
    Compact,
    Collect,
    Sync,
    Create(&'static str),
    Drop(&'static str),
    /// Background work, so many steps.
    Work(u64),
}

impl Step {
    /// What the call makes of a state; `version` tells this call's values from others.
    fn apply(&self, version: u64, state: &mut State) {
        match *self {
            Step::Put(name, index, len) | Step::PutDurable(name, index, len) => {
                let map = state.get_mut(name).expect("it is there");
                map.insert(key(index), value(index, version, len));
            }
            Step::Delete(name, index) => {
                state.get_mut(name).expect("it is there").remove(&key(index));
            }
            Step::Batch(index, len) => {
                for (name, offset) in [("default", 0), ("side", 0), ("default", 1)] {
                    let index = index + offset;
                    let map = state.get_mut(name).expect("the script made it");
                    map.insert(key(index), value(index, version, len));
                }
                state.get_mut("side").expect("the script made it").remove(&key(index + 2));
            }
            Step::Create(name) => drop(state.entry(name.to_owned()).or_default()),
            Step::Drop(name) => drop(state.remove(name)),
            Step::Flush | Step::Compact | Step::Collect | Step::Sync | Step::Work(_) => {}
        }
    }

    /// The keyspaces that must be there.
    fn needs(&self) -> &[&'static str] {
        match self {
            Step::Put(name, ..) | Step::PutDurable(name, ..) | Step::Delete(name, _) => {
                std::slice::from_ref(name)
            }
            Step::Drop(name) => std::slice::from_ref(name),
            Step::Batch(..) => &["side"],
            Step::Flush | Step::Compact | Step::Collect | Step::Sync => &[],
            Step::Work(_) | Step::Create(_) => &[],
        }
    }

    fn is_durable(&self) -> bool {
        match self {
            Step::PutDurable(..) | Step::Sync | Step::Flush | Step::Compact => true,
            Step::Create(_) | Step::Drop(_) => true,
            Step::Put(..) | Step::Delete(..) | Step::Batch(..) => false,
            Step::Collect | Step::Work(_) => false,
        }
    }
}

/// What happened so far.
pub(crate) struct History {
    /// The state after each call that changed something, the empty one first.
    pub(crate) states: Vec<State>,
    /// Which of them is the newest that was acknowledged; those behind it are in doubt.
    pub(crate) acknowledged: usize,
    /// Which of them is the newest that was acknowledged as durable.
    pub(crate) durable: usize,
    version: u64,
}

impl History {
    pub(crate) fn new() -> History {
        let empty = State::from([("default".to_owned(), Map::new())]);
        History { states: vec![empty], acknowledged: 0, durable: 0, version: 0 }
    }

    /// The state that reads must show.
    pub(crate) fn visible(&self) -> &State {
        &self.states[self.acknowledged]
    }

    /// True if the newest call that may have changed something failed.
    fn is_in_doubt(&self) -> bool {
        self.acknowledged + 1 < self.states.len()
    }

    /// Makes a call. Takes note of what it did if it was acknowledged, and of what it may have
    /// done if it failed. `always`: every acknowledged write is durable. A call that needs a
    /// keyspace whose creation failed is left out.
    pub(crate) fn run(&mut self, db: &Db, step: &Step, always: bool) -> Result<()> {
        if step.needs().iter().any(|name| !self.visible().contains_key(*name)) {
            return Ok(());
        }
        self.version += 1;
        let mut next = self.states.last().expect("it starts with one").clone();
        step.apply(self.version, &mut next);
        let changes = Some(&next) != self.states.last();
        match perform(db, step, self.version) {
            Ok(()) => {
                if changes {
                    assert!(!self.is_in_doubt(), "a write after a failed one is acknowledged");
                    self.states.push(next);
                    self.acknowledged = self.states.len() - 1;
                }
                if (always && changes) || step.is_durable() {
                    self.durable = self.acknowledged;
                }
                Ok(())
            }
            Err(error) => {
                let refused = matches!(
                    error.kind(),
                    engine::ErrorKind::Invalid
                        | engine::ErrorKind::NoSpace
                        | engine::ErrorKind::ReadOnly
                        | engine::ErrorKind::Closed
                        | engine::ErrorKind::NotFound
                );
                if changes && !refused {
                    assert!(!self.is_in_doubt(), "after a failed write others are refused");
                    self.states.push(next);
                }
                Err(error)
            }
        }
    }

    /// Which of the states that a crash may leave this one is. `from`: the oldest that may be.
    pub(crate) fn find(&self, found: &State, from: usize) -> Option<usize> {
        (from..self.states.len()).rev().find(|index| self.states[*index] == *found)
    }
}

fn perform(db: &Db, step: &Step, version: u64) -> Result<()> {
    let keyspace = |name: &str| handle(db, name);
    match *step {
        Step::Put(name, index, len) => keyspace(name)?.put(key(index), value(index, version, len)),
        Step::PutDurable(name, index, len) => {
            let options = WriteOptions::default().durable();
            keyspace(name)?.put_with(key(index), value(index, version, len), options)
        }
        Step::Delete(name, index) => keyspace(name)?.delete(key(index)),
        Step::Batch(index, len) => {
            let (one, two) = (keyspace("default")?, keyspace("side")?);
            let mut batch = db.batch();
            batch.put(&one, key(index), value(index, version, len));
            batch.put(&two, key(index), value(index, version, len));
            batch.put(&one, key(index + 1), value(index + 1, version, len));
            batch.delete(&two, key(index + 2));
            db.write(batch, WriteOptions::default())
        }
        Step::Flush => db.flush(),
        Step::Compact => db.compact(),
        Step::Collect => db.collect_garbage(),
        Step::Sync => db.sync(),
        Step::Create(name) => keyspace(name).map(drop),
        Step::Drop(name) => db.drop_keyspace(name),
        Step::Work(_) => Ok(()),
    }
}

/// Everything in an open database.
pub(crate) fn state_of(db: &Db) -> Result<State> {
    let mut state = State::new();
    for (name, _) in db.keyspaces()? {
        let map = contents(&handle(db, &name)?)?;
        state.insert(name, map);
    }
    Ok(state)
}

/// Opens or creates a keyspace. "side" is of the other kind than the default keyspace, so that a
/// batch over both is one over both kinds.
pub(crate) fn handle(db: &Db, name: &str) -> Result<Keyspace> {
    let kind = db.default_keyspace().kind();
    let same = || match kind {
        IndexKind::BTree => KeyspaceOptions::btree(),
        _ => KeyspaceOptions::hash(),
    };
    db.keyspace(name, if name == "side" { other_kind(kind) } else { same() })
}

/// Every kind of call, small enough to be run some thousand times.
pub(crate) fn short() -> Vec<Step> {
    use Step as S;
    vec![
        S::Create("side"),
        S::Put("default", 1, 20),
        S::Put("default", 2, 700),
        S::Batch(3, 30),
        S::PutDurable("side", 1, 20),
        S::Work(1),
        S::Delete("default", 1),
        S::Flush,
        S::Put("default", 2, 20),
        S::Batch(2, 900),
        S::Sync,
        S::Work(3),
        S::Put("side", 9, 3000),
        S::Put("default", 9, 5000),
        S::Create("other"),
        S::Put("other", 1, 100),
        S::Flush,
        S::Work(2),
        S::Batch(1, 100),
        S::Drop("other"),
        S::Compact,
        S::Collect,
        S::Put("default", 5, 40),
        S::PutDurable("default", 6, 600),
        S::Delete("side", 3),
        S::Work(2),
        S::Batch(2, 800),
        S::Compact,
        S::Collect,
    ]
}
