//! The simulated disk behind the traits: files and mappings.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use rustix::io::Errno;

use super::call::CallKind;
use super::content::{PAGE_LEN, piece};
use super::damage;
use super::disk::{Inner, Synced, refused};
use super::handle::Handle;
use crate::error::{Error, Result};
use crate::fs::{Access, Advice, AppendMap, File, Preallocation, require_range};
use crate::planted::{self, Bug};

/// What a buffer holds where a read brought nothing: a caller that ignores the count sees this and
/// not its own zeros.
const GARBAGE: u8 = 0xa5;

#[derive(Debug)]
pub(super) struct SimFile {
    handle: Handle,
    access: Access,
    /// Shared with the append mappings made from this handle.
    poisoned: Arc<AtomicBool>,
}

impl SimFile {
    pub(super) fn new(handle: Handle, access: Access) -> SimFile {
        SimFile { handle, access, poisoned: Arc::default() }
    }

    fn require_sound(&self) -> Result<()> {
        require_sound(&self.poisoned, &self.handle)
    }

    fn require_writable(&self) -> Result<()> {
        if self.access == Access::Read {
            return Err(Error::invalid("opened for reading only", &self.handle.path));
        }
        self.require_sound()
    }

    fn poison(&self, error: Error) -> Error {
        self.poisoned.store(true, Ordering::Release);
        error
    }

    /// `Invalid` unless the file holds `len` bytes.
    fn require_len(&self, inner: &Inner, len: u64) -> Result<()> {
        if inner.state.file(self.handle.ino).live.len() < len {
            return Err(Error::invalid("the file is shorter than the mapping", &self.handle.path));
        }
        Ok(())
    }
}

fn require_sound(poisoned: &AtomicBool, handle: &Handle) -> Result<()> {
    if poisoned.load(Ordering::Acquire) {
        return Err(Error::Poisoned { path: handle.path.clone() });
    }
    Ok(())
}

/// A sync of the file that a handle leads to, through the file or a mapping.
fn sync(handle: &Handle, kind: CallKind, poisoned: &AtomicBool) -> Result<()> {
    let mut inner = handle.inner(kind)?;
    require_sound(poisoned, handle).inspect_err(|_| inner.syncs_again += 1)?;
    let outcome = inner.enter_sync(&handle.call(kind), handle.ino);
    let remembers = inner.remembers;
    let file = inner.state.file_mut(handle.ino);
    if remembers {
        file.remember();
    }
    let errno = match outcome {
        Synced::Kept => {
            file.settle();
            return Ok(());
        }
        Synced::Survived(errno) => {
            file.settle();
            errno
        }
        Synced::Lost(errno) => {
            file.lose();
            errno
        }
        Synced::Reverted(errno) => {
            file.revert();
            errno
        }
    };
    poisoned.store(!planted::is(Bug::SyncRetried), Ordering::Release);
    Err(refused(kind, &handle.path, errno))
}

impl File for SimFile {
    fn path(&self) -> &Path {
        &self.handle.path
    }

