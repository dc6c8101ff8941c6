//! A disk that forgets what was not synced.
//!
//! ```text
//! write, truncate, preallocate, store -> what programs see + pending -> sync_data, AppendMap::sync
//! create, link, rename, remove        -> what programs see + pending -> sync_dir      |
//!                                                               v                     v
//! crash: an image holds                             some of what is pending  +   all that is durable
//! ```
//!
//! 1. A sync of a file makes its bytes and length durable, not its name; a sync of a directory
//!    makes names durable, not bytes. A rename is there or not, never half.
//! 2. Every call that changes or syncs is numbered and traced, a store through an append mapping
//!    once per page of 4 KiB that it touches. Equal runs have equal traces.
//! 3. A disk that records keeps its state before every such call, by sharing: a workload runs once,
//!    and images of every boundary are made from it afterwards.
//! 4. Beyond what the traits ask: buffers hold garbage where a read brought nothing, listings are
//!    shuffled, and cutting an old or a mapped file is refused.

mod chain;
mod content;
mod state;
mod call;
mod image;
mod disk;
mod damage;
mod file;
mod handle;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

pub use self::call::{At, Call, CallKind, Fault, Hit, Times, What};
use self::content::Content;
pub use self::damage::Damage;
use self::disk::Inner;
use self::handle::Handle;
pub use self::handle::SimFs;
pub use self::image::ImageKind;
use self::state::{DirNode, FileNode, Ino, Key, Node, ROOT, State};
use crate::fs::{Fs, Preallocation};

/// Where a simulated disk seems to be mounted, for messages.
const MOUNT: &str = "/sim";

