//! Mappings of files: with prefetches and a read-ahead, the only `unsafe` of this crate.
//!
//! A reading mapping is one slice of an immutable file. An append mapping is written through a raw
//! pointer and never becomes a slice as a whole: slices are made only of bytes below the write
//! position, which only moves forward, so no byte that a slice covers is ever written again.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use memmap2::{Advice, Mmap, MmapOptions, MmapRaw, UncheckedAdvice};
use parking_lot::Mutex;

use super::sound::Soundness;
use super::system;
use crate::error::{Error, Result};
use crate::fs::{AppendMap, BLOCK_LEN};
use crate::prefetch::{LINE_LEN, prefetch_to_write};

/// Maps the first `len` bytes, which the caller has checked to be there. The descriptor may be
/// closed afterwards.
pub(super) fn read_only(fd: &OwnedFd, len: usize) -> std::io::Result<Bytes> {
    if len == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the slice is sound while nobody writes or cuts these bytes. Files are mapped for
    // reading only when they are immutable (`File::map` says so), the directory is locked against
    // other processes of ours, and the caller checked the length. What a process that ignores the
    // lock does to the file cannot be prevented; decoders assume nothing about the bytes.
    let map: Mmap = unsafe { MmapOptions::new().len(len).map(fd)? };
    // Who reads in order says so (`ReadAhead`); what the system reads around a page that it does not
    // have would be for nothing as a rule (decision 0012). Advice: if it is refused, it is slower.
    #[cfg(unix)]
    let _ = map.advise(Advice::Random);
    Ok(Bytes::from_owner(map))
}

/// Bytes behind the end that are made ready for appends in one go: at first and after a sync, and
/// at most. They are also what a sync writes at least.
const READY_BYTES_MIN: u64 = 4 << 10;
const READY_BYTES_MAX: u64 = BLOCK_LEN as u64;

/// A page is at least so long.
const PAGE_BYTES: u64 = 64 << 10;
/// A sync of less does not let go of pages first.
const UNMAP_BYTES_MIN: u64 = 1 << 20;

/// See [`AppendMap`].
#[derive(Debug)]
pub(super) struct StdAppendMap {
    // Constant after open.
    path: PathBuf,
    fd: OwnedFd,
    memory: Arc<MmapRaw>,
    capacity: u64,

    /// Bytes written. Stored with release after the bytes, loaded with acquire before them.
    end: AtomicU64,
    /// True while a thread appends.
    appending: AtomicBool,
    /// Bytes for which the page cache has pages. An append writes only below it, zeros are written
    /// only above it. Changed under `making_ready`.
    ready: AtomicU64,
    /// How many were made ready last. Changed under `making_ready`.
    ready_bytes: AtomicU64,
    making_ready: Mutex<()>,
    /// Somebody was told that it runs short.
    told: AtomicBool,
    /// Whole pages before here were let go of.
    unmapped: AtomicU64,
    /// A sync came since bytes were made ready.
    synced: AtomicBool,
    /// Shared with the file handle.
    sound: Arc<Soundness>,
}

impl StdAppendMap {
    pub(super) fn new(
        path: PathBuf,
        fd: OwnedFd,
        from: u64,
        len: usize,
        sound: Arc<Soundness>,
    ) -> std::io::Result<StdAppendMap> {
        let memory = Arc::new(MmapOptions::new().len(len).map_raw(&fd)?);
        // No read-ahead: it would make pages of up to 2 MiB, of which a sync writes all.
        #[cfg(unix)]
        let _ = memory.advise(Advice::Random);
        Ok(StdAppendMap {
            path,
            fd,
            memory,
            capacity: len as u64,
            end: AtomicU64::new(from),
            appending: AtomicBool::new(false),
            ready: AtomicU64::new(from),
            ready_bytes: AtomicU64::new(0),
            making_ready: Mutex::new(()),
            unmapped: AtomicU64::new(from.next_multiple_of(PAGE_BYTES)),
            told: AtomicBool::new(false),
            synced: AtomicBool::new(true),
            sound,
        })
    }

