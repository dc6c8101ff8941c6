//! Which images of a disk are worth judging at a boundary.

use vfs::Random;
use vfs::sim::{ImageKind, SimDisk};

use super::plan::Place;

/// Draws of one random image kind have numbers below this.
const DRAWS_MAX: usize = 8;
/// The image of a process that was killed: nothing is lost, but what was not synced is still
/// pending when the next process comes.
pub(super) const KILLED: usize = 900;
/// Images from this number on are subsets of the pending changes.
const SUBSETS: usize = 1000;
/// How much is tried at each boundary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effort {
    /// Images of each random kind, at most 8.
    pub draws: usize,
    /// Every subset of the pending changes is an image where there are at most so many.
    pub subset_choices_max: usize,
    /// Which images are also crashed inside their recovery, at every call.
    pub nested: Nested,
    /// One in so many recovered stores is compacted, closed and opened once more; 0 for none.
    pub settle_every: u64,
}

/// Of how many images the recoveries are crashed: one in so many, 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Nested {
    /// Of the prelude's.
    pub prelude: u64,
    /// Of sequences of one call.
    pub one: u64,
    /// Of longer ones.
    pub more: u64,
    /// Of the images that such crashes leave: their recoveries are crashed too.
    pub deeper: u64,
}

impl Nested {
    /// None.
    pub const NONE: Nested = Nested { prelude: 0, one: 0, more: 0, deeper: 0 };

    /// How many of the images of a sequence of `len` calls.
    pub(super) fn every(&self, len: usize) -> u64 {
        match len {
            0 => self.prelude,
            1 => self.one,
            _ => self.more,
        }
    }
}

impl Effort {
    /// What the command does.
    pub const FULL: Effort = Effort {
        draws: 2,
        subset_choices_max: 6,
        nested: Nested { prelude: 16, one: 1, more: 0, deeper: 2000 },
        settle_every: 8,
    };
    /// What a test has time for.
    pub const QUICK: Effort = Effort {
        draws: 1,
        subset_choices_max: 3,
        nested: Nested { prelude: 256, one: 16, more: 0, deeper: 0 },
        settle_every: 32,
    };

    /// The same without crashes inside recoveries.
    pub fn flat(self) -> Effort {
        Effort { nested: Nested::NONE, ..self }
    }
}

/// The kind and the draw of an image's number; `None` for a killed process.
pub(super) fn image_of(number: usize) -> (Option<ImageKind>, usize) {
    if number >= SUBSETS {
        return (Some(ImageKind::Subset { mask: (number - SUBSETS) as u64 }), 0);
    }
    if number == KILLED {
        return (None, 0);
    }
    let kinds = ImageKind::kinds();
    (Some(kinds[(number / DRAWS_MAX).min(kinds.len() - 1)]), number % DRAWS_MAX)
}

/// An image's kind, as a report names it.
pub fn image_name(number: usize) -> String {
    match image_of(number).0 {
        Some(kind) => format!("{kind:?}"),
        None => "Killed".to_owned(),
    }
}

/// Equal for images that a recovery cannot tell apart, now or after a second crash.
pub(super) fn fingerprint(image: &SimDisk) -> u64 {
    let everything = image.fingerprint();
    match image.choices(image.boundaries() - 1) {
        0 => everything,
        pending => {
            let synced = image.crash(ImageKind::SyncedOnly, 0).fingerprint();
            everything.rotate_left(17) ^ synced.wrapping_add(pending as u64)
        }
    }
}

/// The numbers of the images worth building with so many changes pending.
pub(super) fn images(choices: usize, effort: &Effort) -> Vec<usize> {
    let mut numbers = Vec::new();
    for (index, kind) in ImageKind::kinds().iter().enumerate() {
        let draws = match kind.is_random() {
            true => effort.draws.min(DRAWS_MAX),
            false => 1,
        };
        numbers.extend((0..draws).map(|draw| index * DRAWS_MAX + draw));
        if choices == 0 {
            return numbers; // all images are one
        }
    }
    numbers.push(KILLED);
    if choices <= effort.subset_choices_max {
        numbers.extend((0..1 << choices).map(|mask| SUBSETS + mask));
    }
    numbers
}

pub(super) fn build(disk: &SimDisk, place: Place, seed: u64) -> SimDisk {
    let (kind, draw) = image_of(place.image);
    let mixed = [place.boundary, place.image, draw].iter().fold(seed, |seed, part| {
        Random::new(seed ^ (*part as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).next_u64()
    });
    match kind {
        Some(kind) => disk.image(place.boundary, kind, mixed),
        None => disk.fork_at(place.boundary, mixed),
    }
}
