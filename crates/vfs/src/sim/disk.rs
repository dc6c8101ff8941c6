//! The machine room of a simulated disk: counts calls, keeps boundaries, strikes with faults,
//! watches the quota.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use rustix::io::Errno;

use super::call::{At, Call, CallKind, Fault, Hit, Times, What};
use super::content::PAGE_LEN;
use super::state::{DataChange, DataOp, FileNode, Ino, Key, Node, State};
use crate::error::{Error, Result};
use crate::fs::Preallocation;
use crate::random::Random;

/// Interruptions in a row after which a call counts as failed, as on the real disk.
const INTERRUPTIONS_MAX: u32 = 100;

/// What [`crate::Fs::free_space`] says without a quota.
const SPACE_BYTES: u64 = 1 << 40;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) state: State,
    pub(super) random: Random,
    /// How often the disk was switched on: handles of an earlier life are dead.
    pub(super) boot: u64,
    pub(super) next_ino: Ino,

    /// Calls so far, of each kind.
    counts: BTreeMap<CallKind, u64>,
    calls: u64,
    pub(super) trace: Vec<Call>,
    pub(super) trace_hash: u64,
    /// The state before each changing call, since recording began.
    pub(super) boundaries: Option<Vec<State>>,
    /// Every call, since somebody asked for it.
    pub(super) log: Option<Vec<Call>>,
    /// The disk takes no more calls than this.
    pub(super) calls_max: u64,

    faults: Vec<Armed>,
    pub(super) hits: Vec<Hit>,
    /// Syncs that said they failed.
    pub(super) failed_syncs: Vec<Hit>,
    /// How many of these are of an earlier process.
    pub(super) forgiven: usize,
    /// Syncs asked of a handle after one of its writes or syncs failed, or of what a failed sync
    /// was of.
    pub(super) syncs_again: u64,
    /// Whose next sync fails.
    late: Vec<Ino>,

    pub(super) quota_bytes: Option<u64>,
    pub(super) preallocation: Preallocation,

    /// Files keep what they held before each sync.
    pub(super) remembers: bool,
    /// Bits of files that one read sees turned: file, offset, bit.
    pub(super) transient: Vec<(Ino, u64, u8)>,

    /// Handles per file or directory.
    open: BTreeMap<Ino, u32>,
    /// Lock files that are held.
    pub(super) locks: Vec<Ino>,
    /// Mappings: of what, how long, and whether they live.
    mapped: Vec<(Ino, u64, Weak<()>)>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    spent: bool,
    /// Calls of its kind on its kind of file so far, for [`At::Site`].
    seen: u64,
}

impl Armed {
    /// True if it hits this call, the `number`-th of all and the `of_kind`-th of its kind.
    fn strikes(&mut self, call: &Call, number: u64, of_kind: u64) -> bool {
        let (n, now) = match self.fault.at {
            At::Call(n) => (n, number),
            At::Kind(kind, n) if kind == call.kind => (n, of_kind),
            At::Site(kind, file, n) if kind == call.kind && call.file_kind() == Some(file) => {
                self.seen += 1;
                (n, self.seen - 1)
            }
            At::Kind(..) | At::Site(..) => return false,
        };
        let due = match self.fault.times {
            Times::Once => n == now,
            Times::Forever | Times::UntilFreed => n <= now,
        };
        due && !self.spent && self.fault.what.fits(call.kind)
    }
}

/// How a sync ends.
pub(super) enum Synced {
    /// All is durable.
    Kept,
    /// All is durable, and the caller is told otherwise.
    Survived(Errno),
    Lost(Errno),
    Reverted(Errno),
}

impl Inner {
    pub(super) fn new(state: State, seed: u64) -> Inner {
        let next_ino = 1 + state.nodes.last_key_value().map_or(0, |(ino, _)| *ino);
        Inner {
            state,
            random: Random::new(seed),
            boot: 0,
            next_ino,
            counts: BTreeMap::new(),
            calls: 0,
            trace: Vec::new(),
            trace_hash: 0,
            boundaries: None,
            log: None,
            calls_max: u64::MAX,
            faults: Vec::new(),
            hits: Vec::new(),
            failed_syncs: Vec::new(),
            forgiven: 0,
            syncs_again: 0,
            late: Vec::new(),
            quota_bytes: None,
            preallocation: Preallocation::Reserves,
            remembers: false,
            transient: Vec::new(),
            open: BTreeMap::new(),
            locks: Vec::new(),
            mapped: Vec::new(),
        }
    }

