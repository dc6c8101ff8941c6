//! A log: the sequence of its segments, opened after any crash and read while it grows.
//!
//! 1. Nothing is ever appended to, or cut from, a segment that an earlier open wrote. Bytes that
//!    nothing attests are written once more, as they are, by the open that will attest them.
//! 2. Ids and seqs never repeat, whatever was ignored.
//! 3. Lock order: `tail`, then `segments`. A turn's lock is never held while taking another.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vfs::sync::{Mutex, RwLock};
use vfs::{Env, Error, File, Fs, Name, Result};

use crate::chain::{self, Chain, Start};
use crate::format::{self, FRAME_HEADER_LEN, HEADER_LEN, Previous, Role, SegmentHeader};
use crate::meta::SegmentMeta;
use crate::options::{AppendMode, Options, SEGMENT_BYTES_MIN};
use crate::position::{ALIGN, Position, SegmentId, SegmentIds};
use crate::replay::Visit;
use crate::segment::Segment;
use crate::tail::Tail;
use crate::turn::{Poison, Turn};

/// What [`Log::open`] found.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// How many records were visited.
    pub records: u64,
    /// The segments they are in, oldest first, without the new one.
    pub segments: Vec<SegmentMeta>,
    /// Segment files that are no part of the log: left alone, the owner's to remove.
    pub ignored: Vec<Name>,
    /// Where an unfinished tail was cut off, and how many bytes lie behind it, ignored.
    pub cut: Option<(Position, u64)>,
    /// Seq of the last record.
    pub last_seq: u64,
    /// The highest seq seen, in ignored frames too.
    pub max_seq_seen: u64,
}

impl Recovered {
    fn of(chain: &Chain) -> Recovered {
        Recovered {
            records: chain.records,
            segments: chain.links.iter().map(|link| link.meta).collect(),
            ignored: chain.ignored.clone(),
            cut: chain.cut,
            last_seq: chain.last_seq,
            max_seq_seen: chain.max_seq_seen,
        }
    }
}

/// A record's place, reserved and filled by `Log::stage`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Staged {
    /// Of the frame's first byte.
    pub position: Position,
    /// Of the payload's first byte.
    pub address: Position,
    /// Behind the frame: what a commit waits for.
    pub end: Position,
    /// Its seq.
    pub seq: u64,
    /// The record is the first of a new segment.
    pub rotated: bool,
    /// The mapping that is appended to has little memory left that is ready: see
    /// [`Log::make_ready`].
    pub runs_short: bool,
}

/// How a log was left by `Log::close`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// The last segment, sealed and synced, for the owner's records: the next open's
    /// [`Start::attested`].
    pub end: SegmentMeta,
}

