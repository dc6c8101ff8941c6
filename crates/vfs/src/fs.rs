//! The seam to the disk: an open directory ([`Fs`]), a file ([`File`]), a mapping one appends
//! through ([`AppendMap`]). What *durable* means:
//!
//! 1. Bytes of a file are durable after [`File::sync_data`] (with the length needed to read them)
//!    or [`AppendMap::sync`] returned.
//! 2. A name (created, linked, renamed or removed) is durable after [`Fs::sync_dir`] returned.
//! 3. After a failed write or sync a handle is poisoned: every later write and sync of it is
//!    [`Error::Poisoned`], because the kernel may have dropped the dirty pages and a second sync
//!    would lie (Rebello et al., ATC 2020). Reads go on. An append mapping and the handle it was
//!    made from share their poison: the kernel reports an error to one of them only. So is a
//!    directory handle poisoned for [`Fs::sync_dir`], and nothing else, when that fails.

use std::any::Any;
use std::fmt;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::name::Name;
use crate::planted::{self, Bug};

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Writes are refused.
    Read,
    /// Reads and writes. Never truncates.
    ReadWrite,
}

/// What is about to happen to a file. Changes nothing but time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// No particular order.
    Random,
    /// Front to back.
    Sequential,
    /// The range will be needed soon.
    WillNeed,
    /// The range will not be needed soon.
    DontNeed,
    /// The range was written and will be synced soon: the disk may begin. Makes nothing durable.
    WriteBack,
}

/// What [`File::preallocate`] guarantees in a directory, as [`Fs::preallocation`] found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preallocation {
    /// Space is reserved: a later write inside the range, also through a mapping, cannot run out
    /// of space.
    Reserves,
    /// The length changes, but space is taken only when bytes are written.
    LengthOnly,
}

/// One entry of a directory with a legal name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    /// Its name.
    pub name: Name,
    /// True for a directory, false for a regular file.
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// What a directory holds, in no particular order.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Regular files and directories whose names are in the grammar of [`Name`].
    pub entries: Vec<DirEntry>,
    /// Everything else (other names, symbolic links, devices), lossily; never touched. The lock
    /// file is in neither list.
    pub foreign: Vec<String>,
}

/// An open directory. Object-safe; all names are relative to it and come from a closed grammar.
pub trait Fs: Send + Sync + fmt::Debug + Any {
    /// Where the directory is, for messages.
    fn path(&self) -> &Path;

    /// Creates a file that must not exist and opens it for reading and writing.
    fn create_new(&self, name: Name) -> Result<Arc<dyn File>>;

    /// Opens an existing regular file; symbolic links are not followed. `NotFound` if there is
    /// none.
    fn open(&self, name: Name, access: Access) -> Result<Arc<dyn File>>;

    /// Renames a file. `Invalid` if `to` exists.
    fn rename(&self, from: Name, to: Name) -> Result<()>;

    /// Gives a file a second name, in directory `to`, which must be on the same file system.
    /// `Invalid` if `to_name` exists or the file system cannot link there (copy then).
    fn link(&self, from: Name, to: &dyn Fs, to_name: Name) -> Result<()>;

    /// Removes a file. Open handles and mappings of it stay readable.
    fn remove(&self, name: Name) -> Result<()>;

    /// What the directory holds.
    fn list(&self) -> Result<Listing>;

    /// Makes every name of this directory durable.
    fn sync_dir(&self) -> Result<()>;

    /// Creates a directory that must not exist and opens it.
    fn create_dir(&self, name: Name) -> Result<Arc<dyn Fs>>;

    /// Opens a directory; symbolic links are not followed.
    fn open_dir(&self, name: Name) -> Result<Arc<dyn Fs>>;

    /// Removes an empty directory.
    fn remove_dir(&self, name: Name) -> Result<()>;

    /// Takes the directory's lock, the file `LOCK`, which is created if missing and never
    /// removed. `Locked` if any other handle holds it, in this process or another.
    fn lock(&self) -> Result<Box<dyn Lock>>;

    /// Bytes that can still be written here, as the system tells.
    fn free_space(&self) -> Result<u64>;

    /// What preallocation guarantees in this directory. Probed once with a scratch file.
    fn preallocation(&self) -> Result<Preallocation>;

    /// For implementations that must recognise their own kind (links between directories).
    fn as_any(&self) -> &dyn Any;
}

/// A held lock; dropping it lets go. The file stays.
pub trait Lock: Send + Sync + fmt::Debug {
    /// The lock file.
    fn path(&self) -> &Path;

    /// `Locked` unless the name still leads to the file that is held: somebody may have removed
    /// and recreated it.
    fn verify(&self) -> Result<()>;
}

/// An open file. Positional, `u64` offsets, no cursor; safe to share.
pub trait File: Send + Sync + fmt::Debug {
    /// Where the file is, for messages.
    fn path(&self) -> &Path;

    /// Length in bytes.
    fn len(&self) -> Result<u64>;

    /// True if the file holds no byte.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads at `offset`, perhaps fewer bytes than asked; 0 at and past the end. See
    /// [`read_exact_at`].
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;

    /// Writes at `offset`, perhaps fewer bytes than given. See [`write_all_at`]. A write that
    /// fails poisons the handle, a full disk included: part of it may be in place.
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize>;

    /// Sets the length. Bytes beyond the old one read as zeros.
    fn truncate(&self, len: u64) -> Result<()>;

    /// Asks for space for `offset..offset + len` and grows the file to cover it; new bytes read as
    /// zeros. On a full disk `NoSpace`, and nothing is poisoned.
    fn preallocate(&self, offset: u64, len: u64) -> Result<()>;

