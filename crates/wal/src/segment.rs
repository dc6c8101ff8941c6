//! One segment file, for reading by address: sealed, or growing under a log.
//!
//! 1. Only bytes below [`Segment::len`] are ever given out, and they never change again.
//! 2. The file is never cut below that length, so a mapping of it stays valid.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vfs::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vfs::sync::{Mutex, OnceLock, RwLock};
use vfs::{Access, AppendMap, Bytes, Error, File, Fs, Name, Part, ReadAhead, Result, SharedBytes};

use crate::format::{HEADER_LEN, SegmentHeader};
use crate::marks::Marks;
use crate::meta::{ReadMode, SegmentMeta, read_header};
use crate::position::SegmentId;

/// One segment file, open for reading. Cheap to share; safe from many threads.
pub struct Segment {
    // Constant after open.
    path: PathBuf,
    header: SegmentHeader,
    mode: ReadMode,

    /// Bytes in place.
    len: AtomicU64,
    first_seq: AtomicU64,
    last_seq: AtomicU64,
    /// The final length, once nothing more will be appended.
    sealed: OnceLock<u64>,
    /// Header and name are known to be durable.
    started: AtomicBool,
    /// This open wrote it, and it is not yet known to be synced and cut: the file is needed.
    fresh: Mutex<bool>,
    map: OnceLock<SharedBytes>,
    marks: Marks,
    /// Where a log appends to it, if it does so through a mapping.
    append: RwLock<Option<Arc<dyn AppendMap>>>,
    /// `None` once only the mapping is needed.
    file: RwLock<Option<Arc<dyn File>>>,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("path", &self.path).field("len", &self.len()).finish()
    }
}

impl Segment {
    /// Opens a sealed segment. With `expect`, its bytes behind `expect.len` do not count; without,
    /// the whole file does.
    ///
    /// `Corrupt` if the header is not whole or the file is shorter than it should be; `Invalid` if
    /// the format version is unknown.
    pub fn open(
        fs: &Arc<dyn Fs>,
        name: Name,
        mode: ReadMode,
        expect: Option<&SegmentMeta>,
    ) -> Result<Arc<Segment>> {
        let file = fs.open(name, Access::Read)?;
        let header = read_header(&*file, name)?;
        let file_len = file.len()?;
        let meta = match expect {
            Some(meta) => *meta,
            None => SegmentMeta { id: header.id, len: file_len, first_seq: 0, last_seq: 0 },
        };
        if meta.id != header.id {
            let (expected, found) = (u64::from(meta.id.0), u64::from(header.id.0));
            return Err(Error::corrupt("segment id", file.path(), 0, expected, found));
        }
        if file_len < meta.len || meta.len < HEADER_LEN {
            let wanted = meta.len.max(HEADER_LEN);
            return Err(Error::corrupt("segment length", file.path(), file_len, wanted, file_len));
        }
        let segment = Segment::sealed(file, header, mode, &meta);
        segment.map_sealed()?;
        Ok(Arc::new(segment))
    }

    /// A segment that was replayed up to `meta.len` and gets no more bytes.
    pub(crate) fn sealed(
        file: Arc<dyn File>,
        header: SegmentHeader,
        mode: ReadMode,
        meta: &SegmentMeta,
    ) -> Segment {
        assert_eq!(header.id, meta.id, "a segment is described by its own meta");
        let segment = Segment::start(file, None, header, mode);
        segment.len.store(meta.len, Ordering::Release);
        segment.first_seq.store(meta.first_seq, Ordering::Relaxed);
        segment.last_seq.store(meta.last_seq, Ordering::Relaxed);
        *segment.fresh.lock() = false;
        segment.sealed.set(meta.len).expect("nobody else knows it yet");
        segment
    }

