//! All models.

use crate::checkpoints::CHECKPOINTS;
use crate::edits::EDITS;
use crate::explore::Model;
use crate::log_commits::COMMITS;
use crate::memtables::MEMTABLE;
use crate::readers::{READERS, READERS_HASHED, SNAPSHOTS, SNAPSHOTS_HASHED};
use crate::removal::{REMOVAL, REMOVAL_HASHED};
use crate::syncs::SYNCS;
use crate::transactions::{CONFLICTS, TRANSACTIONS};
use crate::writes::WRITES;

pub(crate) const ALL: [Model; 14] = [
    COMMITS,
    WRITES,
    MEMTABLE,
    SYNCS,
    READERS,
    READERS_HASHED,
    SNAPSHOTS,
    SNAPSHOTS_HASHED,
    REMOVAL,
    REMOVAL_HASHED,
    TRANSACTIONS,
    CONFLICTS,
    EDITS,
    CHECKPOINTS,
];
