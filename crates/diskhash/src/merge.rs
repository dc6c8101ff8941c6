//! Runs into one run, runs into partitions: a job in bounded steps, beside applies and readers.
//!
//! ```text
//! parts of the hashes, one after the other:
//!   sources newest first -> entries of one hash -> owner: same key? keep? -> writer -> new file
//! ```
//!
//! 1. Of several slots of one key only the newest is judged; the others are dropped.
//! 2. A slot is *oldest* only if nothing that stays below the merge can hold its key.
//! 3. A partition is split where its left half alone fills more than half of what a partition may
//!    hold: by then the half's entries are counted, not estimated.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use vfs::{Error, Kind, Name, Result};

use crate::address::{Layout, PAGE_BYTES, PREFIX_BITS_MAX, Prefix};
use crate::commit::{Built, Change, Merging, NewFiles, Span};
use crate::generation::{Generation, Partition, Tier};
use crate::options::{Options, PARTITION, RUN};
use crate::run::Run;
use crate::scan::RunCursor;
use crate::writer::{RunWriter, section_bits};

/// Slots that a step looks at before it returns; more only if one hash has more.
const STEP_SLOTS: usize = 16 << 10;

/// What a merge asks its owner: the only questions upwards.
pub trait Owner {
    /// Are these two slots, which were stored under one hash, of the same key? If so, the older
    /// one is dropped.
    ///
    /// # Errors
    /// Whatever keeps it from telling; the merge ends with it.
    fn same_key(&mut self, newer: &[u8], older: &[u8]) -> Result<bool>;

    /// What becomes of the newest slot of a key in this merge? With `oldest`, no older slot of
    /// the key is left anywhere below: a tombstone has done its work.
    ///
    /// # Errors
    /// As for [`Owner::same_key`].
    fn judge(&mut self, slot: &[u8], oldest: bool) -> Result<Verdict>;
}

/// What becomes of a slot in a merge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// This one of the same length, for the same key, stands in its place.
    Replace(Vec<u8>),
    /// It goes.
    Drop,
}

/// A part of the hashes that is merged on its own.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) prefix: Prefix,
    /// Newest first.
    pub(crate) sources: Vec<Arc<Run>>,
    /// Entries of the sources in this part: at least as many as come out, but for chance.
    pub(crate) entries_max: u64,
    /// For a partition: the newest apply it has then taken in.
    pub(crate) taken: u64,
}

/// What comes out of a merge.
#[derive(Debug)]
pub(crate) enum Target {
    /// One run for these, which are neighbours.
    Runs { from: Vec<Name>, written: u32, newest: u64, has_older: bool },
    /// Partitions for this part of the hashes.
    Partitions { span: Span },
}

/// A planned merge, worked on in steps by whoever has time for it. Dropped before its commit, it
/// removes what it wrote.
#[derive(Debug)]
#[must_use = "nothing is merged before `step`"]
pub struct Job {
    generation: Arc<Generation>,
    files: NewFiles,
    merging: Merging,
    target: Target,
    parts: VecDeque<Part>,
    current: Option<Current>,
    outputs: Vec<Partition>,
    /// All slots of one hash, newest first, and which of them were the newest of their keys.
    group: Vec<u8>,
    heads: Vec<usize>,
    bytes_written: u64,
    failed: bool,
}

/// The part that is being merged.
#[derive(Debug)]
struct Current {
    part: Part,
    cursors: Vec<RunCursor>,
    writer: Option<(Name, RunWriter)>,
    /// True once it is settled whether the part is split.
    settled: bool,
}

impl Job {
    pub(crate) fn new(
        generation: Arc<Generation>,
        merging: Merging,
        target: Target,
        parts: Vec<Part>,
    ) -> Job {
        let files = NewFiles::new(merging.shared());
        Job {
            generation,
            files,
            merging,
            target,
            parts: parts.into(),
            current: None,
            outputs: Vec::new(),
            group: Vec::new(),
            heads: Vec::new(),
            bytes_written: 0,
            failed: false,
        }
    }

