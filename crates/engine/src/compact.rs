//! Which files of an ordered index to merge, and the merge.
//!
//! 1. An entry is dropped only when a newer one of its key is kept, or when it hides nothing: it
//!    is a tombstone or expired, and no file below the output may hold its key. So is one whose
//!    record garbage collection dropped: a newer entry hides it, perhaps in a file that is not
//!    part of the merge.
//! 2. Entries read = entries written + entries dropped, or the merge fails.
//!
//! Levels and their sizes as in LevelDB; which file goes down first is the one that overlaps
//! least, as in RocksDB's `kMinOverlappingRatio`.

use std::collections::BTreeMap;
use std::sync::Arc;

use sstable::{Cursor, Entry, Value};

use vfs::planted::{self, Bug};

use crate::dissolve::{self, Dissolver};
use crate::error::{Error, Result};
use crate::extra::Extra;
use crate::files::Files;
use crate::index::{BoxCursor, Delta, Merge, MergeContext};
use crate::levels::{
    Ends, LEVEL_MAX, Level, LevelCursor, LevelTable, Levels, TableOutput, move_delta,
};
use crate::listed::{Listed, RANGES_MAX};
use crate::record::ValuePtr;
use crate::vlog::Segments;

/// Entries a step looks at: some milliseconds of work.
const STEP_ENTRIES: u64 = 16_384;
/// Level 1 is to have so many times the bytes that come down from level 0 at once.
const LEVEL1_BATCHES: u64 = 4;
/// So many small files next to each other become one.
const JOINED_MIN: usize = 8;
/// Merges of one full merge: every level twice, and one in place. Only flushes that go on meanwhile
/// ask for more.
const FULL_MERGES_MAX: usize = 2 * (LEVEL_MAX + 1) + 1;

/// Inputs and output of a merge.
struct Plan {
    /// Newest first.
    upper: Vec<Arc<LevelTable>>,
    upper_level: usize,
    lower: Vec<Arc<LevelTable>>,
    output_level: usize,
    /// Entries are to be dropped: moving files down would not do.
    rewrite: bool,
}

/// The merge an index needs most.
pub(crate) fn plan(levels: &Levels, context: &MergeContext) -> Option<Box<dyn Merge>> {
    let MergeContext { files, keyspace, now_ms, flushes_wait, .. } = context;
    let plan = match &context.full {
        Some(full) if full.begin_round(FULL_MERGES_MAX) => plan_full(levels, *now_ms),
        Some(_) => None,
        None => plan_needed(levels, files, *now_ms, *flushes_wait)
            .or_else(|| context.is_roomy.then(|| plan_joined(levels, files)).flatten()),
    }?;
    let mut inputs = Listed::default();
    plan.upper.iter().chain(&plan.lower).for_each(|table| inputs.extend(&table.extra.listed));
    let dissolve = dissolve::spaces(context, &inputs);
    let disjoint = plan.upper_level > 0 || are_disjoint(&plan.upper);
    let rewrite = plan.rewrite || inputs.meets(&dissolve);
    if plan.lower.is_empty() && disjoint && !rewrite {
        let level = u8::try_from(plan.output_level).expect("a level fits a byte");
        return Some(Box::new(Move { keyspace: *keyspace, tables: plan.upper, level }));
    }
    Some(Box::new(Rewrite::new(levels.clone(), context, plan, dissolve)))
}

