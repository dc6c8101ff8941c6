//! Space that is put aside while there is some, for what must go on when the disk is full: deletes,
//! flushes, merges, garbage collection and opening the database, which all end in less being used.
//! A merge or collection that writes more than the reserve has must wait for space from elsewhere.
//!
//! Two files of preallocated bytes that nobody reads. Removing one pays; while it is gone, puts are
//! refused, so that nothing but what makes room can spend it. It comes back when twice its bytes
//! are free.
//!
//! Their names may return although names of files do not: they hold nothing, are never mapped,
//! linked or named by the MANIFEST, and losing or inventing them in a crash changes no data.

use vfs::sync::Mutex;
use vfs::sync::atomic::{AtomicBool, Ordering};
use vfs::{Fs, Kind, Listing, Name};

pub(crate) const RESERVE: Kind = Kind::new("reserve");
/// Pays for everything but opens.
const MAIN: Name = Name::new(RESERVE, 1);
/// A quarter, for opens only: they are the way back when all else is spent.
const LAST: Name = Name::new(RESERVE, 2);

/// What a database keeps for a full disk.
pub(crate) struct Reserve {
    /// 0 for none.
    bytes: u64,
    /// It paid, or there never was enough space for it.
    spent: AtomicBool,
    /// Leaf. Held while the file comes or goes.
    changing: Mutex<()>,
}

impl Reserve {
    /// Not there yet; see [`Reserve::open`].
    pub(crate) fn new(bytes: u64) -> Reserve {
        Reserve { bytes, spent: AtomicBool::new(bytes > 0), changing: Mutex::new(()) }
    }

    /// The files and their lengths.
    fn parts(&self) -> [(Name, u64); 2] {
        let last = self.bytes / 4;
        [(MAIN, self.bytes - last), (LAST, last)]
    }

    /// True if an earlier open left all of it.
    fn is_whole(&self, listing: &Listing) -> bool {
        let is_there = |(name, len): (Name, u64)| {
            listing.entries.iter().any(|entry| entry.name == name && entry.len == len)
        };
        self.bytes > 0 && self.parts().into_iter().all(is_there)
    }

    /// True if something is missing and there is not plenty.
    pub(crate) fn is_short(&self, fs: &dyn Fs, listing: &Listing) -> bool {
        self.bytes > 0 && !self.is_whole(listing) && !self.is_plenty(fs)
    }

    fn is_plenty(&self, fs: &dyn Fs) -> bool {
        fs.free_space().is_ok_and(|free| self.bytes.saturating_mul(2) <= free)
    }

    /// Takes over what an earlier open left, or puts space aside anew if there is plenty.
    pub(crate) fn open(&self, fs: &dyn Fs, listing: &Listing) {
        let is_whole = self.is_whole(listing);
        self.spent.store(self.bytes > 0 && !is_whole, Ordering::Release);
        for entry in &listing.entries {
            // Of another size; what is left of a spent one stays for the next open.
            let is_part = self.parts().contains(&(entry.name, entry.len)) && self.bytes > 0;
            if entry.name.kind == RESERVE && !entry.is_dir && !is_part {
                drop(fs.remove(entry.name));
            }
        }
        self.restore(fs);
    }

    /// True while nothing is put aside although something should be.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Acquire)
    }

    /// Bytes that are put aside.
    pub(crate) fn bytes(&self) -> u64 {
        if self.is_spent() { 0 } else { self.bytes }
    }

    /// Gives the space back to the disk. False if there was none to give.
    pub(crate) fn spend(&self, fs: &dyn Fs) -> bool {
        let _changing = self.changing.lock();
        if self.bytes == 0 || self.is_spent() || fs.remove(MAIN).is_err() {
            return false;
        }
        self.spent.store(true, Ordering::Release);
        true
    }

    /// Puts space aside again if there is plenty. True if nothing is missing now. A disk that
    /// refuses for whatever reason is asked again the next time.
    pub(crate) fn restore(&self, fs: &dyn Fs) -> bool {
        let _changing = self.changing.lock();
        if self.is_spent() && self.is_plenty(fs) {
            let made = self.parts().into_iter().try_for_each(|(name, len)| {
                // A try that failed half way may have left it.
                drop(fs.remove(name));
                fs.create_new(name)?.preallocate(0, len)
            });
            match made {
                Ok(()) => self.spent.store(false, Ordering::Release),
                Err(_) => drop(fs.remove(MAIN)),
            }
        }
        !self.is_spent()
    }
}

/// Gives back what an earlier open put aside, for the one that finds the disk full. The caller
/// holds `LOCK`.
pub(crate) fn give_back(fs: &dyn Fs) -> bool {
    fs.remove(MAIN).is_ok() || fs.remove(LAST).is_ok()
}
