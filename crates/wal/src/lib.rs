//! Appends records to segment files and reads them back, by replay or by position.

mod position;
mod format;
mod segment;
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
pub use crate::iter::Iter;
pub use crate::log::{Closed, Log, Recovered, Staged};
pub use crate::options::{AppendMode, Durability, Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use crate::position::{Position, SegmentId, SegmentIds};
pub use crate::replay::{End, Record, Visit, replay_segment};
pub use crate::segment::{Frame, FrameIter, ReadMode, Segment, SegmentMeta};
pub use crate::writer::SegmentWriter;