/// The level that is fullest for what it may hold goes down first, as in LevelDB, or a level that
/// others are merged into would grow for as long as writes go on.
///
/// While flushes wait, level 0 may fill to two thirds of where writers stop, and the levels below it
/// to twice their bytes: merges and flushes share one disk, and a burst of writes is over sooner if
/// it is merged afterwards. Later merges also merge more files at once.
///
/// Postmortem: level 0 always went first. While a merge of it rewrote level 1, as many files came as
/// fit, so it was due again: level 1 grew with all that was written, and each merge rewrote it.
fn plan_needed(levels: &Levels, files: &Files, now_ms: u64, flushes_wait: bool) -> Option<Plan> {
    let options = &files.options;
    let (level0_files, slack) = match flushes_wait {
        true => (options.level0_files.max(options.level0_files_max * 2 / 3), 2),
        false => (options.level0_files, 1),
    };
    let mut target = level1_target(levels, files);
    // How full the fullest level is, in thousandths; of equally full ones the upper one.
    let mut fullest = None;
    for (index, level) in levels.levels.iter().enumerate().take(LEVEL_MAX) {
        let (is_full, fill) = match index {
            0 => (level.len() >= level0_files, 1000 * level.len() as u64 / level0_files as u64),
            _ => {
                let bytes = bytes_of(level);
                let most = target.saturating_mul(slack);
                target = target.saturating_mul(options.level_multiplier);
                (bytes > most, bytes.saturating_mul(1000) / most)
            }
        };
        if is_full && fullest.is_none_or(|(most, _)| fill > most) {
            fullest = Some((fill, index));
        }
    }
    match fullest {
        Some((_, 0)) => Some(plan_level(levels, 0, levels.levels[0].to_vec())),
        Some((_, index)) => {
            let overlap = |table: &Arc<LevelTable>| {
                let below = overlapping(levels.levels.get(index + 1), std::slice::from_ref(table));
                bytes_of(below).saturating_mul(1000) / table.record.len.max(1)
            };
            let table = levels.levels[index].iter().min_by_key(|table| overlap(table))?;
            Some(plan_level(levels, index, vec![table.clone()]))
        }
        None => plan_due(levels, files, now_ms),
    }
}

/// Bytes that level 1 is to have. A merge of level 0 rewrites all of level 1, so it is not to be many
/// times as large as what comes down at once: where values are kept apart, a flush brings a few
/// MiB, and 256 MiB would be written again for each ten of them. While level 0 is empty nothing
/// says what will come, and nothing comes down: the limit is `level1_bytes`.
fn level1_target(levels: &Levels, files: &Files) -> u64 {
    let options = &files.options;
    let level0 = levels.levels.first().map_or(&[][..], |level| level);
    let Some(largest) = level0.iter().map(|table| table.record.len).max() else {
        return options.level1_bytes;
    };
    let batch = largest.saturating_mul(options.level0_files as u64);
    let least = options.table_bytes.min(options.level1_bytes);
    batch.saturating_mul(LEVEL1_BATCHES).clamp(least, options.level1_bytes)
}

/// A file in which much has expired, rewritten where it is: what hides nothing is dropped, of the
/// rest a tombstone stays, and the values are garbage either way.
fn plan_due(levels: &Levels, files: &Files, now_ms: u64) -> Option<Plan> {
    for (level, tables) in levels.levels.iter().enumerate().skip(1) {
        if let Some(due) = tables.iter().find(|table| Extra::is_due(table.extra.due_ms, now_ms)) {
            let (upper, lower) = (vec![due.clone()], Vec::new());
            let (upper_level, output_level) = (level, level);
            return Some(Plan { upper, upper_level, lower, output_level, rewrite: true });
        }
    }
    // The order of level 0 is the order of its files, so it goes down as a whole. If writes go on
    // it will anyway.
    let wait_ms = u64::try_from(files.options.gc_interval.as_millis()).unwrap_or(u64::MAX);
    let level0 = levels.levels.first()?;
    let is_due =
        |table: &Arc<LevelTable>| Extra::is_due(table.extra.due_ms, now_ms.saturating_sub(wait_ms));
    level0
        .iter()
        .any(is_due)
        .then(|| Plan { rewrite: true, ..plan_level(levels, 0, level0.to_vec()) })
}

/// Neighbouring files that together make one, rewritten where they are. None is longer than the
/// others together, so that an entry is rewritten a logarithmic number of times.
///
/// Postmortem: flushes of few entries in the order of their keys went down as they were, and each left
/// a file.
fn plan_joined(levels: &Levels, files: &Files) -> Option<Plan> {
    let table_bytes = files.options.table_bytes;
    for (level, tables) in levels.levels.iter().enumerate().skip(1) {
        for start in 0..tables.len() {
            let (mut bytes, mut largest, mut ranges, mut count) = (0, 0, 0, 0);
            for (index, table) in tables[start..].iter().enumerate() {
                bytes += table.record.len;
                ranges += table.extra.listed.range_count();
                if bytes > table_bytes || ranges > RANGES_MAX {
                    break;
                }
                largest = table.record.len.max(largest);
                if index + 1 >= JOINED_MIN && largest <= bytes / 2 {
                    count = index + 1;
                }
            }
            if count > 0 {
                let (upper, lower) = (tables[start..start + count].to_vec(), Vec::new());
                let (upper_level, output_level) = (level, level);
                return Some(Plan { upper, upper_level, lower, output_level, rewrite: true });
            }
        }
    }
    None
}

