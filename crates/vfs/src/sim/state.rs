//! What a simulated disk holds: for every file and directory what is durable, what is pending, and
//! what a program sees.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::chain::Chain;
use super::content::{Content, fold, hash_bytes};
use crate::name::Name;

/// Number of a file or directory. Grows; never used twice on a disk.
pub(super) type Ino = u64;

/// The directory that the disk is.
pub(super) const ROOT: Ino = 1;

/// Contents of removed files that are remembered, as stale bytes of a disk are.
const STALE_MAX: usize = 4;

/// A name in a directory: legal, or anything else that may lie around there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    Name(Name),
    Other(Arc<str>),
}

impl Key {
    pub(super) fn parse(text: &str) -> Key {
        Name::parse(text).map_or_else(|| Key::Other(text.into()), Key::Name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Name(name) => name.fmt(f),
            Key::Other(text) => f.write_str(text),
        }
    }
}

pub(super) type Names = BTreeMap<Key, Ino>;

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
    /// Leads nowhere; only there to be refused.
    Symlink,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    /// What programs see.
    pub(super) live: Content,
    /// What the medium holds for sure.
    pub(super) durable: Content,
    /// What was changed since and not synced, oldest first.
    pub(super) pending: Chain<DataOp>,
    /// A sync failed: `live` shows bytes that are neither durable nor pending.
    pub(super) lossy: bool,
    /// Created since the disk was switched on.
    pub(super) fresh: bool,
    /// What the medium held before each sync, oldest first, on a disk that remembers.
    pub(super) earlier: Arc<Vec<Content>>,
    /// Page ranges that preallocation reserved: sorted, apart.
    pub(super) reserved: Vec<(u64, u64)>,
}

/// One change of a file, numbered by the call that made it.
#[derive(Clone, Debug)]
pub(super) struct DataOp {
    pub(super) call: u64,
    pub(super) change: DataChange,
}

#[derive(Clone, Debug)]
pub(super) enum DataChange {
    Write { offset: u64, bytes: Bytes },
    SetLen { len: u64 },
}

impl DataChange {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            DataChange::Write { offset, bytes } => content.write(*offset, bytes),
            DataChange::SetLen { len } => content.set_len(*len),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    pub(super) live: Arc<Names>,
    pub(super) durable: Arc<Names>,
    pub(super) pending: Chain<DirOp>,
    pub(super) lossy: bool,
    /// Removed, though a handle may still be open.
    pub(super) removed: bool,
}

/// One change of a directory, numbered by the call that made it.
#[derive(Clone, Debug)]
pub(super) struct DirOp {
    pub(super) call: u64,
    pub(super) change: DirChange,
}

#[derive(Clone, Debug)]
pub(super) enum DirChange {
    Link { key: Key, ino: Ino },
    Unlink { key: Key, ino: Ino },
    Rename { from: Key, to: Key, ino: Ino },
}

impl DirChange {
    /// Applies the change if what it starts from is there: without the creation of a file, its
    /// removal and its renaming mean nothing.
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            DirChange::Link { key, ino } => {
                names.insert(key.clone(), *ino);
            }
            DirChange::Unlink { key, ino } => {
                if names.get(key) == Some(ino) {
                    names.remove(key);
                }
            }
            DirChange::Rename { from, to, ino } => {
                if names.get(from) == Some(ino) {
                    names.remove(from);
                    names.insert(to.clone(), *ino);
                }
            }
        }
    }

    fn ino(&self) -> Ino {
        match self {
            DirChange::Link { ino, .. }
            | DirChange::Unlink { ino, .. }
            | DirChange::Rename { ino, .. } => *ino,
        }
    }
}

impl FileNode {
    /// A file at rest.
    pub(super) fn at_rest(content: Content) -> FileNode {
        FileNode { live: content.clone(), durable: content, ..FileNode::default() }
    }

    /// What a shutdown that syncs everything would leave.
    pub(super) fn everything(&self) -> Content {
        if !self.lossy {
            return self.live.clone();
        }
        let mut content = self.durable.clone();
        for op in self.pending.to_vec() {
            op.change.apply(&mut content);
        }
        content
    }

