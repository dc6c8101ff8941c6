//! The parts of the maintenance commands that tests use too.

pub mod kind;
pub mod crash;
