//! The engine as its users see it: on a simulated disk that crashes, fails and fills up, and on a
//! real one.

mod alloc;
mod world;
mod lent;
mod script;
mod hooked;
mod model;
mod bad_input;
mod crashes;
mod faults;
mod full_disk;
mod golden;
mod values;
mod expiry;
mod atomic;
mod txn;
mod serial;
mod histories;
mod snapshots;
mod quarantine;
mod damage;
mod threads;
mod closing;
mod opening;
mod untrusted;
mod hostile;
mod compacting;
mod apart;
mod checkpoints;
mod collect;
mod hashed;
mod pressed;
mod frugal;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;
