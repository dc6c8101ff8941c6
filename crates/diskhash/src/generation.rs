//! What a reader sees: the immutable runs and partitions of one commit.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::sync::habit;
use vfs::{Access, Error, Fs, Name, Result, read_exact_at};

use crate::address::{Prefix, keep};
use crate::options::GENERATION;
use crate::record::{
    FileRecord, Fixed, PartitionRecord, RECORD_LEN_MAX, Record, RunRecord, decode,
};
use crate::run::{Place, Run, missing};

/// Runs whose pages are asked for together.
const TOGETHER: usize = 8;

/// A run and where it stands among the others.
#[derive(Clone, Debug)]
pub(crate) struct Tier {
    pub(crate) run: Arc<Run>,
    /// How often its entries were written.
    pub(crate) written: u32,
    /// The apply it ends with.
    pub(crate) newest: u64,
}

/// The bottom of a part of the hashes.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub(crate) prefix: Prefix,
    /// The newest apply it has taken in: runs that end with that or an older one are not read for
    /// its hashes. Else a tombstone that was dropped here would bring back what the run holds.
    pub(crate) taken: u64,
    /// `None` if it holds nothing.
    pub(crate) run: Option<Arc<Run>>,
}

/// One committed state of a table. Immutable; keeps its files open, whatever becomes of their
/// names.
#[derive(Debug)]
pub struct Generation {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) fixed: Fixed,
    pub(crate) id: u64,
    pub(crate) seed: u64,
    pub(crate) applied: u64,
    pub(crate) record_len: u64,
    pub(crate) runs_max: usize,
    /// Newest first.
    pub(crate) runs: Vec<Tier>,
    /// Ascending; all hashes without a gap.
    pub(crate) partitions: Vec<Partition>,
}

/// What a generation consists of, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Runs.
    pub runs: u64,
    /// Parts of the hashes that have a bottom of their own; at least 1.
    pub partitions: u64,
    /// Of them, those that hold something.
    pub partitions_filled: u64,
    /// Slots in runs, shadowed ones included.
    pub run_slots: u64,
    /// Slots in partitions.
    pub partition_slots: u64,
    /// Pages of 4 KiB in all files.
    pub pages: u64,
    /// Bytes of all files, the record's included.
    pub bytes: u64,
    /// The most pages a look-up starts to search: runs, and the partition.
    pub probes_max: u64,
}

impl Generation {
    /// Its number, never used for another one.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Shows every slot that was stored under this hash or one that agrees with it in the bytes
    /// that are kept, newest first, until `visit` breaks or fails. At most one page of each run and
    /// one of a partition, but for hashes that overflow their page. Allocates nothing.
    ///
    /// # Errors
    /// `Corrupt` with file and offset, what the disk says, and what `visit` says.
    #[inline]
    pub fn candidates(
        &self,
        hash: u64,
        visit: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let hash = keep(hash, self.fixed.hash_bytes);
        if hash == 0 && planted::is(Bug::HashZeroLost) {
            return Ok(());
        }
        let partition = self.partition(hash);
        let mut met = false;
        let mut visit = |slot: &[u8]| {
            met = true;
            visit(slot)
        };
        let shown = self.search(hash, partition, &mut visit);
        habit::note(met);
        shown
    }

