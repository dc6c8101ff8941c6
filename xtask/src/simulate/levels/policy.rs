//! What is merged next, for each policy of the comparison. Merges run one after another, and all
//! that are due before the next flush.

use std::ops::Range;

use super::super::draws::to_f64;
use super::tree::{Cut, File, Merge, Tree};

const LEVEL0_FILES: usize = 4;
const LEVEL1_BYTES: u64 = 256 << 20;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Policy {
    /// `plan_needed` of the engine, with the target of level 1 as `level1_target` has it.
    Ours,
    /// The same with memtables as small as RocksDB's.
    OursSmall,
    /// A level 1 of `level1_bytes` whatever flushes bring, as it was before.
    OursFixed,
    /// RocksDB 11.8 as `benches/compare` opens it.
    RocksDb,
}

impl Policy {
    pub(super) const ALL: [Policy; 4] =
        [Policy::Ours, Policy::OursSmall, Policy::OursFixed, Policy::RocksDb];

    pub(super) fn name(self) -> &'static str {
        match self {
            Policy::Ours => "ours",
            Policy::OursSmall => "ours, flushes of 64 MiB",
            Policy::OursFixed => "ours, level 1 of 256 MiB",
            Policy::RocksDb => "RocksDB with blob files",
        }
    }

    pub(super) fn level_count(self) -> usize {
        match self {
            Policy::Ours | Policy::OursSmall | Policy::OursFixed => OUR_LEVEL_MAX + 1,
            Policy::RocksDb => ROCKS_LEVELS,
        }
    }

    /// Puts that a flush brings: key 24, value 1024 and what a record takes besides. RocksDB's
    /// memtable holds values; of ours `memtable_bytes` counts keys alone, and `log_bytes` ends a
    /// generation.
    pub(super) fn flush_puts(self) -> u64 {
        match self {
            Policy::Ours | Policy::OursFixed => (256 << 20) / (24 + 1024 + 32),
            Policy::OursSmall | Policy::RocksDb => (64 << 20) / (24 + 1024 + 40),
        }
    }

    pub(super) fn plan(self, tree: &Tree) -> Option<Merge> {
        match self {
            Policy::Ours | Policy::OursSmall => plan_ours(tree, level1_target(tree)),
            Policy::OursFixed => plan_ours(tree, LEVEL1_BYTES),
            Policy::RocksDb => plan_rocks(tree),
        }
    }
}

const OUR_LEVEL_MAX: usize = 15;
const OUR_MULTIPLIER: u64 = 8;
const OUR_TABLE_BYTES: u64 = 32 << 20;
/// `LEVEL1_BATCHES` of the engine.
const OUR_LEVEL1_BATCHES: u64 = 4;

/// `plan_needed` of the engine while no flush waits.
fn plan_ours(tree: &Tree, level1_bytes: u64) -> Option<Merge> {
    let files = tree.levels[0].len();
    let mut fullest = (files >= LEVEL0_FILES).then_some((1000 * files / LEVEL0_FILES, 0));
    let mut target = level1_bytes;
    for level in 1..OUR_LEVEL_MAX {
        let bytes = tree.level_bytes(level);
        let fill = usize::try_from(bytes.saturating_mul(1000) / target).expect("64 bits");
        if bytes > target && fullest.is_none_or(|(most, _)| fill > most) {
            fullest = Some((fill, level));
        }
        target = target.saturating_mul(OUR_MULTIPLIER);
    }
    match fullest? {
        (_, 0) => Some(merge_ours(tree, 0, 0..files)),
        (_, level) => Some(merge_ours(tree, level, tree.least_overlap(level))),
    }
}

/// `level1_target` of the engine.
pub(super) fn level1_target(tree: &Tree) -> u64 {
    let Some(largest) = tree.levels[0].iter().map(|file| tree.file_bytes(file)).max() else {
        return LEVEL1_BYTES;
    };
    let batch = largest * LEVEL0_FILES as u64;
    (batch * OUR_LEVEL1_BATCHES).clamp(OUR_TABLE_BYTES, LEVEL1_BYTES)
}

