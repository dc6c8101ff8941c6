//! What nobody points into any more goes with the edit that took away the last pointer: address
//! spaces that no index file of any keyspace lists, with their files and remap tables, and
//! rewritten files that no remap table leads to. Nothing is read or rewritten for it.
//!
//! Views that are still held have their files in hand, which are removed from the disk only
//! when these views are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use wal::SegmentId;

use crate::catalog::{Catalog, Change, SegmentOrigin, SegmentRecord};
use crate::files::Files;
use crate::index::Index;
use crate::listed::Listed;
use crate::view::View;
use crate::vlog::Segments;

/// What can go.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Unlisted {
    pub(crate) files: Vec<SegmentRecord>,
    /// Address spaces whose remap table goes.
    pub(crate) remaps: Vec<u32>,
}

/// Every address space that the indexes of a view list, when `next` replaces those of the
/// keyspaces it names.
pub(crate) fn listed(view: &View, next: &[(u32, Arc<dyn Index>)]) -> Listed {
    let mut all = Listed::default();
    for keyspace in &view.keyspaces {
        let replaced = next.iter().find(|(id, _)| *id == keyspace.id);
        let index = replaced.map_or(&keyspace.index, |(_, index)| index);
        all.extend(&index.listed());
    }
    all
}

/// What of a catalog can go when the indexes list nothing but this.
pub(crate) fn unlisted(catalog: &Catalog, listed: &Listed) -> Unlisted {
    let remaps = catalog.remaps.keys().filter(|id| !listed.contains(**id)).copied().collect();
    let kept = catalog.remaps.iter().filter(|(id, _)| listed.contains(**id));
    let targets: BTreeSet<u32> =
        kept.flat_map(|(_, remap)| remap.targets.iter().copied()).collect();
    let is_needed = |segment: &SegmentRecord| match segment.origin {
        SegmentOrigin::Promoted | SegmentOrigin::Copied => listed.contains(segment.id),
        SegmentOrigin::Rewritten => targets.contains(&segment.id),
    };
    let files = catalog.segments.values().filter(|segment| !is_needed(segment)).cloned();
    Unlisted { files: files.collect(), remaps }
}

impl Unlisted {
    /// What goes into the MANIFEST.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change> {
        let files = self.files.iter().map(|file| Change::SegmentRemoved { id: file.id });
        files.chain(self.remaps.iter().map(|id| Change::RemapRemoved { segment: *id }))
    }

    /// Bytes of the files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// Takes it out of the segments of a view to come, and retires it. The edit is durable.
    pub(crate) fn remove_from(&self, segments: &mut Arc<Segments>, files: &Files) {
        if self.files.is_empty() && self.remaps.is_empty() {
            return;
        }
        let segments = Arc::make_mut(segments);
        for record in &self.files {
            if let Some(segment) = segments.remove(SegmentId(record.id)) {
                files.retire(record.name(), &segment);
            }
        }
        for id in &self.remaps {
            if let Some(remap) = segments.set_remap(SegmentId(*id), None) {
                files.retire(remap.name(), &remap);
            }
        }
    }
}

#[cfg(test)]
mod tests;