    /// Writes zeros to where appends up to `upto` will go, and further ones. A store to a page that
    /// the cache does not have yet costs a fault, in which the file system looks up the block; a
    /// write makes many pages at once and large ones, which are then mapped at once too (measured on
    /// ext4, 176 B an append: 110 ns instead of 530, the longest 0.4 ms instead of 20 ms).
    ///
    /// A page is written whole by a sync, so what is made ready after one is small again: 176 B and
    /// a sync took 0.17 ms with 64 KiB and 0.8 ms with 2 MiB; with one page it writes what others
    /// do. Until the large page that the end is in is used up, a sync still writes it.
    fn make_ready_upto(&self, upto: u64) {
        let _alone = self.making_ready.lock();
        if upto <= self.ready.load(Ordering::Relaxed) {
            return;
        }
        let bytes = match self.synced.swap(false, Ordering::Relaxed) {
            true => READY_BYTES_MIN,
            false => READY_BYTES_MAX.min(2 * self.ready_bytes.load(Ordering::Relaxed)),
        };
        self.ready_bytes.store(bytes, Ordering::Relaxed);
        self.write_zeros(upto.next_multiple_of(bytes));
    }

    /// Writes zeros from what is ready up to there. The caller holds `making_ready`.
    fn write_zeros(&self, upto: u64) {
        let from = self.ready.load(Ordering::Relaxed);
        let upto = upto.min(self.capacity);
        // If it fails the stores fault, as they would have.
        let _ = system::write_zeros(&self.fd, from, upto - from);
        self.ready.store(upto, Ordering::Release);
    }

    /// Makes the next bytes ready, beside appends, which wait for no more than one such step.
    fn make_more_ready(&self) {
        let (from, upto) = {
            let _alone = self.making_ready.lock();
            let from = self.ready.load(Ordering::Relaxed);
            self.write_zeros(from + READY_BYTES_MAX);
            (from, self.ready.load(Ordering::Relaxed))
        };
        self.map_writable(from, upto);
    }

    /// Fetches the cache lines that the next append will write, if it is as long as the last one.
    /// They were last written by another processor or not at all, and an append ends with the
    /// release of a lock, which waits for every store before it: without this for as many misses
    /// of the cache as the append has lines, about a third of the time that a put of 150 bytes
    /// takes.
    #[inline]
    fn expect_append(&self, end: u64, len: usize) {
        const LINES_MAX: usize = 20;
        let end = usize::try_from(end).expect("the mapping is in memory");
        let upto = self.memory.len().min(end + len.min(LINES_MAX * LINE_LEN) + LINE_LEN);
        for at in (end..upto).step_by(LINE_LEN) {
            // SAFETY: `at` is inside the mapping.
            prefetch_to_write(unsafe { self.memory.as_ptr().add(at) });
        }
    }

    /// Lets go of the pages that were written, before they are written back: they stay in the page
    /// cache. Writing back takes the right to write from every page that is mapped, one at a time,
    /// and tells the other processors each time (a fill of one thread spent a tenth of all
    /// processor time in that); this tells them once.
    fn unmap_written(&self) {
        let upto = self.end.load(Ordering::Acquire) / PAGE_BYTES * PAGE_BYTES;
        let from = self.unmapped.load(Ordering::Relaxed);
        if upto < from + UNMAP_BYTES_MIN || !cfg!(target_os = "linux") {
            return;
        }
        self.unmapped.fetch_max(upto, Ordering::Relaxed);
        let offset = usize::try_from(from).expect("the mapping is in memory");
        let len = usize::try_from(upto - from).expect("the mapping is in memory");
        // SAFETY: the mapping is shared and of a file: what was stored is in the page cache, and
        // the next access finds it there again. Only private or anonymous memory would be lost.
        // Advice: if it is refused the pages stay mapped.
        let _ =
            unsafe { self.memory.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, len) };
    }

    /// Takes the faults that the stores to these bytes would take.
    #[cfg(target_os = "linux")]
    fn map_writable(&self, from: u64, upto: u64) {
        let from = usize::try_from(from).expect("the mapping is in memory");
        let upto = usize::try_from(upto).expect("the mapping is in memory");
        // Advice: systems before Linux 5.14 refuse it.
        let _ = self.memory.advise_range(Advice::PopulateWrite, from, upto - from);
    }

    #[cfg(not(target_os = "linux"))]
    fn map_writable(&self, _from: u64, _upto: u64) {}

    #[cfg(test)]
    pub(super) fn broken(
        path: PathBuf,
        fd: &OwnedFd,
        sync: OwnedFd,
        from: u64,
        len: usize,
    ) -> StdAppendMap {
        let fd = fd.try_clone().expect("a descriptor");
        let map = StdAppendMap::new(path, fd, from, len, Arc::default()).expect("mapped");
        StdAppendMap { fd: sync, ..map }
    }

    /// As if another thread were in [`AppendMap::append`].
    #[cfg(test)]
    pub(super) fn pretend_to_append(&self) {
        self.appending.store(true, Ordering::Release);
    }

    fn require_sound(&self) -> Result<()> {
        self.sound.require(&self.path)
    }
}

