//! What must not be left in source: marks, dead code, other alphabets.

use std::path::Path;

use anyhow::Result;

use super::source::Source;
use super::{Finding, Tree};

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) -> Result<()> {
    for source in &tree.sources {
        check_ascii(&source.name(), &source.text, findings);
        check_marks(source, findings);
        check_comments(source, findings);
        check_code(source, findings);
    }
    let manifests = tree.packages.iter().map(|package| package.join("Cargo.toml"));
    let others = ["Cargo.toml", "clippy.toml", "deny.toml", "rustfmt.toml", ".ci/run"];
    for path in manifests.chain(others.iter().map(|path| Path::new(path).to_owned())) {
        if tree.root.join(&path).is_file() {
            let name = path.to_string_lossy().replace('\\', "/");
            check_ascii(&name, &tree.read_text(&path)?, findings);
        }
    }
    Ok(())
}

fn check_ascii(path: &str, text: &str, findings: &mut Vec<Finding>) {
    for (line, content) in (1..).zip(text.lines()) {
        if let Some(character) = content.chars().find(|character| !character.is_ascii()) {
            let message = format!("U+{:04X} is not ASCII", u32::from(character));
            findings.push(Finding::new(path, line, message));
        }
    }
}

/// The marks are put together here so that this file does not hold them.
fn check_marks(source: &Source, findings: &mut Vec<Finding>) {
    let fix = concat!("FIX", "ME");
    let todo = concat!("TO", "DO");
    for (line, content) in (1..).zip(source.text.lines()) {
        if content.contains(fix) {
            findings.push(Finding::new(source.name(), line, format!("{fix}: fix it now")));
        }
        let bare = content
            .split(todo)
            .skip(1)
            .any(|rest| !rest.starts_with("(#") && !rest.starts_with(char::is_alphanumeric));
        if bare {
            let message = format!("{todo} without an issue: write {todo}(#12), or do it");
            findings.push(Finding::new(source.name(), line, message));
        }
    }
}

fn check_comments(source: &Source, findings: &mut Vec<Finding>) {
    for (line, comment) in &source.comments {
        if looks_like_code(comment.trim()) {
            findings.push(Finding::new(source.name(), *line, "commented-out code: git keeps it"));
        }
    }
}

/// Prose seldom begins like a statement and ends like one.
fn looks_like_code(comment: &str) -> bool {
    let starts = |words: &[&str]| words.iter().any(|word| comment.starts_with(word));
    if comment.ends_with(';') {
        let first = comment.split([' ', '(']).next().unwrap_or_default();
        let calls = comment.ends_with(");") && (first.contains('.') || first.contains("::"));
        return calls
            || starts(&[
                "let ", "use ", "pub ", "return ", "mod ", "self.", "assert", "*", "type ",
            ]) && !comment.ends_with(" ;");
    }
    if comment.ends_with('{') {
        let blocks =
            ["fn ", "pub ", "if ", "for ", "while ", "match ", "impl ", "struct ", "enum "];
        return starts(&blocks) || starts(&["} else", "loop {", "unsafe {", "let "]);
    }
    matches!(comment, "}" | "})" | "});" | "};")
        || (comment.starts_with("#[") && comment.ends_with(']'))
}

fn check_code(source: &Source, findings: &mut Vec<Finding>) {
    let forbidden = [
        ("todo!", "unfinished code"),
        ("unimplemented!", "unfinished code"),
        ("#[ignore]", "an ignored test needs its reason: #[ignore = \"...\"]"),
    ];
    for (what, message) in forbidden {
        for (offset, _) in source.code.match_indices(what) {
            findings.push(Finding::new(source.name(), source.line(offset), message));
        }
    }
}
