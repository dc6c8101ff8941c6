//! Calls of a simulated disk: their kinds, their trace, and faults that hit them.

use std::sync::Arc;

use super::content::{fold, hash_bytes};
use crate::error::SYNC;
use crate::name::{Kind, Name};

/// What a program asked the disk to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CallKind {
    /// [`crate::Fs::create_new`].
    Create,
    /// [`crate::Fs::open`].
    Open,
    /// [`crate::Fs::rename`].
    Rename,
    /// [`crate::Fs::link`].
    Link,
    /// [`crate::Fs::remove`].
    Remove,
    /// [`crate::Fs::list`].
    List,
    /// [`crate::Fs::sync_dir`].
    SyncDir,
    /// [`crate::Fs::create_dir`].
    CreateDir,
    /// [`crate::Fs::open_dir`].
    OpenDir,
    /// [`crate::Fs::remove_dir`].
    RemoveDir,
    /// [`crate::Fs::lock`].
    Lock,
    /// [`crate::Fs::free_space`].
    FreeSpace,
    /// [`crate::File::len`].
    Len,
    /// [`crate::File::read_at`].
    Read,
    /// [`crate::File::write_at`].
    Write,
    /// [`crate::File::truncate`].
    Truncate,
    /// [`crate::File::preallocate`].
    Preallocate,
    /// [`crate::File::sync_data`] and [`crate::File::sync_all`].
    Sync,
    /// [`crate::File::map`].
    Map,
    /// [`crate::File::map_append`].
    MapAppend,
    /// One page that [`crate::AppendMap::append`] touched. No fault hits it.
    Store,
    /// [`crate::AppendMap::sync`].
    SyncMap,
    /// [`crate::Lock::verify`].
    Verify,
    /// [`crate::Fs::preallocation`].
    Probe,
}

impl CallKind {
    /// Every kind.
    pub const ALL: [CallKind; 24] = [
        CallKind::Create,
        CallKind::Open,
        CallKind::Rename,
        CallKind::Link,
        CallKind::Remove,
        CallKind::List,
        CallKind::SyncDir,
        CallKind::CreateDir,
        CallKind::OpenDir,
        CallKind::RemoveDir,
        CallKind::Lock,
        CallKind::FreeSpace,
        CallKind::Len,
        CallKind::Read,
        CallKind::Write,
        CallKind::Truncate,
        CallKind::Preallocate,
        CallKind::Sync,
        CallKind::Map,
        CallKind::MapAppend,
        CallKind::Store,
        CallKind::SyncMap,
        CallKind::Verify,
        CallKind::Probe,
    ];

    /// True if the call changes what is on disk or what of it is durable: then it is in the trace
    /// and a boundary lies before it.
    pub fn changes(self) -> bool {
        use CallKind as K;
        match self {
            K::Create | K::Rename | K::Link | K::Remove | K::SyncDir | K::CreateDir => true,
            K::RemoveDir | K::Lock | K::Write | K::Truncate | K::Preallocate => true,
            K::Sync | K::Store | K::SyncMap => true,
            K::Open | K::List | K::OpenDir | K::FreeSpace | K::Len | K::Read => false,
            K::Map | K::MapAppend | K::Verify | K::Probe => false,
        }
    }

    /// True if the call makes something durable.
    pub fn syncs(self) -> bool {
        matches!(self, CallKind::SyncDir | CallKind::Sync | CallKind::SyncMap)
    }

    /// The verb for messages.
    pub(super) fn verb(self) -> &'static str {
        use CallKind as K;
        match self {
            K::Create | K::CreateDir => "create",
            K::Open | K::OpenDir => "open",
            K::Rename => "rename",
            K::Link => "link",
            K::Remove | K::RemoveDir => "remove",
            K::List => "list",
            K::SyncDir | K::Sync | K::SyncMap => SYNC,
            K::Lock => "lock",
            K::FreeSpace | K::Len | K::Verify => "stat",
            K::Read => "read",
            K::Write => "write",
            K::Truncate => "truncate",
            K::Preallocate | K::Probe => "preallocate",
            K::Map | K::MapAppend => "map",
            K::Store => "store",
        }
    }

    /// True if a full disk can refuse the call.
    fn takes_space(self) -> bool {
        use CallKind as K;
        let writes = matches!(self, K::Write | K::Truncate | K::Preallocate);
        let names = matches!(self, K::Create | K::Rename | K::Link | K::CreateDir | K::Lock);
        writes || names || self.syncs()
    }
}

