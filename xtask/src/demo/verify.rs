//! Whether the store holds what it acknowledged: sources read again, compared byte by byte.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use engine::Keyspace;
use xxhash_rust::xxh3::xxh3_64;

use super::files::SourceTree;
use super::import::Stored;

/// Verifies one file: `mark` and then every byte of its source. Returns how many sources (0 or 1)
/// differ from what was imported; of these the value must have the imported content's hash.
pub(super) fn stored(
    keyspace: &Keyspace,
    file: &Stored,
    tree: &SourceTree,
    mark: &[u8],
) -> anyhow::Result<usize> {
    let name = || format!("{} of {:?}", file.key.escape_ascii(), keyspace.name());
    let value = keyspace.get(&file.key).with_context(name)?;
    let value = value.with_context(|| format!("LOST: {}", name()))?;
    let content = value.strip_prefix(mark);
    let content = content.with_context(|| format!("WRONG: {} is not overwritten", name()))?;
    let path = tree.path(&file.key).with_context(|| format!("{} has no source", name()))?;
    // A source that is gone has changed.
    let source = std::fs::read(path).unwrap_or_default();
    if content == source {
        return Ok(0);
    }
    anyhow::ensure!(
        content.len() as u64 == file.len && xxh3_64(content) == file.hash,
        "WRONG: {} differs from what was put at byte {}",
        name(),
        first_difference(content, &source),
    );
    Ok(1)
}

fn first_difference(left: &[u8], right: &[u8]) -> usize {
    let differs = |(left, right)| left != right;
    let common = left.len().min(right.len());
    left.iter().zip(right).position(differs).unwrap_or(common)
}

/// Verifies that a keyspace holds `files` and at most `more` others, which must be whole files of
/// the tree. Returns the keys of these.
pub(super) fn nothing_else(
    keyspace: &Keyspace,
    files: &[Stored],
    more: usize,
    tree: &SourceTree,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let known: BTreeMap<&[u8], &Stored> =
        files.iter().map(|file| (file.key.as_slice(), file)).collect();
    let mut found = 0;
    let mut others = Vec::new();
    for entry in keyspace.iter() {
        let (key, value) = entry?;
        found += 1;
        if known.contains_key(&*key) {
            continue;
        }
        others.push(key.to_vec());
        let path = tree.path(&key);
        let path = path.with_context(|| format!("INVENTED: {}", key.escape_ascii()))?;
        let source = read(path)?;
        anyhow::ensure!(source == *value, "TORN: {} is no whole file", key.escape_ascii());
    }
    let count = others.len();
    anyhow::ensure!(count <= more, "{count} files nobody acknowledged, at most {more} can be");
    let (expected, name) = (files.len() + count, keyspace.name());
    anyhow::ensure!(found == expected, "{name:?} lists {found} files, expected {expected}");
    Ok(others)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// Lists a prefix both ways and compares with the imported files, sorted. Returns keys and
/// lengths in order.
pub(super) fn prefix_in_order(
    keyspace: &Keyspace,
    prefix: &[u8],
    files: &[Stored],
) -> anyhow::Result<Vec<(Vec<u8>, u64)>> {
    let inside = files.iter().filter(|file| file.key.starts_with(prefix));
    let mut expected: Vec<_> = inside.map(|file| (file.key.clone(), file.len)).collect();
    expected.sort();
    let list = |entry: engine::Result<(engine::Key, engine::Value)>| {
        entry.map(|(key, value)| (key.to_vec(), value.len() as u64))
    };
    let forward: Vec<_> = keyspace.prefix(prefix).map(list).collect::<engine::Result<_>>()?;
    let mut reverse: Vec<_> =
        keyspace.prefix(prefix).rev().map(list).collect::<engine::Result<_>>()?;
    reverse.reverse();
    let prefix = prefix.escape_ascii();
    anyhow::ensure!(forward == expected, "WRONG: the list of prefix \"{prefix}\"");
    anyhow::ensure!(reverse == expected, "WRONG: the reverse list of prefix \"{prefix}\"");
    Ok(forward)
}
