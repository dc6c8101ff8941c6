//! Lengths of files and functions, and the exceptions in `xtask/tidy.toml`.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::source::{Source, leading_name};
use super::{Finding, Tree};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const EXCEPTIONS: &str = "xtask/tidy.toml";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Exceptions {
    file: Vec<Exception>,
    function: Vec<Exception>,
}

/// A file, or a function in it, that is longer than the rule and may be `lines` long.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    path: String,
    #[serde(default)]
    name: String,
    lines: usize,
    reason: String,
}

/// What was measured.
struct Length {
    path: String,
    /// Of the function; empty for a file.
    name: String,
    line: usize,
    lines: usize,
}

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) -> Result<()> {
    let exceptions: Exceptions = if tree.root.join(EXCEPTIONS).is_file() {
        toml::from_str(&tree.read_text(Path::new(EXCEPTIONS))?).context(EXCEPTIONS)?
    } else {
        Exceptions::default()
    };
    let sources = || tree.sources.iter().filter(|source| !source.is_test());
    let files: Vec<Length> = sources().map(file_length).collect();
    let functions: Vec<Length> = sources().flat_map(function_lengths).collect();
    compare("file", &files, FILE_LINES_MAX, &exceptions.file, findings);
    compare("function", &functions, FUNCTION_LINES_MAX, &exceptions.function, findings);
    Ok(())
}

fn compare(
    what: &str,
    lengths: &[Length],
    max: usize,
    exceptions: &[Exception],
    findings: &mut Vec<Finding>,
) {
    for length in lengths.iter().filter(|length| length.lines > max) {
        let Length { path, name, line, lines } = length;
        let allowed = exceptions.iter().find(|one| one.path == *path && one.name == *name);
        if allowed.is_none_or(|allowed| *lines > allowed.lines) {
            let most = allowed.map_or(max, |allowed| allowed.lines);
            let message = format!("{what} {name} has {lines} lines, {most} are allowed");
            findings.push(Finding::new(path.clone(), *line, message.replace("  ", " ")));
        }
    }
    for exception in exceptions {
        let Exception { path, name, lines, reason } = exception;
        let longest = lengths
            .iter()
            .filter(|length| length.path == *path && length.name == *name)
            .map(|length| length.lines)
            .max();
        let wrong = match longest {
            _ if reason.trim().is_empty() => Some("has no reason".to_owned()),
            None => Some("no longer exists".to_owned()),
            Some(now) if now <= max => Some("is no longer needed".to_owned()),
            Some(now) if now < *lines => Some(format!("can be lowered to {now} lines")),
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            let message = format!("the exception for {what} {path} {name} {wrong}");
            findings.push(Finding::new(EXCEPTIONS, 1, message.replace("  ", " ")));
        }
    }
}

/// Lines of a file without its inline tests.
fn file_length(source: &Source) -> Length {
    let tests: usize = source
        .inline_tests()
        .into_iter()
        .map(|range| source.line(range.end) - source.line(range.start) + 1)
        .sum();
    let lines = source.text.lines().count() - tests;
    Length { path: source.name(), name: String::new(), line: 1, lines }
}

/// Functions with a body, tests excepted, from the line of `fn` to the closing brace.
fn function_lengths(source: &Source) -> Vec<Length> {
    let tests = source.inline_tests();
    source
        .words("fn")
        .filter(|offset| !tests.iter().any(|range| range.contains(offset)))
        .filter_map(|offset| {
            let name = leading_name(source.code[offset + "fn".len()..].trim_start());
            let open = body(source, offset)?;
            let line = source.line(offset);
            let lines = source.line(source.closing(open)) - line + 1;
            let named = !name.is_empty();
            named.then(|| Length { path: source.name(), name: name.to_owned(), line, lines })
        })
        .collect()
}

/// The offset of the brace that opens the body; none for a declaration.
fn body(source: &Source, offset: usize) -> Option<usize> {
    let mut depth = 0u32;
    for (at, character) in source.code[offset..].char_indices() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' if depth == 0 => return Some(offset + at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}
