//! Asking for memory before it is needed, so that several misses of the cache are waited for at
//! once. Changes nothing that a program can see; where a processor or system has no such
//! instruction it does nothing.

/// Bytes of a cache line.
pub const LINE_LEN: usize = 64;

/// Asks for the cache lines of `bytes[at..at + len]`, as far as they are inside.
#[inline]
pub fn prefetch(bytes: &[u8], at: usize, len: usize) {
    let end = at.saturating_add(len).min(bytes.len());
    for at in (at..end).step_by(LINE_LEN) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch has no effect on memory or registers and never faults, and the
        // address is inside the slice.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().add(at).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }
}

/// Asks for the cache line in which `of` starts.
#[inline]
pub fn prefetch_of<T>(of: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect on memory or registers and never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(of).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = of;
}

/// Asks for a cache line that will be written.
#[inline]
pub(crate) fn prefetch_to_write(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction changes no memory and no register, and an address that cannot be
    // written makes it do nothing. Processors without it take it for one that does nothing.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
