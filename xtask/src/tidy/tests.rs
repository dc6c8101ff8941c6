use std::path::Path;

use super::{Finding, check};

/// A tree that breaks no rule; each test adds what its rule refuses.
const CLEAN: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace]\n"),
    ("crates/vfs/Cargo.toml", "[package]\nname = \"vfs\"\n[dependencies]\nbytes = \"1\"\n"),
    ("crates/vfs/README.md", "# vfs\n"),
    ("crates/vfs/src/lib.rs", "//! Files.\n\nmod error;\nmod fields;\npub use error::Error;\n"),
    ("crates/vfs/src/error.rs", "pub struct Error;\n"),
    ("crates/vfs/src/fields.rs", "use crate::error::Error;\n\nmod read;\n"),
    ("crates/vfs/src/fields/read.rs", "use super::super::error::Error;\n"),
    (
        "crates/wal/Cargo.toml",
        "[package]\nname = \"wal\"\n[dependencies]\nvfs = { path = \"../vfs\" }\n",
    ),
    ("crates/wal/README.md", "# wal\n"),
    ("crates/wal/src/lib.rs", "//! A log.\n"),
    ("crates/wal/tests/it/main.rs", "mod crash;\n"),
    ("crates/wal/tests/it/crash.rs", "#[test]\nfn it_holds() {}\n"),
    ("docs/decisions/0001-first.md", "# 0001\n"),
];