    /// A segment without a byte yet, not even its header.
    pub(crate) fn start(
        file: Arc<dyn File>,
        append: Option<Arc<dyn AppendMap>>,
        header: SegmentHeader,
        mode: ReadMode,
    ) -> Segment {
        let last_seq = header.previous.map_or(0, |previous| previous.last_seq);
        Segment {
            path: file.path().to_path_buf(),
            header,
            mode,
            len: AtomicU64::new(0),
            first_seq: AtomicU64::new(0),
            last_seq: AtomicU64::new(last_seq),
            sealed: OnceLock::new(),
            started: AtomicBool::new(false),
            fresh: Mutex::new(true),
            map: OnceLock::new(),
            marks: Marks::default(),
            append: RwLock::new(append),
            file: RwLock::new(Some(file)),
        }
    }

    /// Which segment.
    pub fn id(&self) -> SegmentId {
        self.header.id
    }

    /// Its header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Where its file is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Valid bytes, header included. Grows while a log appends to it.
    #[expect(clippy::len_without_is_empty, reason = "a segment has at least a header")]
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// What an owner records of it, as of now.
    pub fn meta(&self) -> SegmentMeta {
        SegmentMeta {
            id: self.id(),
            len: self.len(),
            first_seq: self.first_seq.load(Ordering::Relaxed),
            last_seq: self.last_seq.load(Ordering::Relaxed),
        }
    }

    /// The bytes `offset..offset + len`, as they are on disk: nothing is verified here. Without a
    /// copy where the segment is mapped. `Corrupt` if they are not all inside the valid length.
    pub fn bytes(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.part(offset, len).map(|part| part.bytes())
    }

