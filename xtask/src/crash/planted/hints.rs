//! Where each bug is hunted: which of the parts that a CI run explores, and which piece of it.
//!
//! A hint saves time and nothing else: a piece is of those calls, configurations and images that the
//! campaigns go through. The hunt's own control explores it without a bug.

use std::fmt;
use std::sync::{Arc, OnceLock};

use vfs::planted::{self, Bug};

use crate::crash::call::Op;
use crate::crash::campaign::Campaign;
use crate::crash::faults::Faults;
use crate::crash::full_disk::FullDisk;
use crate::crash::images::Effort;
use crate::crash::orders::Orders;
use crate::crash::part::Part;
use crate::crash::plan::{Acks, Config, Jobs};
use crate::crash::rot::Rot;
use crate::kind::Kind;

/// A piece of the crash campaign.
#[derive(Clone, Copy)]
struct Piece {
    ops: &'static [Op],
    len: usize,
    kind: Option<Kind>,
    acks: Option<Acks>,
    jobs: Option<Jobs>,
    growth: bool,
}

/// The prelude alone.
const PRELUDE: Piece =
    Piece { ops: &[], len: 0, kind: None, acks: None, jobs: None, growth: false };
/// Behind it, any of these calls.
const fn all(len: usize, ops: &'static [Op]) -> Piece {
    Piece { ops, len, ..PRELUDE }
}

impl Piece {
    const fn kind(self, kind: Kind) -> Piece {
        Piece { kind: Some(kind), ..self }
    }

    const fn acks(self, acks: Acks) -> Piece {
        Piece { acks: Some(acks), ..self }
    }

    const fn lazy(self) -> Piece {
        Piece { jobs: Some(Jobs::Lazy), ..self }
    }

    fn campaign(self) -> Campaign {
        let mut campaign = Campaign::new(self.len, Effort::QUICK, 1);
        campaign.alphabet = self.ops.to_vec();
        campaign.growth = self.growth;
        campaign.violations_max = 1;
        campaign.configs.retain(|config: &Config| {
            self.kind.is_none_or(|kind| kind == config.kind)
                && self.acks.is_none_or(|acks| acks == config.acks)
                && self.jobs.is_none_or(|jobs| jobs == config.jobs)
        });
        if self.growth {
            campaign.effort = Effort { subset_choices_max: 0, ..Effort::QUICK.flat() };
            campaign.configs.truncate(2);
        }
        campaign
    }
}

/// A prime that divides no part's count of units.
const STRIDE: u64 = 7919;

/// Where a bug is hunted.
pub(super) struct Hunt {
    /// In words.
    pub(super) place: String,
    /// The count that says how much was judged.
    pub(super) judges: &'static str,
    /// Each unit is so far behind the one before, all around: what stands together in a long part
    /// does not keep the rest waiting. 1 or a prime that does not divide the count of units.
    pub(super) stride: u64,
    pub(super) part: Arc<dyn Part>,
}

/// Where a bug is hunted. What the hunt begins with is made here and now, with the bug that is on or
/// without any.
pub(super) fn hunt_of(bug: Bug) -> Hunt {
    static ROT: OnceLock<Arc<Rot>> = OnceLock::new();
    static FAULTS: OnceLock<Arc<Faults>> = OnceLock::new();
    match bug {
        Bug::GcWritesBack => {
            let part = Arc::new(Orders::quick(1));
            Hunt { place: part.name(), judges: "orders", stride: 1, part }
        }
        // What is damaged was written with the bug.
        Bug::PageUnsalted => rot(Arc::new(Rot::ci())),
        // Others read what sound code wrote.
        Bug::DamageTakenForTail
        | Bug::InputErrorIgnored
        | Bug::PageUnchecked
        | Bug::RecordUnchecked
        | Bug::HashPageUnchecked => {
            planted::with(None, || rot(ROT.get_or_init(|| Arc::new(Rot::ci())).clone()))
        }
        Bug::ShortWriteIgnored | Bug::SyncRetried | Bug::FailedCommitShown | Bug::FullDiskFatal => {
            planted::with(None, || {
                faults("cases", FAULTS.get_or_init(|| Arc::new(Faults::ci())).clone())
            })
        }
        Bug::ReserveUnused => planted::with(None, || faults("disks", Arc::new(FullDisk::ci()))),
        _ => {
            let piece = piece(bug);
            let (place, part) = (piece.to_string(), Arc::new(piece.campaign()));
            Hunt { place, judges: "images", stride: 1, part }
        }
    }
}

