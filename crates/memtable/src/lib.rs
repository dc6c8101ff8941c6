#![doc = include_str!("../README.md")]

// Bottom first: a module may use only those above it.
mod entry;
mod sync;
mod memory;
mod pool;
mod arena;
mod records;
mod prefetch;
mod point;
mod leaf;
mod inner;
mod ordered;
mod table;
mod window;
mod cursor;
mod scan;

pub use cursor::Cursor;
pub use entry::{Entry, KEY_LEN_MAX, Kind, Order, VALUE_LEN_MAX};
pub use pool::Pool;
pub use scan::Scan;
#[cfg(all(loom, not(shuttle)))]
pub use sync::weaken;
pub use table::Memtable;