    /// The distinct numbers at [`Options::listed`](crate::Options::listed) in its sources, if it takes
    /// in all of each; none if it takes only a part of a run.
    pub fn listed(&self) -> BTreeSet<u32> {
        let is_whole = match &self.target {
            Target::Runs { .. } => true,
            Target::Partitions { span } => span.first == 0 && span.last == u64::MAX,
        };
        let sources = self.parts.iter().flat_map(|part| &part.sources).filter(|_| is_whole);
        sources.flat_map(|run| run.listed.iter().copied()).collect()
    }

    /// Does a bounded piece of the work: some 16,000 slots. True when everything is written and
    /// synced, and [`Job::finish`] is next.
    ///
    /// # Errors
    /// What the disk says, `Corrupt`, and what the owner says. Then every later step is
    /// `Poisoned`: drop the job and plan another.
    pub fn step(&mut self, owner: &mut dyn Owner) -> Result<bool> {
        if self.failed {
            let path = self.generation.fs.path().to_path_buf();
            return Err(Error::Poisoned { path });
        }
        let done = self.work(owner);
        self.failed = done.is_err();
        done
    }

    /// What is to be committed.
    ///
    /// # Panics
    /// Unless [`Job::step`] has returned true.
    pub fn finish(self) -> Built {
        assert!(self.is_done() && !self.failed, "a job is finished when its steps are done");
        let change = match self.target {
            Target::Runs { from, written, newest, .. } => {
                let mut outputs = self.outputs;
                let run = outputs.pop().and_then(|output| output.run);
                Change::Runs { from, to: run.map(|run| Tier { run, written, newest }) }
            }
            Target::Partitions { span } => Change::Partitions { span, to: self.outputs },
        };
        Built {
            files: self.files,
            change: Some(change),
            bytes_written: self.bytes_written,
            base: Some(self.generation.id),
            merging: Some(self.merging),
        }
    }

    fn is_done(&self) -> bool {
        self.parts.is_empty() && self.current.is_none()
    }

    fn work(&mut self, owner: &mut dyn Owner) -> Result<bool> {
        let mut looked_at = 0;
        while looked_at < STEP_SLOTS {
            if self.current.is_none() {
                let Some(part) = self.parts.pop_front() else { return Ok(true) };
                self.current = Some(Current::new(part)?);
            }
            match self.gather()? {
                Some(hash) => looked_at += self.decide(hash, owner)?,
                None => self.close_part()?,
            }
        }
        Ok(false)
    }

    /// Takes all slots of the smallest hash out of the sources; `None` at the end of the part.
    fn gather(&mut self) -> Result<Option<u64>> {
        let current = self.current.as_mut().expect("a part is open");
        let Some(hash) = current.cursors.iter().filter_map(RunCursor::hash).min() else {
            return Ok(None);
        };
        self.group.clear();
        for cursor in &mut current.cursors {
            while cursor.hash() == Some(hash) {
                self.group.extend_from_slice(cursor.slot());
                cursor.advance()?;
            }
        }
        Ok(Some(hash))
    }

    /// Asks the owner about the slots of one hash and writes those that stay. Returns how many
    /// there were. All are compared before any is judged, so that the owner knows by then which it
    /// could not tell apart.
    fn decide(&mut self, hash: u64, owner: &mut dyn Owner) -> Result<usize> {
        let slot_len = usize::from(self.files.shared.options.slot_len);
        let group = std::mem::take(&mut self.group);
        let mut heads = std::mem::take(&mut self.heads);
        heads.clear();
        let oldest = self.is_oldest(hash);
        let slot = |index: usize| &group[index * slot_len..(index + 1) * slot_len];
        let count = group.len() / slot_len;
        for index in 0..count {
            let mut shadowed = false;
            for head in &heads {
                if owner.same_key(slot(*head), slot(index))? {
                    shadowed = true;
                    break;
                }
            }
            if !shadowed {
                heads.push(index);
            }
        }
        for head in &heads {
            match owner.judge(slot(*head), oldest)? {
                Verdict::Keep => self.write(hash, slot(*head))?,
                Verdict::Replace(other) => self.write(hash, &other)?,
                Verdict::Drop => {}
            }
        }
        self.group = group;
        self.heads = heads;
        Ok(count)
    }

    fn is_oldest(&self, hash: u64) -> bool {
        match self.target {
            Target::Partitions { .. } => true,
            Target::Runs { has_older, .. } => {
                !has_older && self.generation.partition(hash).run.is_none()
            }
        }
    }

