//! A file system to test on, with what a test needs to do behind its back.

use std::path::PathBuf;
use std::sync::Arc;

use vfs::{Fs, Kind, Name, SimDisk, StdFs};

pub(crate) const TABLE: Kind = Kind::new("tbl");

pub(crate) fn name(id: u64) -> Name {
    Name::new(TABLE, id)
}

pub(crate) enum Bed {
    Std { scratch: tempfile::TempDir },
    Sim { disk: SimDisk },
}

impl Bed {
    pub(crate) fn all() -> [Bed; 2] {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        [Bed::Std { scratch }, Bed::Sim { disk: SimDisk::new(1) }]
    }

    /// A new handle of the directory.
    pub(crate) fn open(&self) -> Arc<dyn Fs> {
        match self {
            Bed::Std { scratch } => StdFs::open(scratch.path()).expect("it was made"),
            Bed::Sim { disk } => disk.root(),
        }
    }

    pub(crate) fn plant_symlink(&self, name: &str) {
        match self {
            Bed::Std { .. } => {
                let target = self.path("target");
                std::os::unix::fs::symlink(target, self.path(name)).expect("planted");
            }
            Bed::Sim { disk } => disk.write_symlink(name),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "behind the back of vfs")]
    pub(crate) fn plant_file(&self, name: &str, bytes: &[u8]) {
        match self {
            Bed::Std { .. } => std::fs::write(self.path(name), bytes).expect("planted"),
            Bed::Sim { disk } => disk.write_file(name, bytes),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "behind the back of vfs")]
    pub(crate) fn remove(&self, name: &str) {
        match self {
            Bed::Std { .. } => std::fs::remove_file(self.path(name)).expect("removed"),
            Bed::Sim { disk } => disk.corrupt(name, &vfs::sim::Damage::Remove),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        match self {
            Bed::Std { scratch } => scratch.path().join(name),
            Bed::Sim { .. } => unreachable!("a simulated disk has no paths"),
        }
    }
}
