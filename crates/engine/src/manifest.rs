//! The MANIFEST: what the database consists of. One edit makes one change visible.
//!
//! A MANIFEST file is a segment (the log's format) whose frames hold edits; the first holds the
//! whole state. Every open that will write starts the next file and never appends to an old one
//! again:
//!
//! write n+1, sync -> sync directory -> remove n -> sync directory -> first edit of n+1
//!
//! So two files stand beside each other only while both say the same, and a successor that is not
//! whole is an unfinished switch (docs/decisions/0005-manifest-switch.md).
//!
//! A clean close starts a file too and adds nothing to it: one edit, every byte of which is attested by
//! its being there.
//!
//! 1. An edit is durable when [`Manifest::commit`] returns, and only then takes effect.
//! 2. Ids in [`Catalog`] only grow.

use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::{Access, Env, Fs, Kind, Listing, Name};
use wal::SegmentWriter;

use crate::catalog::{self, Catalog, Change, FORMAT_VERSION};
use crate::error::{Error, ErrorKind, Result};

pub(crate) const MANIFEST: Kind = Kind::new("manifest");
/// What becomes the MANIFEST of a checkpoint when everything else is in place: its first file, and
/// while it has this name the checkpoint is unfinished.
pub(crate) const PARTIAL: Kind = Kind::new("partial");
/// File numbers stay below, so that the next one can be counted; a segment's id has 32 bits.
const NUMBER_LIMIT: u64 = u32::MAX as u64;
/// A file that grew beyond this is followed by a fresh one.
const MANIFEST_BYTES_MAX: u64 = 8 << 20;

/// What [`load`] found.
pub(crate) struct Loaded {
    pub(crate) catalog: Catalog,
    /// The file the state came from.
    pub(crate) number: u64,
    /// Where its last edit was cut off, if it was, and how many bytes are ignored behind: something
    /// may have been lost that was never in effect.
    pub(crate) cut: Option<(u64, u64)>,
}

