//! The lock on a directory: an advisory lock on a file that is never removed. Removing it would
//! let a second process create and lock another file of the same name.

use std::fs::{File, TryLockError};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::LOCK;
use super::system::{NOT_A_FILE, refused, retry};
use crate::error::{Error, Result};
use crate::fs::Lock;

/// How often the lock file may be swapped under our hands before we call it held by others.
const ATTEMPTS: u32 = 8;

#[derive(Debug)]
pub(super) struct StdLock {
    path: PathBuf,
    directory: OwnedFd,
    /// Holds the lock. The system lets go of it when the process dies.
    file: File,
}

impl Drop for StdLock {
    /// Not by closing alone: a process that another thread forked meanwhile shares the open file,
    /// and with it the lock, until it executes its program.
    fn drop(&mut self) {
        // Without it closing is all that can be done, and mostly enough.
        drop(self.file.unlock());
    }
}

impl StdLock {
    /// What a process that was forked holds.
    #[cfg(test)]
    pub(super) fn inherited(&self) -> File {
        self.file.try_clone().expect("a descriptor")
    }

    pub(super) fn take(directory: OwnedFd, path: PathBuf) -> Result<StdLock> {
        for _ in 0..ATTEMPTS {
            let file = open(&directory, &path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
            }
            // Between open and lock somebody may have put another file in its place.
            if leads_to(&directory, &path, &file)? {
                return Ok(StdLock { path, directory, file });
            }
        }
        Err(Error::Locked { path })
    }
}

impl Lock for StdLock {
    fn path(&self) -> &Path {
        &self.path
    }

    fn verify(&self) -> Result<()> {
        if leads_to(&self.directory, &self.path, &self.file)? {
            return Ok(());
        }
        Err(Error::Locked { path: self.path.clone() })
    }
}

fn open(directory: &OwnedFd, path: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let fd = retry(|| rustix::fs::openat(directory, LOCK, flags | OFlags::NONBLOCK, mode))
        .map_err(|errno| match errno {
            Errno::LOOP | Errno::ISDIR | Errno::NXIO => Error::invalid(NOT_A_FILE, path),
            _ => refused("lock", path, errno),
        })?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| refused("stat", path, errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::invalid(NOT_A_FILE, path));
    }
    Ok(File::from(fd))
}

/// True if the name `LOCK` leads to the open file.
fn leads_to(directory: &OwnedFd, path: &Path, file: &File) -> Result<bool> {
    let held = rustix::fs::fstat(file).map_err(|errno| refused("stat", path, errno))?;
    match retry(|| rustix::fs::statat(directory, LOCK, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(named) => Ok(identity(&named) == identity(&held)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(refused("stat", path, errno)),
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