/// A simulated disk. Clones are handles of the same disk.
///
/// ```
/// use vfs::sim::{ImageKind, SimDisk};
/// use vfs::{Kind, Name, write_all_at};
///
/// let disk = SimDisk::new(7);
/// let (name, fs) = (Name::new(Kind::new("note"), 1), disk.root());
/// let file = fs.create_new(name)?;
/// write_all_at(&*file, b"lotus", 0)?;
/// file.sync_data()?;
/// // The bytes are safe, the name that leads to them is not.
/// assert_eq!(disk.crash(ImageKind::SyncedOnly, 0).read_file(name), None);
/// fs.sync_dir()?;
/// assert_eq!(disk.crash(ImageKind::SyncedOnly, 0).read_file(name), Some(b"lotus".to_vec()));
/// # Ok::<(), vfs::Error>(())
/// ```
#[derive(Clone)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk. The seed shuffles listings and nothing else.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::with(State::empty(), seed)
    }

    fn with(state: State, seed: u64) -> SimDisk {
        SimDisk { inner: Arc::new(Mutex::new(Inner::new(state, seed))) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    fn is(&self, other: &SimDisk) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The directory that the disk is.
    pub fn root(&self) -> Arc<dyn Fs> {
        let mut inner = self.lock();
        let handle = Handle::new(self, &mut inner, ROOT, PathBuf::from(MOUNT), "".into());
        drop(inner);
        Arc::new(SimFs::new(handle))
    }

    // What happened.

    /// The changing and syncing calls so far.
    pub fn trace(&self) -> Vec<Call> {
        self.lock().trace.clone()
    }

    /// A hash of [`SimDisk::trace`].
    pub fn trace_hash(&self) -> u64 {
        self.lock().trace_hash
    }

    /// How many calls there were, reads included.
    pub fn calls(&self) -> u64 {
        self.lock().calls(None)
    }

    /// How many calls of a kind there were.
    pub fn calls_of(&self, kind: CallKind) -> u64 {
        self.lock().calls(Some(kind))
    }

    /// Keeps every call from now on, reads included.
    pub fn log_calls(&self) {
        self.lock().log = Some(Vec::new());
    }

    /// Every call since [`SimDisk::log_calls`].
    pub fn logged_calls(&self) -> Vec<Call> {
        self.lock().log.clone().unwrap_or_default()
    }

    /// After so many calls the next one panics: what runs on the disk does not end.
    pub fn limit_calls(&self, calls_max: u64) {
        self.lock().calls_max = calls_max;
    }

    // Crashes.

    /// Keeps the state at every boundary from now on.
    pub fn record(&self) {
        self.lock().boundaries = Some(Vec::new());
    }

    /// How many boundaries were kept: one before each changing or syncing call since
    /// [`SimDisk::record`], and the present. Without recording only the present.
    pub fn boundaries(&self) -> usize {
        1 + self.lock().boundaries.as_ref().map_or(0, Vec::len)
    }

    fn at_boundary(&self, boundary: usize) -> State {
        let inner = self.lock();
        let kept = inner.boundaries.as_deref().unwrap_or_default();
        assert!(boundary <= kept.len(), "boundary {boundary} of {}", kept.len() + 1);
        kept.get(boundary).unwrap_or(&inner.state).clone()
    }

    /// A disk as the power going out at a boundary leaves it: everything on it is durable. The
    /// seed decides where the kind leaves a choice, and shuffles the new disk's listings.
    ///
    /// # Panics
    /// Unless `boundary < self.boundaries()`.
    pub fn image(&self, boundary: usize, kind: ImageKind, seed: u64) -> SimDisk {
        let state = self.at_boundary(boundary);
        let disk = SimDisk::with(image::build(&state, kind, seed), seed);
        disk.set_preallocation(self.lock().preallocation);
        disk
    }

    /// As [`SimDisk::image`], of the present.
    pub fn crash(&self, kind: ImageKind, seed: u64) -> SimDisk {
        self.image(self.boundaries() - 1, kind, seed)
    }

    /// How many changes are pending at a boundary: `ImageKind::Subset { mask }` with every mask
    /// below `1 << choices` makes all images.
    ///
    /// # Panics
    /// Unless `boundary < self.boundaries()`.
    pub fn choices(&self, boundary: usize) -> usize {
        image::choices(&self.at_boundary(boundary))
    }

    /// A second disk in the same state, pending changes included. Handles, locks, faults and the
    /// trace stay with the first.
    pub fn fork(&self, seed: u64) -> SimDisk {
        self.fork_at(self.boundaries() - 1, seed)
    }

    /// As [`SimDisk::fork`], of a boundary: the disk that a process killed there leaves to the
    /// next one.
    ///
    /// # Panics
    /// Unless `boundary < self.boundaries()`.
    pub fn fork_at(&self, boundary: usize, seed: u64) -> SimDisk {
        let disk = SimDisk::with(self.at_boundary(boundary), seed);
        disk.set_preallocation(self.lock().preallocation);
        disk
    }

    /// Kills the process: its handles refuse every call and its locks are free. What it wrote is
    /// still in the system's cache, pending.
    pub fn kill(&self) {
        self.lock().kill();
    }

    /// Equal for disks that show the same names and the same bytes (to one in 2^64).
    pub fn fingerprint(&self) -> u64 {
        self.lock().state.fingerprint()
    }

    // Faults.

    /// Arms a fault. Several may be armed; the first that fits a call hits it.
    pub fn fault(&self, fault: Fault) {
        self.lock().arm(fault);
    }

    /// Forgets all armed faults, also a late failure that is due.
    pub fn clear_faults(&self) {
        self.lock().disarm();
    }

    /// How often a fault has hit.
    pub fn faults_hit(&self) -> u64 {
        self.lock().hits.len() as u64
    }

    /// The calls that a fault has hit.
    pub fn hits(&self) -> Vec<Hit> {
        self.lock().hits.clone()
    }

    /// The syncs that said they failed, at whichever call the fault had hit.
    pub fn failed_syncs(&self) -> Vec<Hit> {
        self.lock().failed_syncs.clone()
    }

    /// How often somebody tried again what a failed sync was to make durable: through the handle
    /// that failed, which refuses, or through another.
    pub fn syncs_again(&self) -> u64 {
        self.lock().syncs_again
    }

    /// The syncs that failed so far were of an earlier process: whoever syncs those files now does
    /// not try again.
    pub fn forgive_failed_syncs(&self) {
        let mut inner = self.lock();
        inner.forgiven = inner.failed_syncs.len();
    }

    /// Somebody makes room for so many more bytes: faults that last until then end.
    pub fn free(&self, bytes: u64) {
        let mut inner = self.lock();
        inner.freed();
        inner.quota_bytes = inner.quota_bytes.map(|quota| quota.saturating_add(bytes));
    }

    /// How many bytes fit on the disk, in pages of 4 KiB; no limit at first. Names are free.
    pub fn set_quota(&self, bytes: Option<u64>) {
        self.lock().quota_bytes = bytes;
    }

    /// What preallocation guarantees; `Reserves` at first.
    pub fn set_preallocation(&self, preallocation: Preallocation) {
        self.lock().preallocation = preallocation;
    }

    // The medium, by path from the root (`dir/file`), for tests. None of these is a call.

    /// Every file with its length, in order of paths.
    pub fn files(&self) -> Vec<(String, u64)> {
        let inner = self.lock();
        let files =
            inner.state.walk().into_iter().filter_map(|(path, ino)| match inner.state.node(ino) {
                Node::File(file) => Some((path, file.live.len())),
                Node::Dir(_) | Node::Symlink => None,
            });
        files.collect()
    }

    /// The bytes of a file as programs see them; `None` if there is no such file.
    pub fn read_file(&self, path: impl fmt::Display) -> Option<Vec<u8>> {
        let inner = self.lock();
        let ino = find(&inner, &path.to_string())?;
        match inner.state.node(ino) {
            Node::File(file) => Some(file.live.to_bytes().to_vec()),
            Node::Dir(_) | Node::Symlink => None,
        }
    }

    /// Puts a durable file there, in directories that are made as needed, in place of one that
    /// may be there.
    ///
    /// # Panics
    /// If a directory has that name, or a file the name of one of its directories.
    pub fn write_file(&self, path: impl fmt::Display, bytes: &[u8]) {
        let mut content = Content::default();
        content.write(0, bytes);
        self.put(&path.to_string(), Node::File(FileNode::at_rest(content)));
    }

    /// Puts a durable symbolic link there; it leads nowhere.
    ///
    /// # Panics
    /// As [`SimDisk::write_file`].
    pub fn write_symlink(&self, path: impl fmt::Display) {
        self.put(&path.to_string(), Node::Symlink);
    }

    /// Damages what the medium holds of a file, also in the eyes of programs. Mappings that were
    /// made before keep what they had.
    ///
    /// # Panics
    /// If there is no such file, or what is damaged lies behind its end.
    pub fn corrupt(&self, path: impl fmt::Display, damage: &Damage) {
        damage::strike(&mut self.lock(), &path.to_string(), damage);
    }

    /// Remembers from now on what every file held before each of its syncs, for
    /// [`Damage::Lost`] and [`Damage::Misdirected`].
    pub fn remember(&self) {
        self.lock().remembers = true;
    }

    fn put(&self, path: &str, node: Node) {
        let mut inner = self.lock();
        let mut dir = ROOT;
        let (parent, key) = split(path);
        for part in parent.split('/').filter(|part| !part.is_empty()) {
            let part = Key::parse(part);
            dir = match inner.look_up(dir, &part) {
                Some(ino) => ino,
                None => link(&mut inner, dir, part, Node::Dir(DirNode::default())),
            };
        }
        link(&mut inner, dir, key, node);
    }
}

/// Adds a durable name.
fn link(inner: &mut Inner, dir: Ino, key: Key, node: Node) -> Ino {
    let old = inner.look_up(dir, &key);
    let replaces_dir = old.is_some_and(|old| matches!(inner.state.node(old), Node::Dir(_)));
    assert!(!replaces_dir, "{key} is a directory");
    let ino = inner.create(node);
    let dir = inner.state.dir_mut(dir);
    Arc::make_mut(&mut dir.live).insert(key.clone(), ino);
    Arc::make_mut(&mut dir.durable).insert(key, ino);
    ino
}

/// Directory and last part of a path.
fn split(path: &str) -> (&str, Key) {
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
    (parent, Key::parse(last))
}

fn find(inner: &Inner, path: &str) -> Option<Ino> {
    let mut ino = ROOT;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match inner.state.node(ino) {
            Node::Dir(_) => ino = inner.look_up(ino, &Key::parse(part))?,
            Node::File(_) | Node::Symlink => return None,
        }
    }
    Some(ino)
}
