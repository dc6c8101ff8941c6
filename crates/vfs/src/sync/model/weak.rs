//! loom's atomics, which can be told to forget what orders they are asked for: then whoever relies
//! on an order must notice.

use std::sync::atomic::AtomicBool as Flag;

use loom::sync::atomic as scheduled;
pub use loom::sync::atomic::Ordering;

static WEAK: Flag = Flag::new(false);

/// Makes every load, store and change relaxed, or not any more.
pub fn weaken(weak: bool) {
    WEAK.store(weak, Ordering::SeqCst);
}

fn order(asked: Ordering) -> Ordering {
    if WEAK.load(Ordering::SeqCst) { Ordering::Relaxed } else { asked }
}

macro_rules! atomics {
    ($($name:ident $value:ty,)*) => {
        $(
            /// As in `std`, as far as it is used.
            #[derive(Debug, Default)]
            pub struct $name(scheduled::$name);

            impl $name {
                /// With this value.
                pub fn new(value: $value) -> $name {
                    $name(scheduled::$name::new(value))
                }

                /// What is there.
                pub fn load(&self, asked: Ordering) -> $value {
                    self.0.load(order(asked))
                }

                /// Puts a value there.
                pub fn store(&self, value: $value, asked: Ordering) {
                    self.0.store(value, order(asked));
                }
            }
        )*
    };
}

macro_rules! integers {
    ($($name:ident $value:ty,)*) => {
        atomics! { $($name $value,)* }
        $(
            impl $name {
                /// Adds; gives what was there.
                pub fn fetch_add(&self, value: $value, asked: Ordering) -> $value {
                    self.0.fetch_add(value, order(asked))
                }

                /// Subtracts; gives what was there.
                pub fn fetch_sub(&self, value: $value, asked: Ordering) -> $value {
                    self.0.fetch_sub(value, order(asked))
                }

                /// Raises; gives what was there.
                pub fn fetch_max(&self, value: $value, asked: Ordering) -> $value {
                    self.0.fetch_max(value, order(asked))
                }

                /// Sets bits; gives what was there.
                pub fn fetch_or(&self, value: $value, asked: Ordering) -> $value {
                    self.0.fetch_or(value, order(asked))
                }

                /// Changes it if `change` wants to.
                pub fn fetch_update(
                    &self,
                    set: Ordering,
                    fetch: Ordering,
                    change: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    self.0.fetch_update(order(set), order(fetch), change)
                }
            }
        )*
    };
}

integers! {
    AtomicU32 u32,
    AtomicU64 u64,
    AtomicUsize usize,
}

atomics! {
    AtomicBool bool,
}
