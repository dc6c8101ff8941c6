//! Benchmarks of the workspace; see the README beside this file.

pub mod dataset;
pub mod latency;
pub mod machine;
pub mod record;
