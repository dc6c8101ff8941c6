//! A directory at whose calls threads may change places, and which knows who holds which file.
//!
//! 1. A call is one step: threads change before it, and around a sync also after it, as with a
//!    disk that takes its time.
//! 2. A file is removed only when nobody has it open any more: who removes sooner has forgotten a
//!    reader. (The system would keep the file for such a reader; a database that relies on that
//!    frees no space, and cannot run where open files cannot be removed.)

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use shuttle::sync::atomic::{AtomicBool, Ordering};
use vfs::{Access, Advice, AppendMap, Bytes, File, Fs, Listing, Lock, Name, Preallocation, Result};

/// The directory.
pub(crate) struct Turning {
    inner: Arc<dyn Fs>,
    point: Arc<AtomicBool>,
    /// Open files. Never locked across a point.
    open: Mutex<BTreeMap<Name, Vec<Weak<Held>>>>,
}

impl Turning {
    pub(crate) fn over(inner: Arc<dyn Fs>) -> Arc<dyn Fs> {
        Arc::new(Turning::of(inner, Arc::new(AtomicBool::new(false))))
    }

    fn of(inner: Arc<dyn Fs>, point: Arc<AtomicBool>) -> Turning {
        Turning { inner, point, open: Mutex::default() }
    }

    fn turn(&self) -> &dyn Fs {
        self.point.load(Ordering::SeqCst);
        &*self.inner
    }

    fn hold(&self, name: Name, inner: Arc<dyn File>) -> Arc<dyn File> {
        let held = Arc::new(Held { inner, point: self.point.clone() });
        let mut open = self.open.lock().expect("no panic");
        let handles = open.entry(name).or_default();
        handles.retain(|handle| handle.strong_count() > 0);
        handles.push(Arc::downgrade(&held));
        held
    }
}

impl fmt::Debug for Turning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Turning({:?})", self.inner)
    }
}

impl Fs for Turning {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn create_new(&self, name: Name) -> Result<Arc<dyn File>> {
        Ok(self.hold(name, self.turn().create_new(name)?))
    }

    fn open(&self, name: Name, access: Access) -> Result<Arc<dyn File>> {
        Ok(self.hold(name, self.turn().open(name, access)?))
    }

    fn rename(&self, from: Name, to: Name) -> Result<()> {
        self.turn().rename(from, to)
    }

    fn link(&self, from: Name, to: &dyn Fs, to_name: Name) -> Result<()> {
        self.turn().link(from, to, to_name)
    }

    fn remove(&self, name: Name) -> Result<()> {
        let inner = self.turn();
        let handles = self.open.lock().expect("no panic").remove(&name).unwrap_or_default();
        let held = handles.iter().filter(|handle| handle.strong_count() > 0).count();
        assert!(held == 0, "{name} is removed while {held} handles have it open");
        inner.remove(name)
    }

    fn list(&self) -> Result<Listing> {
        self.turn().list()
    }

    fn sync_dir(&self) -> Result<()> {
        let synced = self.turn().sync_dir();
        self.turn();
        synced
    }

    fn create_dir(&self, name: Name) -> Result<Arc<dyn Fs>> {
        let inner = self.turn().create_dir(name)?;
        Ok(Arc::new(Turning::of(inner, self.point.clone())))
    }

    fn open_dir(&self, name: Name) -> Result<Arc<dyn Fs>> {
        let inner = self.turn().open_dir(name)?;
        Ok(Arc::new(Turning::of(inner, self.point.clone())))
    }

    fn remove_dir(&self, name: Name) -> Result<()> {
        self.turn().remove_dir(name)
    }

    fn lock(&self) -> Result<Box<dyn Lock>> {
        self.turn().lock()
    }

    fn free_space(&self) -> Result<u64> {
        self.inner.free_space()
    }

    fn preallocation(&self) -> Result<Preallocation> {
        self.inner.preallocation()
    }

    fn as_any(&self) -> &dyn Any {
        // Links lead to the directory itself.
        self.inner.as_any()
    }
}

/// An open file.
#[derive(Debug)]
struct Held {
    inner: Arc<dyn File>,
    point: Arc<AtomicBool>,
}

impl Held {
    fn turn(&self) -> &dyn File {
        self.point.load(Ordering::SeqCst);
        &*self.inner
    }
}

impl File for Held {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.turn().read_at(buffer, offset)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.turn().write_at(buffers, offset)
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.turn().truncate(len)
    }

    fn preallocate(&self, offset: u64, len: u64) -> Result<()> {
        self.turn().preallocate(offset, len)
    }

    fn sync_data(&self) -> Result<()> {
        let synced = self.turn().sync_data();
        self.turn();
        synced
    }

    fn sync_all(&self) -> Result<()> {
        let synced = self.turn().sync_all();
        self.turn();
        synced
    }

    fn map(&self, len: u64) -> Result<Bytes> {
        self.turn().map(len)
    }

    fn map_append(&self, from: u64, len: u64) -> Result<Arc<dyn AppendMap>> {
        let inner = self.turn().map_append(from, len)?;
        Ok(Arc::new(HeldMap { inner, point: self.point.clone() }))
    }

    fn advise(&self, offset: u64, len: u64, advice: Advice) {
        self.inner.advise(offset, len, advice);
    }
}

/// A mapping that is appended to.
#[derive(Debug)]
struct HeldMap {
    inner: Arc<dyn AppendMap>,
    point: Arc<AtomicBool>,
}

impl AppendMap for HeldMap {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn capacity(&self) -> u64 {
        self.inner.capacity()
    }

    fn end(&self) -> u64 {
        self.inner.end()
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.inner.append(bytes)
    }

    fn read(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.inner.read(offset, len)
    }

    fn sync(&self) -> Result<()> {
        self.point.load(Ordering::SeqCst);
        let synced = self.inner.sync();
        self.point.load(Ordering::SeqCst);
        synced
    }
}