/// A changing or syncing call, as the trace keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// What was asked.
    pub kind: CallKind,
    /// Of which file or directory, relative to the root; empty for the root.
    pub path: Arc<str>,
    /// Bytes from the start of the file, where the call has such a thing.
    pub offset: u64,
    /// Bytes written, or a length set.
    pub len: u64,
    /// Of the bytes written, or of the second name.
    pub hash: u64,
}

impl Call {
    pub(super) fn new(kind: CallKind, path: &Arc<str>) -> Call {
        Call { kind, path: Arc::clone(path), offset: 0, len: 0, hash: 0 }
    }

    pub(super) fn range(self, offset: u64, len: u64) -> Call {
        Call { offset, len, ..self }
    }

    pub(super) fn about(self, bytes: &[u8]) -> Call {
        Call { hash: hash_bytes(bytes), ..self }
    }

    /// The kind of the file or directory: the extension of its name. `None` for the root and for
    /// `LOCK`.
    pub fn file_kind(&self) -> Option<Kind> {
        let name = self.path.rsplit('/').next().and_then(Name::parse);
        name.map(|name| name.kind)
    }

    pub(super) fn fold(&self, hash: u64) -> u64 {
        let kind = CallKind::ALL.iter().position(|kind| *kind == self.kind).expect("all kinds");
        let hash = fold(fold(hash, kind as u64), hash_bytes(self.path.as_bytes()));
        fold(fold(fold(hash, self.offset), self.len), self.hash)
    }
}

/// A fault that a disk is told to have.
///
/// ```
/// use vfs::sim::{At, CallKind, Fault, SimDisk, Times, What};
/// let disk = SimDisk::new(7);
/// disk.fault(Fault { at: At::Kind(CallKind::List, 0), what: What::Io, times: Times::Once });
/// assert!(disk.root().list().is_err());
/// assert!(disk.root().list().is_ok());
/// assert_eq!(disk.faults_hit(), 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which call it hits.
    pub at: At,
    /// What happens.
    pub what: What,
    /// How often.
    pub times: Times,
}

/// Which call a fault hits. Calls are counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// The n-th call of all since the disk was made, reads included; see
    /// [`super::SimDisk::calls`].
    Call(u64),
    /// The n-th call of a kind since the disk was made; see [`super::SimDisk::calls_of`].
    Kind(CallKind, u64),
    /// The n-th call of a kind on files of a kind since the fault was armed.
    Site(CallKind, Kind, u64),
}

/// What a faulty call does. A fault that makes no sense for the call it would hit does not hit it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// An I/O error. A sync that fails so is as [`What::SyncLost`].
    Io,
    /// No space, for calls that may need some.
    NoSpace,
    /// Permission denied.
    Denied,
    /// Interrupted by a signal, which is repeated inside the call (as a new call) unless it is a
    /// sync.
    Interrupted,
    /// A read or write of at most so many bytes, at least one.
    Short(usize),
    /// A sync fails; what was pending will never be durable, though reads still show it, and the
    /// next sync says all is well (ext4, XFS).
    SyncLost,
    /// A sync fails and reads show the old bytes again (Btrfs), listings the old names.
    SyncReverted,
    /// A sync fails, and everything is durable nevertheless.
    SyncSurvived,
    /// A sync succeeds; the next one of that file or directory fails as [`What::SyncLost`].
    SyncLate,
}

/// How often a fault hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Times {
    /// That one call.
    Once,
    /// That call and every later one it can hit.
    Forever,
    /// The same until [`super::SimDisk::free`].
    UntilFreed,
}

/// A call that a fault hit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    /// The number of the call, from 0.
    pub call: u64,
    /// What was asked.
    pub kind: CallKind,
    /// Of which file or directory, relative to the root; empty for the root.
    pub path: Arc<str>,
    /// What happened.
    pub what: What,
}

impl What {
    /// Whether this can happen to such a call.
    pub fn fits(self, kind: CallKind) -> bool {
        match self {
            _ if kind == CallKind::Store => false,
            What::Io | What::Denied | What::Interrupted => true,
            What::NoSpace => kind.takes_space(),
            What::Short(_) => matches!(kind, CallKind::Read | CallKind::Write),
            What::SyncLost | What::SyncReverted | What::SyncSurvived | What::SyncLate => {
                kind.syncs()
            }
        }
    }
}