    fn write(&mut self, hash: u64, slot: &[u8]) -> Result<()> {
        self.settle(hash)?;
        if self.current.as_ref().is_some_and(|current| current.writer.is_none()) {
            let layout = self.first_layout();
            self.start(layout)?;
        }
        let current = self.current.as_mut().expect("a part is open");
        let (_, writer) = current.writer.as_mut().expect("it was started");
        writer.add(hash, slot)
    }

    fn kind(&self) -> Kind {
        match self.target {
            Target::Runs { .. } => RUN,
            Target::Partitions { .. } => PARTITION,
        }
    }

    fn start(&mut self, layout: Layout) -> Result<()> {
        let kind = self.kind();
        let (file, header) = self.files.create(kind)?;
        let name = Name::new(kind, header.file_id);
        let listed = self.files.shared.options.listed;
        let current = self.current.as_mut().expect("a part is open");
        current.writer = Some((name, RunWriter::new(file, header, layout, listed)));
        Ok(())
    }

    /// The layout of a file for the whole part; one that may be split has two sections at least.
    fn first_layout(&self) -> Layout {
        let options = &self.files.shared.options;
        let Part { prefix, entries_max, .. } = self.current.as_ref().expect("a part is open").part;
        let entry_len = u64::from(options.slot_len) + size_of::<u64>() as u64;
        let bits = section_bits(prefix, entries_max, entry_len);
        let is_partition = matches!(self.target, Target::Partitions { .. });
        let may_split = is_partition && prefix.bits < PREFIX_BITS_MAX;
        let is_large = entries_max.saturating_mul(2) > entries_of(options);
        Layout { prefix, section_bits: bits.max(u8::from(may_split && is_large)) }
    }

    /// At the first slot of the right half: is the part to be split?
    fn settle(&mut self, hash: u64) -> Result<()> {
        let is_partition = matches!(self.target, Target::Partitions { .. });
        let limit = entries_of(&self.files.shared.options);
        let current = self.current.as_mut().expect("a part is open");
        let prefix = current.part.prefix;
        if current.settled || !is_partition || prefix.bits == PREFIX_BITS_MAX {
            return Ok(());
        }
        let [_, right] = prefix.halves();
        if hash < right.start {
            return Ok(());
        }
        current.settled = true;
        let too_large = |writer: &mut (Name, RunWriter)| {
            let (_, writer) = writer;
            writer.layout().section_bits > 0 && writer.entries().saturating_mul(2) > limit
        };
        let Some((name, mut writer)) = current.writer.take_if(too_large) else { return Ok(()) };
        let layout = writer.halve();
        self.close_file(name, writer)?;
        let current = self.current.as_mut().expect("a part is open");
        current.part.prefix = right;
        self.start(layout)
    }

    fn close_file(&mut self, name: Name, writer: RunWriter) -> Result<()> {
        let prefix = writer.layout().prefix;
        let expect = writer.finish()?;
        self.bytes_written += expect.len;
        let run = Some(self.files.open(name, expect)?);
        let taken = self.current.as_ref().expect("a part is open").part.taken;
        self.outputs.push(Partition { prefix, taken, run });
        Ok(())
    }

    fn close_part(&mut self) -> Result<()> {
        let current = self.current.as_mut().expect("a part is open");
        let Part { prefix, taken, .. } = current.part;
        match current.writer.take() {
            Some((name, writer)) => self.close_file(name, writer)?,
            None => self.outputs.push(Partition { prefix, taken, run: None }),
        }
        self.current = None;
        Ok(())
    }
}

impl Current {
    fn new(part: Part) -> Result<Current> {
        let open = |run: &Arc<Run>| RunCursor::new(run, part.prefix);
        let cursors = part.sources.iter().map(open).collect::<Result<Vec<_>>>()?;
        Ok(Current { part, cursors, writer: None, settled: false })
    }
}

/// Entries that a partition may hold.
pub(crate) fn entries_of(options: &Options) -> u64 {
    let capacity = options.shape().capacity(false) as u64;
    options.partition_bytes / PAGE_BYTES * capacity * 17 / 20
}
