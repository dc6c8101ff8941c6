//! Reading a mapping ahead of a walk through it.
//!
//! Mappings are read a page at a time: most reads are of one record anywhere, and what a system reads
//! around a page that it does not have (8 MiB on a machine we met) costs more than the page and
//! takes the memory of what others need. Who walks in order says so here.

use std::ops::Range;

/// Bytes that are asked for when a walk begins, and at most.
const LEN_MIN: usize = 128 << 10;
const LEN_MAX: usize = 1 << 20;

/// What a walk through bytes, of a mapping as a rule, has asked for. The walk says where it is; the
/// system is asked for what follows, in steps that grow while the walk goes on. Changes nothing but
/// time; where there is no such call it does nothing.
///
/// ```
/// let bytes = vec![0; 10 << 20]; // of a mapping, better
/// let mut ahead = vfs::ReadAhead::default();
/// for at in (0..bytes.len()).step_by(4096) {
///     ahead.forward(&bytes, at);
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadAhead {
    /// What was asked for: from there up to there.
    from: usize,
    upto: usize,
    /// Bytes of the last step; 0 before the first.
    len: usize,
}

impl ReadAhead {
    /// The walk is at byte `at` and goes on to higher ones.
    #[inline]
    pub fn forward(&mut self, bytes: &[u8], at: usize) {
        let is_known = self.len > 0 && self.from <= at && at <= self.upto;
        let is_enough = at + self.len / 2 < self.upto || self.upto >= bytes.len();
        if !(is_known && is_enough) {
            will_need(bytes, self.plan_forward(at, is_known));
        }
    }

    /// The walk is at byte `at` and goes on to lower ones.
    #[inline]
    pub fn backward(&mut self, bytes: &[u8], at: usize) {
        let is_known = self.len > 0 && self.from <= at && at <= self.upto;
        let is_enough = self.from + self.len / 2 < at || self.from == 0;
        if !(is_known && is_enough) {
            will_need(bytes, self.plan_backward(at, is_known));
        }
    }

    fn plan_forward(&mut self, at: usize, is_known: bool) -> Range<usize> {
        let start = if is_known { self.upto } else { at };
        self.len = if is_known { LEN_MAX.min(2 * self.len) } else { LEN_MIN };
        (self.from, self.upto) = (at, start + self.len);
        start..self.upto
    }

    fn plan_backward(&mut self, at: usize, is_known: bool) -> Range<usize> {
        let end = if is_known { self.from } else { at };
        self.len = if is_known { LEN_MAX.min(2 * self.len) } else { LEN_MIN };
        (self.from, self.upto) = (end.saturating_sub(self.len), at);
        self.from..end
    }
}

/// Asks the system for a part of a mapping that will be read soon, as far as it is inside.
pub fn will_need(bytes: &[u8], part: Range<usize>) {
    #[cfg(target_os = "linux")]
    if let Some(wanted) = bytes.get(part.start..part.end.min(bytes.len())).filter(|p| !p.is_empty())
    {
        let page_len = rustix::param::page_size();
        let before = wanted.as_ptr().addr() % page_len;
        // SAFETY: the advice changes no memory: it brings in what is mapped there anyway. The page
        // that the part starts in is mapped, since the part is.
        // What is refused is read when it is needed.
        let _ = unsafe {
            use rustix::mm::{Advice, madvise};
            madvise(
                wanted.as_ptr().wrapping_sub(before).cast_mut().cast(),
                before + wanted.len(),
                Advice::WillNeed,
            )
        };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (bytes, part);
}

#[cfg(test)]
mod tests;
