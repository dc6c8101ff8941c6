//! A regular file: positional calls, and the poison that follows a failed one.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

use super::map::{self, StdAppendMap};
use super::sound::Soundness;
use super::system::{self, refused, retry};
use crate::error::{Error, Result};
use crate::fs::{Access, Advice, AppendMap, File, require_range};

/// Buffers the system takes in one call.
const BUFFERS_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct StdFile {
    // Constant after open.
    path: PathBuf,
    fd: OwnedFd,
    access: Access,

    /// Whether a write or sync of this handle or of an append mapping made from it failed.
    sound: Arc<Soundness>,
}

impl StdFile {
    pub(super) fn new(path: PathBuf, fd: OwnedFd, access: Access) -> StdFile {
        StdFile { path, fd, access, sound: Arc::default() }
    }

    /// Bytes of disk that are taken, as the system counts them.
    pub(super) fn allocated_bytes(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|errno| self.refused("stat", errno))?;
        // Blocks of 512 bytes, whatever the file system's own block is.
        Ok(u64::try_from(stat.st_blocks).expect("a count").saturating_mul(512))
    }

    fn refused(&self, op: &'static str, errno: Errno) -> Error {
        refused(op, self.path.as_path(), errno)
    }

    /// For a failure after which nobody knows what is on disk.
    fn poison(&self, op: &'static str, errno: Errno) -> Error {
        self.sound.lose();
        self.refused(op, errno)
    }

    fn require_writable(&self) -> Result<()> {
        if self.access == Access::Read {
            return Err(Error::invalid("opened for reading only", &self.path));
        }
        self.sound.require(&self.path)
    }

    /// `Invalid` unless the file holds `len` bytes: touching a mapping beyond the end kills the
    /// process.
    fn require_len(&self, len: u64) -> Result<usize> {
        if self.len()? < len {
            return Err(Error::invalid("the file is shorter than the mapping", &self.path));
        }
        usize::try_from(len)
            .ok()
            .filter(|len| isize::try_from(*len).is_ok())
            .ok_or_else(|| Error::invalid("too long to map on this machine", &self.path))
    }
}

impl File for StdFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|errno| self.refused("stat", errno))?;
        Ok(u64::try_from(stat.st_size).expect("lengths are not negative"))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        require_range(&self.path, offset, buffer.len() as u64)?;
        if buffer.is_empty() {
            return Ok(0);
        }
        retry(|| rustix::io::pread(&self.fd, &mut *buffer, offset))
            .map_err(|errno| self.refused("read", errno))
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.require_writable()?;
        let len = buffers.iter().map(|buffer| buffer.len() as u64).sum();
        require_range(&self.path, offset, len)?;
        if len == 0 {
            return Ok(0);
        }
        let taken = &buffers[..buffers.len().min(BUFFERS_MAX)];
        let result = match taken {
            [one] => retry(|| rustix::io::pwrite(&self.fd, one, offset)),
            many => retry(|| rustix::io::pwritev(&self.fd, many, offset)),
        };
        match result {
            Ok(0) if taken.iter().any(|buffer| !buffer.is_empty()) => {
                self.sound.lose();
                Err(Error::io("write", &self.path, io::ErrorKind::WriteZero.into()))
            }
            Ok(count) => Ok(count),
            Err(errno) => Err(self.poison("write", errno)),
        }
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.require_writable()?;
        require_range(&self.path, len, 0)?;
        retry(|| rustix::fs::ftruncate(&self.fd, len))
            .map_err(|errno| self.poison("truncate", errno))
    }

    fn preallocate(&self, offset: u64, len: u64) -> Result<()> {
        self.require_writable()?;
        require_range(&self.path, offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let before = self.len()?;
        let end = offset + len;
        let result = match system::reserve(&self.fd, offset, len) {
            Ok(false) if end > before => retry(|| rustix::fs::ftruncate(&self.fd, end)),
            Ok(_) => Ok(()),
            Err(errno) => Err(errno),
        };
        result.map_err(|errno| {
            // A file system that runs out half way may have grown the file as far as it came.
            // What was reserved behind the old end is given back; if even that fails, zeros
            // stand there, which no reader takes for data.
            if self.len().is_ok_and(|now| now > before) {
                let _ = retry(|| rustix::fs::ftruncate(&self.fd, before));
            }
            self.refused("preallocate", errno)
        })
    }

    fn sync_data(&self) -> Result<()> {
        self.sound.sync(&self.path, || system::sync_data(&self.fd))
    }

    fn sync_all(&self) -> Result<()> {
        self.sound.sync(&self.path, || system::sync_all(&self.fd))
    }

    fn map(&self, len: u64) -> Result<Bytes> {
        let len = self.require_len(len)?;
        map::read_only(&self.fd, len).map_err(|error| Error::io("map", &self.path, error))
    }

    fn map_append(&self, from: u64, len: u64) -> Result<Arc<dyn AppendMap>> {
        self.require_writable()?;
        let bytes = self.require_len(len)?;
        if from > len {
            return Err(Error::invalid("the append position is behind the mapping", &self.path));
        }
        let failed = |error| Error::io("map", &self.path, error);
        let fd = self.fd.try_clone().map_err(failed)?;
        let map = StdAppendMap::new(self.path.clone(), fd, from, bytes, Arc::clone(&self.sound))
            .map_err(failed)?;
        Ok(Arc::new(map))
    }

    fn advise(&self, offset: u64, len: u64, advice: Advice) {
        system::advise(&self.fd, offset, len, advice);
    }
}
