//! The commands as a user runs them.

mod program;
mod db;
mod demo;
mod kill;
