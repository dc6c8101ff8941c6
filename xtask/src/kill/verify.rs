//! Whether a database holds a prefix of what was attempted, with everything acknowledged.

use std::collections::BTreeMap;

use engine::{Db, Keyspace, KeyspaceOptions, Range};

use super::stream::{KEYS, Model, Op, SPACES, key, key_prefix};

/// What a thread had done when its child died.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) seed: u64,
    pub(super) thread: u8,
    /// Operations that were acknowledged, which is the number of the next one.
    pub(super) acknowledged: u64,
    /// The state after these.
    pub(super) model: Model,
}

impl Progress {
    /// Finds which of the two possible states a database is in: with or without the operation
    /// that the kill interrupted. Takes that state over; an error tells both differences.
    fn settle(&mut self, found: &Model) -> anyhow::Result<()> {
        let Some(without) = difference(found, &self.model) else { return Ok(()) };
        let mut next = self.model.clone();
        next.apply(&Op::draw(self.seed, self.thread, self.acknowledged));
        let Some(with) = difference(found, &next) else {
            self.acknowledged += 1;
            self.model = next;
            return Ok(());
        };
        let Progress { thread, acknowledged, .. } = self;
        anyhow::bail!(
            "thread {thread} has {acknowledged} acknowledged operations; after these: {without}; \
             after one more: {with}"
        );
    }
}

/// Verifies everything, and moves each thread's progress to the state that was found.
pub(super) fn database(db: &Db, threads: &mut [Progress]) -> anyhow::Result<()> {
    let known = db.keyspaces()?;
    let mut found = Vec::new();
    for name in SPACES {
        // The first kill may come before they were made: that is an empty keyspace.
        if !known.iter().any(|(known, _)| known == name) {
            found.push(BTreeMap::new());
            continue;
        }
        let space = db.keyspace(name, KeyspaceOptions::btree())?;
        found.push(space_both_ways(db, &space)?);
    }
    for progress in threads.iter_mut() {
        let prefix = key_prefix(progress.thread);
        let mut model = Model::default();
        for (space, found) in model.spaces.iter_mut().zip(&mut found) {
            *space = found.extract_if(.., |key, _| key.starts_with(&prefix)).collect();
        }
        progress.settle(&model)?;
    }
    for (name, found) in SPACES.iter().zip(&found) {
        if let Some(key) = found.keys().next() {
            anyhow::bail!("{name} holds {}, which nobody wrote", key.escape_ascii());
        }
    }
    for (index, name) in SPACES.iter().enumerate().filter(|(_, name)| is_known(&known, name)) {
        let space = db.keyspace(name, KeyspaceOptions::btree())?;
        threads.iter().try_for_each(|progress| gets(&space, index, progress))?;
    }
    let report = db.check()?;
    anyhow::ensure!(report.is_sound(), "check found damage: {:?}", report.damage);
    Ok(())
}

fn is_known(known: &[(String, engine::IndexKind)], name: &str) -> bool {
    known.iter().any(|(known, _)| known == name)
}

/// The content of a keyspace, read forward, in reverse and through a snapshot.
fn space_both_ways(db: &Db, space: &Keyspace) -> anyhow::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let forward = read(space.iter())?;
    let name = space.name();
    let ascends = forward.windows(2).all(|pair| pair[0].0 < pair[1].0);
    anyhow::ensure!(ascends, "the keys of {name} do not ascend");
    let mut reverse = read(space.iter().rev())?;
    reverse.reverse();
    anyhow::ensure!(forward == reverse, "{name} read in reverse differs");
    let snapshot = read(db.snapshot().iter(space))?;
    anyhow::ensure!(forward == snapshot, "{name} read through a snapshot differs");
    Ok(forward.into_iter().collect())
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn read(range: impl Iterator<Item = <Range as Iterator>::Item>) -> engine::Result<Entries> {
    range.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.into_vec()))).collect()
}

/// Every key that a thread may have written, present or not.
fn gets(space: &Keyspace, index: usize, progress: &Progress) -> anyhow::Result<()> {
    let expected = &progress.model.spaces[index];
    for number in 0..KEYS {
        let key = key(progress.thread, number);
        let found = space.get(&key)?;
        let (name, shown) = (space.name(), key.escape_ascii().to_string());
        let expected = expected.get(&key).map(Vec::as_slice);
        anyhow::ensure!(found.as_deref() == expected, "get of {shown:.40} in {name} differs");
        let contains = space.contains(&key)?;
        anyhow::ensure!(contains == expected.is_some(), "contains of {shown:.40} in {name}");
    }
    Ok(())
}

/// The first difference between two states, in words.
pub(super) fn difference(found: &Model, expected: &Model) -> Option<String> {
    for (name, (found, expected)) in SPACES.iter().zip(found.spaces.iter().zip(&expected.spaces)) {
        let differing =
            found.keys().chain(expected.keys()).find(|key| found.get(*key) != expected.get(*key));
        let Some(key) = differing else { continue };
        let shown = |value: Option<&Vec<u8>>| match value {
            None => "nothing".to_owned(),
            Some(value) => {
                let head = value.get(..8).and_then(|head| head.try_into().ok());
                let writer = head.map_or("?".to_owned(), |h| u64::from_le_bytes(h).to_string());
                format!("{} bytes of operation {writer}", value.len())
            }
        };
        let (found, expected) = (shown(found.get(key)), shown(expected.get(key)));
        let key = key.escape_ascii().to_string();
        return Some(format!("{name} {key:.40} holds {found}, expected {expected}"));
    }
    None
}

#[cfg(test)]
mod tests;
