//! The simulated disk behind the traits: directories and their lock.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::MutexGuard;

use super::SimDisk;
use super::call::{Call, CallKind};
use super::disk::{Inner, Synced, refused};
use super::file::SimFile;
use super::state::{DirChange, DirNode, FileNode, Ino, Key, Node};
use crate::error::{Error, Result};
use crate::fs::{Access, DirEntry, File, Fs, Listing, Lock, Preallocation};
use crate::name::Name;
use crate::planted::{self, Bug};

const ALREADY_EXISTS: &str = "it already exists";
const NOT_A_FILE: &str = "not a regular file";
const NOT_A_DIRECTORY: &str = "not a directory";
const LOCK: &str = "LOCK";

/// What every handle knows: its disk, in which life of it, and what it leads to. Keeps the bytes
/// of a removed file.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) disk: SimDisk,
    boot: u64,
    pub(super) ino: Ino,
    /// For errors.
    pub(super) path: PathBuf,
    /// For the trace: relative to the root.
    pub(super) shown: Arc<str>,
}

impl Handle {
    pub(super) fn new(
        disk: &SimDisk,
        inner: &mut Inner,
        ino: Ino,
        path: PathBuf,
        shown: Arc<str>,
    ) -> Handle {
        inner.opened(ino);
        Handle { disk: disk.clone(), boot: inner.boot, ino, path, shown }
    }

    /// A second handle of the same file.
    pub(super) fn duplicate(&self, inner: &mut Inner) -> Handle {
        Handle::new(&self.disk, inner, self.ino, self.path.clone(), Arc::clone(&self.shown))
    }

    /// The disk, unless the process this handle belongs to was killed.
    pub(super) fn inner(&self, kind: CallKind) -> Result<MutexGuard<'_, Inner>> {
        let inner = self.disk.lock();
        if inner.boot != self.boot {
            return Err(refused(kind, &self.path, rustix::io::Errno::BADF));
        }
        Ok(inner)
    }

    pub(super) fn call(&self, kind: CallKind) -> Call {
        Call::new(kind, &self.shown)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut inner = self.disk.lock();
        if inner.boot == self.boot {
            inner.closed(self.ino);
        }
    }
}

/// A directory of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFs {
    handle: Handle,
    /// A sync of the directory failed.
    poisoned: AtomicBool,
}

impl SimFs {
    pub(super) fn new(handle: Handle) -> SimFs {
        SimFs { handle, poisoned: AtomicBool::new(false) }
    }

    fn at(&self, name: Name) -> PathBuf {
        self.handle.path.join(name.to_string())
    }

    /// The path relative to the root, for the trace.
    fn shown(&self, name: &str) -> Arc<str> {
        if self.handle.shown.is_empty() {
            name.into()
        } else {
            format!("{}/{name}", self.handle.shown).into()
        }
    }

    fn handle_of(&self, inner: &mut Inner, name: Name, ino: Ino) -> Handle {
        let name = name.to_string();
        let path = self.handle.path.join(&name);
        Handle::new(&self.handle.disk, inner, ino, path, self.shown(&name))
    }

    /// Begins a call about a name of this directory.
    fn enter(&self, kind: CallKind, name: Name) -> Result<MutexGuard<'_, Inner>> {
        let mut inner = self.handle.inner(kind)?;
        let name = name.to_string();
        inner.enter(&Call::new(kind, &self.shown(&name)), &self.handle.path.join(&name))?;
        Ok(inner)
    }

    /// As [`SimFs::enter`], for calls with a second name.
    fn enter_two(&self, kind: CallKind, name: Name, other: &str) -> Result<MutexGuard<'_, Inner>> {
        let mut inner = self.handle.inner(kind)?;
        let call = Call::new(kind, &self.shown(&name.to_string())).about(other.as_bytes());
        inner.enter(&call, &self.at(name))?;
        Ok(inner)
    }

    fn find(&self, inner: &Inner, name: Name) -> Result<Ino> {
        let found = inner.look_up(self.handle.ino, &Key::Name(name));
        found.ok_or_else(|| Error::NotFound { path: self.at(name) })
    }

    fn find_file(&self, inner: &Inner, name: Name) -> Result<Ino> {
        let ino = self.find(inner, name)?;
        match inner.state.node(ino) {
            Node::File(_) => Ok(ino),
            Node::Dir(_) | Node::Symlink => Err(Error::invalid(NOT_A_FILE, self.at(name))),
        }
    }

    fn find_dir(&self, inner: &Inner, name: Name) -> Result<Ino> {
        let ino = self.find(inner, name)?;
        match inner.state.node(ino) {
            Node::Dir(_) => Ok(ino),
            Node::File(_) | Node::Symlink => Err(Error::invalid(NOT_A_DIRECTORY, self.at(name))),
        }
    }

    /// Refuses a name that is taken, and any name in a directory that was removed.
    fn require_free(&self, inner: &Inner, name: Name) -> Result<()> {
        if inner.look_up(self.handle.ino, &Key::Name(name)).is_some() {
            return Err(Error::invalid(ALREADY_EXISTS, self.at(name)));
        }
        if inner.state.dir(self.handle.ino).removed {
            return Err(Error::NotFound { path: self.at(name) });
        }
        Ok(())
    }

    fn change(&self, inner: &mut Inner, change: DirChange) {
        let call = inner.call();
        inner.state.dir_mut(self.handle.ino).change(call, change);
    }

    fn create(&self, inner: &mut Inner, name: Name, node: Node) -> Result<Ino> {
        self.require_free(inner, name)?;
        let ino = inner.create(node);
        self.change(inner, DirChange::Link { key: Key::Name(name), ino });
        Ok(ino)
    }
}

