//! Bugs that are planted on purpose, so that the crash explorer can show that it finds each.
//!
//! A site in product code is one short line that asks [`is`]. Without the feature `planted` the
//! answer is a constant, and nothing of the site is left; with it, `with` switches one bug on
//! for one thread: the explorer runs workload, background jobs and recovery on the same one.
//!
//! What a bug says of itself is `family, catalogue row: what is wrong`. A bug whose trigger no
//! simulated workload reaches (4 GiB) is scaled down, and says so.

#[cfg(feature = "planted")]
use std::cell::Cell;

/// Declares the enum and the list of what each says of itself.
macro_rules! bugs {
    ($(#[doc = $says:literal] $bug:ident,)*) => {
        /// A planted bug.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Bug {
            $(#[doc = $says] $bug,)*
        }

        impl Bug {
            /// Every bug.
            pub const ALL: &'static [Bug] = &[$(Bug::$bug,)*];

            /// Its family, its row of the catalogue, and what is wrong.
            pub fn says(self) -> &'static str {
                match self {
                    $(Bug::$bug => $says.trim_ascii(),)*
                }
            }
        }
    };
}

bugs! {
    /// log, 1: the names of the segments that rotations made are not synced.
    RotationNamesUnsynced,
    /// log, 1: a sync forgets the segments before the active one.
    OlderSegmentsUnsynced,
    /// log, 108: a durable write is acknowledged when it is written, not synced.
    AckBeforeSync,
    /// log, 9: the torn tail counts as part of the segment that recovery puts the next one behind.
    AppendBehindTornTail,
    /// log, 4: the checksum of a frame's payload is not looked at.
    FrameUnchecked,
    /// log, 6: an unfinished tail is damage.
    TornTailRefused,
    /// log, 4: damage in front of a synced position is taken for an unfinished tail.
    DamageTakenForTail,
    /// log, 3: frames attest what was written, not what was synced.
    AttestsUnsynced,
    /// log, 16: a short write is taken for a whole one.
    ShortWriteIgnored,
    /// log, 79: after a failed sync the next one counts.
    SyncRetried,
    /// log, 79: what a failed commit wrote is shown to readers.
    FailedCommitShown,
    /// log, 22: a flush removes its log before the edit that replaces it.
    LogRemovedEarly,
    /// log, 25: logs that were replaced are replayed if their removal was not durable.
    ObsoleteLogReplayed,
    /// log, 5: recovery cuts the torn tail off the file.
    RecoveryTruncates,
    /// log, 13: recovery does not sync what it keeps of a killed process.
    RecoveryKeepsUnsynced,
    /// log, 28: the start of the log that a flush leaves is not durable before the edit that names it.
    StartUnsynced,
    /// log, 88: sequence numbers of replayed records are given again.
    SeqReused,
    /// log, 26: segment ids in use are given again.
    SegmentIdReused,
    /// log, 15: the records of a torn batch up to the tear are replayed.
    BatchReplayedInHalves,
    /// flush, 108: a flush does not wait for the log's sync.
    FlushBeforeLogSync,
    /// flush, 32: a table is not synced before the edit that names it.
    TableUnsynced,
    /// flush, 28: the directory is not synced before the edit that names its new files.
    TableNameUnsynced,
    /// flush, 23: the log is released up to the newest generation, flushed or not.
    WalMinTooHigh,
    /// flush, 15: a flush of several keyspaces is two edits.
    FlushInHalves,
    /// flush, 50: a delete is not flushed to a hash index that holds what it hides.
    HashDeleteForgotten,
    /// manifest, 29: the old MANIFEST goes before the name of the new one is durable.
    PredecessorRemovedEarly,
    /// manifest, 31: edits are not synced.
    EditUnsynced,
    /// manifest, 36: files that nothing names are removed at once.
    UnknownRemoved,
    /// manifest, 25: files that nothing names are left where they are.
    UnknownLeft,
    /// manifest, 39: a keyspace is created and not recorded.
    KeyspaceUnrecorded,
    /// manifest, 88: the number of a dropped keyspace is given again.
    KeyspaceIdReused,
    /// manifest, 63: the newest generation of a hash table is opened, not the one that counts.
    NewestGenerationOpened,
    /// manifest, 20: a clean close records an end that it has not synced.
    CloseUnsynced,
    /// merge, 41: a tombstone is dropped above the values that it hides.
    TombstoneDroppedEarly,
    /// merge, 89: an expired entry is dropped above an older one that it hides.
    ExpiredDroppedEarly,
    /// merge, 45: an input that cannot be read is taken for an empty one.
    InputErrorIgnored,
    /// merge, 46: an entry that finds its output full is dropped.
    OutputOverflowDropped,
    /// merge, 24: of two tables of level 0 the older one is asked first.
    OldestTableFirst,
    /// merge, 28: the directory is not synced before the edit that names a merge's output.
    MergeNameUnsynced,
    /// table, 52: the filter does not know the first key.
    FilterForgetsKey,
    /// table, 71: the checksum of a page is not looked at.
    PageUnchecked,
    /// table, 73: the checksum of a page does not cover where it belongs.
    PageUnsalted,
    /// values, 56: a collection takes a record for dead because of a newer one in memory.
    GcTrustsMemory,
    /// values, 54: a collection writes what it found live back when it is done.
    GcWritesBack,
    /// values, 58: copied and moved values are not synced before the edit that names them.
    ValuesUnsynced,
    /// values, 58: a remap table is not synced before the edit that names it.
    RemapUnsynced,
    /// values, 28: the directory is not synced before the edit that names moved values.
    MovedNameUnsynced,
    /// values, 58: the victims of a collection are removed before the edit.
    VictimRemovedEarly,
    /// values, 93: a record that moved is looked for where it was.
    RemapIgnored,
    /// values, 73: the checksum of a record is not looked at.
    RecordUnchecked,
    /// values, 64: an offset loses its bits above 16 KiB (scaled down from 4 GiB).
    OffsetWraps,
    /// values, 95: nothing is ever worth collecting.
    GarbageForgotten,
    /// values, 47: files that nobody needs any more are forgotten instead of removed.
    RetiredForgotten,
    /// hash, 63: what a merge replaces is removed before the generation that replaces it is there.
    SplitNotAtomic,
    /// hash, 60: a generation's record is not synced.
    GenerationUnsynced,
    /// hash, 28: the name of a generation's record is not synced.
    GenerationNameUnsynced,
    /// hash, 58: a run or partition is not synced.
    RunUnsynced,
    /// hash, 62: a hash of 0 is not found.
    HashZeroLost,
    /// hash, 97: a candidate's key is not compared.
    CandidateKeyTrusted,
    /// hash, 24: of two runs the older one is asked first.
    OldestRunFirst,
    /// hash, 97: of two slots with one hash a merge keeps the newer one, whatever their keys.
    MergeTrustsHash,
    /// hash, 73: the checksum of a page is not looked at.
    HashPageUnchecked,
    /// reads, 83: a snapshot sees what was written after it.
    SnapshotSeesLater,
    /// reads, 84: a transaction commits over what was written since it read.
    ConflictMissed,
    /// expiry, 90: what has expired returns when the clock is set back.
    ExpiredReturns,
    /// expiry, 90: the latest time that was seen is not kept over a close.
    ClockForgotten,
    /// lock, 91: nobody looks whether the lock file is still the one that is held.
    LockLossUnnoticed,
    /// lock, 91: a lock that somebody holds is given again.
    LockIgnored,
    /// checkpoint, 34: a checkpoint becomes a database before the names of its files are durable.
    CheckpointNamesUnsynced,
    /// checkpoint, 34: a checkpoint's copy of the log is not synced.
    CheckpointLogUnsynced,
    /// full disk, 78: the reserve is not given back when the disk is full.
    ReserveUnused,
    /// full disk, 78: a full disk ends all writes for good.
    FullDiskFatal,
}

