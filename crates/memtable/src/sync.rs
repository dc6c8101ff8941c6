//! The lock and the atomics of a table. Ordinarily `parking_lot` and `std`; compiled with
//! `--cfg shuttle` or `--cfg loom` those of a scheduler, as in `vfs::sync`, which this crate does
//! not see.

#[cfg(any(shuttle, loom))]
mod model;

#[cfg(not(any(shuttle, loom)))]
pub(crate) use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

#[cfg(not(any(shuttle, loom)))]
pub(crate) use parking_lot::RwLock;

#[cfg(any(shuttle, loom))]
pub(crate) use self::model::{AtomicU64, OnceLock, Ordering, RwLock};

#[cfg(all(loom, not(shuttle)))]
pub use self::model::weaken;