/// Written bytes of an append mapping.
struct Written {
    memory: Arc<MmapRaw>,
    offset: usize,
    len: usize,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `StdAppendMap::read` checked that the range lies below the write position, so
        // it is inside the mapping, initialised, and never written again through this mapping;
        // `memory` keeps the mapping alive as long as `self`, to which the slice is bound.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(self.offset), self.len) }
    }
}

impl AppendMap for StdAppendMap {
    fn path(&self) -> &Path {
        &self.path
    }

    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.require_sound()?;
        let alone = !self.appending.swap(true, Ordering::Acquire);
        assert!(alone, "two threads append to {} at once", self.path.display());
        let end = self.end.load(Ordering::Relaxed);
        let fits = bytes.len() as u64 <= self.capacity - end;
        if fits {
            let upto = end + bytes.len() as u64;
            if self.ready.load(Ordering::Acquire) < upto {
                self.make_ready_upto(upto);
            }
            let offset = usize::try_from(end).expect("the mapping is in memory");
            // SAFETY: `end + bytes.len() <= capacity`, the length of the mapping, and the mapping
            // lives in `self.memory`. No slice covers bytes at or above `end`, the flag above
            // keeps other writers out, and `bytes` cannot overlap what no slice covers.
            unsafe {
                let target = self.memory.as_mut_ptr().add(offset);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
            }
            self.end.store(upto, Ordering::Release);
            self.expect_append(upto, bytes.len());
        }
        self.appending.store(false, Ordering::Release);
        if !fits {
            return Err(Error::invalid("the append does not fit into the mapping", &self.path));
        }
        Ok(())
    }

    fn runs_short(&self) -> bool {
        let ready = self.ready.load(Ordering::Relaxed);
        let is_short = ready - self.end.load(Ordering::Relaxed).min(ready) < READY_BYTES_MAX / 2
            && ready < self.capacity
            && self.ready_bytes.load(Ordering::Relaxed) == READY_BYTES_MAX;
        is_short
            && !self.told.load(Ordering::Relaxed)
            && !self.synced.load(Ordering::Relaxed)
            && !self.told.swap(true, Ordering::Relaxed)
    }

    fn make_ready(&self) {
        if self.require_sound().is_ok() && !self.synced.load(Ordering::Relaxed) {
            self.make_more_ready();
        }
        self.told.store(false, Ordering::Relaxed);
    }

    fn read(&self, offset: u64, len: usize) -> Result<Bytes> {
        let end = self.end.load(Ordering::Acquire);
        if offset.checked_add(len as u64).is_none_or(|upto| upto > end) {
            return Err(Error::invalid("not written yet", &self.path));
        }
        if len == 0 {
            return Ok(Bytes::new());
        }
        let offset = usize::try_from(offset).expect("the mapping is in memory");
        Ok(Bytes::from_owner(Written { memory: Arc::clone(&self.memory), offset, len }))
    }

    /// fdatasync and not msync: both write the dirty pages of the file and wait (measured on ext4
    /// after 166 B, 16 KiB and 1 MiB: 0.2, 0.4 and 1.1 ms either way, the difference is noise),
    /// but only fdatasync also covers a length that nobody synced yet.
    fn sync(&self) -> Result<()> {
        self.require_sound()?;
        self.synced.store(true, Ordering::Relaxed);
        self.unmap_written();
        self.sound.sync(&self.path, || system::sync_data(&self.fd))
    }
}