/// The numbers of the MANIFEST files in a directory, ascending.
pub(crate) fn numbers(listing: &Listing) -> Vec<u64> {
    let mut numbers: Vec<u64> = listing
        .entries
        .iter()
        .filter(|entry| entry.name.kind == MANIFEST && !entry.name.quarantined && !entry.is_dir)
        .filter(|entry| entry.name.id < NUMBER_LIMIT)
        .map(|entry| entry.name.id)
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The number of the MANIFEST that follows `newest`, the newest whole one: the first that is not
/// among `numbers`, which may be of unfinished ones. `Invalid` if an open could not find it.
pub(crate) fn next_number(fs: &dyn Fs, newest: u64, numbers: &[u64]) -> Result<u64> {
    let mut next = newest + 1;
    while numbers.contains(&next) {
        next += 1;
    }
    if next >= NUMBER_LIMIT {
        let path = fs.path().display();
        let message = format!("{path} has a MANIFEST whose number leaves none for the next one");
        return Err(Error::invalid(message));
    }
    Ok(next)
}

/// Reads the newest whole MANIFEST. `None` for a directory without one, or with one whose
/// creation never finished.
pub(crate) fn load(fs: &Arc<dyn Fs>, listing: &Listing) -> Result<Option<Loaded>> {
    // Behind the newest whole file stand only switches, or creations, that never finished: an older
    // file is gone before the first edit of a newer one.
    let mut unfinished = None;
    for number in numbers(listing).into_iter().rev() {
        match read(fs, number) {
            Ok(Some(loaded)) => return Ok(Some(loaded)),
            Ok(None) => {
                let path = fs.path().join(Name::new(MANIFEST, number).to_string());
                unfinished.get_or_insert(Error::corrupt("manifest state", &path, 0, 1, 0));
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                unfinished.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    // With nothing else in the directory there never was a database.
    let is_other = |entry: &vfs::DirEntry| entry.name.kind != MANIFEST;
    match unfinished {
        Some(error) if listing.entries.iter().any(is_other) => Err(error),
        _ => Ok(None),
    }
}

/// Makes durable what [`load`] read, before anything is built on it: a process that was killed
/// leaves a MANIFEST that is whole in the system's cache and perhaps nowhere else.
///
/// Postmortem: it was synced and not written again. After a sync that failed in the process before,
/// the cache shows an edit that no disk has, and calls it clean: the log that was begun on it
/// attested segments of which an older MANIFEST, which was there after a power cut, had lost some.
pub(crate) fn settle(fs: &Arc<dyn Fs>, loaded: &Loaded) -> Result<()> {
    let file = fs.open(Name::new(MANIFEST, loaded.number), Access::ReadWrite)?;
    vfs::write_again(&*file, 0, file.len()?)?;
    file.sync_data()?;
    Ok(fs.sync_dir()?)
}

/// Reads one file; `None` if not even its first edit is whole.
fn read(fs: &Arc<dyn Fs>, number: u64) -> Result<Option<Loaded>> {
    let name = Name::new(MANIFEST, number);
    let path = fs.path().join(name.to_string());
    let mut found: Option<Catalog> = None;
    let end = wal::replay_segment(fs, name, &mut |record| {
        let bad = |what| vfs::Error::corrupt(what, &path, record.address.offset, 0, 0);
        let state = found.get_or_insert_default();
        let mut newer = None;
        let applied = catalog::decode(record.payload, &mut |change| {
            if let Change::Database { format, .. } = change
                && format != FORMAT_VERSION
            {
                newer = Some(format);
            }
            state.apply(change)
        });
        if let Some(format) = newer {
            let what = format!("format version {format}, this build knows {FORMAT_VERSION}");
            return Err(vfs::Error::invalid(what, &path));
        }
        applied.map_err(bad)
    })?;
    if let Some(Err(what)) = found.as_ref().map(Catalog::check) {
        return Err(Error::corrupt(what, &path, 0, 0, 0));
    }
    let cut = match end {
        wal::End::Clean => None,
        wal::End::Torn { offset, ignored_bytes } => Some((offset, ignored_bytes)),
    };
    Ok(found.map(|catalog| Loaded { catalog, number, cut }))
}

/// Changes that have their space in the MANIFEST.
pub(crate) struct Edit {
    bytes: Vec<u8>,
    next: Catalog,
}

/// The open MANIFEST.
pub(crate) struct Manifest {
    fs: Arc<dyn Fs>,
    env: Env,
    number: u64,
    writer: SegmentWriter,
    edits: u64,
    catalog: Catalog,
}

impl Manifest {
    /// Starts file `number` with the whole state, durably; then removes the files before it.
    pub(crate) fn start(
        fs: &Arc<dyn Fs>,
        env: &Env,
        number: u64,
        catalog: Catalog,
        old: &[u64],
    ) -> Result<Manifest> {
        let manifest = Manifest::write(fs, env, number, Catalog { closed: None, ..catalog })?;
        manifest.remove(old)?;
        Ok(manifest)
    }

    /// A file of its own, durable, with a state that may be that of a clean close.
    fn write(fs: &Arc<dyn Fs>, env: &Env, number: u64, catalog: Catalog) -> Result<Manifest> {
        let name = Name::new(MANIFEST, number);
        let mut writer = SegmentWriter::create(fs, env, name, catalog.db_id)?;
        let bytes = catalog::encode(&whole(&catalog));
        if let Err(error) = writer.make_room(bytes.len()) {
            // Without a first edit it counts as a switch that never ended.
            drop(fs.remove(name));
            return Err(error.into());
        }
        append(&mut writer, 1, &bytes).map_err(Error::in_doubt)?;
        if !planted::is(Bug::PredecessorRemovedEarly) {
            fs.sync_dir().map_err(|error| Error::from(error).in_doubt())?;
        }
        Ok(Manifest { fs: fs.clone(), env: env.clone(), number, writer, edits: 1, catalog })
    }

    /// Removes the files that this one follows, durably.
    fn remove(&self, old: &[u64]) -> Result<()> {
        let fs = &self.fs;
        let removed = old.iter().try_for_each(|old| fs.remove(Name::new(MANIFEST, *old)));
        let synced = removed.and_then(|()| if old.is_empty() { Ok(()) } else { fs.sync_dir() });
        synced.map_err(|error| Error::from(error).in_doubt())
    }

    /// Goes on in file `number`; whatever holds the old one open lets go of it before it is removed.
    fn go_on(&mut self, number: u64, catalog: Catalog) -> Result<()> {
        let old = self.number;
        *self = Manifest::write(&self.fs, &self.env, number, catalog)?;
        self.remove(&[old])
    }

    /// The state with every committed change.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Reserves space for changes. `NoSpace` changes nothing; after another error nothing more can
    /// be committed.
    pub(crate) fn prepare(&mut self, changes: &[Change]) -> Result<Edit> {
        if self.writer.len() > MANIFEST_BYTES_MAX {
            self.switch()?;
        }
        let mut next = self.catalog.clone();
        for change in changes {
            next.apply(change.clone()).expect("an edit fits the state it was made for");
        }
        let bytes = catalog::encode(changes);
        self.writer.make_room(bytes.len())?;
        Ok(Edit { bytes, next })
    }

    /// Makes the changes durable that were prepared last, all or nothing. After an error nothing
    /// more can be committed: it is unknown what reached the disk.
    pub(crate) fn commit(&mut self, edit: Edit) -> Result<()> {
        append(&mut self.writer, self.edits + 1, &edit.bytes).map_err(Error::in_doubt)?;
        self.edits += 1;
        self.catalog = edit.next;
        Ok(())
    }

    /// Makes the last changes durable, those of a clean close, in a fresh file that says everything
    /// in one edit: no byte of it is in doubt afterwards, as the last edit of a longer file is, which
    /// nothing attests. Nothing can be committed any more. `NoSpace` changes nothing, nor `Invalid`
    /// if there is no number for it.
    pub(crate) fn close(&mut self, changes: &[Change]) -> Result<()> {
        let mut next = self.catalog.clone();
        for change in changes {
            next.apply(change.clone()).expect("an edit fits the state it was made for");
        }
        self.go_on(next_number(&*self.fs, self.number, &[])?, next)
    }

    /// Goes on in a fresh file, so that the MANIFEST's length is bounded by the state's.
    fn switch(&mut self) -> Result<()> {
        let catalog = self.catalog.clone();
        let next = next_number(&*self.fs, self.number, &[])?;
        self.go_on(next, Catalog { closed: None, ..catalog })
    }
}

/// The MANIFEST of a directory that is not a database yet.
pub(crate) struct Draft {
    fs: Arc<dyn Fs>,
    writer: SegmentWriter,
}

impl Draft {
    const NUMBER: u64 = 1;
    pub(crate) const NAME: Name = Name::new(PARTIAL, Draft::NUMBER);

    /// Marks an empty directory, durably, as one that will be a database.
    pub(crate) fn start(fs: &Arc<dyn Fs>, env: &Env, db_id: u64) -> Result<Draft> {
        let writer = SegmentWriter::create(fs, env, Draft::NAME, db_id)?;
        fs.sync_dir()?;
        Ok(Draft { fs: fs.clone(), writer })
    }

    /// Writes the whole state, as of a clean close. Makes it and every name in the directory
    /// durable; all files that it names were synced.
    pub(crate) fn write(&mut self, catalog: &Catalog) -> Result<()> {
        assert!(catalog.closed.is_some(), "a draft ends where its log ends");
        append(&mut self.writer, 1, &catalog::encode(&whole(catalog)))?;
        if planted::is(Bug::CheckpointNamesUnsynced) {
            return Ok(());
        }
        Ok(self.fs.sync_dir()?)
    }

    /// Makes a database of the directory, all at once. Durable with the directory's next sync.
    pub(crate) fn publish(&self) -> Result<()> {
        Ok(self.fs.rename(Draft::NAME, Name::new(MANIFEST, Draft::NUMBER))?)
    }
}

/// The changes that make a state out of nothing.
fn whole(catalog: &Catalog) -> Vec<Change> {
    let closed = catalog.closed.map(|(end, last_seq)| {
        let (segment, offset) = (end.segment.0, end.offset);
        Change::Closed { segment, offset, last_seq }
    });
    catalog.changes().into_iter().chain(closed).collect()
}

fn append(writer: &mut SegmentWriter, seq: u64, bytes: &[u8]) -> Result<()> {
    writer.append(seq, bytes.len(), &mut |_, out| out.copy_from_slice(bytes))?;
    Ok(writer.sync()?)
}

#[cfg(test)]
mod tests;