fn merge_ours(tree: &Tree, upper_level: usize, upper: Range<usize>) -> Merge {
    let output_level = upper_level + 1;
    let (first, last) = tree.span(upper_level, upper.clone());
    let lower = tree.overlapping(output_level, first, last);
    let below = tree.levels.get(output_level + 1).map_or(&[][..], |level| level);
    let boundaries: Vec<u64> = below.iter().map(File::first).collect();
    let bytes_max = OUR_TABLE_BYTES * if boundaries.is_empty() { 1 } else { 2 };
    let cut = Cut { bytes_max, early_bytes: |_| OUR_TABLE_BYTES / 4 * 3, boundaries };
    Merge { upper_level, upper, output_level, lower, cut }
}

/// `num_levels`, level 0 included.
const ROCKS_LEVELS: usize = 7;
const ROCKS_MULTIPLIER: u64 = 10;
const ROCKS_LAST: usize = ROCKS_LEVELS - 1;
/// `target_file_size_base`.
const ROCKS_TABLE_BYTES: u64 = 64 << 20;
/// `max_compaction_bytes` is 25 files, and twice that is the limit of an expansion.
const ROCKS_EXPANDED_MAX_BYTES: u64 = 2 * 25 * ROCKS_TABLE_BYTES;

/// The level that level 0 goes to, and the target of every level, as
/// `level_compaction_dynamic_level_bytes` derives them: `VersionStorageInfo::CalculateBaseBytes`.
pub(super) fn rocks_targets(tree: &Tree) -> (usize, [u64; ROCKS_LEVELS]) {
    let bytes: Vec<u64> = (0..ROCKS_LEVELS).map(|level| tree.level_bytes(level)).collect();
    let mut targets = [u64::MAX; ROCKS_LEVELS];
    let Some(mut base) = (1..ROCKS_LEVELS).find(|&level| bytes[level] > 0) else {
        return (ROCKS_LAST, targets);
    };
    let mut target = bytes[1..].iter().copied().max().unwrap_or(0);
    (base..ROCKS_LAST).for_each(|_| target /= ROCKS_MULTIPLIER);
    let least = LEVEL1_BYTES / ROCKS_MULTIPLIER;
    if target <= least {
        assert!(
            base == ROCKS_LAST,
            "the last level never shrinks, so no level becomes unnecessary"
        );
        target = least + 1;
    }
    while base > 1 && target > LEVEL1_BYTES {
        base -= 1;
        target /= ROCKS_MULTIPLIER;
    }
    target = target.min(LEVEL1_BYTES);
    for level_target in &mut targets[base..] {
        *level_target = target.max(LEVEL1_BYTES);
        target *= ROCKS_MULTIPLIER;
    }
    (base, targets)
}

/// `VersionStorageInfo::ComputeCompactionScore`: the level to merge from, if any.
fn rocks_level(tree: &Tree, base: usize, targets: &[u64; ROCKS_LEVELS]) -> Option<usize> {
    let level0_bytes = tree.level_bytes(0);
    let mut score = to_f64(tree.levels[0].len() as u64) / to_f64(LEVEL0_FILES as u64);
    if level0_bytes >= LEVEL1_BYTES {
        score = score.max(1.01);
    }
    if level0_bytes > targets[base] {
        let base_bytes = tree.level_bytes(base).max(targets[base]);
        score = score.max(to_f64(level0_bytes) / to_f64(base_bytes));
    }
    let mut best = (if score > 1.0 { score * 10.0 } else { score }, 0);
    let mut coming_bytes = level0_bytes;
    for (level, &target) in targets.iter().enumerate().take(ROCKS_LAST).skip(base) {
        let bytes = tree.level_bytes(level);
        let score = match bytes < target {
            true => to_f64(bytes) / to_f64(target),
            false => to_f64(bytes) / to_f64(target + coming_bytes) * 10.0,
        };
        coming_bytes += bytes.saturating_sub(target);
        if score > best.0 {
            best = (score, level);
        }
    }
    (best.0 >= 1.0).then_some(best.1)
}

