//! The engines that are compared, one module each. README.md has their settings in a table.

mod ours;
#[cfg(feature = "canopydb")]
mod canopydb;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "heed")]
mod heed;
#[cfg(feature = "parity-db")]
mod parity_db;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sled")]
mod sled;
#[cfg(feature = "surrealkv")]
mod surrealkv;

use crate::store::Kind;

/// All that were built in, ours first.
pub fn all() -> Vec<Kind> {
    let mut kinds = ours::KINDS.to_vec();
    #[cfg(feature = "rocksdb")]
    kinds.extend(rocksdb::KINDS);
    #[cfg(feature = "fjall")]
    kinds.extend(fjall::KINDS);
    #[cfg(feature = "redb")]
    kinds.push(redb::KIND);
    #[cfg(feature = "heed")]
    kinds.push(heed::KIND);
    #[cfg(feature = "sled")]
    kinds.push(sled::KIND);
    #[cfg(feature = "parity-db")]
    kinds.extend(parity_db::KINDS);
    #[cfg(feature = "surrealkv")]
    kinds.push(surrealkv::KIND);
    #[cfg(feature = "canopydb")]
    kinds.push(canopydb::KIND);
    kinds
}

/// The one of this name.
///
/// # Errors
/// If there is none, with the names of all.
pub fn find(name: &str) -> anyhow::Result<Kind> {
    let kinds = all();
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let found = kinds.iter().find(|kind| kind.name == name);
    found.copied().ok_or_else(|| anyhow::anyhow!("{name:?} is none of {}", names.join(", ")))
}
