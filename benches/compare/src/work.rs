//! The workloads: each a function on a `Bench`, the same for every engine.

pub mod fill;
pub mod read;
pub mod scan;
pub mod ycsb;
pub mod change;
pub mod reopen;
