//! Whether a database holds a prefix of what was attempted, with everything acknowledged.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use engine::{Db, ErrorKind, Keyspace, Options, Range};
use xtask::kind::Kind;

use super::child::read_newest;
use super::settle::{Progress, require_one_cut};
use super::stream::{KEYS, Model, SPACES, difference, key, key_prefix};

/// Verifies everything, and moves each thread's progress to the state that was found.
pub(super) fn database(db: &Db, threads: &mut [Progress]) -> anyhow::Result<()> {
    let known = db.keyspaces()?;
    let (mut found, mut cuts) = (Vec::new(), Vec::new());
    for (name, kind) in SPACES {
        // The first kill may come before they were made: that is an empty keyspace.
        if !known.iter().any(|(known, _)| known == name) {
            found.push(BTreeMap::new());
            continue;
        }
        let space = db.keyspace(name, kind.options())?;
        found.push(space_every_way(db, &space, kind)?);
    }
    for progress in threads.iter_mut() {
        let prefix = key_prefix(progress.thread);
        let mut model = Model::default();
        for (space, found) in model.spaces.iter_mut().zip(&mut found) {
            *space = found.extract_if(.., |key, _| key.starts_with(&prefix)).collect();
        }
        cuts.push(progress.settle(&model)?);
    }
    require_one_cut(threads, &cuts)?;
    for ((name, _), found) in SPACES.iter().zip(&found) {
        if let Some(key) = found.keys().next() {
            anyhow::bail!("{name} holds {}, which nobody wrote", key.escape_ascii());
        }
    }
    let there = SPACES.iter().enumerate().filter(|(_, (name, _))| is_known(&known, name));
    for (index, (name, kind)) in there {
        let space = db.keyspace(name, kind.options())?;
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
fn space_every_way(
    db: &Db,
    space: &Keyspace,
    kind: Kind,
) -> anyhow::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut forward = read(space.iter())?;
    let mut reverse = read(space.iter().rev())?;
    let mut snapshot = read(db.snapshot().iter(space))?;
    if kind.is_ordered() {
        reverse.reverse();
    } else {
        [&mut forward, &mut reverse, &mut snapshot].into_iter().for_each(|entries| entries.sort());
    }
    let name = space.name();
    let ascends = forward.windows(2).all(|pair| pair[0].0 < pair[1].0);
    anyhow::ensure!(ascends, "the keys of {name} do not ascend, or one is shown twice");
    anyhow::ensure!(forward == reverse, "{name} read in reverse differs");
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

/// Verifies the checkpoint that a thread was making when its child died, if it was: the state
/// after this thread's acknowledged operations, or a refusal that says that it is unfinished.
pub(super) fn checkpoint(dir: &Path, options: Options, progress: &Progress) -> anyhow::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let refused = match Db::open(dir, options.create_if_missing(false)) {
        Ok(db) => return whole_checkpoint(db, progress),
        Err(error) => error,
    };
    // The lock comes first, and tells nothing.
    let mut names = std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name()));
    let is_empty = names.all(|name| name.is_ok_and(|name| name == "LOCK"));
    let says_so = refused.to_string().contains("checkpoint");
    let unfinished = match refused.kind() {
        ErrorKind::NotFound => is_empty,
        ErrorKind::Invalid | ErrorKind::Corrupt => says_so,
        _ => false,
    };
    anyhow::ensure!(unfinished, "an interrupted checkpoint: {refused:#}");
    Ok(())
}

fn whole_checkpoint(db: Db, progress: &Progress) -> anyhow::Result<()> {
    let spaces: Vec<Keyspace> = SPACES
        .iter()
        .map(|(name, kind)| db.keyspace(name, kind.options()))
        .collect::<Result<_, _>>()?;
    let found = read_newest(&spaces, progress.thread)?;
    if let Some(difference) = difference(&found, &progress.model) {
        anyhow::bail!("the checkpoint of thread {}: {difference}", progress.thread);
    }
    let report = db.check()?;
    anyhow::ensure!(report.is_sound(), "check found damage: {:?}", report.damage);
    drop(spaces);
    db.close().context("close a checkpoint")
}

#[cfg(test)]
mod tests;
