//! All slots of a generation in the order of their hashes.

use std::sync::Arc;

use vfs::{Error, Result};

use crate::address::Prefix;
use crate::generation::Generation;
use crate::scan::RunCursor;

/// A walk over all slots: ascending kept hashes, equal ones newest first. What
/// [`Generation::candidates`] shows, it shows, and nothing else.
#[derive(Debug)]
pub struct Cursor {
    generation: Arc<Generation>,
    /// Runs newest first; opened by the first call.
    runs: Vec<RunCursor>,
    /// No smaller kept hash is shown.
    from: u64,
    /// The partition that is being walked, and the number of the one behind it.
    bottom: Option<RunCursor>,
    next_partition: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    New,
    /// The source whose slot was shown: a run, or behind all runs the partition.
    Shown(usize),
    End,
    Failed,
}

impl Generation {
    /// A cursor before the first slot. It reads every page once and verifies it.
    pub fn cursor(self: &Arc<Self>) -> Cursor {
        self.cursor_from(0)
    }

    /// A cursor before the first slot whose kept hash is not smaller than `hash`: for samples.
    pub fn cursor_from(self: &Arc<Self>, hash: u64) -> Cursor {
        let behind = self.partitions.partition_point(|p| p.prefix.start <= hash);
        Cursor {
            generation: Arc::clone(self),
            runs: Vec::new(),
            from: hash,
            bottom: None,
            next_partition: behind.saturating_sub(1),
            state: State::New,
        }
    }
}

impl Cursor {
    /// The next slot with its kept hash: the hash it was stored under, its low bytes cleared
    /// beyond [`Options::hash_bytes`](crate::Options::hash_bytes). `None` behind the last.
    ///
    /// # Errors
    /// `Corrupt` with file and offset, and what the disk says. After an error there are only
    /// errors: nothing is skipped.
    #[expect(clippy::should_implement_trait, reason = "it lends, which an iterator cannot")]
    pub fn next(&mut self) -> Result<Option<(u64, &[u8])>> {
        let found = self.step();
        let source = match found {
            Ok(Some((source, _))) => State::Shown(source),
            Ok(None) => State::End,
            Err(_) => State::Failed,
        };
        self.state = source;
        let Some((source, hash)) = found? else { return Ok(None) };
        let cursor = self.runs.get(source).or(self.bottom.as_ref()).expect("it was just found");
        Ok(Some((hash, cursor.slot())))
    }

    fn step(&mut self) -> Result<Option<(usize, u64)>> {
        match self.state {
            State::New => {
                for tier in &self.generation.runs {
                    let part = Prefix { start: self.from, ..Prefix::ALL };
                    self.runs.push(RunCursor::new(&tier.run, part)?);
                }
                self.refill()?;
            }
            State::Shown(source) => self.advance(source)?,
            State::End => return Ok(None),
            State::Failed => {
                return Err(Error::Poisoned { path: self.generation.fs.path().to_path_buf() });
            }
        }
        loop {
            let bottom = self.bottom.iter();
            let hashes = self.runs.iter().chain(bottom).map(RunCursor::hash).enumerate();
            let heads = hashes.filter_map(|(source, hash)| Some((hash?, source)));
            // Of equal hashes the first, which is the newest.
            let Some((hash, source)) = heads.min() else { return Ok(None) };
            let taken_in = self
                .generation
                .runs
                .get(source)
                .is_some_and(|tier| tier.newest <= self.generation.partition(hash).taken);
            if !taken_in {
                return Ok(Some((source, hash)));
            }
            self.advance(source)?;
        }
    }

    fn advance(&mut self, source: usize) -> Result<()> {
        if let Some(run) = self.runs.get_mut(source) {
            return run.advance();
        }
        if let Some(bottom) = &mut self.bottom {
            bottom.advance()?;
        }
        self.refill()
    }

    /// Goes on to the next partition that holds something, if this one is used up.
    fn refill(&mut self) -> Result<()> {
        while self.bottom.as_ref().is_none_or(|cursor| cursor.hash().is_none()) {
            let Some(partition) = self.generation.partitions.get(self.next_partition) else {
                break;
            };
            self.next_partition += 1;
            if let Some(run) = &partition.run {
                let start = partition.prefix.start.max(self.from);
                self.bottom = Some(RunCursor::new(run, Prefix { start, ..partition.prefix })?);
            }
        }
        Ok(())
    }
}