fn rot(part: Arc<Rot>) -> Hunt {
    // Makes the databases.
    part.units();
    Hunt { place: part.name(), judges: "damages judged", stride: STRIDE, part }
}

fn faults(judges: &'static str, part: Arc<dyn Part>) -> Hunt {
    // Looks for the calls that can fail.
    part.units();
    Hunt { place: part.name(), judges, stride: STRIDE, part }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ops: Vec<&str> = self.ops.iter().map(|op| op.name()).collect();
        match (self.growth, self.len) {
            (true, _) => write!(f, "crash growth"),
            (_, 0) => write!(f, "crash prelude"),
            (_, len) => write!(f, "crash {len} of {}", ops.join(", ")),
        }?;
        let words = [
            self.kind.map(|kind| kind.to_string()),
            self.acks.map(|acks| format!("acks {acks:?}").to_lowercase()),
            self.jobs.map(|jobs| format!("jobs {jobs:?}").to_lowercase()),
        ];
        words.into_iter().flatten().try_for_each(|word| write!(f, "; {word}"))
    }
}

fn piece(bug: Bug) -> Piece {
    use Kind::{Btree, Hash};
    match bug {
        Bug::OlderSegmentsUnsynced => all(2, &[Op::HugePut, Op::Sync]).acks(Acks::Never),
        Bug::AttestsUnsynced => all(2, &[Op::BigPut, Op::Put]).acks(Acks::Never),
        Bug::RecoveryKeepsUnsynced => PRELUDE.acks(Acks::Never),
        Bug::BatchReplayedInHalves => all(1, &[Op::Batch]),
        Bug::WalMinTooHigh => all(3, &[Op::HugePut, Op::Flush]).lazy(),
        Bug::FlushInHalves => all(2, &[Op::Unlogged, Op::Flush]),
        Bug::NewestGenerationOpened => all(2, &[Op::Unlogged, Op::Flush]).kind(Hash),
        Bug::KeyspaceIdReused => all(2, &[Op::Batch, Op::Recreate]).kind(Btree),
        Bug::CloseUnsynced | Bug::PredecessorRemovedEarly => all(1, &[Op::Reopen]),
        Bug::TombstoneDroppedEarly => all(2, &[Op::Jobs, Op::Delete]).kind(Btree).lazy(),
        Bug::ExpiredDroppedEarly => all(3, &[Op::Jobs, Op::Back]).kind(Btree).lazy(),
        Bug::OldestTableFirst => all(1, &[Op::Flush]).kind(Btree).lazy(),
        Bug::OldestRunFirst => all(1, &[Op::Flush]).kind(Hash).lazy(),
        Bug::GcTrustsMemory => all(2, &[Op::HugePut, Op::Gc]).acks(Acks::Never),
        Bug::OffsetWraps | Bug::GarbageForgotten => Piece { growth: true, ..PRELUDE },
        Bug::SplitNotAtomic
        | Bug::GenerationUnsynced
        | Bug::GenerationNameUnsynced
        | Bug::RunUnsynced
        | Bug::HashZeroLost
        | Bug::CandidateKeyTrusted
        | Bug::MergeTrustsHash
        | Bug::HashDeleteForgotten => PRELUDE.kind(Hash),
        Bug::SnapshotSeesLater => all(2, &[Op::Snapshot, Op::Put]),
        Bug::ConflictMissed => all(1, &[Op::Contend]),
        Bug::ExpiredReturns | Bug::ClockForgotten => all(1, &[Op::Back]),
        Bug::CheckpointNamesUnsynced | Bug::CheckpointLogUnsynced => all(1, &[Op::Checkpoint]),
        _ => PRELUDE,
    }
}
