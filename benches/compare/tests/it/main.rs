//! Every engine through every story, each in a process of its own, with a few entries.

use std::collections::BTreeSet;
use std::process::Command;

use clap::ValueEnum;
use compare::engines;
use compare::rows::ROWS;
use compare::size::Size;
use compare::store::Kind;
use compare::story::Story;

/// Enough for several batches and scans that meet the end.
const ENTRIES: &str = "2500";

fn live(kind: Kind, story: Story, size: Size) -> Vec<(String, f64)> {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let story = story.to_possible_value().expect("every story has a name");
    let output = Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(["child", kind.name, story.get_name(), size.name()])
        .args([ENTRIES, ENTRIES, "20"])
        .arg(dir.path())
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let what = format!("{} {} {}", kind.name, story.get_name(), size.name());
    assert!(output.status.success(), "{what}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn live_all(kind: Kind, size: Size) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for (row, figure) in Story::ALL.into_iter().flat_map(|story| live(kind, story, size)) {
        assert!(figure.is_finite() && figure >= 0.0, "{} {row}: {figure}", kind.name);
        assert!(rows.insert(row.clone()), "{} finds {row} twice", kind.name);
    }
    rows
}

#[test]
fn every_engine_lives_every_story_at_every_size_and_reads_what_it_put() {
    for kind in engines::all() {
        for size in Size::ALL.into_iter().filter(|size| kind.takes(*size)) {
            let rows = live_all(kind, size);
            assert!(rows.contains("fill, 1 thread") && rows.contains("delete all"), "{rows:?}");
        }
    }
}

#[test]
fn an_ordered_engine_finds_every_row_of_the_table() {
    let kind = engines::find("ours-btree").expect("ours is always there");
    let found = live_all(kind, Size::Small);
    let missing: Vec<&str> =
        ROWS.iter().map(|row| row.name).filter(|name| !found.contains(*name)).collect();
    assert!(missing.is_empty(), "no story finds {missing:?}");
}

#[test]
fn a_quick_comparison_of_three_engines_writes_tables_and_lines_and_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let results = dir.path().join("results");
    let kinds: Vec<&str> = engines::all().iter().map(|kind| kind.name).take(3).collect();
    let engines = kinds.iter().flat_map(|name| ["--engine", *name]);
    let compare = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_compare"))
            .args(["--quick", "--runs", "2", "--size", "150"])
            .args(engines.clone())
            .args(more)
            .arg("--dir")
            .arg(dir.path().join("stores"))
            .arg("--results")
            .arg(&results)
            .output()
            .expect("the program starts")
    };
    let read = |extension| {
        std::fs::read_to_string(results.with_extension(extension)).expect("it was written")
    };
    let output = compare(&["--entries", "2000"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let table = read("md");
    assert!(table.contains("| read hit, zero-copy, 1 thread, /s |"), "{table}");
    assert!(table.contains("## Bars"), "{table}");
    let lines = read("jsonl");
    assert!(lines.lines().count() > 100, "{} lines", lines.lines().count());

    // Stopped in the middle of a line.
    let half = &lines[..lines.len() / 2];
    std::fs::write(results.with_extension("jsonl"), half).expect("written");
    let output = compare(&["--entries", "2000", "--resume", "--minutes", "0"]);
    assert!(!output.status.success());
    assert!(read("md").contains("are left; --resume goes on"));
    let kept = read("jsonl");
    assert!(half.starts_with(&kept) && !kept.is_empty(), "only what is whole is kept");
    let output = compare(&["--entries", "2000", "--resume"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(read("jsonl").starts_with(&kept));
    assert_eq!(read("jsonl").lines().count(), lines.lines().count());
    assert!(!read("md").contains("NOT WHOLE"));
    let output = compare(&["--entries", "4000", "--resume"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("is of another plan"), "{said}");
}
