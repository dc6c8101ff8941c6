//! Files, directories, mappings, checksummed little-endian fields: everything below a record.
//!
//! Two file systems stand behind the same traits: [`StdFs`], the real disk, and [`SimFs`], a disk
//! that forgets what was not synced. Time, randomness and threads come in through [`Env`].

pub mod sync;
pub mod planted;
pub mod random;
pub mod testing;
pub mod error;
pub mod checksum;
pub mod fields;
pub mod name;
pub mod fs;
pub mod env;
pub mod system_env;
pub mod sim_env;
pub mod prefetch;
pub mod read_ahead;
pub mod shared;
pub mod std_fs;
pub mod sim;
pub mod golden;

pub use bytes::Bytes;

pub use crate::checksum::Checksum;
pub use crate::env::{Clock, Env, Job, Next, Rng, Spawner, Step};
pub use crate::error::{Error, Result};
pub use crate::fields::{Reader, Writer, first_nonzero};
pub use crate::fs::{
    Access, Advice, AppendMap, BLOCK_LEN, DirEntry, FILE_LEN_MAX, File, Fs, Listing, Lock,
    Preallocation, read_exact_at, write_again, write_all_at, write_blocks_at,
};
pub use crate::name::{Kind, Name};
pub use crate::prefetch::{prefetch, prefetch_of};
pub use crate::random::Random;
pub use crate::read_ahead::{ReadAhead, will_need};
pub use crate::shared::{Part, SharedBytes};
pub use crate::sim::{SimDisk, SimFs};
pub use crate::sim_env::{SimClock, SimEnv, SimRng, SimSpawner};
pub use crate::std_fs::StdFs;
pub use crate::system_env::{SystemClock, SystemRng, ThreadSpawner};

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