    /// Searches the runs, and a partition.
    #[inline]
    fn search(
        &self,
        hash: u64,
        partition: &Partition,
        visit: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let bottom = partition.run.as_deref();
        let bottom = bottom.and_then(|run| Some((run, run.locate(hash)?)));
        if let Some((run, place)) = bottom {
            run.prefetch(place);
        }
        for tiers in self.runs.chunks(TOGETHER) {
            let mut places: [Option<Place>; TOGETHER] = [None; TOGETHER];
            for (place, tier) in places.iter_mut().zip(tiers) {
                if tier.newest > partition.taken {
                    *place = tier.run.locate(hash);
                    if let Some(place) = *place {
                        tier.run.prefetch(place);
                    }
                }
            }
            for (place, tier) in places.iter().zip(tiers) {
                if let Some(place) = *place
                    && tier.run.candidates(hash, place, visit)?.is_break()
                {
                    return Ok(());
                }
            }
        }
        if let Some((run, place)) = bottom {
            let _ = run.candidates(hash, place, visit)?;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn partition(&self, hash: u64) -> &Partition {
        let behind = self.partitions.partition_point(|p| p.prefix.start <= hash);
        self.partitions.get(behind.wrapping_sub(1)).expect("partitions cover all hashes")
    }

    /// True when so many runs stand that a merge must be committed before the next apply, if a
    /// look-up is to probe no more than [`Options::runs_max`](crate::Options::runs_max) runs.
    pub fn is_full(&self) -> bool {
        self.runs.len() >= self.runs_max
    }

    /// True if there is not one slot.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.partitions.iter().all(|p| p.run.is_none())
    }

    /// The distinct numbers at [`Options::listed`](crate::Options::listed) in all slots, and
    /// perhaps some of slots that merges have not dropped from view yet.
    pub fn listed(&self) -> BTreeSet<u32> {
        self.data_files().flat_map(|run| run.listed.iter().copied()).collect()
    }

    /// Has every mapped page verified again on its next read, as after an open: for who lets go of
    /// something because of what the table says, which must be sound then and not only long ago.
    /// Costs a store for each 64 pages. What is read positionally is verified on each read.
    pub fn forget_verified(&self) {
        self.data_files().for_each(|run| run.forget_verified());
    }

    /// Runs newest first, then partitions.
    pub(crate) fn data_files(&self) -> impl Iterator<Item = &Arc<Run>> {
        let runs = self.runs.iter().map(|tier| &tier.run);
        runs.chain(self.partitions.iter().filter_map(|p| p.run.as_ref()))
    }

    /// What it consists of.
    pub fn stats(&self) -> Stats {
        let filled = self.partitions.iter().filter_map(|p| p.run.as_ref());
        let run_slots = self.runs.iter().map(|tier| tier.run.entries()).sum();
        let partitions_filled = filled.clone().count() as u64;
        Stats {
            runs: self.runs.len() as u64,
            partitions: self.partitions.len() as u64,
            partitions_filled,
            run_slots,
            partition_slots: filled.map(|run| run.entries()).sum(),
            pages: self.data_files().map(|run| run.pages()).sum(),
            bytes: self.files().iter().map(|(_, len)| len).sum(),
            probes_max: self.runs.len() as u64 + u64::from(partitions_filled > 0),
        }
    }

    /// The record and every data file, with their lengths in bytes: what a copy of this
    /// generation must hold.
    pub fn files(&self) -> Vec<(Name, u64)> {
        let record = (Name::new(GENERATION, self.id), self.record_len);
        let data = self.data_files().map(|run| (run.name, run.expect.len));
        std::iter::once(record).chain(data).collect()
    }

    /// The record that names it all.
    pub(crate) fn record(&self, next_id: u64) -> Record {
        let file = |run: &Run| FileRecord { id: run.name.id, expect: run.expect };
        let run = |tier: &Tier| RunRecord {
            file: file(&tier.run),
            written: tier.written,
            newest: tier.newest,
        };
        let partition = |p: &Partition| PartitionRecord {
            file: p.run.as_deref().map(file),
            prefix: p.prefix,
            taken: p.taken,
        };
        Record {
            fixed: self.fixed,
            id: self.id,
            seed: self.seed,
            next_id,
            applied: self.applied,
            runs: self.runs.iter().map(run).collect(),
            partitions: self.partitions.iter().map(partition).collect(),
        }
    }

    /// The newest apply that some partition has taken in, and the newest that all have. They differ
    /// while runs are being folded into partitions, one job after the other.
    pub(crate) fn taken(&self) -> (u64, u64) {
        let taken = || self.partitions.iter().map(|p| p.taken);
        (taken().max().unwrap_or(0), taken().min().unwrap_or(0))
    }
}

/// Reads the record of generation `id`; `Corrupt` unless it is there and whole.
pub(crate) fn read_record(fs: &Arc<dyn Fs>, id: u64) -> Result<Record> {
    let name = Name::new(GENERATION, id);
    let file = fs.open(name, Access::Read).map_err(|error| missing(error, 1))?;
    let len = file.len()?;
    let bytes = usize::try_from(len).ok().filter(|_| len <= RECORD_LEN_MAX);
    let Some(bytes) = bytes else {
        let what = "length of the record";
        return Err(Error::corrupt(what, file.path(), 0, RECORD_LEN_MAX, len));
    };
    let mut bytes = vec![0; bytes];
    read_exact_at(&*file, &mut bytes, 0)?;
    decode(file.path(), id, &bytes)
}