    /// Makes durable what is pending.
    pub(super) fn settle(&mut self) {
        self.durable = self.everything();
        self.pending.clear();
    }

    /// Remembers what the medium holds.
    pub(super) fn remember(&mut self) {
        if !self.pending.is_empty() {
            Arc::make_mut(&mut self.earlier).push(self.durable.clone());
        }
    }

    /// A sync failed and what was pending is gone, though the cache still shows it.
    pub(super) fn lose(&mut self) {
        self.lossy |= !self.pending.is_empty();
        self.pending.clear();
    }

    /// A sync failed, and reads see again what the medium holds. The length stays: nobody takes
    /// it back under a mapping.
    pub(super) fn revert(&mut self) {
        let len = self.live.len();
        self.live = self.durable.clone();
        self.live.set_len(len);
        self.pending.clear();
        self.lossy = len != self.durable.len();
    }

    pub(super) fn is_reserved(&self, page: u64) -> bool {
        self.reserved.iter().any(|(start, end)| (*start..*end).contains(&page))
    }

    /// Reserves pages `start..end`.
    pub(super) fn reserve(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start, end);
        self.reserved.retain(|(from, to)| {
            let apart = *to < start || end < *from;
            if !apart {
                start = start.min(*from);
                end = end.max(*to);
            }
            apart
        });
        self.reserved.push((start, end));
        self.reserved.sort_unstable();
    }

    /// Pages taken, by bytes or by a reservation.
    pub(super) fn pages_used(&self) -> u64 {
        let reserved: u64 = self.reserved.iter().map(|(start, end)| end - start).sum();
        let more = self.live.page_numbers().filter(|page| !self.is_reserved(*page)).count();
        reserved + more as u64
    }
}

impl DirNode {
    pub(super) fn at_rest(names: Arc<Names>) -> DirNode {
        DirNode { live: Arc::clone(&names), durable: names, ..DirNode::default() }
    }

    pub(super) fn everything(&self) -> Arc<Names> {
        if !self.lossy {
            return Arc::clone(&self.live);
        }
        let mut names = Names::clone(&self.durable);
        for op in self.pending.to_vec() {
            op.change.apply(&mut names);
        }
        Arc::new(names)
    }

    pub(super) fn settle(&mut self) {
        self.durable = self.everything();
        self.pending.clear();
    }

    pub(super) fn lose(&mut self) {
        self.lossy |= !self.pending.is_empty();
        self.pending.clear();
    }

    /// A sync failed, and programs see again what the medium holds.
    pub(super) fn revert(&mut self) {
        self.live = Arc::clone(&self.durable);
        self.pending.clear();
        self.lossy = false;
    }

    /// Changes what programs see; durable only later.
    pub(super) fn change(&mut self, call: u64, change: DirChange) {
        change.apply(Arc::make_mut(&mut self.live));
        self.pending.push(DirOp { call, change });
    }
}

/// Everything on a disk. Cheap to clone: the copy shares all that neither side changes.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) nodes: Arc<BTreeMap<Ino, Arc<Node>>>,
    /// Bytes of removed files, newest last.
    pub(super) stale: Arc<Vec<Content>>,
}

impl State {
    pub(super) fn empty() -> State {
        let root = Node::Dir(DirNode::default());
        let nodes = BTreeMap::from([(ROOT, Arc::new(root))]);
        State { nodes: Arc::new(nodes), stale: Arc::default() }
    }

    pub(super) fn node(&self, ino: Ino) -> &Node {
        self.nodes.get(&ino).expect("a linked or open node is kept")
    }

    pub(super) fn file(&self, ino: Ino) -> &FileNode {
        match self.node(ino) {
            Node::File(file) => file,
            other => panic!("{ino} is no file: {other:?}"),
        }
    }

    pub(super) fn dir(&self, ino: Ino) -> &DirNode {
        match self.node(ino) {
            Node::Dir(dir) => dir,
            other => panic!("{ino} is no directory: {other:?}"),
        }
    }

    fn node_mut(&mut self, ino: Ino) -> &mut Node {
        let node = Arc::make_mut(&mut self.nodes).get_mut(&ino);
        Arc::make_mut(node.expect("a linked or open node is kept"))
    }

