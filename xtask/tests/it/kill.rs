//! `cargo xtask kill`. Catalogue rows 13 and 98, and 99 for ordered keyspaces.

use crate::program::run;

#[test]
fn a_few_kills_lose_nothing_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path().to_str().expect("UTF-8");
    let seed = std::env::var("SEED").unwrap_or_else(|_| "1".to_owned());
    let done = run(&["kill", "--rounds", "6", "--seed", &seed, "--dir", dir]).expect_code(0);
    assert!(done.stdout.contains(&format!("SEED={seed}")), "{done:?}");
    assert!(done.stdout.contains("nothing acknowledged was lost"), "{done:?}");
}
