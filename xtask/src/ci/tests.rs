use std::process::Command;

use super::{finish, runnable_examples};

#[test]
fn marked_examples_are_built_but_not_run() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("crates/wal/examples");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(root.path().join("crates/vfs")).unwrap();
    std::fs::write(folder.join("quick.rs"), "fn main() {}").unwrap();
    std::fs::write(folder.join("slow.rs"), "//! ci: build only\nfn main() {}").unwrap();
    std::fs::write(folder.join("notes.txt"), "").unwrap();
    let found = runnable_examples(root.path()).unwrap();
    assert_eq!(found, [("wal".to_owned(), "quick".to_owned())]);
}

#[test]
fn a_failing_command_is_an_error_that_names_it() {
    let error = finish(Command::new("cargo").arg("no-such-subcommand")).unwrap_err();
    assert!(error.to_string().contains("no-such-subcommand"), "{error}");
}
