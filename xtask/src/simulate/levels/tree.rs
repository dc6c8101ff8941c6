//! Levels of files that hold keys and nothing else, and the merges between them, counted.
//!
//! 1. Below level 0 the files of a level are in the order of their keys and do not overlap.
//! 2. Keys flushed = keys in files + keys dropped.
//! 3. A merge writes its output and nothing else; files that only move are not written.

use std::collections::BTreeSet;
use std::ops::Range;

/// Of a key of 24 bytes and a pointer of 8, as in files of the engine: 37.1 in those of flushes,
/// 38.1 in those of a store of four million keys.
pub(super) const ENTRY_BYTES: u64 = 38;

/// Sorted keys, each once.
pub(super) struct File(Vec<u64>);

impl File {
    pub(super) fn first(&self) -> u64 {
        self.0[0]
    }

    pub(super) fn last(&self) -> u64 {
        self.0[self.0.len() - 1]
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> &[u64] {
        &self.0
    }
}

/// Where the files of an output end.
pub(super) struct Cut {
    /// A file that has so many bytes is full.
    pub(super) bytes_max: u64,
    /// A file that passed so many boundaries ends at the last of them if it has so many bytes.
    pub(super) early_bytes: fn(u64) -> u64,
    /// Where files one level below the output begin or end, ascending.
    pub(super) boundaries: Vec<u64>,
}

/// Files to merge, as ranges of their levels.
pub(super) struct Merge {
    pub(super) upper_level: usize,
    pub(super) upper: Range<usize>,
    pub(super) output_level: usize,
    pub(super) lower: Range<usize>,
    pub(super) cut: Cut,
}

pub(super) struct Tree {
    pub(super) levels: Vec<Vec<File>>,
    /// Bytes that a key of the model stands for.
    key_bytes: u64,
    /// Keys that flushes brought, that flushes and merges wrote, and that merges dropped.
    pub(super) flushed: u64,
    pub(super) written: u64,
    pub(super) dropped: u64,
}

impl Tree {
    pub(super) fn new(level_count: usize, keys_per_key: u64) -> Tree {
        let levels = (0..level_count).map(|_| Vec::new()).collect();
        let key_bytes = keys_per_key * ENTRY_BYTES;
        Tree { levels, key_bytes, flushed: 0, written: 0, dropped: 0 }
    }

    pub(super) fn flush(&mut self, keys: BTreeSet<u64>) {
        let keys: Vec<u64> = keys.into_iter().collect();
        self.flushed += keys.len() as u64;
        self.written += keys.len() as u64;
        self.levels[0].push(File(keys));
    }

    pub(super) fn file_bytes(&self, file: &File) -> u64 {
        file.count() * self.key_bytes
    }

    pub(super) fn bytes(&self, level: usize, files: Range<usize>) -> u64 {
        self.levels[level][files].iter().map(|file| self.file_bytes(file)).sum()
    }

    pub(super) fn level_bytes(&self, level: usize) -> u64 {
        self.bytes(level, 0..self.levels[level].len())
    }

    /// The files of a level below level 0 that meet the keys from `first` to `last`.
    pub(super) fn overlapping(&self, level: usize, first: u64, last: u64) -> Range<usize> {
        let files = &self.levels[level];
        let start = files.partition_point(|file| file.last() < first);
        start..files.partition_point(|file| file.first() <= last).max(start)
    }

    /// First and last key of some files of any level.
    pub(super) fn span(&self, level: usize, files: Range<usize>) -> (u64, u64) {
        let files = &self.levels[level][files];
        let first = files.iter().map(File::first).min().expect("a span of no files");
        let last = files.iter().map(File::last).max().expect("a span of no files");
        (first, last)
    }

    /// The file of `level` that overlaps least in the level below, as a multiple of its own bytes.
    pub(super) fn least_overlap(&self, level: usize) -> Range<usize> {
        let overlap = |index: &usize| {
            let file = &self.levels[level][*index];
            let below = self.overlapping(level + 1, file.first(), file.last());
            self.bytes(level + 1, below) * 1000 / self.file_bytes(file)
        };
        let index = (0..self.levels[level].len()).min_by_key(overlap).expect("a level of no files");
        index..index + 1
    }

    pub(super) fn merge(&mut self, merge: Merge) {
        let Merge { upper_level, upper, output_level, lower, cut } = merge;
        let moves = upper.len() == 1 && lower.is_empty();
        let place = lower.start;
        let mut inputs: Vec<File> = self.levels[upper_level].drain(upper).collect();
        if moves {
            self.levels[output_level].splice(place..place, inputs);
            return;
        }
        inputs.extend(self.levels[output_level].drain(lower));
        let mut keys: Vec<u64> = inputs.into_iter().flat_map(|file| file.0).collect();
        let read = keys.len();
        keys.sort();
        keys.dedup();
        self.dropped += (read - keys.len()) as u64;
        self.written += keys.len() as u64;
        let output = self.split(keys, &cut);
        self.levels[output_level].splice(place..place, output);
    }

    fn split(&self, keys: Vec<u64>, cut: &Cut) -> Vec<File> {
        let mut files = Vec::new();
        let mut open = Vec::new();
        let mut boundaries = cut.boundaries.iter().peekable();
        let mut crossed = 0;
        for key in keys {
            let crossed_before = crossed;
            while boundaries.next_if(|boundary| **boundary <= key).is_some() {
                crossed += 1;
            }
            let bytes = open.len() as u64 * self.key_bytes;
            let ends_early = crossed > crossed_before && bytes >= (cut.early_bytes)(crossed);
            if !open.is_empty() && (bytes >= cut.bytes_max || ends_early) {
                files.push(File(std::mem::take(&mut open)));
                crossed = 0;
            } else if open.is_empty() {
                crossed = 0;
            }
            open.push(key);
        }
        files.push(File(open));
        files
    }
}
