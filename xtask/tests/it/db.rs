//! `cargo xtask db`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::program::{Outcome, command, run, run_with};

/// A directory for a database that is not there yet.
struct Place {
    _dir: tempfile::TempDir,
    data: PathBuf,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = dir.path().join("data");
        Place { _dir: dir, data }
    }

    fn data(&self) -> &str {
        self.data.to_str().expect("temporary paths are UTF-8")
    }

    fn load(&self, format: &str, text: &[u8]) -> Outcome {
        self.load_kind("btree", format, text)
    }

    fn load_kind(&self, kind: &str, format: &str, text: &[u8]) -> Outcome {
        let flags = ["--keyspace", "k", "--kind", kind, "--format", format, "-"];
        run_with(&[&["db", "load", self.data()], &flags[..]].concat(), text)
    }

    fn db(&self, verb: &str, rest: &[&str]) -> Outcome {
        run(&[&["db", verb, self.data(), "--keyspace", "k"], rest].concat())
    }
}

#[test]
fn what_was_loaded_is_got_scanned_and_deleted() {
    let place = Place::new();
    place.load("tsv", b"b\\tx\tline\\none\na\t1\nc\t\\xff\\\\\n").expect_code(0);
    let value = place.db("get", &["b\\tx"]).expect_code(0);
    assert_eq!(value.stdout, "line\none");
    let all = place.db("scan", &[]).expect_code(0);
    assert_eq!(all.stdout, "a\t1\nb\\tx\tline\\none\nc\t\\xff\\\\\n");
    let last = place.db("scan", &["--reverse", "--limit", "1"]).expect_code(0);
    assert_eq!(last.stdout, "c\t\\xff\\\\\n");
    let some = place.db("scan", &["--prefix", "b\\t"]).expect_code(0);
    assert_eq!(some.stdout, "b\\tx\tline\\none\n");
    place.db("delete", &["a"]).expect_code(0);
    let gone = place.db("get", &["a"]).expect_code(1);
    assert_eq!((gone.stdout.as_str(), gone.stderr.as_str()), ("", "not found\n"));
    let stats = run(&["db", "stats", place.data()]).expect_code(0);
    assert!(stats.stdout.contains("keyspace \"k\""), "{stats:?}");
    let check = run(&["db", "check", place.data()]).expect_code(0);
    assert!(check.stdout.ends_with("sound\n"), "{check:?}");
}

#[test]
fn a_scan_loads_into_the_same_entries() {
    let place = Place::new();
    let lines: String =
        (0..3000).map(|n| format!("key {n:05}\tvalue \\x{:02x}\n", n % 32)).collect();
    place.load("tsv", lines.as_bytes()).expect_code(0);
    let scanned = place.db("scan", &[]).expect_code(0);
    let again = Place::new();
    again.load("tsv", scanned.stdout.as_bytes()).expect_code(0);
    assert_eq!(again.db("scan", &[]).expect_code(0).stdout, scanned.stdout);
    assert_eq!(scanned.stdout.lines().count(), 3000);
}

#[test]
fn csv_and_jsonl_load_the_same() {
    let (csv, json) = (Place::new(), Place::new());
    csv.load("csv", b"k1,\"a,b\"\nk2,\"c\nd\"\n").expect_code(0);
    json.load(
        "jsonl",
        b"{\"key\":\"k1\",\"value\":\"a,b\"}\n{\"key\":\"k2\",\"value\":\"c\\nd\"}\n",
    )
    .expect_code(0);
    let scanned = csv.db("scan", &[]).expect_code(0).stdout;
    assert_eq!(scanned, "k1\ta,b\nk2\tc\\nd\n");
    assert_eq!(json.db("scan", &[]).expect_code(0).stdout, scanned);
}

#[test]
fn a_bad_line_is_named_and_the_lines_before_it_are_loaded() {
    let place = Place::new();
    let refused = place.load("tsv", b"a\t1\nb\t2\nno tab here\nc\t3\n").expect_code(3);
    assert!(refused.stderr.contains("line 3"), "{refused:?}");
    assert!(refused.stderr.contains("2 entries before it are loaded"), "{refused:?}");
    assert_eq!(place.db("scan", &[]).expect_code(0).stdout, "a\t1\nb\t2\n");
}

#[test]
fn a_hash_keyspace_gets_scans_and_deletes_and_refuses_what_needs_an_order() {
    let place = Place::new();
    place.load_kind("hash", "tsv", b"b\t2\na\t1\nc\t3\n").expect_code(0);
    assert_eq!(place.db("get", &["a"]).expect_code(0).stdout, "1");
    place.db("delete", &["b"]).expect_code(0);
    place.db("get", &["b"]).expect_code(1);
    let scanned = place.db("scan", &[]).expect_code(0).stdout;
    let mut lines: Vec<&str> = scanned.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a\t1", "c\t3"]);
    for ordered in [&["--prefix", "a"][..], &["--reverse"]] {
        place.db("scan", ordered).expect_code(3);
    }
    let stats = run(&["db", "stats", place.data()]).expect_code(0);
    assert!(stats.stdout.contains("keyspace \"k\" (hash)"), "{stats:?}");
    assert!(stats.stdout.contains("keyspace \"default\" (btree)"), "{stats:?}");
    assert!(run(&["db", "check", place.data()]).expect_code(0).stdout.ends_with("sound\n"));
}