fn plan_level(levels: &Levels, upper_level: usize, upper: Vec<Arc<LevelTable>>) -> Plan {
    let output_level = upper_level + 1;
    let lower = overlapping(levels.levels.get(output_level), &upper).to_vec();
    Plan { upper, upper_level, lower, output_level, rewrite: false }
}

/// Everything one level further down, towards a single run in the deepest level there is; a run
/// that is there already is rewritten in place if that drops something. `None` when all is done.
fn plan_full(levels: &Levels, now_ms: u64) -> Option<Plan> {
    let first = levels.levels.iter().position(|level| !level.is_empty())?;
    let upper = levels.levels[first].to_vec();
    let deepest = levels.levels.len() - 1;
    if first < deepest || first == 0 {
        let output_level = first + 1;
        let lower = levels.levels.get(output_level).map(|level| level.to_vec());
        let lower = lower.unwrap_or_default();
        return Some(Plan { upper, upper_level: first, lower, output_level, rewrite: true });
    }
    let droppable = |table: &Arc<LevelTable>| {
        let props = table.table.props();
        props.tombstones > 0 || is_expired(props.expiry_min, now_ms)
    };
    let any = upper.iter().any(droppable);
    let (lower, output_level, rewrite) = (Vec::new(), first, true);
    any.then(|| Plan { upper, upper_level: first, lower, output_level, rewrite })
}

/// The files of a disjoint level whose ranges meet the span of `tables`.
fn overlapping<'a>(level: Option<&'a Level>, tables: &[Arc<LevelTable>]) -> &'a [Arc<LevelTable>] {
    let smallest = tables.iter().map(|table| table.smallest()).min();
    let largest = tables.iter().map(|table| table.largest()).max();
    let (Some(level), Some(smallest), Some(largest)) = (level, smallest, largest) else {
        return &[];
    };
    let start = level.partition_point(|table| table.largest() < smallest);
    let end = level.partition_point(|table| table.smallest() <= largest);
    &level[start..end.max(start)]
}

fn bytes_of(tables: &[Arc<LevelTable>]) -> u64 {
    tables.iter().map(|table| table.record.len).sum()
}

fn are_disjoint(tables: &[Arc<LevelTable>]) -> bool {
    let mut sorted: Vec<&Arc<LevelTable>> = tables.iter().collect();
    sorted.sort_by(|a, b| a.smallest().cmp(b.smallest()));
    sorted.windows(2).all(|pair| pair[0].largest() < pair[1].smallest())
}

/// Files go down as they are: nothing below overlaps them.
struct Move {
    keyspace: u32,
    tables: Vec<Arc<LevelTable>>,
    level: u8,
}

