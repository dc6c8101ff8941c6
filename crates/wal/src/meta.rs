//! What is known of a segment, and how it is read.

use vfs::{Error, File, Name, Reader, Result};

use crate::format::{self, HEADER_BYTES, SegmentHeader};
use crate::position::SegmentId;

/// How the bytes of sealed segments are reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadMode {
    /// Through a mapping, without a copy. A media error under it ends the process.
    Mapped,
    /// By a positional read into memory of its own.
    Positional,
}

/// What an owner records of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentMeta {
    /// Which segment.
    pub id: SegmentId,
    /// Its valid bytes, header included.
    pub len: u64,
    /// Seq of its first record; 0 if it has none.
    pub first_seq: u64,
    /// Seq of its last record, or, if it has none, of the last one in the log before it.
    pub last_seq: u64,
}

/// Reads the header of the segment in `file`, which is named `name`.
pub(crate) fn read_header(file: &dyn File, name: Name) -> Result<SegmentHeader> {
    let id = u32::try_from(name.id)
        .map_err(|_| Error::corrupt("segment id", file.path(), 0, u64::from(u32::MAX), name.id))?;
    let mut bytes = [0; HEADER_BYTES];
    vfs::read_exact_at(file, &mut bytes, 0)?;
    format::decode_header(SegmentId(id), &mut Reader::new(file.path(), 0, &bytes))
}