    /// The same, to look at and to take slices of.
    #[inline]
    pub fn part(&self, offset: u64, len: usize) -> Result<Part<'_>> {
        let valid = self.len();
        let end = offset.saturating_add(len as u64);
        if end > valid {
            return Err(Error::corrupt("end of segment", &self.path, offset, end, valid));
        }
        match self.map.get() {
            Some(map) => {
                let start = usize::try_from(offset).expect("a mapping is shorter than memory");
                Ok(Part::of(map, start, len).expect("the mapping is as long as the segment"))
            }
            None => self.unmapped_part(offset, len, valid),
        }
    }

    #[cold]
    fn unmapped_part(&self, offset: u64, len: usize, valid: u64) -> Result<Part<'_>> {
        if let Some(append) = &*self.append.read() {
            return append.read(offset, len).map(Part::Owned);
        }
        if self.sealed.get() == Some(&valid) && self.mode == ReadMode::Mapped {
            self.map_sealed()?;
            return self.part(offset, len);
        }
        let Some(file) = self.file.read().clone() else {
            // It was mapped, and then let go of, since the look above.
            return self.part(offset, len);
        };
        let mut buffer = vec![0; len];
        vfs::read_exact_at(&*file, &mut buffer, offset)?;
        Ok(Part::Owned(Bytes::from(buffer)))
    }

    /// Asks for the memory of bytes that will be read soon, and of the mark of what starts there,
    /// if they are mapped.
    #[inline]
    pub fn prefetch(&self, offset: u64, len: usize) {
        self.marks.prefetch(offset);
        if let (Some(map), Ok(at)) = (self.map.get(), usize::try_from(offset)) {
            vfs::prefetch(map, at, len);
        }
    }

    /// Has the system read a long record whole, which otherwise comes page by page, if it is mapped.
    pub fn will_need(&self, offset: u64, len: usize) {
        if let (Some(map), Ok(at)) = (self.map.get(), usize::try_from(offset)) {
            vfs::will_need(map, at..at.saturating_add(len));
        }
    }

    /// Has the system read what a walk meets that comes to `offset`, if it is mapped.
    pub(crate) fn read_ahead(&self, offset: u64, ahead: &mut ReadAhead) {
        if let (Some(map), Ok(at)) = (self.map.get(), usize::try_from(offset)) {
            ahead.forward(map, at);
        }
    }

    /// Marks what starts at `offset`, until the segment is closed: a reader may so remember that
    /// it has verified those bytes, which in a mapping do not change. Does nothing where bytes are
    /// read again each time, or before the segment is mapped.
    #[inline]
    pub fn mark(&self, offset: u64) {
        if let Some(map) = self.map.get() {
            self.marks.set(offset, map.len());
        }
    }

    /// Whether something that starts in the same [`MARK_BYTES`](crate::MARK_BYTES) was marked.
    #[inline]
    pub fn is_marked(&self, offset: u64) -> bool {
        self.marks.get(offset)
    }

    /// Maps the whole of a sealed segment and lets go of the descriptor if nothing else needs it.
    fn map_sealed(&self) -> Result<()> {
        let fresh = self.fresh.lock();
        self.map_once()?;
        self.let_go_of_file(*fresh);
        Ok(())
    }

    fn map_once(&self) -> Result<()> {
        if self.mode == ReadMode::Mapped && self.map.get().is_none() {
            let map = self.file()?.map(self.len())?;
            assert_eq!(map.len() as u64, self.len(), "a mapping is as long as asked");
            self.map.set(SharedBytes::new(map)).expect("one thread at a time maps");
        }
        Ok(())
    }

    fn let_go_of_file(&self, fresh: bool) {
        if self.map.get().is_some() && !fresh {
            *self.file.write() = None;
        }
    }

    fn file(&self) -> Result<Arc<dyn File>> {
        let file = self.file.read().clone();
        file.ok_or_else(|| Error::invalid("segment file was let go of", &self.path))
    }

    /// Adds bytes at the end and lets readers see them; true if the mapping runs short of memory
    /// that is ready. One caller at a time.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<bool> {
        let offset = self.len();
        let runs_short = match &*self.append.read() {
            Some(append) => {
                append.append(bytes)?;
                append.runs_short()
            }
            None => {
                vfs::write_all_at(&*self.file()?, bytes, offset)?;
                false
            }
        };
        self.len.store(offset + bytes.len() as u64, Ordering::Release);
        Ok(runs_short)
    }

    /// Makes memory ready for appends to come.
    pub(crate) fn make_ready(&self) {
        // Under the lock: nobody cuts the file meanwhile.
        if let Some(append) = &*self.append.read() {
            append.make_ready();
        }
    }

    /// Takes note of a batch that was staged.
    pub(crate) fn note_seqs(&self, first: u64, last: u64) {
        if self.first_seq.load(Ordering::Relaxed) == 0 {
            self.first_seq.store(first, Ordering::Relaxed);
        }
        self.last_seq.store(last, Ordering::Relaxed);
    }

    /// Ends the segment at `len`, which is where its staged bytes will end.
    pub(crate) fn seal(&self, len: u64) {
        let sealed = *self.sealed.get_or_init(|| len);
        assert_eq!(sealed, len, "a segment ends once");
    }

    /// Header and name are durable.
    pub(crate) fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// The final length of a sealed segment.
    pub(crate) fn sealed_len(&self) -> Option<u64> {
        self.sealed.get().copied()
    }

    /// Makes all bytes durable that were in place before the call.
    pub(crate) fn sync(&self) -> Result<()> {
        // Not under the lock: readers need it meanwhile.
        let append = self.append.read().clone();
        if let Some(append) = append {
            return append.sync();
        }
        match self.file() {
            Ok(file) => file.sync_data(),
            // It was synced and cut: all is durable, and the file was let go of.
            Err(_) if !*self.fresh.lock() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Cuts what preallocation left behind the end of a segment that is sealed and synced, durably.
    /// From now on it is like one that an earlier open wrote, and a second call does nothing.
    ///
    /// Safe under readers that hold bytes of the old mapping: those behind the valid length were
    /// never given to anyone, and never will be, so nobody touches a page that goes away.
    pub(crate) fn cut(&self) -> Result<()> {
        let mut fresh = self.fresh.lock();
        if !*fresh {
            return Ok(());
        }
        let len = self.sealed_len().expect("only sealed segments are cut");
        assert_eq!(len, self.len(), "everything staged is in place before the cut");
        self.map_once()?;
        *self.append.write() = None;
        let file = self.file()?;
        if file.len()? != len {
            file.truncate(len)?;
            file.sync_data()?;
        }
        *fresh = false;
        self.let_go_of_file(*fresh);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
