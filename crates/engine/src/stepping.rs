//! A garbage collection taken apart, for explorations that put other calls between its parts. Only
//! with the feature `stepping`: it is no part of the store's face.
//!
//! In the store the same parts follow each other under one lock, and whatever does not need that
//! lock may happen between any two of them: reads, writes, flushes, merges.

use std::fmt;

use crate::catalog::SegmentRecord;
use crate::collect;
use crate::collecting::{Failure, Run};
use crate::db::Db;
use crate::error::Result;

/// Which value files a stepped collection rewrites.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Victims {
    /// Every one.
    All,
    /// The newest: older versions of its keys stay where they are.
    Newest,
}

/// A collection under way of which nothing counts yet. Dropped, it leaves nothing behind.
pub struct Collection {
    db: Db,
    run: Run,
    done: bool,
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("done", &self.done).finish_non_exhaustive()
    }
}

impl Collection {
    /// Begins one. No other may be under way until it is installed or dropped; the options must
    /// switch the background's off.
    pub fn begin(db: &Db, victims: Victims) -> Collection {
        let state = db.state();
        let files = state.manifest.lock().catalog().segments.clone();
        let mut files: Vec<SegmentRecord> = files.into_values().collect();
        if victims == Victims::Newest {
            files.drain(..files.len().saturating_sub(1));
        }
        let run = Run::new(&state.files, &state.view().segments, &files);
        Collection { db: db.clone(), run, done: false }
    }

    /// Looks up and copies a bounded piece. True if everything is copied.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn step(&mut self) -> Result<bool> {
        if !self.done {
            let stepped = self.run.step(&self.db.state().view());
            self.done = stepped.map_err(|failure| match failure {
                Failure::Source(error, _) | Failure::Output(error) => error,
            })?;
        }
        Ok(self.done)
    }

    /// Copies what is left; from then on the result counts.
    ///
    /// # Errors
    /// As [`Collection::step`], and if the edit cannot be written.
    pub fn install(mut self) -> Result<()> {
        while !self.step()? {}
        collect::install(self.db.state(), self.run)
    }
}