    /// Makes bytes and the length needed to read them durable.
    fn sync_data(&self) -> Result<()>;

    /// As [`File::sync_data`], and all other attributes.
    fn sync_all(&self) -> Result<()>;

    /// Maps the first `len` bytes for reading. The file must be that long and must not be cut
    /// below it while any part of the mapping lives; slices of the result share it.
    fn map(&self, len: u64) -> Result<Bytes>;

    /// Maps the first `len` bytes for appending from `from` on; bytes before `from` can be read.
    /// Those behind it are the mapping's, which may set what it has not written to zero at any
    /// time: nobody else writes there. The file must be that long, preallocated where
    /// [`Preallocation::Reserves`].
    fn map_append(&self, from: u64, len: u64) -> Result<Arc<dyn AppendMap>>;

    /// Tells the system what will be read. Never fails loudly.
    fn advise(&self, offset: u64, len: u64, advice: Advice);
}

/// A mapping that is written front to back, once, and read up to where it is written.
///
/// The write position only moves forward, so a slice handed to a reader is never written again.
pub trait AppendMap: Send + Sync + fmt::Debug {
    /// Where the file is, for messages.
    fn path(&self) -> &Path;

    /// Bytes mapped.
    fn capacity(&self) -> u64;

    /// Bytes written so far: where the next append goes.
    fn end(&self) -> u64;

    /// Copies `bytes` to the end; they survive the death of the process when this returns.
    /// `Invalid` if they do not fit, `Poisoned` after a failed sync.
    ///
    /// # Panics
    /// If two threads append at once: the owner has a lock for that.
    fn append(&self, bytes: &[u8]) -> Result<()>;

    /// True when appends come fast and little memory is left that is ready for them: a good moment
    /// for another thread to call [`AppendMap::make_ready`]. True once, until that was called.
    fn runs_short(&self) -> bool {
        false
    }

    /// Makes memory ready for appends to come, beside appends. Advice: it never fails loudly, and
    /// an append that finds its memory not ready makes it so itself.
    fn make_ready(&self) {}

    /// The bytes `offset..offset + len`, without a copy. `Invalid` if they are not all written.
    fn read(&self, offset: u64, len: usize) -> Result<Bytes>;

    /// Makes everything durable that was appended before the call (and the length of the file).
    /// A failure poisons the mapping.
    fn sync(&self) -> Result<()>;
}

/// The longest a file may become: what fits a signed 64-bit offset.
pub const FILE_LEN_MAX: u64 = u64::MAX >> 1;

/// `Invalid` unless `offset..offset + len` ends at or below [`FILE_LEN_MAX`].
pub(crate) fn require_range(path: &Path, offset: u64, len: u64) -> Result<()> {
    if offset.checked_add(len).is_none_or(|end| end > FILE_LEN_MAX) {
        return Err(Error::invalid("an offset is at most 2^63 - 1", path));
    }
    Ok(())
}

/// Fills `buffer` from `offset`. A file that ends before is `Corrupt`, naming the offset at which
/// it ends.
pub fn read_exact_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + done as u64;
        let count = file.read_at(&mut buffer[done..], at)?;
        if count == 0 {
            let wanted = offset + buffer.len() as u64;
            return Err(Error::corrupt("end of file", file.path(), at, wanted, at));
        }
        done += count;
    }
    Ok(())
}

/// Writes all of `bytes` at `offset`, however often the system takes only a part.
pub fn write_all_at(file: &dyn File, bytes: &[u8], offset: u64) -> Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let count = file.write_at(&[IoSlice::new(&bytes[done..])], offset + done as u64)?;
        assert!(0 < count && count <= bytes.len() - done, "a write takes some of its bytes");
        done += if planted::is(Bug::ShortWriteIgnored) { bytes.len() } else { count };
    }
    Ok(())
}

/// Writes `from..to` of a file once more, as it is and where it is; what the file has of it. After
/// a sync that failed, what an earlier process wrote may be in the system's cache alone and look
/// clean there, so that no later sync writes it.
pub fn write_again(file: &dyn File, from: u64, to: u64) -> Result<()> {
    const BYTES: u64 = 1 << 20;
    let mut buffer = Vec::new();
    let mut offset = from;
    while offset < to {
        buffer.resize(usize::try_from(BYTES.min(to - offset)).expect("it is small"), 0);
        let count = file.read_at(&mut buffer, offset)?;
        if count == 0 {
            break;
        }
        write_all_at(file, &buffer[..count], offset)?;
        offset += count as u64;
    }
    Ok(())
}

/// The length of blocks, aligned in the file, in which large files are written: the page cache
/// keeps in one large page what was written at once, and a mapping of it then takes one entry of
/// the processor's translation cache where small pages take 512.
pub const BLOCK_LEN: usize = 2 << 20;

/// Writes as much of `buffer`, which belongs at `offset`, as fills blocks to their end, and takes
/// it out of the buffer. Returns how many bytes that were: none while no block is full. What is
/// left in the end is for [`write_all_at`].
pub fn write_blocks_at(file: &dyn File, buffer: &mut Vec<u8>, offset: u64) -> Result<u64> {
    let end = offset + buffer.len() as u64;
    let whole = (end - end % BLOCK_LEN as u64).saturating_sub(offset);
    let len = usize::try_from(whole).expect("it is in memory");
    if len > 0 {
        write_all_at(file, &buffer[..len], offset)?;
        buffer.drain(..len);
    }
    Ok(whole)
}