    pub(super) fn file_mut(&mut self, ino: Ino) -> &mut FileNode {
        match self.node_mut(ino) {
            Node::File(file) => file,
            other => panic!("{ino} is no file: {other:?}"),
        }
    }

    pub(super) fn dir_mut(&mut self, ino: Ino) -> &mut DirNode {
        match self.node_mut(ino) {
            Node::Dir(dir) => dir,
            other => panic!("{ino} is no directory: {other:?}"),
        }
    }

    /// The directories that a directory shows were not removed, whatever was said before.
    pub(super) fn unremove(&mut self, ino: Ino) {
        for ino in Arc::clone(&self.dir(ino).live).values() {
            if matches!(self.node(*ino), Node::Dir(_)) {
                self.dir_mut(*ino).removed = false;
            }
        }
    }

    pub(super) fn insert(&mut self, ino: Ino, node: Node) {
        let old = Arc::make_mut(&mut self.nodes).insert(ino, Arc::new(node));
        assert!(old.is_none(), "node numbers are never used twice");
    }

    /// Every file, directory and link that a program can reach, with its path.
    pub(super) fn walk(&self) -> Vec<(String, Ino)> {
        let mut found = Vec::new();
        let mut open = vec![(String::new(), ROOT)];
        while let Some((prefix, dir)) = open.pop() {
            for (key, ino) in self.dir(dir).live.iter() {
                let path = format!("{prefix}{key}");
                if matches!(self.node(*ino), Node::Dir(_)) {
                    open.push((format!("{path}/"), *ino));
                }
                found.push((path, *ino));
            }
        }
        found.sort();
        found
    }

    /// Bytes that files take, removed ones included while `open` says that they are in use.
    pub(super) fn bytes_used(&self, open: impl Iterator<Item = Ino>) -> u64 {
        let mut inos: BTreeSet<Ino> = self.walk().into_iter().map(|(_, ino)| ino).collect();
        inos.extend(open);
        let pages = |ino: &Ino| match self.node(*ino) {
            Node::File(file) => file.pages_used(),
            Node::Dir(_) | Node::Symlink => 0,
        };
        inos.iter().map(pages).sum::<u64>() * super::content::PAGE_LEN as u64
    }

    /// Forgets nodes that nothing leads to: no name, durable or seen, no pending change, no
    /// handle.
    pub(super) fn collect(&mut self, open: impl Iterator<Item = Ino>) {
        let mut kept: BTreeSet<Ino> = open.collect();
        kept.insert(ROOT);
        for node in self.nodes.values() {
            if let Node::Dir(dir) = &**node {
                kept.extend(dir.live.values().chain(dir.durable.values()));
                kept.extend(dir.pending.to_vec().iter().map(|op| op.change.ino()));
            }
        }
        if kept.len() == self.nodes.len() {
            return;
        }
        let mut stale = Vec::clone(&self.stale);
        Arc::make_mut(&mut self.nodes).retain(|ino, node| {
            let keep = kept.contains(ino);
            if let (false, Node::File(file)) = (keep, &**node) {
                stale.push(file.live.clone());
            }
            keep
        });
        stale.drain(..stale.len().saturating_sub(STALE_MAX));
        self.stale = Arc::new(stale);
    }

    /// Equal for equal names and bytes, as programs see them. Hard links count as copies.
    pub(super) fn fingerprint(&self) -> u64 {
        self.dir_fingerprint(ROOT)
    }

    fn dir_fingerprint(&self, ino: Ino) -> u64 {
        let mut hash = 0xd1;
        for (key, ino) in self.dir(ino).live.iter() {
            hash = match key {
                Key::Name(name) => {
                    let kind = hash_bytes(name.kind.as_str().as_bytes());
                    fold(fold(hash, kind ^ u64::from(name.quarantined)), name.id)
                }
                Key::Other(text) => fold(hash, hash_bytes(text.as_bytes())),
            };
            hash = match self.node(*ino) {
                Node::File(file) => fold(fold(hash, 1), file.live.hash()),
                Node::Dir(_) => fold(fold(hash, 2), self.dir_fingerprint(*ino)),
                Node::Symlink => fold(hash, 3),
            };
        }
        hash
    }
}