impl Merge for Move {
    fn step(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn finish(self: Box<Self>) -> Delta {
        move_delta(self.keyspace, self.tables, self.level)
    }
}

/// Files are merged into new ones.
struct Rewrite {
    levels: Levels,
    now_ms: u64,
    output_level: usize,
    output: TableOutput,
    inputs: Vec<Arc<LevelTable>>,
    /// Over all inputs. Sought by the first step.
    cursor: sstable::Merge<BoxCursor>,
    started: bool,
    /// A newer entry of the key that the cursor is at was taken.
    is_hidden: bool,
    /// Where records are: for the garbage count, and for those that move.
    segments: Arc<Segments>,
    /// Copies values out of address spaces that are nearly empty.
    dissolver: Dissolver,
    read: u64,
    dropped: u64,
    /// Dead bytes found, by file.
    garbage: BTreeMap<u32, u64>,
}

impl Rewrite {
    fn new(levels: Levels, context: &MergeContext, plan: Plan, dissolve: Listed) -> Rewrite {
        let files = &context.files;
        let now_ms = context.now_ms;
        let level = u8::try_from(plan.output_level).expect("a level fits a byte");
        let below = levels.levels.get(plan.output_level + 1).cloned().unwrap_or_default();
        let ends = Ends::at(files.options.table_bytes, below);
        let mut cursors: Vec<BoxCursor> = Vec::new();
        if plan.upper_level == 0 {
            for table in &plan.upper {
                cursors.push(Box::new(table.table.cursor_verifying()));
            }
        } else {
            cursors.push(Box::new(LevelCursor::verifying(Arc::new(plan.upper.clone()))));
        }
        if !plan.lower.is_empty() {
            cursors.push(Box::new(LevelCursor::verifying(Arc::new(plan.lower.clone()))));
        }
        let mut inputs = plan.upper;
        inputs.extend(plan.lower);
        Rewrite {
            levels,
            now_ms,
            output_level: plan.output_level,
            output: TableOutput::new(files.clone(), context.keyspace, level, ends),
            inputs,
            cursor: sstable::Merge::new(cursors),
            started: false,
            is_hidden: false,
            segments: context.segments.clone(),
            dissolver: Dissolver::new(context, dissolve),
            read: 0,
            dropped: 0,
            garbage: BTreeMap::new(),
        }
    }

    /// Takes the newest version of a key; drops an older one.
    fn take(&mut self) -> Result<()> {
        self.read += 1;
        if self.is_hidden {
            charge(&self.segments, &mut self.garbage, self.cursor.entry().value)?;
            self.dropped += 1;
        } else {
            self.place()?;
        }
        self.is_hidden = self.cursor.next_version()?;
        Ok(())
    }

    /// Writes the newest version of a key, or drops it.
    fn place(&mut self) -> Result<()> {
        let entry = self.cursor.entry();
        let dead = entry.value == Value::Tombstone || is_expired(entry.expiry, self.now_ms);
        if !dead {
            match self.dissolver.place(entry, &mut self.garbage)? {
                Some(entry) => self.output.add(entry)?,
                None => self.dropped += 1,
            }
        } else {
            if entry.value != Value::Tombstone {
                charge(&self.segments, &mut self.garbage, entry.value)?;
            }
            let is_dropped = match entry.value {
                Value::Tombstone => planted::is(Bug::TombstoneDroppedEarly),
                _ => planted::is(Bug::ExpiredDroppedEarly),
            };
            if self.levels.may_exist_below(self.output_level, entry.key) && !is_dropped {
                self.output.add(Entry { value: Value::Tombstone, expiry: 0, ..entry })?;
            } else {
                self.dropped += 1;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.output.end_table()?;
        self.dissolver.finish()?;
        let expected: u64 = self.inputs.iter().map(|input| input.table.props().count).sum();
        let is_whole = self.read == expected && self.output.count + self.dropped == self.read;
        if !is_whole && !planted::is(Bug::InputErrorIgnored) {
            let path = self.inputs[0].table.path();
            return Err(Error::corrupt("entries of a merge", path, 0, expected, self.read));
        }
        Ok(())
    }
}

impl Merge for Rewrite {
    fn step(&mut self) -> Result<bool> {
        if !self.started {
            let sought = self.cursor.seek_first();
            if !planted::is(Bug::InputErrorIgnored) {
                sought?;
            }
            self.started = true;
        }
        for _ in 0..STEP_ENTRIES {
            if !self.cursor.valid() {
                self.end()?;
                return Ok(true);
            }
            self.take()?;
        }
        Ok(false)
    }

    fn finish(self: Box<Self>) -> Delta {
        self.dissolver.into_delta(self.output.into_delta(self.inputs, self.garbage))
    }
}

/// True at and after an expiry; 0 never expires.
pub(crate) fn is_expired(expiry: u64, now_ms: u64) -> bool {
    expiry != 0 && expiry <= now_ms
}

/// Charges a dropped pointer's record to the file it is in: at least the half of its length class.
fn charge(segments: &Segments, garbage: &mut BTreeMap<u32, u64>, value: Value<'_>) -> Result<()> {
    if let Value::Pointer(bits) = value {
        segments.charge(ValuePtr::from_bits(bits), garbage)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
