//! Files into a keyspace; also in a child that reports each put over a pipe and is killed.
//!
//! ```text
//! acknowledgement := key_len u32, len u64, hash u64, key      little-endian
//! ```

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use engine::{Db, Durability, Keyspace, WriteOptions};
use xxhash_rust::xxh3::xxh3_64;

use super::AGAIN;
use super::files::{SourceFile, SourceTree};
use crate::durability::Policy;

/// A file whose put returned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    pub(super) key: Vec<u8>,
    /// Bytes of its content as it was put.
    pub(super) len: u64,
    /// XXH3 of that content.
    pub(super) hash: u64,
}

impl Stored {
    /// Of key and content.
    pub(super) fn bytes(&self) -> u64 {
        self.key.len() as u64 + self.len
    }
}

/// Puts each file that can be read into some keyspaces at once; `stored` is called after each
/// write returned. Returns how many could not be read.
pub(super) fn import(
    db: &Db,
    keyspaces: &[Keyspace],
    files: &[SourceFile],
    stored: &mut dyn FnMut(Stored) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let mut unreadable = 0;
    for file in files {
        let Ok(content) = std::fs::read(&file.path) else {
            unreadable += 1;
            continue;
        };
        let mut batch = db.batch();
        for keyspace in keyspaces {
            batch.put(keyspace, &file.key, &content);
        }
        db.write(batch, WriteOptions::default())?;
        let hash = xxh3_64(&content);
        stored(Stored { key: file.key.clone(), len: content.len() as u64, hash })?;
    }
    Ok(unreadable)
}

/// The child: imports again and again, so that the kill always comes in the middle.
pub(super) fn run_child(
    tree: &SourceTree,
    data: &Path,
    durability: Durability,
) -> anyhow::Result<()> {
    let db = Db::open(data, super::options(durability))?;
    let [ordered, hashed] = AGAIN.map(|space| space.open(&db));
    let keyspaces = [ordered?, hashed?];
    let mut out = io::stdout().lock();
    let mut message = Vec::new();
    loop {
        let unreadable = import(&db, &keyspaces, &tree.files, &mut |file| {
            message.clear();
            encode(&file, &mut message);
            // At once, not at the end of a line: the parent counts what it has read.
            out.write_all(&message)?;
            Ok(out.flush()?)
        })?;
        anyhow::ensure!(unreadable < tree.files.len(), "no file can be read");
    }
}

/// Starts the child, kills it when `kill_after` files are acknowledged, and returns every file it
/// acknowledged, each once.
pub(super) fn kill_child(
    dir: Option<&Path>,
    data: &Path,
    policy: Policy,
    kill_after: usize,
    seen: &mut dyn FnMut(&Stored),
) -> anyhow::Result<Vec<Stored>> {
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    command.args(["demo", "--child", "--data"]).arg(data);
    command.arg("--durability").arg(policy.to_string());
    if let Some(dir) = dir {
        command.arg("--dir").arg(dir);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let pipe = child.stdout.take().context("the child's output is a pipe")?;
    let mut pipe = BufReader::new(pipe);
    let mut acknowledged = HashMap::new();
    let mut order = Vec::new();
    let mut killed = false;
    // Read on after the kill: what is in the pipe was acknowledged before it.
    while let Some(file) = decode(&mut pipe)? {
        seen(&file);
        if acknowledged.insert(file.key.clone(), file.clone()).is_none() {
            order.push(file.key);
        }
        if !killed && order.len() >= kill_after {
            // SIGKILL on Unix: no handler, no destructor, no flush.
            child.kill().context("kill the child")?;
            killed = true;
        }
    }
    let status = child.wait()?;
    anyhow::ensure!(killed, "the import ended by itself: {status}");
    let newest = |key| acknowledged.remove(&key).expect("every key in `order` was inserted");
    Ok(order.into_iter().map(newest).collect())
}

fn encode(file: &Stored, out: &mut Vec<u8>) {
    let key_len = u32::try_from(file.key.len()).expect("a key has at most 65,535 bytes");
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&file.len.to_le_bytes());
    out.extend_from_slice(&file.hash.to_le_bytes());
    out.extend_from_slice(&file.key);
}

/// The next acknowledgement; `None` at the end, also in the middle of one that the kill cut.
fn decode(pipe: &mut impl Read) -> anyhow::Result<Option<Stored>> {
    let mut read = |bytes: &mut [u8]| match pipe.read_exact(bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        result => result.map(|()| true),
    };
    let (mut key_len, mut len, mut hash) = ([0; 4], [0; 8], [0; 8]);
    if !(read(&mut key_len)? && read(&mut len)? && read(&mut hash)?) {
        return Ok(None);
    }
    let key_len = usize::try_from(u32::from_le_bytes(key_len))?;
    anyhow::ensure!(key_len <= engine::KEY_LEN_MAX, "the child wrote a key of {key_len} bytes");
    let mut key = vec![0; key_len];
    if !read(&mut key)? {
        return Ok(None);
    }
    Ok(Some(Stored { key, len: u64::from_le_bytes(len), hash: u64::from_le_bytes(hash) }))
}

#[cfg(test)]
mod tests;