/// An append-only sequence of records in segment files. See the crate's documentation.
pub struct Log {
    // Constant after open.
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) env: Env,
    pub(crate) options: Options,
    pub(crate) append_mode: AppendMode,
    log_id: u64,
    epoch: u64,
    ids: SegmentIds,

    /// Makes do with small segments on a full disk.
    frugal: AtomicBool,
    pub(crate) poison: Poison,
    /// Staged bytes that are in place.
    pub(crate) written: Turn,
    /// Bytes in place that are durable, with all segments and names before them.
    pub(crate) synced: Turn,
    /// All bytes staged since open, and how many of them are synced.
    pub(crate) staged_bytes: AtomicU64,
    pub(crate) synced_bytes: AtomicU64,
    /// When the last sync ended, on the monotonic clock.
    pub(crate) synced_at_ms: AtomicU64,

    /// 1. The end of the log. Held while staging and rotating; never across a sync.
    pub(crate) tail: Mutex<Tail>,
    /// 2. What readers see.
    pub(crate) segments: RwLock<BTreeMap<SegmentId, Arc<Segment>>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.fs.path();
        f.debug_struct("Log").field("path", &path).field("id", &self.log_id).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log in `fs`, or starts one: gives every record of whole batches to `visit`, in
    /// order, tells a torn tail from damage, makes durable what it keeps (files and directory) and starts
    /// a new segment behind it. No byte of an old segment changes; segment files off the chain are left
    /// alone and reported.
    ///
    /// # Errors
    /// `Corrupt` for damage, naming file and offset (some records were visited then); `NotFound`
    /// if [`Start::first`] is missing; `Invalid` for bad options or an unknown format version; the
    /// first error of `visit`; whatever the disk says.
    pub fn open(
        fs: Arc<dyn Fs>,
        env: &Env,
        options: Options,
        start: Start,
        visit: Visit<'_>,
    ) -> Result<(Log, Recovered)> {
        options.validate(fs.path())?;
        let append_mode = options.append_mode_in(&*fs)?;
        let mut chain = chain::replay_log(&fs, options.kind, &start, visit)?;
        keep(&*fs, &mut chain)?;
        let seq_floor = match planted::is(Bug::SeqReused) {
            true => start.seq_floor,
            false => start.seq_floor.max(chain.max_seq_seen),
        };
        let tip = chain.links.last();
        let end = tip.map(|tip| Position { segment: tip.meta.id, offset: tip.meta.len });
        let maker = Maker { fs: &fs, options: &options, append_mode };
        let header = SegmentHeader {
            log_id: chain.log_id.or(start.log_id).unwrap_or_else(|| env.rng.next_u64()),
            id: start.ids.next()?,
            role: Role::Log,
            salt: env.rng.next_u64(),
            epoch: chain.epoch + 1,
            previous: tip.map(|tip| previous(&tip.meta)),
            recovered: tip.is_some(),
            synced: end,
            seq_floor,
        };
        let (log_id, epoch) = (header.log_id, header.epoch);
        let (active, capacity) = match start.frugal {
            true => maker.create_with(header, 0, SEGMENT_BYTES_MIN),
            false => maker.create_small(header, 0, SEGMENT_BYTES_MIN),
        }?;
        active.write(&format::encode_header(active.header()))?;
        active.sync()?;
        fs.sync_dir()?;
        active.set_started();

        let recovered = Recovered::of(&chain);
        let mut segments = BTreeMap::new();
        for link in chain.links {
            let segment = Segment::sealed(link.file, link.header, options.read_mode, &link.meta);
            segments.insert(segment.id(), Arc::new(segment));
        }
        segments.insert(active.id(), Arc::clone(&active));
        let is_mapped = append_mode == AppendMode::Mapped;
        let tail = Tail::new(active, is_mapped, capacity, seq_floor);
        let durable = tail.end();
        let log = Log {
            frugal: AtomicBool::new(start.frugal),
            poison: Poison::new(fs.path()),
            fs,
            env: env.clone(),
            options,
            append_mode,
            log_id,
            epoch,
            ids: start.ids,
            written: Turn::new(durable),
            synced: Turn::new(durable),
            staged_bytes: AtomicU64::new(0),
            synced_bytes: AtomicU64::new(0),
            synced_at_ms: AtomicU64::new(0),
            tail: Mutex::new(tail),
            segments: RwLock::new(segments),
        };
        Ok((log, recovered))
    }

    /// The log's id, which is in every segment's header.
    pub fn log_id(&self) -> u64 {
        self.log_id
    }

    /// The append mode in use.
    pub fn append_mode(&self) -> AppendMode {
        self.append_mode
    }

    /// The segment that is appended to.
    pub fn active(&self) -> SegmentId {
        self.tail.lock().active().id()
    }

    /// Behind the last record staged.
    pub fn end(&self) -> Position {
        self.tail.lock().end()
    }

    /// Up to where everything is durable.
    pub fn synced(&self) -> Position {
        self.synced.done()
    }

    /// The last seq staged; before that the highest one seen or given by [`Start::seq_floor`].
    pub fn last_seq(&self) -> u64 {
        self.tail.lock().seq_floor()
    }

    /// True after a failed write or sync: no more acknowledgements until the log is opened again.
    pub fn poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Whether the next segments may be as small as their first record when the disk has no space
    /// for whole ones, as an open's first one may. Else an append that needs one is `NoSpace`.
    pub fn set_frugal(&self, frugal: bool) {
        self.frugal.store(frugal, Ordering::Relaxed);
    }

    /// A segment that was not forgotten, the active one included, for reading by address.
    pub fn segment(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.segments.read().get(&id).cloned()
    }

    /// All segments that were not forgotten, oldest first; the last one is the active one.
    pub fn segments(&self) -> Vec<SegmentMeta> {
        self.segments.read().values().map(|segment| sealed_meta(segment)).collect()
    }

    /// Lets go of all segments before `first`: the owner took them over or will remove them, and
    /// from now on gives `first` or a later one as [`Start::first`]. Readers that hold a segment
    /// keep it. The active segment always stays.
    pub fn forget_before(&self, first: SegmentId) {
        let mut tail = self.tail.lock();
        let first = first.min(tail.active().id());
        tail.unsynced.retain(|segment| first <= segment.id());
        let mut segments = self.segments.write();
        *segments = segments.split_off(&first);
    }

    /// Starts the next segment, with room for frames of `len` bytes. If that fails nothing has
    /// changed, except that a header that could not be written poisons the log.
    pub(crate) fn next_segment(&self, tail: &mut Tail, len: u64) -> Result<()> {
        let end = tail.end();
        let last = tail.active().meta();
        let header = SegmentHeader {
            log_id: self.log_id,
            id: self.ids.next()?,
            role: Role::Log,
            salt: self.env.rng.next_u64(),
            epoch: self.epoch,
            previous: Some(previous(&SegmentMeta { len: end.offset, ..last })),
            recovered: false,
            synced: Some(self.synced.done()),
            seq_floor: tail.seq_floor(),
        };
        let maker = Maker { fs: &self.fs, options: &self.options, append_mode: self.append_mode };
        let frugal = self.frugal.load(Ordering::Relaxed);
        let (next, capacity) = match frugal {
            true => maker.create_small(header, len, SMALL_BYTES),
            false => maker.create(header, len),
        }?;
        // A header that is perhaps in the file says where the segment before ends, so nothing
        // more may be appended there if this fails.
        self.poison.watch(next.write(&format::encode_header(next.header())))?;
        self.segments.write().insert(next.id(), Arc::clone(&next));
        tail.rotate(next, capacity);
        Ok(())
    }

    pub(crate) fn path_of(&self, id: SegmentId) -> PathBuf {
        self.fs.path().join(Name::new(self.options.kind, u64::from(id.0)).to_string())
    }
}

