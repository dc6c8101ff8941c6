//! The commands as a user runs them.

mod crash;
mod regressions;
mod program;
mod db;
mod demo;
mod kill;
mod disks;