/// `LevelCompactionBuilder`: what it leaves out when one merge runs at a time, and moves of several
/// files at once, are left out here too.
fn plan_rocks(tree: &Tree) -> Option<Merge> {
    let (base, targets) = rocks_targets(tree);
    let level = rocks_level(tree, base, &targets)?;
    if level > 0 {
        let upper = tree.least_overlap(level);
        return Some(expand_rocks(tree, level, upper));
    }
    let upper = 0..tree.levels[0].len();
    // `PickSizeBasedIntraL0Compaction`: level 0 becomes one file while the base level is more than
    // twenty times as large.
    if tree.level_bytes(base) > level_bytes_min(tree) && upper.len() >= LEVEL0_FILES {
        let cut = Cut { bytes_max: u64::MAX, early_bytes: |_| u64::MAX, boundaries: Vec::new() };
        return Some(Merge { upper_level: 0, upper, output_level: 0, lower: 0..0, cut });
    }
    let (first, last) = tree.span(0, upper.clone());
    let lower = tree.overlapping(base, first, last);
    Some(merge_rocks(tree, 0, upper, base, lower))
}

fn level_bytes_min(tree: &Tree) -> u64 {
    tree.level_bytes(0) * ROCKS_MULTIPLIER * 2
}

/// `CompactionPicker::SetupOtherInputs`: more files of the upper level if that takes no more files
/// of the lower one: those that meet the keys of the inputs, else those within them.
fn expand_rocks(tree: &Tree, level: usize, upper: Range<usize>) -> Merge {
    let (first, last) = tree.span(level, upper.clone());
    let lower = tree.overlapping(level + 1, first, last);
    if lower.is_empty() {
        return merge_rocks(tree, level, upper, level + 1, lower);
    }
    let (lower_first, lower_last) = tree.span(level + 1, lower.clone());
    let (first, last) = (first.min(lower_first), last.max(lower_last));
    let meeting = tree.overlapping(level, first, last);
    let files = &tree.levels[level];
    let start = meeting.start + usize::from(files[meeting.start].first() < first);
    let within = start..meeting.end - usize::from(files[meeting.end - 1].last() > last);
    let lower_bytes = tree.bytes(level + 1, lower.clone());
    let fits = |wider: &Range<usize>| {
        let (first, last) = tree.span(level, wider.clone());
        wider.len() > upper.len()
            && lower_bytes + tree.bytes(level, wider.clone()) < ROCKS_EXPANDED_MAX_BYTES
            && tree.overlapping(level + 1, first, last) == lower
    };
    let upper = [meeting, within].into_iter().find(fits).unwrap_or(upper);
    merge_rocks(tree, level, upper, level + 1, lower)
}

/// Files end at 64 MiB; above the last level also at the boundary of a file one level below, once
/// they have half of that and more, and then at 128 MiB: `CompactionOutputs::ShouldStopBefore`
/// without the rules that need gaps between files, or overlaps of `max_compaction_bytes`.
fn merge_rocks(
    tree: &Tree,
    upper_level: usize,
    upper: Range<usize>,
    output_level: usize,
    lower: Range<usize>,
) -> Merge {
    let below = tree.levels.get(output_level + 1).map_or(&[][..], |level| level);
    let boundaries: Vec<u64> = below.iter().flat_map(|file| [file.first(), file.last()]).collect();
    let bytes_max = ROCKS_TABLE_BYTES * if boundaries.is_empty() { 1 } else { 2 };
    let early_bytes = |crossed: u64| ROCKS_TABLE_BYTES / 100 * (50 + (5 * crossed).min(40));
    let cut = Cut { bytes_max, early_bytes, boundaries };
    Merge { upper_level, upper, output_level, lower, cut }
}