    fn len(&self) -> Result<u64> {
        let mut inner = self.handle.inner(CallKind::Len)?;
        inner.enter(&self.handle.call(CallKind::Len), &self.handle.path)?;
        Ok(inner.state.file(self.handle.ino).live.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        require_range(&self.handle.path, offset, buffer.len() as u64)?;
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut inner = self.handle.inner(CallKind::Read)?;
        let call = self.handle.call(CallKind::Read).range(offset, buffer.len() as u64);
        let limit = inner.enter(&call, &self.handle.path)?.unwrap_or(buffer.len());
        let wanted = limit.min(buffer.len());
        let count = inner.state.file(self.handle.ino).live.read(&mut buffer[..wanted], offset);
        damage::flip_once(&mut inner, self.handle.ino, offset, &mut buffer[..count]);
        buffer[count..].fill(GARBAGE);
        Ok(count)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.require_writable()?;
        let mut bytes = Vec::with_capacity(buffers.iter().map(|buffer| buffer.len()).sum());
        buffers.iter().for_each(|buffer| bytes.extend_from_slice(buffer));
        require_range(&self.handle.path, offset, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut inner = self.handle.inner(CallKind::Write)?;
        let call = self.handle.call(CallKind::Write).range(offset, bytes.len() as u64);
        let limit = inner
            .enter(&call.about(&bytes), &self.handle.path)
            .map_err(|error| self.poison(error))?;
        bytes.truncate(limit.unwrap_or(usize::MAX));
        let room = inner.room(self.handle.ino, offset, bytes.len() as u64);
        bytes.truncate(usize::try_from(room).expect("at most what was asked"));
        if bytes.is_empty() {
            return Err(self.poison(refused(CallKind::Write, &self.handle.path, Errno::NOSPC)));
        }
        let count = bytes.len();
        inner.write(self.handle.ino, offset, bytes.into());
        Ok(count)
    }

    /// Beyond the contract, a file that was there before the disk was switched on is never cut,
    /// and none below a mapping that lives: nobody here has a reason to, and both lose data when
    /// done in error.
    fn truncate(&self, len: u64) -> Result<()> {
        self.require_writable()?;
        require_range(&self.handle.path, len, 0)?;
        let mut inner = self.handle.inner(CallKind::Truncate)?;
        let file = inner.state.file(self.handle.ino);
        if len < file.live.len() && !file.fresh {
            return Err(Error::invalid("an old file is never cut", &self.handle.path));
        }
        if len < inner.mapped_len(self.handle.ino) {
            return Err(Error::invalid("a mapped file is never cut", &self.handle.path));
        }
        let call = self.handle.call(CallKind::Truncate).range(0, len);
        inner.enter(&call, &self.handle.path).map_err(|error| self.poison(error))?;
        inner.set_len(self.handle.ino, len);
        Ok(())
    }

    fn preallocate(&self, offset: u64, len: u64) -> Result<()> {
        self.require_writable()?;
        require_range(&self.handle.path, offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let ino = self.handle.ino;
        let mut inner = self.handle.inner(CallKind::Preallocate)?;
        let call = self.handle.call(CallKind::Preallocate).range(offset, len);
        inner.enter(&call, &self.handle.path)?;
        if inner.preallocation == Preallocation::Reserves {
            if inner.room(ino, offset, len) < len {
                return Err(refused(CallKind::Preallocate, &self.handle.path, Errno::NOSPC));
            }
            let page_len = PAGE_LEN as u64;
            let end = (offset + len).div_ceil(page_len);
            inner.state.file_mut(ino).reserve(offset / page_len, end);
        }
        let grown = inner.state.file(ino).live.len().max(offset + len);
        inner.set_len(ino, grown);
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        sync(&self.handle, CallKind::Sync, &self.poisoned)
    }

    fn sync_all(&self) -> Result<()> {
        sync(&self.handle, CallKind::Sync, &self.poisoned)
    }

    /// A copy of the bytes as they are now, shared by all mappings of the same state.
    fn map(&self, len: u64) -> Result<Bytes> {
        let mut inner = self.handle.inner(CallKind::Map)?;
        self.require_len(&inner, len)?;
        let call = self.handle.call(CallKind::Map).range(0, len);
        inner.enter(&call, &self.handle.path)?;
        if len == 0 {
            return Ok(Bytes::new());
        }
        let mut all = inner.state.file(self.handle.ino).live.to_bytes();
        let len_bytes = usize::try_from(len).expect("the file was in memory");
        if damage::flips_once(&inner, self.handle.ino, len) {
            let mut bytes = all.to_vec();
            damage::flip_once(&mut inner, self.handle.ino, 0, &mut bytes[..len_bytes]);
            all = bytes.into();
        }
        let token = inner.map(self.handle.ino, len);
        Ok(Bytes::from_owner(Mapping { bytes: all.slice(..len_bytes), _token: token }))
    }

    fn map_append(&self, from: u64, len: u64) -> Result<Arc<dyn AppendMap>> {
        self.require_writable()?;
        let mut inner = self.handle.inner(CallKind::MapAppend)?;
        self.require_len(&inner, len)?;
        if from > len {
            let what = "the append position is behind the mapping";
            return Err(Error::invalid(what, &self.handle.path));
        }
        let call = self.handle.call(CallKind::MapAppend).range(from, len);
        inner.enter(&call, &self.handle.path)?;
        let token = inner.map(self.handle.ino, len);
        Ok(Arc::new(SimAppendMap {
            handle: self.handle.duplicate(&mut inner),
            capacity: len,
            end: AtomicU64::new(from),
            appending: AtomicBool::new(false),
            poisoned: Arc::clone(&self.poisoned),
            _token: token,
        }))
    }

    fn advise(&self, _offset: u64, _len: u64, _advice: Advice) {}
}

/// Keeps the file from being cut while it lives.
struct Mapping {
    bytes: Bytes,
    _token: Arc<()>,
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Debug)]
struct SimAppendMap {
    handle: Handle,
    capacity: u64,
    end: AtomicU64,
    /// True while a thread appends.
    appending: AtomicBool,
    poisoned: Arc<AtomicBool>,
    _token: Arc<()>,
}

impl SimAppendMap {
    /// Page by page, as the processor stores them and a crash may keep them.
    fn store(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut inner = self.handle.inner(CallKind::Store)?;
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (_, _, len) = piece(at, bytes.len() - done);
            let part = &bytes[done..done + len];
            let call = self.handle.call(CallKind::Store).range(at, len as u64).about(part);
            inner.enter(&call, &self.handle.path)?;
            assert!(
                inner.room(self.handle.ino, at, len as u64) == len as u64,
                "SIGBUS: a store into {} found no space; preallocate first",
                self.handle.path.display(),
            );
            inner.write(self.handle.ino, at, Bytes::copy_from_slice(part));
            done += len;
        }
        Ok(())
    }
}

impl AppendMap for SimAppendMap {
    fn path(&self) -> &Path {
        &self.handle.path
    }

    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        require_sound(&self.poisoned, &self.handle)?;
        let alone = !self.appending.swap(true, Ordering::Acquire);
        assert!(alone, "two threads append to {} at once", self.handle.path.display());
        let end = self.end();
        let result = if bytes.len() as u64 > self.capacity - end {
            let what = "the append does not fit into the mapping";
            Err(Error::invalid(what, &self.handle.path))
        } else {
            self.store(bytes, end)
        };
        if result.is_ok() {
            self.end.store(end + bytes.len() as u64, Ordering::Release);
        }
        self.appending.store(false, Ordering::Release);
        result
    }

    /// It never does; but who makes it ready then is to run in simulations too.
    fn runs_short(&self) -> bool {
        self.end() / 512 % 2 == 1
    }

    fn read(&self, offset: u64, len: usize) -> Result<Bytes> {
        if offset.checked_add(len as u64).is_none_or(|upto| upto > self.end()) {
            return Err(Error::invalid("not written yet", &self.handle.path));
        }
        let mut inner = self.handle.inner(CallKind::Read)?;
        let mut bytes = vec![0; len];
        let count = inner.state.file(self.handle.ino).live.read(&mut bytes, offset);
        damage::flip_once(&mut inner, self.handle.ino, offset, &mut bytes);
        assert_eq!(count, len, "a mapped file is never cut");
        Ok(bytes.into())
    }

    fn sync(&self) -> Result<()> {
        sync(&self.handle, CallKind::SyncMap, &self.poisoned)
    }
}
