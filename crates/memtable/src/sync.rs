//! The lock and the atomics of a table. Ordinarily `parking_lot` and `std`; compiled with
//! `--cfg shuttle` or `--cfg loom` those of a scheduler, as in `vfs::sync`, which this crate does
//! not see.

#[cfg(any(shuttle, loom))]
mod model;

#[cfg(not(any(shuttle, loom)))]
pub(crate) use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

#[cfg(not(any(shuttle, loom)))]
pub(crate) use parking_lot::RwLock;

/// Of what no table's content depends on, held for a few instructions: no scheduler sees it.
pub(crate) use parking_lot::Mutex as LeafMutex;

/// What is built at most once, under the table's lock or when the table can no longer change. No
/// scheduler sees it: building touches nothing that one could switch at.
pub(crate) use std::sync::OnceLock as BuiltOnce;

#[cfg(any(shuttle, loom))]
pub(crate) use self::model::{AtomicBool, AtomicU64, OnceLock, Ordering, RwLock};

#[cfg(all(loom, not(shuttle)))]
pub use self::model::weaken;
