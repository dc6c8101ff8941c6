//! The commands as a user runs them.

mod crash;
mod program;
mod db;
mod demo;
mod kill;
