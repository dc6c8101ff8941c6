//! loom's atomics, which can be told to forget what orders they are asked for: then whoever relies
//! on an order must notice.

use std::sync::atomic::AtomicBool as Flag;

use loom::sync::atomic as scheduled;
use loom::sync::atomic::Ordering;

static WEAK: Flag = Flag::new(false);

/// Makes every load and store relaxed, or not any more.
pub fn weaken(weak: bool) {
    WEAK.store(weak, Ordering::SeqCst);
}

fn order(asked: Ordering) -> Ordering {
    if WEAK.load(Ordering::SeqCst) { Ordering::Relaxed } else { asked }
}

macro_rules! atomics {
    ($($name:ident $value:ty,)*) => {
        $(
            pub(crate) struct $name(scheduled::$name);

            impl $name {
                pub(crate) fn new(value: $value) -> $name {
                    $name(scheduled::$name::new(value))
                }

                pub(crate) fn load(&self, asked: Ordering) -> $value {
                    self.0.load(order(asked))
                }

                pub(crate) fn store(&self, value: $value, asked: Ordering) {
                    self.0.store(value, order(asked));
                }
            }
        )*
    };
}

atomics! {
    AtomicU64 u64,
    AtomicBool bool,
}
