//! Everything a user of the crate can see.

mod accounting;
mod limits;
mod model;
mod threads;
