//! A disk that lies: a file system that says it did what it did not. The harness is trusted only
//! because it finds these.

use std::any::Any;
use std::fmt;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use parking_lot::Mutex;
use vfs::{
    Access, Advice, AppendMap, Bytes, File, Fs, Kind, Listing, Lock, Name, Preallocation, Result,
};

/// One lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// `sync_dir` does nothing.
    NoDirSync,
    /// `sync_dir` does nothing if the newest file is of a kind, as if it had been forgotten there.
    NoDirSyncAfter(&'static str),
    /// Syncs of files of a kind do nothing.
    NoSync(&'static str),
    /// Syncs of tables happen only when a MANIFEST was synced after them: the edit first.
    TablesAfterManifest,
}

impl Lie {
    /// Every lie and its name.
    pub const ALL: [(&'static str, Lie); 14] = [
        ("no-dir-sync", Lie::NoDirSync),
        ("no-dir-sync-after-table", Lie::NoDirSyncAfter("tbl")),
        ("no-dir-sync-after-log", Lie::NoDirSyncAfter("wal")),
        ("no-dir-sync-after-manifest", Lie::NoDirSyncAfter("manifest")),
        ("no-table-sync", Lie::NoSync("tbl")),
        ("no-log-sync", Lie::NoSync("wal")),
        ("no-value-sync", Lie::NoSync("val")),
        ("no-manifest-sync", Lie::NoSync("manifest")),
        ("no-run-sync", Lie::NoSync("run")),
        ("no-partition-sync", Lie::NoSync("part")),
        ("no-generation-sync", Lie::NoSync("gen")),
        ("no-remap-sync", Lie::NoSync("map")),
        ("no-dir-sync-after-generation", Lie::NoDirSyncAfter("gen")),
        ("tables-after-manifest", Lie::TablesAfterManifest),
    ];

    /// The lie of a name.
    pub fn parse(name: &str) -> anyhow::Result<Lie> {
        match Lie::ALL.iter().find(|(known, _)| *known == name) {
            Some((_, lie)) => Ok(*lie),
            None => bail!("{name:?} is no lie"),
        }
    }
}

/// A directory that lies.
#[derive(Debug)]
pub struct LyingFs {
    honest: Arc<dyn Fs>,
    liar: Arc<Liar>,
}

/// What all handles of a lying disk share.
#[derive(Debug)]
struct Liar {
    lie: Lie,
    state: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// Kind of the newest file.
    created: Option<Kind>,
    /// Syncs that were promised and not done yet.
    owed: Vec<Arc<dyn File>>,
}

impl LyingFs {
    /// Puts a lie before a directory.
    pub fn before(honest: Arc<dyn Fs>, lie: Lie) -> Arc<dyn Fs> {
        Arc::new(LyingFs { honest, liar: Arc::new(Liar { lie, state: Mutex::default() }) })
    }

    fn file(&self, name: Name, honest: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(LyingFile { honest, kind: name.kind, liar: self.liar.clone() })
    }
}

impl Liar {
    fn is_ignored(&self, kind: Kind) -> bool {
        matches!(self.lie, Lie::NoSync(ignored) if kind == Kind::new(ignored))
    }

    /// A sync as the liar does it.
    fn sync(&self, kind: Kind, file: &Arc<dyn File>) -> Result<()> {
        if self.is_ignored(kind) {
            return Ok(());
        }
        if self.lie == Lie::TablesAfterManifest {
            if kind == Kind::new("tbl") {
                self.state.lock().owed.push(file.clone());
                return Ok(());
            }
            if kind == Kind::new("manifest") {
                file.sync_data()?;
                let owed = std::mem::take(&mut self.state.lock().owed);
                return owed.iter().try_for_each(|table| table.sync_data());
            }
        }
        file.sync_data()
    }
}

impl Fs for LyingFs {
    fn path(&self) -> &Path {
        self.honest.path()
    }

    fn create_new(&self, name: Name) -> Result<Arc<dyn File>> {
        self.liar.state.lock().created = Some(name.kind);
        Ok(self.file(name, self.honest.create_new(name)?))
    }

    fn open(&self, name: Name, access: Access) -> Result<Arc<dyn File>> {
        Ok(self.file(name, self.honest.open(name, access)?))
    }

    fn rename(&self, from: Name, to: Name) -> Result<()> {
        self.honest.rename(from, to)
    }

    fn link(&self, from: Name, to: &dyn Fs, to_name: Name) -> Result<()> {
        self.honest.link(from, to, to_name)
    }

    fn remove(&self, name: Name) -> Result<()> {
        self.honest.remove(name)
    }

    fn list(&self) -> Result<Listing> {
        self.honest.list()
    }

    fn sync_dir(&self) -> Result<()> {
        let ignored = match self.liar.lie {
            Lie::NoDirSync => true,
            Lie::NoDirSyncAfter(kind) => self.liar.state.lock().created == Some(Kind::new(kind)),
            Lie::NoSync(_) | Lie::TablesAfterManifest => false,
        };
        if ignored { Ok(()) } else { self.honest.sync_dir() }
    }

    fn create_dir(&self, name: Name) -> Result<Arc<dyn Fs>> {
        let honest = self.honest.create_dir(name)?;
        Ok(Arc::new(LyingFs { honest, liar: self.liar.clone() }))
    }

    fn open_dir(&self, name: Name) -> Result<Arc<dyn Fs>> {
        let honest = self.honest.open_dir(name)?;
        Ok(Arc::new(LyingFs { honest, liar: self.liar.clone() }))
    }

    fn remove_dir(&self, name: Name) -> Result<()> {
        self.honest.remove_dir(name)
    }

    fn lock(&self) -> Result<Box<dyn Lock>> {
        self.honest.lock()
    }

    fn free_space(&self) -> Result<u64> {
        self.honest.free_space()
    }

    fn preallocation(&self) -> Result<Preallocation> {
        self.honest.preallocation()
    }

    fn as_any(&self) -> &dyn Any {
        // Links are made by the honest directory, which must know its own.
        self.honest.as_any()
    }
}

struct LyingFile {
    honest: Arc<dyn File>,
    kind: Kind,
    liar: Arc<Liar>,
}

impl fmt::Debug for LyingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.honest.fmt(f)
    }
}

