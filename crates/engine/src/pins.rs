//! Who keeps which memory: the pins of snapshots and iterators, and how the oldest are taken away.

use std::sync::{Arc, Weak};

use vfs::sync::RwLock;
use vfs::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::view::{Generation, View};

/// A reader's pin on a view: a snapshot's or an iterator's.
pub(crate) struct Pin {
    pub(crate) seq: u64,
    expired: AtomicBool,
    /// `None` once it expired.
    view: RwLock<Option<Arc<View>>>,
}

impl Pin {
    pub(crate) fn new(seq: u64, view: Arc<View>) -> Pin {
        Pin { seq, expired: AtomicBool::new(false), view: RwLock::new(Some(view)) }
    }

    /// The pinned view. `SnapshotExpired` if it held too much memory.
    pub(crate) fn view(&self) -> Result<Arc<View>> {
        self.view.read().clone().ok_or_else(expired)
    }

    /// `SnapshotExpired` if it held too much memory.
    pub(crate) fn check(&self) -> Result<()> {
        if self.expired.load(Ordering::Relaxed) { Err(expired()) } else { Ok(()) }
    }

    /// True if it keeps a generation in memory; not once it expired.
    fn holds(&self, generation: &Arc<Generation>) -> bool {
        self.view.read().as_ref().is_some_and(|view| {
            let mut held = view.sealed.iter().chain([&view.active]);
            held.any(|held| Arc::ptr_eq(held, generation))
        })
    }

    /// Takes the view away.
    fn expire(&self) {
        self.expired.store(true, Ordering::Relaxed);
        *self.view.write() = None;
    }
}

fn expired() -> Error {
    let message = "the snapshot expired: it kept more flushed memtables in memory than option \
        pinned_bytes_max allows";
    Error::new(ErrorKind::SnapshotExpired, message)
}

/// Memory that readers keep alive.
#[derive(Default)]
pub(crate) struct Pins {
    /// Oldest first.
    readers: Vec<Weak<Pin>>,
    /// With so many, those that are gone are looked for.
    readers_max: usize,
    /// Flushed generations that somebody may still hold.
    flushed: Vec<Weak<Generation>>,
}

impl Pins {
    pub(crate) fn add(&mut self, pin: &Arc<Pin>) {
        if self.readers.len() >= self.readers_max {
            self.readers.retain(|pin| pin.strong_count() > 0);
            // Twice as many as there are: each pays for two looks at most.
            self.readers_max = 2 * self.readers.len().max(8);
        }
        self.readers.push(Arc::downgrade(pin));
    }

    /// Bytes of flushed memtables that are still held.
    pub(crate) fn bytes(&mut self) -> u64 {
        self.flushed.retain(|generation| generation.strong_count() > 0);
        let held = self.flushed.iter().filter_map(Weak::upgrade);
        held.map(|generation| generation.bytes()).sum()
    }

    /// Takes note of a flushed generation, then lets the oldest readers that hold one expire until
    /// those that are left hold no more than `bytes_max`. (An iterator that nobody asks for its
    /// next entry lets go only when it is asked or dropped; no younger reader expires for that.)
    pub(crate) fn flushed(&mut self, generation: &Arc<Generation>, bytes_max: u64) {
        self.flushed.push(Arc::downgrade(generation));
        let readers: Vec<Arc<Pin>> = self.readers.iter().filter_map(Weak::upgrade).collect();
        let flushed: Vec<_> = self.flushed.iter().filter_map(Weak::upgrade).collect();
        for (index, oldest) in readers.iter().enumerate() {
            let left = &readers[index..];
            let is_held = |one: &&Arc<Generation>| left.iter().any(|pin| pin.holds(one));
            let bytes: u64 = flushed.iter().filter(is_held).map(|one| one.bytes()).sum();
            if bytes <= bytes_max {
                break;
            }
            if flushed.iter().any(|one| oldest.holds(one)) {
                oldest.expire();
            }
        }
        self.readers.retain(|pin| pin.upgrade().is_some_and(|pin| pin.check().is_ok()));
    }
}
