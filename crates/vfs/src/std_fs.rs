//! The real disk: directories and files by descriptor, never by a path that others can redirect.
//!
//! Everything below the directory that the caller named is reached relative to its descriptor and
//! without following symbolic links. Only this module and its children talk to the system's files.
//!
//! 1. Nothing existing is ever overwritten by a create, a link or a rename, or cut by an open.
//! 2. Files are 0600, directories 0700.
//! 3. A call interrupted by a signal is repeated, a sync never: after a failed sync the pages may
//!    be gone.
//! 4. Poison belongs to a handle. A file opened twice has two handles, and the second may go on
//!    after the first failed: whoever opens a file twice must not trust the other handle's writes.

mod system;

mod file;
mod lock;
mod map;
mod sound;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests plant files behind the back of vfs")]
mod tests;

use std::any::Any;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use self::file::StdFile;
use self::lock::StdLock;
use self::sound::Soundness;
use self::system::{ALREADY_EXISTS, NOT_A_DIRECTORY, NOT_A_FILE, refused, retry};
use crate::error::{Error, Result};
use crate::fs::{Access, DirEntry, File, Fs, Listing, Lock, Preallocation};
use crate::name::{Kind, Name};

/// The file that a lock is held on. Not in the grammar of [`Name`], so it is in no listing.
const LOCK: &str = "LOCK";

/// Scratch files of [`Fs::preallocation`]; one left behind by a crash is an unknown file.
const PROBE: Kind = Kind::new("probe");

/// Bytes the probe asks for: more than any file system keeps inside an inode.
const PROBE_BYTES: u64 = 128 << 10;

/// An open directory of the real disk.
///
/// ```
/// use vfs::{Access, Fs, Kind, Name, StdFs, read_exact_at, write_all_at};
/// # let scratch = tempfile::tempdir().expect("a scratch directory");
/// # let path = scratch.path().join("data");
/// let fs = StdFs::create(&path)?;
/// let name = Name::new(Kind::new("note"), 1);
/// let file = fs.create_new(name)?;
/// write_all_at(&*file, b"lotus", 0)?;
/// file.sync_data()?; // the bytes are durable
/// fs.sync_dir()?; // and so is the name
/// let mut bytes = [0; 5];
/// read_exact_at(&*fs.open(name, Access::Read)?, &mut bytes, 0)?;
/// assert_eq!(&bytes, b"lotus");
/// # Ok::<(), vfs::Error>(())
/// ```
#[derive(Debug)]
pub struct StdFs {
    // Constant after open.
    path: PathBuf,
    fd: OwnedFd,

    /// Whether a sync of the directory failed; see rule 3 of [`crate::fs`].
    sound: Soundness,
    /// What the probe found.
    preallocation: Mutex<Option<Preallocation>>,
}

