//! Calls that differ between systems, and what their error numbers mean.

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::error::Error;

pub(super) const ALREADY_EXISTS: &str = "it already exists";
pub(super) const NOT_A_FILE: &str = "not a regular file";
pub(super) const NOT_A_DIRECTORY: &str = "not a directory";

/// How often an interrupted call is repeated before it counts as failed. Signals are rare; a file
/// system that always answers so must not hang the process.
const INTERRUPTIONS_MAX: u32 = 100;

/// Repeats a call that a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    for _ in 1..INTERRUPTIONS_MAX {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
    call()
}

/// The error for what the system refused.
pub(super) fn refused(op: &'static str, path: impl Into<PathBuf>, errno: Errno) -> Error {
    match errno {
        Errno::EXIST => Error::invalid(ALREADY_EXISTS, path),
        Errno::NOTDIR => Error::invalid(NOT_A_DIRECTORY, path),
        _ => Error::io(op, path, errno.into()),
    }
}

/// Bytes and the length needed to read them, on stable storage. Never repeated.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn sync_data(fd: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::fdatasync(fd)
}

/// Everything about the file, on stable storage. Never repeated.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn sync_all(fd: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::fsync(fd)
}

// On Apple's systems fsync stops at the drive's own cache.
#[cfg(target_vendor = "apple")]
pub(super) fn sync_data(fd: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::fcntl_fullfsync(fd)
}

#[cfg(target_vendor = "apple")]
pub(super) fn sync_all(fd: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::fcntl_fullfsync(fd)
}

/// Reserves space and grows the file to cover it; `Ok(false)` if this is not supported here.
#[cfg(target_os = "linux")]
pub(super) fn reserve(fd: impl AsFd, offset: u64, len: u64) -> rustix::io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    match retry(|| fallocate(&fd, FallocateFlags::empty(), offset, len)) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reserve(_fd: impl AsFd, _offset: u64, _len: u64) -> rustix::io::Result<bool> {
    Ok(false)
}

/// Writes zeros, from a piece that stays in the processor's cache.
pub(super) fn write_zeros(fd: impl AsFd, mut offset: u64, len: u64) -> rustix::io::Result<()> {
    const PIECES_MAX: usize = 64;
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let end = offset + len;
    while offset < end {
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let mut left = end - offset;
        for piece in &mut pieces {
            let len = ZEROS.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            *piece = IoSlice::new(&ZEROS[..len]);
            left -= len as u64;
        }
        match retry(|| rustix::io::pwritev(&fd, &pieces, offset))? {
            0 => return Err(Errno::IO),
            written => offset += written as u64,
        }
    }
    Ok(())
}

/// True on file systems that write an overwritten block elsewhere, so that a reservation inside a
/// file guarantees nothing (compression and snapshots break it even where one write would do).
#[cfg(target_os = "linux")]
pub(super) fn copies_on_write(fd: impl AsFd) -> bool {
    use rustix::fs::FsWord;
    const BTRFS: FsWord = 0x9123_683e;
    const ZFS: FsWord = 0x2fc1_2fc1;
    const BCACHEFS: FsWord = 0xca45_1a4e;
    const NILFS: FsWord = 0x3434;
    const F2FS: FsWord = 0xf2f5_2010;
    match rustix::fs::fstatfs(fd) {
        Ok(stat) => matches!(stat.f_type, BTRFS | ZFS | BCACHEFS | NILFS | F2FS),
        Err(_) => true,
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn copies_on_write(_fd: impl AsFd) -> bool {
    true
}

/// Renames within a directory; `EXIST` if `to` is taken.
pub(super) fn rename_without_replacing(
    directory: impl AsFd,
    from: &str,
    to: &str,
) -> rustix::io::Result<()> {
    use rustix::fs::{AtFlags, renameat, statat};
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        let flags = RenameFlags::NOREPLACE;
        match retry(|| renameat_with(&directory, from, &directory, to, flags)) {
            // Not every file system knows the flag.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            other => return other,
        }
    }
    // Look, then rename: enough against ourselves, since a directory has one writer (its lock).
    match retry(|| statat(&directory, to, AtFlags::SYMLINK_NOFOLLOW)) {
        Err(Errno::NOENT) => retry(|| renameat(&directory, from, &directory, to)),
        Ok(_) => Err(Errno::EXIST),
        Err(errno) => Err(errno),
    }
}

/// Tells the system what will be read; whether it listens does not matter.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(super) fn advise(fd: impl AsFd, offset: u64, len: u64, advice: crate::fs::Advice) {
    use rustix::fs::Advice as System;
    let advice = match advice {
        crate::fs::Advice::WriteBack => return write_back(fd, offset, len),
        crate::fs::Advice::Random => System::Random,
        crate::fs::Advice::Sequential => System::Sequential,
        crate::fs::Advice::WillNeed => System::WillNeed,
        crate::fs::Advice::DontNeed => System::DontNeed,
    };
    // A length of zero would mean "to the end of the file".
    if let Some(len) = std::num::NonZeroU64::new(len) {
        let _ = rustix::fs::fadvise(fd, offset, Some(len), advice);
    }
}

/// Has the system begin to write a range to the disk. What goes wrong the next sync reports.
#[cfg(target_os = "linux")]
fn write_back(fd: impl AsFd, offset: u64, len: u64) {
    use std::os::fd::AsRawFd;
    let range = (libc::off64_t::try_from(offset), libc::off64_t::try_from(len));
    // A length of zero would mean "to the end of the file".
    let (Ok(offset), Ok(len @ 1..)) = range else { return };
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the call takes numbers only, and the descriptor is open while it is borrowed.
    let _ = unsafe { libc::sync_file_range(fd, offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(target_os = "freebsd")]
fn write_back(_fd: impl AsFd, _offset: u64, _len: u64) {}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(super) fn advise(_fd: impl AsFd, _offset: u64, _len: u64, _advice: crate::fs::Advice) {}
