//! What a disk may hold after the power went out: durable content plus some of what was pending.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::Content;
use super::state::{DataChange, DataOp, DirNode, DirOp, FileNode, Ino, Names, Node, ROOT, State};
use crate::random::Random;

/// Bytes that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// Which of the changes that were not synced a crash leaves. File systems promise nothing about
/// them: any may be there, in any order, data and names independently.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ImageKind {
    /// None.
    SyncedOnly,
    /// All.
    Everything,
    /// Each 512-byte sector of each write, each change of length and each change of a name with
    /// this probability.
    RandomSectors {
        /// In percent.
        keep_percent: u8,
    },
    /// All up to a random call, none after it.
    CallPrefix,
    /// Names and lengths, but what was written behind the durable end reads as zeros.
    LengthWithoutData,
    /// Names and lengths, but where something was written behind the durable end stand bytes of
    /// removed files.
    StaleData,
    /// All, but of the newest write only a front part that ends at a multiple of so many bytes of
    /// the file.
    LastWriteTorn {
        /// 1, 512 or 4096.
        unit: u32,
    },
    /// All bytes; each change of a name with probability 1/2.
    NamesSubset,
    /// All bytes; in each directory the changes of names up to a random one.
    NamesPrefix,
    /// All names, no bytes.
    NamesOnly,
    /// All bytes, no names.
    BytesOnly,
    /// All names; all bytes of the newest file and none of the others.
    NewestFileWhole,
    /// All names; all bytes but those of the newest file.
    NewestFileLost,
    /// The pending changes, in the order of their calls, whose bit is set. For enumerating all
    /// subsets of a few; see [`super::SimDisk::choices`].
    Subset {
        /// Bit 0 is the oldest; changes past the 64th are dropped.
        mask: u64,
    },
}

impl ImageKind {
    /// What an explorer should try at every boundary, cheapest judged first.
    pub fn kinds() -> &'static [ImageKind] {
        use ImageKind as K;
        &[
            K::SyncedOnly,
            K::Everything,
            K::RandomSectors { keep_percent: 10 },
            K::RandomSectors { keep_percent: 50 },
            K::RandomSectors { keep_percent: 90 },
            K::CallPrefix,
            K::LengthWithoutData,
            K::StaleData,
            K::LastWriteTorn { unit: 1 },
            K::LastWriteTorn { unit: 512 },
            K::LastWriteTorn { unit: 4096 },
            K::NamesSubset,
            K::NamesPrefix,
            K::NamesOnly,
            K::BytesOnly,
            K::NewestFileWhole,
            K::NewestFileLost,
        ]
    }

    /// True if the seed matters.
    pub fn is_random(self) -> bool {
        use ImageKind as K;
        match self {
            K::RandomSectors { .. } | K::CallPrefix | K::LastWriteTorn { .. } => true,
            K::NamesSubset | K::NamesPrefix => true,
            K::SyncedOnly | K::Everything | K::LengthWithoutData | K::StaleData => false,
            K::NamesOnly | K::BytesOnly | K::NewestFileWhole | K::NewestFileLost => false,
            K::Subset { .. } => false,
        }
    }
}

/// How many changes are pending.
pub(super) fn choices(state: &State) -> usize {
    pending(state).len()
}

/// The calls of all pending changes, in order, with what they changed.
fn pending(state: &State) -> Vec<(u64, Ino)> {
    let mut calls = Vec::new();
    for (ino, node) in state.nodes.iter() {
        match &**node {
            Node::File(file) => {
                calls.extend(file.pending.to_vec().iter().map(|op| (op.call, *ino)));
            }
            Node::Dir(dir) => {
                calls.extend(dir.pending.to_vec().iter().map(|op| (op.call, *ino)));
            }
            Node::Symlink => {}
        }
    }
    calls.sort_unstable();
    calls
}

/// The disk after a crash in `state`: all at rest.
pub(super) fn build(state: &State, kind: ImageKind, seed: u64) -> State {
    let mut builder = Builder::new(state, kind, seed);
    let mut nodes = BTreeMap::new();
    let mut open = vec![ROOT];
    while let Some(ino) = open.pop() {
        if nodes.contains_key(&ino) {
            continue; // a second name of a file
        }
        let old = &state.nodes[&ino];
        let node = match &**old {
            Node::Symlink => Arc::clone(old),
            Node::File(file) => builder.file(ino, file, old),
            Node::Dir(dir) => {
                let names = builder.names(dir);
                open.extend(names.values().rev());
                if dir.pending.is_empty() && !dir.lossy {
                    Arc::clone(old)
                } else {
                    Arc::new(Node::Dir(DirNode::at_rest(names)))
                }
            }
        };
        nodes.insert(ino, node);
    }
    State { nodes: Arc::new(nodes), stale: Arc::clone(&state.stale) }
}

