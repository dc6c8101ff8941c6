//! Other engines beside ours, on the same work, in the same run; see the README beside this file.

pub mod size;
pub mod data;
pub mod store;
pub mod engines;
pub mod rows;
pub mod meter;
pub mod zipf;
pub mod bench;
pub mod work;
pub mod rates;
pub mod story;
pub mod bars;
pub mod table;
pub mod child;
pub mod parent;