    pub(super) fn calls(&self, kind: Option<CallKind>) -> u64 {
        match kind {
            None => self.calls,
            Some(kind) => self.counts.get(&kind).copied().unwrap_or(0),
        }
    }

    /// Numbers a call; changing ones are traced and get a boundary before them. Returns the fault
    /// that strikes.
    fn begin(&mut self, call: &Call) -> Option<What> {
        let kind = call.kind;
        if kind.changes() {
            if let Some(boundaries) = &mut self.boundaries {
                boundaries.push(self.state.clone());
            }
            self.trace_hash = call.fold(self.trace_hash);
            self.trace.push(call.clone());
        }
        if let Some(log) = &mut self.log {
            log.push(call.clone());
        }
        let number = self.calls;
        // Once is enough: what is dropped while the stack unwinds makes calls too.
        let goes_on = number < self.calls_max || std::thread::panicking();
        assert!(goes_on, "endless: {number} calls, and now {call:?}");
        let of_kind = self.counts.entry(kind).or_default();
        let number_of_kind = *of_kind;
        *of_kind += 1;
        self.calls += 1;
        // All of them count, whichever strikes.
        let mut struck = None;
        for (index, armed) in self.faults.iter_mut().enumerate() {
            if armed.strikes(call, number, number_of_kind) {
                struck.get_or_insert(index);
            }
        }
        let armed = &mut self.faults[struck?];
        let Fault { what, times, .. } = armed.fault;
        armed.spent = times == Times::Once;
        self.hits.push(Hit { call: number, kind, path: Arc::clone(&call.path), what });
        Some(what)
    }

    /// Begins a call that is not a sync. `Ok(Some(n))`: it may move at most n bytes.
    pub(super) fn enter(&mut self, call: &Call, path: &Path) -> Result<Option<usize>> {
        for attempt in 1.. {
            let errno = match self.begin(call) {
                None => return Ok(None),
                Some(What::Short(count)) => return Ok(Some(count.max(1))),
                Some(What::Interrupted) if attempt < INTERRUPTIONS_MAX => continue,
                Some(What::Interrupted) => Errno::INTR,
                Some(What::NoSpace) => Errno::NOSPC,
                Some(What::Denied) => Errno::ACCESS,
                Some(_) => Errno::IO,
            };
            return Err(refused(call.kind, path, errno));
        }
        unreachable!("attempts are bounded")
    }

    /// Begins a sync of a file or directory and says how it ends.
    pub(super) fn enter_sync(&mut self, call: &Call, ino: Ino) -> Synced {
        if self.failed_syncs[self.forgiven..].iter().any(|hit| hit.path == call.path) {
            self.syncs_again += 1;
        }
        let fault = self.begin(call);
        let outcome = self.sync_outcome(fault, ino);
        if !matches!(outcome, Synced::Kept) {
            let (kind, path) = (call.kind, Arc::clone(&call.path));
            let what = fault.unwrap_or(What::SyncLate);
            self.failed_syncs.push(Hit { call: self.call(), kind, path, what });
        }
        outcome
    }

    fn sync_outcome(&mut self, fault: Option<What>, ino: Ino) -> Synced {
        if let Some(index) = self.late.iter().position(|late| *late == ino) {
            self.late.swap_remove(index);
            return Synced::Lost(Errno::IO);
        }
        match fault {
            None => Synced::Kept,
            Some(What::SyncLate) => {
                self.late.push(ino);
                Synced::Kept
            }
            Some(What::SyncSurvived) => Synced::Survived(Errno::IO),
            Some(What::SyncReverted) => Synced::Reverted(Errno::IO),
            Some(What::NoSpace) => Synced::Lost(Errno::NOSPC),
            Some(What::Denied) => Synced::Lost(Errno::ACCESS),
            Some(What::Interrupted) => Synced::Lost(Errno::INTR),
            Some(_) => Synced::Lost(Errno::IO),
        }
    }

