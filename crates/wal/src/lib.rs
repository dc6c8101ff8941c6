//! An append-only log of records: the first thing a write touches, the last thing recovery trusts.
//!
//! ```text
//! append -> frame -> segment file -> (sync) -> acknowledged
//! open   -> replay every whole frame -> find the end -> start a new segment behind it
//! ```
//!
//! ```
//! use std::sync::Arc;
//! use vfs::{Env, Fs};
//! use wal::{Durability, Log, Options, Start};
//!
//! # let disk = vfs::SimDisk::new(1);
//! # let (fs, env): (Arc<dyn Fs>, Env) = (disk.root(), Env::sim(1).env);
//! // let (fs, env) = (StdFs::..., Env::system());
//! let options = Options::new(Durability::Always);
//! let (log, _) = Log::open(fs.clone(), &env, options.clone(), Start::default(), &mut |_| Ok(()))?;
//! let position = log.append(b"lotus")?;
//! log.append_batch(&[b"all", b"or none"])?;
//! assert_eq!(log.read(position)?, &b"lotus"[..]);
//! drop(log);
//!
//! let mut records = Vec::new();
//! Log::open(fs, &env, options, Start::default(), &mut |record| {
//!     records.push(record.payload.to_vec());
//!     Ok(())
//! })?;
//! assert_eq!(records, [&b"lotus"[..], b"all", b"or none"]);
//! # Ok::<(), vfs::Error>(())
//! ```
//!
//! 1. A record is acknowledged as durable only after the sync that covers it and everything before
//!    it, earlier segments and file names included, returned.
//! 2. Replay yields every record so acknowledged, in order, then perhaps some that were not; a batch
//!    whole or not at all.
//! 3. Nothing is ever appended to or cut from a segment written before this open.
//! 4. Damage before a position that is known to have been synced is reported with file and offset,
//!    never cut off; a tail that a crash tore is cut off, never reported as damage.
//! 5. Ids and seqs never repeat, whatever was ignored.
//! 6. After a failed write or sync nothing is retried and nothing more is acknowledged; reads go on.
//! 7. A full disk is met when the next segment is created, before anything changed.

mod position;
mod format;
mod meta;
mod marks;
mod segment;
mod frames;
mod turn;
mod writer;
mod replay;
mod chain;
mod options;
mod tail;
mod log;
mod commit;
mod iter;

pub use crate::chain::Start;
pub use crate::format::{
    FRAME_HEADER_LEN, FrameKind, HEADER_LEN, Previous, RECORD_LEN_MAX, Role, SEGMENT, SEQ_MAX,
    SegmentHeader, VALUES,
};
pub use crate::frames::{Frame, FrameIter};
pub use crate::iter::Iter;
pub use crate::log::{Closed, Log, Recovered, Staged};
pub use crate::marks::MARK_BYTES;
pub use crate::meta::{ReadMode, SegmentMeta};
pub use crate::options::{AppendMode, Durability, Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use crate::position::{Position, SegmentId, SegmentIds};
pub use crate::replay::{End, Record, Visit, replay_segment};
pub use crate::segment::Segment;
pub use crate::writer::SegmentWriter;

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