/// The findings of the clean tree with these files added or replaced.
fn findings_with(files: &[(&str, &str)]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in CLEAN.iter().chain(files) {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    check(root.path()).unwrap().iter().map(Finding::to_string).collect()
}

#[track_caller]
fn assert_one(files: &[(&str, &str)], expected: &str) {
    let findings = findings_with(files);
    assert_eq!(findings, [expected.to_owned()]);
}

#[test]
fn a_clean_tree_has_no_findings() {
    assert_eq!(findings_with(&[]), [""; 0]);
}

#[test]
fn siblings_and_upper_crates_must_not_be_dependencies() {
    let manifest =
        "[package]\nname = \"wal\"\n[dev-dependencies]\nsstable = { path = \"../sstable\" }\n";
    assert_one(
        &[("crates/wal/Cargo.toml", manifest)],
        "crates/wal/Cargo.toml:1: `wal` must not depend on `sstable`",
    );
    let renamed = "[package]\nname = \"vfs\"\n[target.'cfg(unix)'.dependencies]\nlog = { package = \"wal\" }\n";
    assert_one(
        &[("crates/vfs/Cargo.toml", renamed)],
        "crates/vfs/Cargo.toml:1: `vfs` must not depend on `wal`",
    );
}

#[test]
fn a_crate_without_a_place_in_the_layers_is_found() {
    let files = [("crates/cache/Cargo.toml", "[package]\n"), ("crates/cache/README.md", "")];
    assert_one(&files, "crates/cache/Cargo.toml:1: `cache` has no place in the layers");
}

#[test]
fn a_module_must_not_use_one_listed_below_it() {
    let message =
        "crates/vfs/src/error.rs:2: `error` must not use `crate::fields`, which is listed below it";
    assert_one(&[("crates/vfs/src/error.rs", "\nuse crate::fields::Reader;\n")], message);
    assert_one(&[("crates/vfs/src/error.rs", "\nuse super::fields::Reader;\n")], message);
    assert_one(&[("crates/vfs/src/error.rs", "\nuse crate::{error::E, fields::R};\n")], message);
    assert_one(
        &[("crates/vfs/src/fields/read.rs", "use crate::Error;\n")],
        "crates/vfs/src/fields/read.rs:1: `fields` uses `crate::Error` of the root: name its module instead",
    );
}

#[test]
fn uses_in_tests_strings_and_comments_are_not_uses() {
    let text = "// crate::fields\nconst A: &str = r#\"crate::fields \"quoted\"\"#;\nconst B: char = '\"';\n\
                #[cfg(test)]\nmod tests {\n    use crate::fields::Reader;\n}\n";
    assert_eq!(findings_with(&[("crates/vfs/src/error.rs", text)]), [""; 0]);
}

#[test]
fn a_file_that_nothing_declares_is_found() {
    assert_one(
        &[("crates/vfs/src/lost.rs", "")],
        "crates/vfs/src/lost.rs:1: nothing declares `mod lost;`",
    );
    assert_one(
        &[("crates/vfs/src/fields/lost.rs", "")],
        "crates/vfs/src/fields/lost.rs:1: nothing declares `mod lost;`",
    );
    assert_one(
        &[("crates/wal/tests/it/lost.rs", "")],
        "crates/wal/tests/it/lost.rs:1: nothing declares `mod lost;`",
    );
    assert_one(
        &[("crates/wal/tests/second.rs", "")],
        "crates/wal/tests/second.rs:1: one integration binary: put this under tests/it",
    );
}

#[test]
fn names_that_name_nothing_are_refused() {
    for name in ["utils", "common", "helpers", "types", "manager"] {
        let path = format!("crates/wal/src/{name}.rs");
        let root = format!("//! A log.\nmod {name};\n");
        let files = [(path.as_str(), ""), ("crates/wal/src/lib.rs", root.as_str())];
        let expected =
            format!("{path}:1: `{name}` names nothing: name the question the file answers");
        assert_one(&files, &expected);
    }
    let files = [("crates/wal/src/log_v2.rs", ""), ("crates/wal/src/lib.rs", "mod log_v2;\n")];
    assert_one(&files, "crates/wal/src/log_v2.rs:1: versions live in git, not in names");
}

#[test]
fn every_crate_has_a_readme() {
    let files = [("crates/memtable/Cargo.toml", "[package]\n")];
    assert_one(&files, "crates/memtable/README.md:1: every crate has a README.md");
}

#[test]
fn decisions_have_a_number_of_their_own() {
    assert_one(
        &[("docs/decisions/0001-second.md", "")],
        "docs/decisions/0001-second.md:1: has the number of 0001-first.md",
    );
    assert_one(
        &[("docs/decisions/2-short.md", "")],
        "docs/decisions/2-short.md:1: a decision is named NNNN-title.md",
    );
}

#[test]
fn long_files_and_functions_are_found() {
    let file = "const A: u8 = 0;\n".repeat(501);
    assert_one(
        &[("crates/wal/src/lib.rs", &file)],
        "crates/wal/src/lib.rs:1: file has 501 lines, 500 are allowed",
    );
    let function = format!("\nfn long(array: [u8; 2]) {{\n{}}}\n", "    work();\n".repeat(69));
    assert_one(
        &[("crates/wal/src/lib.rs", &function)],
        "crates/wal/src/lib.rs:2: function long has 71 lines, 70 are allowed",
    );
    assert_eq!(findings_with(&[("crates/wal/tests/it/crash.rs", &function)]), [""; 0]);
    let inline =
        format!("{}#[cfg(test)]\nmod tests {{\n{file}}}\n", "const B: u8 = 0;\n".repeat(500));
    assert_eq!(findings_with(&[("crates/wal/src/lib.rs", &inline)]), [""; 0]);
}

#[test]
fn an_exception_is_as_long_as_it_must_be() {
    let file = "const A: u8 = 0;\n".repeat(510);
    let with = |lines: usize| {
        let entry = format!(
            "[[file]]\npath = \"crates/wal/src/lib.rs\"\nlines = {lines}\nreason = \"one table\"\n"
        );
        findings_with(&[("crates/wal/src/lib.rs", &file), ("xtask/tidy.toml", &entry)])
    };
    assert_eq!(with(510), [""; 0]);
    let lower = "xtask/tidy.toml:1: the exception for file crates/wal/src/lib.rs can be lowered to 510 lines";
    assert_eq!(with(520), [lower]);
    assert_eq!(with(505), ["crates/wal/src/lib.rs:1: file has 510 lines, 505 are allowed"]);
}

#[test]
fn an_exception_that_is_not_needed_is_an_error() {
    let function = |path: &str, reason: &str| {
        format!(
            "[[function]]\npath = \"{path}\"\nname = \"it\"\nlines = 80\nreason = \"{reason}\"\n"
        )
    };
    let short = ("crates/wal/src/lib.rs", "fn it() {}\n");
    assert_one(
        &[short, ("xtask/tidy.toml", &function("crates/wal/src/lib.rs", "because"))],
        "xtask/tidy.toml:1: the exception for function crates/wal/src/lib.rs it is no longer needed",
    );
    assert_one(
        &[short, ("xtask/tidy.toml", &function("crates/wal/src/gone.rs", "because"))],
        "xtask/tidy.toml:1: the exception for function crates/wal/src/gone.rs it no longer exists",
    );
    assert_one(
        &[short, ("xtask/tidy.toml", &function("crates/wal/src/lib.rs", " "))],
        "xtask/tidy.toml:1: the exception for function crates/wal/src/lib.rs it has no reason",
    );
}

#[test]
fn leftovers_are_found() {
    let lib = "crates/wal/src/lib.rs";
    let cases = [
        (concat!("// FIX", "ME later\n"), concat!("FIX", "ME: fix it now")),
        (
            concat!("// TO", "DO later\n"),
            concat!("TO", "DO without an issue: write TO", "DO(#12), or do it"),
        ),
        ("// let x = y;\n", "commented-out code: git keeps it"),
        ("// self.log.append(frame);\n", "commented-out code: git keeps it"),
        ("// if x {\n", "commented-out code: git keeps it"),
        ("fn f() { todo!() }\n", "unfinished code"),
        ("fn f() { unimplemented!() }\n", "unfinished code"),
        ("#[ignore]\n", "an ignored test needs its reason: #[ignore = \"...\"]"),
        ("// \u{2192}\n", "U+2192 is not ASCII"),
    ];
    for (text, message) in cases {
        assert_one(&[(lib, text)], &format!("{lib}:1: {message}"));
    }
}

#[test]
fn prose_marks_with_an_issue_and_reasons_are_not_leftovers() {
    let text = "// One condition holds; if the log is empty (see open), nothing is read;\n\
                // it is then started anew, for the reader: first, then second.\n\
                // TODO(#12)\n#[ignore = \"takes an hour\"]\nconst A: &str = \"todo!()\";\n";
    assert_eq!(findings_with(&[("crates/wal/src/lib.rs", text)]), [""; 0]);
}

#[test]
fn build_output_and_fixtures_are_not_read() {
    let files =
        [("target/debug/utils.rs", "FIX"), ("crates/wal/tests/fixtures/utils.rs", "todo!()")];
    assert_eq!(findings_with(&files), [""; 0]);
}

#[test]
fn these_tools_keep_their_own_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let own = ["main", "ci", "tidy", "simulate"].map(|tool| format!("xtask/src/{tool}"));
    let findings: Vec<String> = check(root)
        .unwrap()
        .into_iter()
        .filter(|finding| own.iter().any(|path| finding.path.starts_with(path)))
        .map(|finding| finding.to_string())
        .collect();
    assert_eq!(findings, [""; 0]);
}