#[test]
fn a_load_keeps_the_kind_of_a_keyspace_and_refuses_another() {
    let place = Place::new();
    place.load_kind("hash", "tsv", b"a\t1\n").expect_code(0);
    let flags = ["db", "load", place.data(), "--keyspace", "k", "-"];
    run_with(&flags, b"b\t2\n").expect_code(0);
    let refused = place.load("tsv", b"c\t3\n").expect_code(3);
    assert!(refused.stderr.contains("hash"), "{refused:?}");
    assert_eq!(place.db("get", &["b"]).expect_code(0).stdout, "2");
    place.db("get", &["c"]).expect_code(1);
}

#[test]
fn a_database_is_compacted_collected_and_copied() {
    let place = Place::new();
    for round in 0..2 {
        for kind in ["btree", "hash"] {
            let line = |n: u32| format!("key {n:04}\t{round}{}\n", "v".repeat(900));
            let lines: String = (0..2000).map(line).collect();
            let flags = ["db", "load", place.data(), "--keyspace", kind, "--kind", kind, "-"];
            run_with(&flags, lines.as_bytes()).expect_code(0);
        }
    }
    run(&["db", "compact", place.data()]).expect_code(0);
    let collect = ["db", "collect", place.data(), "--garbage-max", "0.1"];
    let collected = run(&collect).expect_code(0);
    assert!(collected.stdout.ends_with("bytes less on disk\n"), "{collected:?}");
    let again = run(&collect).expect_code(0);
    assert!(again.stdout.starts_with("0 bytes written"), "{again:?}");
    let copy = place.data.with_extension("copy");
    let copy = copy.to_str().expect("temporary paths are UTF-8");
    run(&["db", "checkpoint", place.data(), copy]).expect_code(0);
    let full = run(&["db", "checkpoint", place.data(), copy]).expect_code(3);
    assert!(full.stderr.contains("not empty"), "{full:?}");
    for dir in [place.data(), copy] {
        for kind in ["btree", "hash"] {
            let get = ["db", "get", dir, "--keyspace", kind, "key 1999"];
            assert_eq!(run(&get).expect_code(0).stdout, format!("1{}", "v".repeat(900)));
        }
        assert!(run(&["db", "check", dir]).expect_code(0).stdout.ends_with("sound\n"));
    }
}

#[test]
fn a_missing_database_text_or_keyspace_is_an_error_and_makes_nothing() {
    let place = Place::new();
    for verb in ["get", "delete"] {
        place.db(verb, &["a"]).expect_code(3);
    }
    place.db("scan", &[]).expect_code(3);
    let target = place.data.with_extension("copy");
    let target = target.to_str().expect("temporary paths are UTF-8");
    for verb in ["check", "stats", "compact", "collect"] {
        run(&["db", verb, place.data()]).expect_code(3);
    }
    run(&["db", "checkpoint", place.data(), target]).expect_code(3);
    assert!(!place.data.exists() && !Path::new(target).exists());
    let flags = ["db", "load", place.data(), "--keyspace", "k", "--kind", "btree", "/no/such/text"];
    let refused = run(&flags).expect_code(3);
    assert!(refused.stderr.contains("/no/such/text"), "{refused:?}");
    assert!(!place.data.exists());
    place.load("tsv", b"a\t1\n").expect_code(0);
    let refused = run(&["db", "scan", place.data(), "--keyspace", "other"]).expect_code(3);
    assert!(refused.stderr.contains("\"other\""), "{refused:?}");
    let stats = run(&["db", "stats", place.data()]).expect_code(0);
    assert!(!stats.stdout.contains("\"other\""), "{stats:?}");
}

#[test]
fn a_database_in_use_is_an_error() {
    let place = Place::new();
    let db = engine::Db::open(&place.data, engine::Options::default()).expect("a database");
    let refused = run(&["db", "stats", place.data()]).expect_code(3);
    assert!(refused.stderr.contains("LOCK") || refused.stderr.contains("lock"), "{refused:?}");
    db.close().expect("a clean close");
    run(&["db", "stats", place.data()]).expect_code(0);
}

#[test]
fn a_reader_that_leaves_early_ends_a_scan_quietly() {
    let place = Place::new();
    // More than a pipe holds, so that the scan meets the closed end.
    let lines: String = (0..40_000).map(|n| format!("key {n:06}\tvalue {n}\n")).collect();
    place.load("tsv", lines.as_bytes()).expect_code(0);
    let mut child = command(&["db", "scan", place.data(), "--keyspace", "k"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    stdout.read_line(&mut first).expect("a line");
    assert_eq!(first, "key 000000\tvalue 0\n");
    drop(stdout);
    let mut stderr = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut stderr).expect("UTF-8");
    assert_eq!(stderr, "");
    assert!(child.wait().expect("it ends").success());
}

/// The file that holds some bytes, and where.
fn find(dir: &Path, wanted: &[u8]) -> (PathBuf, usize) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).unwrap_or_default();
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
            return (path, at);
        }
    }
    panic!("no file holds the bytes");
}

#[test]
fn check_names_the_damaged_file_and_offset() {
    let place = Place::new();
    place.load("tsv", b"first\tan unmistakable value\nsecond\t2\n").expect_code(0);
    let (path, at) = find(&place.data, b"an unmistakable value");
    let mut bytes = fs::read(&path).expect("the file");
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("the file");
    let damaged = run(&["db", "check", place.data()]).expect_code(2);
    let name = path.file_name().and_then(|name| name.to_str()).expect("our names are UTF-8");
    assert!(damaged.stderr.contains(name), "{damaged:?}");
    assert!(damaged.stderr.contains("at byte "), "{damaged:?}");
}
