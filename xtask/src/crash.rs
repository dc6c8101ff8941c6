//! The crash explorer: every short sequence of calls, on a disk that loses what was not synced,
//! crashed at every call of the file system in every way, judged by a prefix oracle.
//!
//! `part.rs` is the seam between explorations and `drive.rs`, which runs them; `command.rs` says which. Of the crashes
//! `call.rs` and `plan.rs` say what is explored, `run.rs` and `workload.rs` run and record, `images.rs` makes crashes of it,
//! `recovery.rs` recovers, `history.rs` judges, `explore.rs` goes through all of that, `campaign.rs` says how far, `liar.rs`
//! proves that the judge is awake, `replay.rs` shows one cell again.

pub mod part;
pub mod drive;
pub mod call;
pub mod plan;
pub mod history;
pub mod liar;
pub mod observe;
pub mod reach;
mod copies;
mod run;
mod rivals;
mod process;
pub mod workload;
pub mod images;
mod recovery;
mod minimise;
pub mod trial;
pub mod scene;
pub mod faults;
pub mod full_disk;
pub mod explore;
pub mod campaign;
pub mod program;
pub mod lives;
pub mod orders;
pub mod determinism;
pub mod txns;
pub mod rot;
pub mod torn;
pub mod replay;
pub mod schedules;
pub mod planted;
pub mod suite;
pub mod long;
pub mod command;
