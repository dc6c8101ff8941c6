//! How a change becomes durable: one edit of the MANIFEST, under its lock.
//!
//! find space, which may be refused -> write, after which nobody knows but the disk -> read-only on failure

use vfs::sync::MutexGuard;

use crate::catalog::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Edit, Manifest};
use crate::state::State;

impl State {
    /// Makes changes durable. `NoSpace` changes nothing; after another failure the database is
    /// read-only: it is unknown which state a crash would leave.
    pub(crate) fn commit_changes(
        &self,
        manifest: &mut MutexGuard<'_, Manifest>,
        changes: Vec<Change>,
    ) -> Result<()> {
        let edit = self.prepare(manifest, changes)?;
        self.commit(manifest, edit)
    }

    /// The first half of [`State::commit_changes`]: after it there is space for the edit. Who made
    /// files for it keeps them from here on, and removes them if this is refused: also after a
    /// failure, since whoever failed may have found out that the log is not what this builds on.
    pub(crate) fn prepare(
        &self,
        manifest: &mut MutexGuard<'_, Manifest>,
        changes: Vec<Change>,
    ) -> Result<Edit> {
        self.check_sound()?;
        let changes = self.complete(changes)?;
        manifest.prepare(&changes).map_err(|error| self.fail_unless_full(error))
    }

    /// As [`State::commit_changes`], for the last edit of a clean close.
    pub(crate) fn close_manifest(
        &self,
        manifest: &mut MutexGuard<'_, Manifest>,
        changes: Vec<Change>,
    ) -> Result<()> {
        let changes = self.complete(changes)?;
        manifest.close(&changes).map_err(|error| self.fail_unless_full(error))
    }

    /// Adds what every edit says.
    fn complete(&self, mut changes: Vec<Change>) -> Result<Vec<Change>> {
        // Close releases the directory under the manifest lock, which the caller holds.
        self.check_held()?;
        changes.push(Change::Ids {
            file: self.files.next_file(),
            segment: self.files.segment_ids.peek().0.saturating_add(1),
            keyspace: self.files.next_keyspace(),
        });
        changes.push(Change::Clock { wall_ms: self.files.clock.told() });
        Ok(changes)
    }

    fn fail_unless_full(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::NoSpace => error,
            _ => self.fail_with(error),
        }
    }

    /// The second half.
    pub(crate) fn commit(&self, manifest: &mut MutexGuard<'_, Manifest>, edit: Edit) -> Result<()> {
        manifest.commit(edit).map_err(|error| self.fail_with(error))?;
        self.files.clock.wrote(manifest.catalog().clock_ms);
        Ok(())
    }

    /// The time that readers were told, in an edit of its own if no batch took it along.
    pub(crate) fn write_down_clock(&self) -> Result<()> {
        if self.files.clock.due().is_none() {
            return Ok(());
        }
        let mut manifest = self.manifest.lock();
        match self.with_reserve(|| self.commit_changes(&mut manifest, Vec::new())) {
            // On a full disk what was written stays durable, and what expired may show again.
            Err(error) if error.kind() == ErrorKind::NoSpace => Ok(()),
            done => done,
        }
    }
}