impl StdFs {
    /// Opens an existing directory. The path may lead through symbolic links: it is the caller's.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Invalid` if it is no directory, `Io` if it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<dyn Fs>> {
        let path = path.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry(|| rustix::fs::open(path, flags, Mode::empty()))
            .map_err(|errno| refused("open", path, errno))?;
        Ok(StdFs::from_fd(path.to_owned(), fd))
    }

    /// Opens a directory, creating it and its parents (mode 0700) as far as they are missing.
    /// What is created is durable on return.
    ///
    /// # Errors
    /// As [`StdFs::open`], and those of creating a directory.
    pub fn create(path: impl AsRef<Path>) -> Result<Arc<dyn Fs>> {
        let path = path.as_ref();
        let mut missing = Vec::new();
        for ancestor in path.ancestors().filter(|a| !a.as_os_str().is_empty()) {
            match retry(|| rustix::fs::stat(ancestor)) {
                Ok(_) => {
                    // A process that died right after it made this one may not have synced the
                    // parent. If it did not make it, the parent may be none of our business, so a
                    // refusal says nothing.
                    let _ = StdFs::open(parent(ancestor)).and_then(|fs| fs.sync_dir());
                    break;
                }
                Err(Errno::NOENT) => missing.push(ancestor),
                Err(errno) => return Err(refused("stat", ancestor, errno)),
            }
        }
        for directory in missing.into_iter().rev() {
            match retry(|| rustix::fs::mkdirat(CWD, directory, Mode::RWXU)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(refused("create", directory, errno)),
            }
            StdFs::open(parent(directory))?.sync_dir()?;
        }
        StdFs::open(path)
    }

    fn from_fd(path: PathBuf, fd: OwnedFd) -> Arc<dyn Fs> {
        let sound = Soundness::default();
        Arc::new(StdFs { path, fd, sound, preallocation: Mutex::new(None) })
    }

    fn at(&self, name: Name) -> PathBuf {
        self.path.join(name.to_string())
    }

    fn stat(&self, name: &str) -> rustix::io::Result<Stat> {
        retry(|| rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// `Invalid` or `NotFound` unless `name` is a regular file.
    fn require_file(&self, op: &'static str, name: Name) -> Result<()> {
        let stat = self.stat(&name.to_string()).map_err(|e| refused(op, self.at(name), e))?;
        if file_type(&stat) != FileType::RegularFile {
            return Err(Error::invalid(NOT_A_FILE, self.at(name)));
        }
        Ok(())
    }

    fn create_file(&self, name: Name) -> Result<StdFile> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let text = name.to_string();
        let fd =
            retry(|| rustix::fs::openat(&self.fd, text.as_str(), flags | OFlags::CLOEXEC, mode))
                .map_err(|errno| refused("create", self.at(name), errno))?;
        Ok(StdFile::new(self.at(name), fd, Access::ReadWrite))
    }

    /// Asks for blocks and looks whether they are there. A full disk tells nothing: `None`.
    fn probe(&self) -> Result<Option<Preallocation>> {
        if system::copies_on_write(&self.fd) {
            // Space reserved for a file does not pay for the copy that an overwrite makes.
            return Ok(Some(Preallocation::LengthOnly));
        }
        let name = Name::new(PROBE, rand::random());
        let file = match self.create_file(name) {
            Err(Error::NoSpace { .. }) => return Ok(None),
            other => other?,
        };
        let blocks = file.preallocate(0, PROBE_BYTES).and_then(|()| file.allocated_bytes());
        self.remove(name)?;
        match blocks {
            Ok(bytes) if bytes >= PROBE_BYTES => Ok(Some(Preallocation::Reserves)),
            Ok(_) => Ok(Some(Preallocation::LengthOnly)),
            Err(Error::NoSpace { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The directory that a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

impl Fs for StdFs {
    fn path(&self) -> &Path {
        &self.path
    }

    fn create_new(&self, name: Name) -> Result<Arc<dyn File>> {
        Ok(Arc::new(self.create_file(name)?))
    }

    fn open(&self, name: Name, access: Access) -> Result<Arc<dyn File>> {
        let mode = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        // Opening a pipe would wait for its other end, hence NONBLOCK; regular files ignore it.
        let flags = mode | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let text = name.to_string();
        let fd = retry(|| rustix::fs::openat(&self.fd, text.as_str(), flags, Mode::empty()))
            .map_err(|errno| match errno {
                Errno::LOOP | Errno::ISDIR | Errno::NXIO => {
                    Error::invalid(NOT_A_FILE, self.at(name))
                }
                _ => refused("open", self.at(name), errno),
            })?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| refused("stat", self.at(name), e))?;
        if file_type(&stat) != FileType::RegularFile {
            return Err(Error::invalid(NOT_A_FILE, self.at(name)));
        }
        Ok(Arc::new(StdFile::new(self.at(name), fd, access)))
    }

    fn rename(&self, from: Name, to: Name) -> Result<()> {
        self.require_file("rename", from)?;
        let (old, new) = (from.to_string(), to.to_string());
        match system::rename_without_replacing(&self.fd, &old, &new) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(Error::invalid(ALREADY_EXISTS, self.at(to))),
            Err(errno) => Err(refused("rename", self.at(from), errno)),
        }
    }

    fn link(&self, from: Name, to: &dyn Fs, to_name: Name) -> Result<()> {
        let Some(to) = to.as_any().downcast_ref::<StdFs>() else {
            return Err(Error::invalid("cannot link to another kind of file system", to.path()));
        };
        self.require_file("link", from)?;
        let (old, new) = (from.to_string(), to_name.to_string());
        retry(|| rustix::fs::linkat(&self.fd, old.as_str(), &to.fd, new.as_str(), AtFlags::empty()))
            .map_err(|errno| match errno {
                Errno::EXIST => Error::invalid(ALREADY_EXISTS, to.at(to_name)),
                Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS => {
                    Error::invalid("the file system cannot link there", to.at(to_name))
                }
                // The file was there a moment ago: the other directory was removed.
                Errno::NOENT => Error::NotFound { path: to.at(to_name) },
                _ => refused("link", self.at(from), errno),
            })
    }

    fn remove(&self, name: Name) -> Result<()> {
        self.require_file("remove", name)?;
        let text = name.to_string();
        retry(|| rustix::fs::unlinkat(&self.fd, text.as_str(), AtFlags::empty()))
            .map_err(|errno| refused("remove", self.at(name), errno))
    }

    fn list(&self) -> Result<Listing> {
        let failed = |errno| refused("list", self.path.as_path(), errno);
        let mut listing = Listing::default();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let text = entry.file_name().to_string_lossy();
            if matches!(&*text, "." | ".." | LOCK) {
                continue;
            }
            let Some(name) = Name::parse(&text) else {
                listing.foreign.push(text.into_owned());
                continue;
            };
            let stat = match self.stat(&text) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue, // removed since
                Err(errno) => return Err(refused("stat", self.at(name), errno)),
            };
            match file_type(&stat) {
                FileType::RegularFile => {
                    let len = u64::try_from(stat.st_size).expect("lengths are not negative");
                    listing.entries.push(DirEntry { name, is_dir: false, len });
                }
                FileType::Directory => {
                    listing.entries.push(DirEntry { name, is_dir: true, len: 0 });
                }
                _ => listing.foreign.push(text.into_owned()),
            }
        }
        Ok(listing)
    }

    fn sync_dir(&self) -> Result<()> {
        self.sound.sync(&self.path, || system::sync_all(&self.fd))
    }

    fn create_dir(&self, name: Name) -> Result<Arc<dyn Fs>> {
        let text = name.to_string();
        retry(|| rustix::fs::mkdirat(&self.fd, text.as_str(), Mode::RWXU))
            .map_err(|errno| refused("create", self.at(name), errno))?;
        self.open_dir(name)
    }

    fn open_dir(&self, name: Name) -> Result<Arc<dyn Fs>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let text = name.to_string();
        let fd = retry(|| rustix::fs::openat(&self.fd, text.as_str(), flags, Mode::empty()))
            .map_err(|errno| match errno {
                Errno::LOOP => Error::invalid(NOT_A_DIRECTORY, self.at(name)),
                _ => refused("open", self.at(name), errno),
            })?;
        Ok(StdFs::from_fd(self.at(name), fd))
    }

    fn remove_dir(&self, name: Name) -> Result<()> {
        let text = name.to_string();
        retry(|| rustix::fs::unlinkat(&self.fd, text.as_str(), AtFlags::REMOVEDIR)).map_err(
            |errno| match errno {
                Errno::NOTEMPTY | Errno::EXIST => {
                    Error::invalid("the directory is not empty", self.at(name))
                }
                _ => refused("remove", self.at(name), errno),
            },
        )
    }

    fn lock(&self) -> Result<Box<dyn Lock>> {
        let directory = self.fd.try_clone().map_err(|e| Error::io("lock", &self.path, e))?;
        Ok(Box::new(StdLock::take(directory, self.path.join(LOCK))?))
    }

    fn free_space(&self) -> Result<u64> {
        let stat = retry(|| rustix::fs::fstatvfs(&self.fd))
            .map_err(|errno| refused("stat", self.path.as_path(), errno))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn preallocation(&self) -> Result<Preallocation> {
        let mut known = self.preallocation.lock();
        if let Some(found) = *known {
            return Ok(found);
        }
        *known = self.probe()?;
        Ok(known.unwrap_or(Preallocation::LengthOnly))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