struct Builder<'a> {
    state: &'a State,
    kind: ImageKind,
    random: Random,
    /// Changes of calls below this one are kept ([`ImageKind::CallPrefix`]).
    cut: u64,
    /// The newest write ([`ImageKind::LastWriteTorn`]).
    last_write: Option<u64>,
    /// The file made last.
    newest: Option<Ino>,
    /// Calls whose changes are kept ([`ImageKind::Subset`]).
    subset: Vec<u64>,
}

impl<'a> Builder<'a> {
    fn new(state: &'a State, kind: ImageKind, seed: u64) -> Builder<'a> {
        let mut random = Random::new(seed);
        let mut builder_cut = 0;
        let mut subset = Vec::new();
        match kind {
            ImageKind::CallPrefix => {
                let calls = pending(state);
                let kept = random.index(calls.len() + 1);
                builder_cut = calls.get(kept).map_or(u64::MAX, |(call, _)| *call);
            }
            ImageKind::Subset { mask } => {
                let calls = pending(state).into_iter().take(64).enumerate();
                let kept = calls.filter(|(bit, _)| mask >> bit & 1 == 1);
                subset = kept.map(|(_, (call, _))| call).collect();
            }
            _ => {}
        }
        let last_write = match kind {
            ImageKind::LastWriteTorn { .. } => last_write(state),
            _ => None,
        };
        let mut files = state.nodes.iter().rev();
        let newest = files.find(|(_, node)| matches!(***node, Node::File(_))).map(|(ino, _)| *ino);
        Builder { state, kind, random, cut: builder_cut, last_write, newest, subset }
    }

    /// The names that are left in a directory.
    fn names(&mut self, dir: &DirNode) -> Arc<Names> {
        use ImageKind as K;
        if dir.pending.is_empty() {
            return dir.everything();
        }
        match self.kind {
            K::SyncedOnly | K::BytesOnly => Arc::clone(&dir.durable),
            K::Everything | K::LengthWithoutData | K::StaleData => dir.everything(),
            K::LastWriteTorn { .. } | K::NamesOnly => dir.everything(),
            K::NewestFileWhole | K::NewestFileLost => dir.everything(),
            K::RandomSectors { keep_percent } => {
                self.names_if(dir, |builder, _| builder.random.percent(keep_percent))
            }
            K::NamesSubset => self.names_if(dir, |builder, _| builder.random.percent(50)),
            K::CallPrefix => self.names_if(dir, |builder, op| op.call < builder.cut),
            K::Subset { .. } => self.names_if(dir, |builder, op| builder.subset.contains(&op.call)),
            K::NamesPrefix => {
                let ops = dir.pending.to_vec();
                let kept = self.random.index(ops.len() + 1);
                let cut = ops.get(kept).map_or(u64::MAX, |op| op.call);
                self.names_if(dir, |_, op| op.call < cut)
            }
        }
    }

    fn names_if(&mut self, dir: &DirNode, keep: impl Fn(&mut Self, &DirOp) -> bool) -> Arc<Names> {
        let mut names = Names::clone(&dir.durable);
        for op in dir.pending.to_vec() {
            if keep(self, op) {
                op.change.apply(&mut names);
            }
        }
        Arc::new(names)
    }

    fn file(&mut self, ino: Ino, file: &FileNode, old: &Arc<Node>) -> Arc<Node> {
        let content = self.content(ino, file);
        let at_rest = file.pending.is_empty() && !file.lossy && !file.fresh;
        if at_rest && file.reserved.is_empty() {
            return Arc::clone(old);
        }
        // What preallocation reserved stays reserved as far as the file reaches.
        let end = content.len().div_ceil(super::content::PAGE_LEN as u64);
        let mut node = FileNode::at_rest(content);
        node.earlier = Arc::clone(&file.earlier);
        for (start, stop) in &file.reserved {
            if *start < end {
                node.reserved.push((*start, end.min(*stop)));
            }
        }
        Arc::new(Node::File(node))
    }

    /// The bytes that are left of a file.
    fn content(&mut self, ino: Ino, file: &FileNode) -> Content {
        use ImageKind as K;
        if file.pending.is_empty() {
            return file.durable.clone();
        }
        match self.kind {
            K::SyncedOnly | K::NamesOnly => file.durable.clone(),
            K::Everything | K::NamesSubset | K::NamesPrefix | K::BytesOnly => file.everything(),
            K::CallPrefix => self.content_if(file, |builder, op| op.call < builder.cut),
            K::Subset { .. } => {
                self.content_if(file, |builder, op| builder.subset.contains(&op.call))
            }
            K::NewestFileWhole if self.newest == Some(ino) => file.everything(),
            K::NewestFileWhole => file.durable.clone(),
            K::NewestFileLost if self.newest == Some(ino) => file.durable.clone(),
            K::NewestFileLost => file.everything(),
            K::RandomSectors { keep_percent } => self.sectors(file, keep_percent),
            K::LengthWithoutData => {
                let mut content = file.durable.clone();
                content.set_len(file.everything().len());
                content
            }
            K::StaleData => self.stale(file),
            K::LastWriteTorn { unit } => self.torn(file, u64::from(unit)),
        }
    }

    fn content_if(
        &mut self,
        file: &FileNode,
        keep: impl Fn(&mut Self, &DataOp) -> bool,
    ) -> Content {
        let mut content = file.durable.clone();
        for op in file.pending.to_vec() {
            if keep(self, op) {
                op.change.apply(&mut content);
            }
        }
        content
    }

    /// Sectors by chance. Afterwards the length is, by chance, where the kept changes left it,
    /// where the program saw it, or no further than it was durable.
    fn sectors(&mut self, file: &FileNode, keep_percent: u8) -> Content {
        let mut content = file.durable.clone();
        for op in file.pending.to_vec() {
            match &op.change {
                DataChange::SetLen { len } => {
                    if self.random.percent(keep_percent) {
                        content.set_len(*len);
                    }
                }
                DataChange::Write { offset, bytes } => {
                    let mut rest: &[u8] = bytes;
                    let mut at = *offset;
                    while !rest.is_empty() {
                        let room = usize::try_from(SECTOR - at % SECTOR).expect("a sector");
                        let (sector, tail) = rest.split_at(room.min(rest.len()));
                        if self.random.percent(keep_percent) {
                            content.write(at, sector);
                        }
                        at += sector.len() as u64;
                        rest = tail;
                    }
                }
            }
        }
        match self.random.below(3) {
            0 => content.set_len(content.len().min(file.durable.len())),
            1 => content.set_len(file.everything().len()),
            _ => {}
        }
        content
    }

    /// Old bytes of the medium wherever something was written behind the durable end.
    fn stale(&mut self, file: &FileNode) -> Content {
        let mut content = file.durable.clone();
        for op in file.pending.to_vec() {
            match &op.change {
                DataChange::SetLen { len } => content.set_len(*len),
                DataChange::Write { offset, bytes } => {
                    let end = offset + bytes.len() as u64;
                    let start = (*offset).max(file.durable.len());
                    if start < end {
                        let len = usize::try_from(end - start).expect("part of a buffer");
                        content.write(start, &self.old_bytes(start, len));
                    }
                }
            }
        }
        content
    }

    /// What a removed file held at this place (old segments of a log look most like new ones), or
    /// else noise.
    fn old_bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let removed = self.state.nodes.iter().rev().filter_map(|(ino, node)| match &**node {
            Node::File(file) if !self.is_linked(*ino) => Some(&file.live),
            _ => None,
        });
        let mut candidates = removed.chain(self.state.stale.iter().rev());
        let Some(old) = candidates.find(|content| content.len() > 0) else {
            return Random::new(offset).bytes(len);
        };
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            done += old.read(&mut bytes[done..], (offset + done as u64) % old.len());
        }
        bytes
    }

    fn is_linked(&self, ino: Ino) -> bool {
        self.state.nodes.values().any(|node| match &**node {
            Node::Dir(dir) => dir.live.values().any(|linked| *linked == ino),
            Node::File(_) | Node::Symlink => false,
        })
    }

    /// All, but only the front of the newest write; the length may have grown nevertheless.
    fn torn(&mut self, file: &FileNode, unit: u64) -> Content {
        let Some(DataOp { call, .. }) = file.pending.to_vec().into_iter().rev().find(is_write)
        else {
            return file.everything();
        };
        if Some(*call) != self.last_write {
            return file.everything();
        }
        let mut content = file.durable.clone();
        for op in file.pending.to_vec() {
            match &op.change {
                DataChange::Write { offset, bytes } if op.call == *call => {
                    let end = offset + bytes.len() as u64;
                    // Cuts: the start of the write, and every multiple of the unit inside.
                    let first = offset / unit + 1;
                    let cuts = (end - 1) / unit + 1 - first;
                    let cut = match self.random.below(cuts + 1) {
                        0 => *offset,
                        n => (first + n - 1) * unit,
                    };
                    let kept = usize::try_from(cut - offset).expect("part of a buffer");
                    content.write(*offset, &bytes[..kept]);
                    if self.random.percent(50) {
                        content.set_len(content.len().max(end));
                    }
                }
                change => change.apply(&mut content),
            }
        }
        content
    }
}

fn is_write(op: &&DataOp) -> bool {
    matches!(op.change, DataChange::Write { .. })
}

/// The call of the newest write that is pending.
fn last_write(state: &State) -> Option<u64> {
    let newest = |node: &Arc<Node>| match &**node {
        Node::File(file) => {
            file.pending.to_vec().into_iter().rev().find(is_write).map(|op| op.call)
        }
        Node::Dir(_) | Node::Symlink => None,
    };
    state.nodes.values().filter_map(newest).max()
}
