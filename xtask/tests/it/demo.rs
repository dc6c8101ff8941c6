//! `cargo xtask demo`.

use std::fs;

use crate::program::run;

#[test]
fn the_demo_verifies_a_tree_through_its_kill() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (tree, data) = (dir.path().join("tree"), dir.path().join("data"));
    for number in 0..120 {
        let path = tree.join(format!("part-{}/file-{number}", number % 7));
        fs::create_dir_all(path.parent().expect("below the tree")).expect("a directory");
        fs::write(path, format!("content of {number} ").repeat(number * 11)).expect("a file");
    }
    let (tree, data) = (tree.to_str().expect("UTF-8"), data.to_str().expect("UTF-8"));
    for durability in ["never", "always"] {
        let arguments = ["demo", "--dir", tree, "--data", data, "--durability", durability];
        let done = run(&arguments).expect_code(0);
        assert!(done.stdout.contains("120 files"), "{done:?}");
        assert!(done.stdout.contains("open after the kill"), "{done:?}");
        assert!(done.stdout.contains("every byte of every acknowledged file"), "{done:?}");
        let refused = run(&arguments).expect_code(1);
        assert!(refused.stderr.contains("is not empty"), "{refused:?}");
        fs::remove_dir_all(data).expect("the database stayed");
    }
}

#[test]
fn a_tree_without_files_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let refused = run(&["demo", "--dir", dir.path().to_str().expect("UTF-8")]).expect_code(1);
    assert!(refused.stderr.contains("no file"), "{refused:?}");
}