impl Fs for SimFs {
    fn path(&self) -> &Path {
        &self.handle.path
    }

    fn create_new(&self, name: Name) -> Result<Arc<dyn File>> {
        let mut inner = self.enter(CallKind::Create, name)?;
        let node = FileNode { fresh: true, ..FileNode::default() };
        let ino = self.create(&mut inner, name, Node::File(node))?;
        let handle = self.handle_of(&mut inner, name, ino);
        Ok(Arc::new(SimFile::new(handle, Access::ReadWrite)))
    }

    fn open(&self, name: Name, access: Access) -> Result<Arc<dyn File>> {
        let mut inner = self.enter(CallKind::Open, name)?;
        let ino = self.find_file(&inner, name)?;
        let handle = self.handle_of(&mut inner, name, ino);
        Ok(Arc::new(SimFile::new(handle, access)))
    }

    fn rename(&self, from: Name, to: Name) -> Result<()> {
        let mut inner = self.enter_two(CallKind::Rename, from, &to.to_string())?;
        let ino = self.find_file(&inner, from)?;
        self.require_free(&inner, to)?;
        let (from, to) = (Key::Name(from), Key::Name(to));
        self.change(&mut inner, DirChange::Rename { from, to, ino });
        Ok(())
    }

    fn link(&self, from: Name, to: &dyn Fs, to_name: Name) -> Result<()> {
        let to = match to.as_any().downcast_ref::<SimFs>() {
            Some(to) if to.handle.disk.is(&self.handle.disk) => to,
            _ => return Err(Error::invalid("cannot link to another file system", to.path())),
        };
        let shown = to.shown(&to_name.to_string());
        let mut inner = self.enter_two(CallKind::Link, from, &shown)?;
        let ino = self.find_file(&inner, from)?;
        to.require_free(&inner, to_name)?;
        to.change(&mut inner, DirChange::Link { key: Key::Name(to_name), ino });
        Ok(())
    }

    fn remove(&self, name: Name) -> Result<()> {
        let mut inner = self.enter(CallKind::Remove, name)?;
        let ino = self.find_file(&inner, name)?;
        self.change(&mut inner, DirChange::Unlink { key: Key::Name(name), ino });
        Ok(())
    }

    fn list(&self) -> Result<Listing> {
        let mut inner = self.handle.inner(CallKind::List)?;
        inner.enter(&self.handle.call(CallKind::List), &self.handle.path)?;
        let mut listing = Listing::default();
        let names = Arc::clone(&inner.state.dir(self.handle.ino).live);
        for (key, ino) in names.iter() {
            let entry = match (key, inner.state.node(*ino)) {
                (Key::Name(name), Node::File(file)) => {
                    DirEntry { name: *name, is_dir: false, len: file.live.len() }
                }
                (Key::Name(name), Node::Dir(_)) => DirEntry { name: *name, is_dir: true, len: 0 },
                (Key::Other(text), _) if &**text == LOCK => continue,
                _ => {
                    listing.foreign.push(key.to_string());
                    continue;
                }
            };
            listing.entries.push(entry);
        }
        // Real directories have an order of their own: nobody may rely on any.
        for last in (1..listing.entries.len()).rev() {
            let other = inner.random.index(last + 1);
            listing.entries.swap(last, other);
        }
        Ok(listing)
    }

