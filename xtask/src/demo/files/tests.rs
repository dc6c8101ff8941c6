use super::*;

#[test]
fn keys_are_paths_below_the_tree_in_walk_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (path, content) in [("b/2", "two"), ("a", "one"), ("b/c/3", "")] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("below the tree")).expect("a directory");
        std::fs::write(path, content).expect("a file");
    }
    let tree = SourceTree::of_dir(dir.path()).expect("a tree");
    let keys = tree.files.iter().map(|file| (file.key.as_slice(), file.len)).collect::<Vec<_>>();
    assert_eq!(keys, [(&b"a"[..], 3), (b"b/2", 3), (b"b/c/3", 0)]);
    assert_eq!(tree.skipped, 0);
}

#[test]
fn a_missing_directory_and_a_file_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let missing = SourceTree::of_dir(&dir.path().join("missing")).expect_err("nothing there");
    assert!(format!("{missing:#}").contains("missing"));
    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("a file");
    let file = SourceTree::of_dir(&file).expect_err("a file");
    assert!(format!("{file:#}").contains("no directory"));
}

#[test]
fn the_default_tree_is_never_empty() {
    let tree = SourceTree::of_dependencies().expect("a tree");
    assert!(!tree.files.is_empty());
}
