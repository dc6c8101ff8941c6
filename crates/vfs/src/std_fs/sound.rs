//! What an open file knows of its failed writes and syncs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::system::refused;
use crate::error::{Error, Result, SYNC};

/// Shared by a file and the append mappings made from it, which have one open file description.
///
/// Postmortem: two threads synced one segment at once. The system tells a failed write-back once to
/// each description, whoever asks first: the other thread was told that all is well, and took an
/// edit for durable that names what no disk has. So one thread asks at a time, and the next is
/// told here.
#[derive(Debug, Default)]
pub(super) struct Soundness {
    lost: AtomicBool,
    /// Held while the system is asked.
    asking: Mutex<()>,
}

impl Soundness {
    /// A write or sync failed: nobody knows what is on disk.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// `Poisoned` after a failure.
    pub(super) fn require(&self, path: &Path) -> Result<()> {
        if self.lost.load(Ordering::Acquire) {
            return Err(Error::Poisoned { path: path.to_owned() });
        }
        Ok(())
    }

    /// Has the system make durable what was written, unless it failed before.
    pub(super) fn sync(
        &self,
        path: &Path,
        ask: impl FnOnce() -> rustix::io::Result<()>,
    ) -> Result<()> {
        let _alone = self.asking.lock();
        self.require(path)?;
        ask().map_err(|errno| {
            self.lose();
            refused(SYNC, path, errno)
        })
    }
}
