//! How the store's threads may interleave: small programs on a simulated disk, run under a
//! scheduler that decides at every lock, atomic and call of the disk which thread goes on.
//!
//! `cargo xtask crash --schedules` compiles this with `--cfg shuttle`, under which `vfs::sync`
//! leads to the scheduler; without, there is nothing to explore and this says so.
//!
//! 1. A run of a model is a function of its chunk's number and the model: the same chunk does the
//!    same again.
//! 2. Every model finds the mistakes planted for it (`vfs::sync::mistake`), or it is asleep.

#[cfg(shuttle)]
mod turning;
#[cfg(shuttle)]
mod bed;
#[cfg(shuttle)]
mod explore;
#[cfg(shuttle)]
mod log_commits;
#[cfg(shuttle)]
mod memtables;
#[cfg(shuttle)]
mod writes;
#[cfg(shuttle)]
mod syncs;
#[cfg(shuttle)]
mod readers;
#[cfg(shuttle)]
mod removal;
#[cfg(shuttle)]
mod transactions;
#[cfg(shuttle)]
mod edits;
#[cfg(shuttle)]
mod checkpoints;
#[cfg(shuttle)]
mod models;
#[cfg(shuttle)]
mod command;
#[cfg(all(loom, not(shuttle)))]
mod orders;

use std::process::ExitCode;

#[cfg(shuttle)]
fn main() -> ExitCode {
    command::main()
}

#[cfg(all(loom, not(shuttle)))]
fn main() -> ExitCode {
    orders::main()
}

#[cfg(not(any(shuttle, loom)))]
fn main() -> ExitCode {
    eprintln!("compile with --cfg shuttle, as `cargo xtask crash --schedules` does");
    ExitCode::FAILURE
}
