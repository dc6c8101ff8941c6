//! R9 and R10 at their size for every build: each input of the corpus does what its target wants,
//! holds no more than it may and ends. A finding names the file, which
//! `cargo xtask fuzz --target T --input FILE` runs again.

use std::fs::DirEntry;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use fuzz_bodies::limits::{Judge, run};
use fuzz_bodies::targets::{Target, find};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

#[expect(clippy::disallowed_methods, reason = "the corpus is in real files")]
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry: Result<DirEntry, _>| entry.expect("a file of the corpus").path())
        .collect();
    paths.sort();
    paths
}

#[expect(clippy::disallowed_methods, reason = "the corpus is in real files")]
fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("a file of the corpus")
}

/// Runs every input of a target; the files of those that fail.
fn replay(target: &Target) -> Vec<PathBuf> {
    let inputs = entries(&folder().join(target.name));
    assert!(!inputs.is_empty(), "a target has a corpus");
    let fails = |path: &PathBuf| {
        let data = bytes(path);
        println!("{}", path.display());
        catch_unwind(|| run(target.body, &data, target.bytes_max, Judge::Space)).is_err()
    };
    inputs.into_iter().filter(fails).collect()
}

fn judge(name: &str) {
    let failed = replay(find(name).expect("a target of the table"));
    assert!(failed.is_empty(), "inputs of {name} that fail: {failed:#?}");
}

/// A test for each target, so that they run beside each other.
macro_rules! targets {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { judge($name); })*

        #[test]
        fn every_target_is_replayed_and_the_corpus_is_small() {
            let replayed = [$($name),*];
            let all = fuzz_bodies::targets::TARGETS.map(|target| target.name);
            assert_eq!(replayed, all);
            let folders: Vec<String> = entries(&folder())
                .iter()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect();
            assert!(folders.iter().all(|name| all.contains(&&**name)), "{folders:?}");
            let files: Vec<PathBuf> = all.iter().flat_map(|name| entries(&folder().join(name))).collect();
            let total: usize = files.iter().map(|path| bytes(path).len()).sum();
            assert!(files.len() < 3000 && total < 3 << 20, "{} files, {total} bytes", files.len());
        }
    };
}

targets! {
    r10_frames_of_a_segment_are_right_or_refused: "wal_decode",
    r10_logs_open_and_go_on_or_are_refused: "wal_open",
    r10_tables_are_read_or_refused: "sst_open",
    r10_tables_agree_with_a_model: "sst_model",
    r10_nodes_and_pages_are_searched_or_refused: "nodes",
    r10_filters_hide_nothing_or_are_refused: "filter",
    r10_manifests_are_replayed_or_refused: "manifest_replay",
    r10_hash_tables_agree_with_a_model_or_are_refused: "hash_ops",
    r10_records_and_remap_tables_are_read_or_refused: "vlog",
    r10_batches_come_back_whole_or_are_refused: "batch",
    r10_options_work_or_are_refused: "options",
    r10_directories_are_opened_and_used_or_refused: "db_open",
    r10_calls_and_crashes_agree_with_a_model: "db_model",
}
