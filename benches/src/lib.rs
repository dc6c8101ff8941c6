//! Benchmarks of the workspace; see the README beside this file.
