//! Which files garbage collection rewrites next.
//!
//! A file's *share* is its known garbage over its length; its *score* is the benefit of rewriting
//! it over the cost, with age as the likelihood that what is live stays so: `share x age / (2 -
//! share)`, as in the log-structured file system (Rosenblum and Ousterhout 1992). Measured in
//! docs/decisions/0003-promotion-and-garbage.md.

use vfs::planted::{self, Bug};

use crate::catalog::{Catalog, SegmentOrigin, SegmentRecord};
use crate::options::Options;

/// What a caller has brought down of the total bound: the background then has nothing to do until
/// much more is overwritten.
const TOTAL_FULL: f64 = 0.8;

/// How eager to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Zeal {
    /// Only files above the forced share.
    Forced,
    /// Also, while there is too much garbage in total, files above the advised share.
    Advised,
    /// Also any file with garbage, until the total is a fifth below its bound.
    Full,
}

/// The share of a file that is known to be dead.
pub(crate) fn share(file: &SegmentRecord) -> f64 {
    if file.len == 0 { 0.0 } else { (file.garbage as f64 / file.len as f64).min(1.0) }
}

/// The share of all value bytes that is known to be dead.
pub(crate) fn total_share(catalog: &Catalog) -> f64 {
    let garbage: u64 = catalog.segments.values().map(|file| file.garbage.min(file.len)).sum();
    let bytes: u64 = catalog.segments.values().map(|file| file.len).sum();
    if bytes == 0 { 0.0 } else { garbage as f64 / bytes as f64 }
}

/// Age in segments that were begun since, each about `segment_bytes` of puts.
fn score(file: &SegmentRecord, next_segment: u32) -> f64 {
    let age = f64::from(next_segment.saturating_sub(file.id).max(1));
    let share = share(file);
    share * age / (2.0 - share)
}

/// Every file that may be rewritten now, best first.
pub(crate) fn candidates(
    catalog: &Catalog,
    options: &Options,
    zeal: Zeal,
    skip: &dyn Fn(u32) -> bool,
) -> Vec<SegmentRecord> {
    let total_max = options.total_garbage_max * if zeal == Zeal::Full { TOTAL_FULL } else { 1.0 };
    let too_much = total_share(catalog) > total_max;
    let bound = match zeal {
        Zeal::Advised if too_much => options.advised_garbage,
        Zeal::Full if too_much => 0.0,
        _ => options.forced_garbage,
    };
    let bound = bound.min(options.forced_garbage);
    // The log may still be replayed from there on: such a file is not a value segment yet.
    let is_log =
        |file: &SegmentRecord| file.origin == SegmentOrigin::Promoted && file.id >= catalog.wal_min;
    let eligible = |file: &&SegmentRecord| {
        let is_worth_it = share(file) >= bound && !planted::is(Bug::GarbageForgotten);
        file.garbage > 0 && is_worth_it && !is_log(file) && !skip(file.id)
    };
    let mut files: Vec<SegmentRecord> =
        catalog.segments.values().filter(eligible).cloned().collect();
    let score = |file: &SegmentRecord| score(file, catalog.next_segment);
    files.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.id.cmp(&b.id)));
    files
}

/// True if a count is so far off that something else may be the better choice.
pub(crate) fn is_wrong(file: &SegmentRecord, garbage: u64, tolerance: f64) -> bool {
    // What a sample saw, a merge may later charge once more.
    let difference = file.garbage.min(file.len).abs_diff(garbage.min(file.len));
    difference as f64 > tolerance * file.len as f64
}

/// The files to rewrite together: the best ones, until what is live of them fills a segment.
pub(crate) fn choose(candidates: Vec<SegmentRecord>, segment_bytes: u64) -> Vec<SegmentRecord> {
    let mut live = 0;
    let fits = |file: &SegmentRecord| {
        let first = live == 0;
        live += file.len.saturating_sub(file.garbage).max(1);
        first || live <= segment_bytes
    };
    candidates.into_iter().take_while(fits).collect()
}

#[cfg(test)]
mod tests;