/// What is recorded of a segment that may have staged bytes that are not in place yet.
pub(crate) fn sealed_meta(segment: &Segment) -> SegmentMeta {
    let meta = segment.meta();
    SegmentMeta { len: segment.sealed_len().unwrap_or(meta.len), ..meta }
}

fn previous(meta: &SegmentMeta) -> Previous {
    Previous { id: meta.id, len: meta.len, last_seq: meta.last_seq }
}

/// Makes durable what a replay found: the next segment's header will say that it is.
fn keep(fs: &dyn Fs, chain: &mut Chain) -> Result<()> {
    if planted::is(Bug::RecoveryKeepsUnsynced) {
        return Ok(());
    }
    for link in &mut chain.links {
        if planted::is(Bug::RecoveryTruncates) {
            link.file.truncate(link.meta.len)?;
        }
        link.write_again(chain.attested)?;
    }
    for link in &chain.links {
        link.file.sync_data()?;
    }
    if chain.links.is_empty() { Ok(()) } else { fs.sync_dir() }
}

/// Bytes of a segment that a frugal log makes when there is no space for a whole one.
const SMALL_BYTES: u64 = 64 << 10;

/// Creates segment files.
struct Maker<'a> {
    fs: &'a Arc<dyn Fs>,
    options: &'a Options,
    append_mode: AppendMode,
}

impl Maker<'_> {
    /// Creates a segment with room for its header, frames of `len` bytes and a seal, without a
    /// byte in it; also tells its capacity. A failure leaves no file behind if it can.
    fn create(&self, header: SegmentHeader, len: u64) -> Result<(Arc<Segment>, u64)> {
        let segment_bytes = self.options.segment_bytes;
        self.create_with(header, len, segment_bytes)
    }

    /// As [`Maker::create`]; on a full disk it does with a segment of `small_bytes`, or with the
    /// smallest legal one.
    fn create_small(
        &self,
        header: SegmentHeader,
        len: u64,
        small_bytes: u64,
    ) -> Result<(Arc<Segment>, u64)> {
        let mut segment_bytes = self.options.segment_bytes;
        for smaller in [small_bytes, SEGMENT_BYTES_MIN] {
            match self.create_with(header.clone(), len, segment_bytes) {
                Err(Error::NoSpace { .. }) => segment_bytes = segment_bytes.min(smaller),
                made => return made,
            }
        }
        self.create_with(header, len, segment_bytes)
    }

    fn create_with(
        &self,
        header: SegmentHeader,
        len: u64,
        segment_bytes: u64,
    ) -> Result<(Arc<Segment>, u64)> {
        let wanted = HEADER_LEN + len + FRAME_HEADER_LEN;
        let capacity = segment_bytes.next_multiple_of(ALIGN).max(wanted);
        Ok((self.create_file(header, capacity)?, capacity))
    }

    fn create_file(&self, header: SegmentHeader, capacity: u64) -> Result<Arc<Segment>> {
        let name = Name::new(self.options.kind, u64::from(header.id.0));
        let file = self.fs.create_new(name)?;
        let segment = self.start_file(&file, header, capacity);
        if segment.is_err() {
            // Best effort: without a header it counts as the creation that never ended. Only a
            // file that was just made: one that was there before is somebody else's.
            let _ = self.fs.remove(name);
        }
        segment
    }

    fn start_file(
        &self,
        file: &Arc<dyn File>,
        header: SegmentHeader,
        capacity: u64,
    ) -> Result<Arc<Segment>> {
        if self.options.preallocate {
            file.preallocate(0, capacity)?;
        }
        let append = match self.append_mode {
            AppendMode::Mapped => Some(file.map_append(0, capacity)?),
            AppendMode::Positional => None,
        };
        Ok(Arc::new(Segment::start(Arc::clone(file), append, header, self.options.read_mode)))
    }
}