/// Whether a bug is switched on here.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
thread_local! {
    static ON: Cell<Option<Bug>> = const { Cell::new(None) };
    static REACHED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a bug is switched on here.
#[cfg(feature = "planted")]
pub fn is(bug: Bug) -> bool {
    let on = ON.get() == Some(bug);
    if on {
        REACHED.set(true);
    }
    on
}

/// Runs something on this thread with a bug switched on, or with none.
#[cfg(feature = "planted")]
pub fn with<R>(bug: Option<Bug>, run: impl FnOnce() -> R) -> R {
    struct Restore(Option<Bug>);
    impl Drop for Restore {
        fn drop(&mut self) {
            ON.set(self.0);
        }
    }
    let _restore = Restore(ON.replace(bug));
    run()
}

/// Whether the site of a bug that was on was reached by this thread since the last question.
#[cfg(feature = "planted")]
pub fn reached() -> bool {
    REACHED.replace(false)
}

/// What a build without the feature makes of a site, proved while it is compiled.
#[cfg(not(feature = "planted"))]
const _: () = {
    let mut index = 0;
    while index < Bug::ALL.len() {
        assert!(!is(Bug::ALL[index]), "nothing is planted");
        index += 1;
    }
};

#[cfg(all(test, feature = "planted"))]
mod tests;
