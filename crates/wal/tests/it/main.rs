//! The log against disks that crash, fail and rot.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod alloc;
mod bed;
mod crash;
mod damage;
mod faults;
mod golden;
mod group;
mod hostile;
mod model;
mod reading;
mod real;
mod segments;

#[global_allocator]
static ALLOCATOR: alloc::Watching = alloc::Watching;