    fn sync_dir(&self) -> Result<()> {
        let ino = self.handle.ino;
        let mut inner = self.handle.inner(CallKind::SyncDir)?;
        if self.poisoned.load(Ordering::Acquire) {
            inner.syncs_again += 1;
            return Err(Error::Poisoned { path: self.handle.path.clone() });
        }
        let outcome = inner.enter_sync(&self.handle.call(CallKind::SyncDir), ino);
        let dir = inner.state.dir_mut(ino);
        let errno = match outcome {
            Synced::Kept => {
                dir.settle();
                inner.collect();
                return Ok(());
            }
            Synced::Survived(errno) => {
                dir.settle();
                errno
            }
            Synced::Lost(errno) => {
                dir.lose();
                errno
            }
            Synced::Reverted(errno) => {
                dir.revert();
                inner.state.unremove(ino);
                errno
            }
        };
        self.poisoned.store(true, Ordering::Release);
        Err(refused(CallKind::SyncDir, &self.handle.path, errno))
    }

    fn create_dir(&self, name: Name) -> Result<Arc<dyn Fs>> {
        let mut inner = self.enter(CallKind::CreateDir, name)?;
        let ino = self.create(&mut inner, name, Node::Dir(DirNode::default()))?;
        Ok(Arc::new(SimFs::new(self.handle_of(&mut inner, name, ino))))
    }

    fn open_dir(&self, name: Name) -> Result<Arc<dyn Fs>> {
        let mut inner = self.enter(CallKind::OpenDir, name)?;
        let ino = self.find_dir(&inner, name)?;
        Ok(Arc::new(SimFs::new(self.handle_of(&mut inner, name, ino))))
    }

    fn remove_dir(&self, name: Name) -> Result<()> {
        let mut inner = self.enter(CallKind::RemoveDir, name)?;
        let ino = self.find_dir(&inner, name)?;
        if !inner.state.dir(ino).live.is_empty() {
            return Err(Error::invalid("the directory is not empty", self.at(name)));
        }
        self.change(&mut inner, DirChange::Unlink { key: Key::Name(name), ino });
        inner.state.dir_mut(ino).removed = true;
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Lock>> {
        let path = self.handle.path.join(LOCK);
        let mut inner = self.handle.inner(CallKind::Lock)?;
        inner.enter(&Call::new(CallKind::Lock, &self.shown(LOCK)), &path)?;
        let key = Key::Other(LOCK.into());
        let ino = match inner.look_up(self.handle.ino, &key) {
            Some(ino) => ino,
            None if inner.state.dir(self.handle.ino).removed => {
                return Err(Error::NotFound { path });
            }
            None => {
                let ino = inner.create(Node::File(FileNode::default()));
                self.change(&mut inner, DirChange::Link { key: key.clone(), ino });
                ino
            }
        };
        if !matches!(inner.state.node(ino), Node::File(_)) {
            return Err(Error::invalid(NOT_A_FILE, path));
        }
        if inner.locks.contains(&ino) && !planted::is(Bug::LockIgnored) {
            return Err(Error::Locked { path });
        }
        inner.locks.push(ino);
        let shown = self.shown(LOCK);
        let handle = Handle::new(&self.handle.disk, &mut inner, ino, path, shown);
        Ok(Box::new(SimLock { handle, dir: self.handle.ino }))
    }

    fn free_space(&self) -> Result<u64> {
        let mut inner = self.handle.inner(CallKind::FreeSpace)?;
        inner.enter(&self.handle.call(CallKind::FreeSpace), &self.handle.path)?;
        Ok(inner.free_bytes())
    }

    fn preallocation(&self) -> Result<Preallocation> {
        let mut inner = self.handle.inner(CallKind::Probe)?;
        inner.enter(&self.handle.call(CallKind::Probe), &self.handle.path)?;
        Ok(inner.preallocation)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Debug)]
struct SimLock {
    handle: Handle,
    dir: Ino,
}

impl Lock for SimLock {
    fn path(&self) -> &Path {
        &self.handle.path
    }

    fn verify(&self) -> Result<()> {
        let mut inner = self.handle.inner(CallKind::Verify)?;
        inner.enter(&self.handle.call(CallKind::Verify), &self.handle.path)?;
        if inner.look_up(self.dir, &Key::Other(LOCK.into())) == Some(self.handle.ino) {
            return Ok(());
        }
        Err(Error::Locked { path: self.handle.path.clone() })
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        // A killed process holds no lock, and its number may be held by a later one.
        if let Ok(mut inner) = self.handle.inner(CallKind::Lock) {
            inner.locks.retain(|held| *held != self.handle.ino);
        }
    }
}
