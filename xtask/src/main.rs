//! Maintenance commands: `cargo xtask <command>`.

fn main() {}