impl File for LyingFile {
    fn path(&self) -> &Path {
        self.honest.path()
    }

    fn len(&self) -> Result<u64> {
        self.honest.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.honest.read_at(buffer, offset)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.honest.write_at(buffers, offset)
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.honest.truncate(len)
    }

    fn preallocate(&self, offset: u64, len: u64) -> Result<()> {
        self.honest.preallocate(offset, len)
    }

    fn sync_data(&self) -> Result<()> {
        self.liar.sync(self.kind, &self.honest)
    }

    fn sync_all(&self) -> Result<()> {
        self.liar.sync(self.kind, &self.honest)
    }

    fn map(&self, len: u64) -> Result<Bytes> {
        self.honest.map(len)
    }

    fn map_append(&self, from: u64, len: u64) -> Result<Arc<dyn AppendMap>> {
        let honest = self.honest.map_append(from, len)?;
        Ok(Arc::new(LyingMap { honest, ignored: self.liar.is_ignored(self.kind) }))
    }

    fn advise(&self, offset: u64, len: u64, advice: Advice) {
        self.honest.advise(offset, len, advice);
    }
}

#[derive(Debug)]
struct LyingMap {
    honest: Arc<dyn AppendMap>,
    ignored: bool,
}

impl AppendMap for LyingMap {
    fn path(&self) -> &Path {
        self.honest.path()
    }

    fn capacity(&self) -> u64 {
        self.honest.capacity()
    }

    fn end(&self) -> u64 {
        self.honest.end()
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.honest.append(bytes)
    }

    fn read(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.honest.read(offset, len)
    }

    fn sync(&self) -> Result<()> {
        if self.ignored { Ok(()) } else { self.honest.sync() }
    }
}
