//! What happens to a medium under files that are at rest: rot, writes that were lost or went
//! elsewhere, hands that cut, remove and copy files.

use std::sync::Arc;

use super::content::Content;
use super::disk::Inner;
use super::state::{FileNode, Ino, Node};
use super::{find, link, split};

/// What happens to the medium under a file that is at rest. Paths of other files are from the
/// root, as that of the file itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Damage {
    /// A bit turns: `bit` 0 to 7 of the byte at `offset`.
    FlipBit {
        /// Bytes from the start of the file.
        offset: u64,
        /// 0 is the lowest.
        bit: u8,
    },
    /// The next read or mapping that meets the byte sees a bit of it turned; later ones do not.
    FlipOnce {
        /// Bytes from the start of the file.
        offset: u64,
        /// 0 is the lowest.
        bit: u8,
    },
    /// Zeros stand there.
    Zero {
        /// Bytes from the start of the file.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// These bytes stand there.
    Overwrite {
        /// Bytes from the start of the file.
        offset: u64,
        /// What stands there.
        bytes: Vec<u8>,
    },
    /// The last write there never reached the medium: it holds what it held before, as far as
    /// the disk remembers ([`super::SimDisk::remember`]); bytes of a removed file, or zeros,
    /// where the file had nothing yet.
    Lost {
        /// Bytes from the start of the file.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// The last write there went elsewhere: here is what [`Damage::Lost`] leaves, there the
    /// bytes that belong here. A file that ends there grows.
    Misdirected {
        /// Bytes from the start of the file.
        offset: u64,
        /// How many.
        len: u64,
        /// The file that they went to; maybe the same.
        to: String,
        /// Where in it, in bytes.
        at: u64,
    },
    /// Two blocks stand in each other's place.
    Swap {
        /// Where the first starts, in bytes.
        first: u64,
        /// Where the second starts, in bytes.
        second: u64,
        /// Bytes of each.
        len: u64,
    },
    /// Two blocks of two files stand in each other's place.
    SwapWith {
        /// Where the first starts, in bytes.
        offset: u64,
        /// The other file.
        with: String,
        /// Where the second starts in it, in bytes.
        at: u64,
        /// Bytes of each.
        len: u64,
    },
    /// The file ends here.
    Truncate {
        /// Its new length in bytes; growing adds zeros.
        len: u64,
    },
    /// The file is gone.
    Remove,
    /// The file holds what another one holds.
    ReplaceBy {
        /// The other file.
        other: String,
    },
    /// There is a second file with the same bytes, in place of one that may be there.
    CopyTo {
        /// The second file.
        path: String,
    },
}

/// Damages the file at `path`.
pub(super) fn strike(inner: &mut Inner, path: &str, damage: &Damage) {
    let ino = file_at(inner, path);
    match damage {
        Damage::Remove => remove(inner, path),
        Damage::FlipOnce { offset, bit } => {
            let len = inner.state.file(ino).live.len();
            assert!(*offset < len, "{damage:?} lies behind {len}");
            inner.transient.push((ino, *offset, *bit));
        }
        Damage::Misdirected { offset, len, to, at } => {
            let bytes = bytes_of(inner, ino, *offset, *len);
            let old = earlier(inner, ino, *offset, &bytes);
            overwrite(inner, ino, *offset, &old);
            let to = file_at(inner, to);
            overwrite(inner, to, *at, &bytes);
        }
        Damage::Lost { offset, len } => {
            let bytes = bytes_of(inner, ino, *offset, *len);
            let old = earlier(inner, ino, *offset, &bytes);
            overwrite(inner, ino, *offset, &old);
        }
        Damage::Swap { first, second, len } => {
            swap(inner, (ino, *first), (ino, *second), *len);
        }
        Damage::SwapWith { offset, with, at, len } => {
            let with = file_at(inner, with);
            swap(inner, (ino, *offset), (with, *at), *len);
        }
        Damage::FlipBit { offset, bit } => {
            let old = bytes_of(inner, ino, *offset, 1);
            overwrite(inner, ino, *offset, &[old[0] ^ (1 << bit)]);
        }
        Damage::Zero { offset, len } => {
            let zeros = vec![0; bytes_of(inner, ino, *offset, *len).len()];
            overwrite(inner, ino, *offset, &zeros);
        }
        Damage::Overwrite { offset, bytes } => {
            bytes_of(inner, ino, *offset, bytes.len() as u64);
            overwrite(inner, ino, *offset, bytes);
        }
        Damage::Truncate { len } => medium(inner, ino, |content| content.set_len(*len)),
        Damage::ReplaceBy { other } => {
            let other = file_at(inner, other);
            let bytes = inner.state.file(other).live.clone();
            medium(inner, ino, |content| *content = bytes.clone());
        }
        Damage::CopyTo { path: copy } => {
            let node = FileNode::at_rest(inner.state.file(ino).live.clone());
            let (parent, key) = split(copy);
            let Some(dir) = find(inner, parent) else { panic!("there is no directory {parent}") };
            link(inner, dir, key, Node::File(node));
        }
    }
}

fn file_at(inner: &Inner, path: &str) -> Ino {
    match find(inner, path) {
        Some(ino) => ino,
        None => panic!("there is no {path} to damage"),
    }
}

/// Changes what is durable and what programs see.
fn medium(inner: &mut Inner, ino: Ino, change: impl Fn(&mut Content)) {
    let file = inner.state.file_mut(ino);
    change(&mut file.durable);
    change(&mut file.live);
}

fn overwrite(inner: &mut Inner, ino: Ino, offset: u64, bytes: &[u8]) {
    medium(inner, ino, |content| content.write(offset, bytes));
}

fn bytes_of(inner: &Inner, ino: Ino, offset: u64, len: u64) -> Vec<u8> {
    let content = &inner.state.file(ino).live;
    let end = content.len();
    assert!(offset + len <= end, "{offset} + {len} lies behind the end at {end}");
    let mut bytes = vec![0; usize::try_from(len).expect("fits into memory")];
    content.read(&mut bytes, offset);
    bytes
}

/// What stood at `offset` before `bytes` did.
fn earlier(inner: &Inner, ino: Ino, offset: u64, bytes: &[u8]) -> Vec<u8> {
    let file = inner.state.file(ino);
    let mut old = vec![0; bytes.len()];
    for version in file.earlier.iter().rev().filter(|version| offset < version.len()) {
        old.fill(0);
        version.read(&mut old, offset);
        if old != bytes {
            return old;
        }
    }
    // The file had nothing there: the blocks are those of a file that is no more.
    old.fill(0);
    let stale = inner.state.stale.iter().rev().find(|stale| offset < stale.len());
    if let Some(stale) = stale {
        stale.read(&mut old, offset);
    }
    old
}

fn swap(inner: &mut Inner, one: (Ino, u64), two: (Ino, u64), len: u64) {
    let bytes = [one, two].map(|(ino, offset)| bytes_of(inner, ino, offset, len));
    overwrite(inner, one.0, one.1, &bytes[1]);
    overwrite(inner, two.0, two.1, &bytes[0]);
}

fn remove(inner: &mut Inner, path: &str) {
    let (parent, key) = split(path);
    let parent = find(inner, parent).expect("the parent of what was found");
    let dir = inner.state.dir_mut(parent);
    Arc::make_mut(&mut dir.live).remove(&key);
    Arc::make_mut(&mut dir.durable).remove(&key);
}

/// Turns the bits that this one read of the file at `offset` is to see turned.
pub(super) fn flip_once(inner: &mut Inner, ino: Ino, offset: u64, bytes: &mut [u8]) {
    if inner.transient.is_empty() {
        return;
    }
    inner.transient.retain(|(of, at, bit)| {
        let index = at.checked_sub(offset).and_then(|index| usize::try_from(index).ok());
        let met = index.filter(|_| *of == ino).and_then(|index| bytes.get_mut(index));
        let is_later = met.is_none();
        if let Some(byte) = met {
            *byte ^= 1 << bit;
        }
        is_later
    });
}

/// Whether a mapping of the file's first `len` bytes would see a bit turned.
pub(super) fn flips_once(inner: &Inner, ino: Ino, len: u64) -> bool {
    inner.transient.iter().any(|(of, at, _)| *of == ino && *at < len)
}