/// The document with all rows, one of them replaced.
fn catalogue(number: u32, row: &str) -> String {
    let line = |at| match at == number {
        true => format!("{row}\n"),
        false => format!("| {at} | lost | `it_holds` |\n"),
    };
    let rows: String = (1..=118).map(line).collect();
    format!("# Reliability\n\n| # | failure | test |\n|---|---|---|\n{rows}")
}

#[test]
fn a_row_of_the_catalogue_without_a_test_that_exists_is_found() {
    let engine =
        [("crates/engine/Cargo.toml", "[package]\n"), ("crates/engine/README.md", "# e\n")];
    let with =
        |text: &str| findings_with(&[&engine[..], &[("docs/reliability.md", text)]].concat());
    for fine in [
        "| 42 | lost | `it_holds`, and more: `cargo xtask crash` |",
        "| 42 | lost | Cannot occur: there is no such thing |",
    ] {
        assert_eq!(with(&catalogue(42, fine)), [""; 0]);
    }
    let at = |line: u32, message: &str| [format!("docs/reliability.md:{line}: {message}")];
    let gone = "| 42 | lost | `it_holds`, `it_is_gone` |";
    assert_eq!(with(&catalogue(42, gone)), at(46, "row 42: there is no test `it_is_gone`"));
    let mute = "| 42 | lost | somewhere |";
    assert_eq!(with(&catalogue(42, mute)), at(46, "row 42 names no test and does not say why"));
    assert_eq!(with(&catalogue(42, "")), at(47, "row 43 where row 42 belongs"));
    let last = "| 118 | lost | `it_holds` |\n";
    let short = catalogue(1, "| 1 | lost | `it_holds` |").replace(last, "");
    assert_eq!(with(&short), at(1, "the rows end before 118 of 118"));
    let missing = "is missing: what is promised, and how it is tested";
    assert_eq!(findings_with(&engine), at(1, missing));
}

// `cargo bench` of a package outside the workspace left its samples below that package, where they
// were committed: only the root's `target` was ignored.
#[test]
fn build_output_that_is_tracked_is_found() {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in CLEAN.iter().chain(&[("benches/target/sample.json", "{}")]) {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        let status = git.arg("-C").arg(root.path()).args(arguments).status();
        assert!(status.unwrap().success(), "git {arguments:?}");
    };
    git(&["init", "--quiet"]);
    assert_eq!(check(root.path()).unwrap(), []);
    git(&["add", "--all", "--force"]);
    let findings = check(root.path()).unwrap();
    let expected = "build output is not kept: `git rm -r --cached` it";
    assert_eq!(findings, [Finding::new("benches/target/sample.json", 1, expected)]);
}