    /// The number of the call that was begun last.
    pub(super) fn call(&self) -> u64 {
        self.calls - 1
    }

    pub(super) fn arm(&mut self, fault: Fault) {
        self.faults.push(Armed { fault, spent: false, seen: 0 });
    }

    /// Ends the faults that last until there is space.
    pub(super) fn freed(&mut self) {
        self.faults.retain(|armed| armed.fault.times != Times::UntilFreed);
    }

    pub(super) fn disarm(&mut self) {
        self.faults.clear();
        self.late.clear();
    }

    // Handles.

    pub(super) fn opened(&mut self, ino: Ino) {
        *self.open.entry(ino).or_default() += 1;
    }

    pub(super) fn closed(&mut self, ino: Ino) {
        let count = self.open.get_mut(&ino).expect("it was opened");
        *count -= 1;
        if *count == 0 {
            self.open.remove(&ino);
        }
    }

    /// The process dies: its handles, locks and mappings go, the page cache stays.
    pub(super) fn kill(&mut self) {
        self.boot += 1;
        self.open.clear();
        self.locks.clear();
        self.mapped.clear();
    }

    pub(super) fn map(&mut self, ino: Ino, len: u64) -> Arc<()> {
        let token = Arc::new(());
        self.mapped.retain(|(_, _, token)| token.strong_count() > 0);
        self.mapped.push((ino, len, Arc::downgrade(&token)));
        token
    }

    /// How long the longest mapping of a file is.
    pub(super) fn mapped_len(&self, ino: Ino) -> u64 {
        let alive =
            self.mapped.iter().filter(|(of, _, token)| *of == ino && token.strong_count() > 0);
        alive.map(|(_, len, _)| *len).max().unwrap_or(0)
    }

    /// Forgets what nothing leads to.
    pub(super) fn collect(&mut self) {
        self.state.collect(self.open.keys().copied());
    }

    // Nodes.

    pub(super) fn create(&mut self, node: Node) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        self.state.insert(ino, node);
        ino
    }

    pub(super) fn look_up(&self, dir: Ino, key: &Key) -> Option<Ino> {
        self.state.dir(dir).live.get(key).copied()
    }

    /// Writes to a file, which becomes durable only later.
    pub(super) fn write(&mut self, ino: Ino, offset: u64, bytes: bytes::Bytes) {
        let call = self.call();
        let file = self.state.file_mut(ino);
        file.live.write(offset, &bytes);
        file.pending.push(DataOp { call, change: DataChange::Write { offset, bytes } });
    }

    pub(super) fn set_len(&mut self, ino: Ino, len: u64) {
        let call = self.call();
        let file = self.state.file_mut(ino);
        if file.live.len() != len {
            file.live.set_len(len);
            file.pending.push(DataOp { call, change: DataChange::SetLen { len } });
        }
    }

    // Space.

    pub(super) fn free_bytes(&self) -> u64 {
        match self.quota_bytes {
            None => SPACE_BYTES,
            Some(quota) => quota.saturating_sub(self.state.bytes_used(self.open.keys().copied())),
        }
    }

    /// How many of the first bytes of `offset..offset + len` have or find space.
    pub(super) fn room(&self, ino: Ino, offset: u64, len: u64) -> u64 {
        if self.quota_bytes.is_none() || len == 0 {
            return len;
        }
        let page_len = PAGE_LEN as u64;
        let file = self.state.file(ino);
        let mut free_pages = self.free_bytes() / page_len;
        for page in offset / page_len..=(offset + len - 1) / page_len {
            if has_space(file, page) {
                continue;
            }
            if free_pages == 0 {
                return (page * page_len).saturating_sub(offset);
            }
            free_pages -= 1;
        }
        len
    }
}

fn has_space(file: &FileNode, page: u64) -> bool {
    file.live.has_page(page) || file.is_reserved(page)
}

/// The error for a call that the disk refused.
pub(super) fn refused(kind: CallKind, path: &Path, errno: Errno) -> Error {
    Error::io(kind.verb(), path, io::Error::from(errno))
}
