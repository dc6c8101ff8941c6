//! The catalogue of failures in `docs/reliability.md`: a row for each number, and every test that a
//! row names exists.
//!
//! ```text
//! | 42 | what went wrong elsewhere | `name_of_a_test`, `name_of_another`: what else is to say |
//! ```
//!
//! In the last column whatever stands in backquotes and is written like a function is a test. A row
//! without one begins with *Cannot occur*, *Excepted* or the like, and says why.

use std::path::Path;

use anyhow::Result;

use super::source::{Source, is_name};
use super::{Finding, Tree};

const DOCUMENT: &str = "docs/reliability.md";
/// Where the document must be: in a tree that has this package.
const SUBJECT: &str = "crates/engine";
const ROWS: u32 = 118;
/// Beginnings of a row that names no test.
const EXCUSES: [&str; 3] = ["Cannot occur", "Excepted", "By the compiler"];

/// A row of the table.
struct Row<'a> {
    line: usize,
    number: u32,
    cover: &'a str,
}

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) -> Result<()> {
    if !tree.packages.iter().any(|package| package == Path::new(SUBJECT)) {
        return Ok(());
    }
    let mut find = |line, message: String| findings.push(Finding::new(DOCUMENT, line, message));
    if !tree.root.join(DOCUMENT).is_file() {
        find(1, "is missing: what is promised, and how it is tested".to_owned());
        return Ok(());
    }
    let text = tree.read_text(Path::new(DOCUMENT))?;
    let mut next = 1;
    for Row { line, number, cover } in text.lines().enumerate().filter_map(row) {
        if number != next {
            find(line, format!("row {number} where row {next} belongs"));
        }
        next = number + 1;
        let names: Vec<&str> = tests(cover).collect();
        if names.is_empty() && !EXCUSES.iter().any(|excuse| cover.starts_with(excuse)) {
            find(line, format!("row {number} names no test and does not say why"));
        }
        for name in names {
            if !tree.sources.iter().any(|source| has_test(source, name)) {
                find(line, format!("row {number}: there is no test `{name}`"));
            }
        }
    }
    if next != ROWS + 1 {
        find(1, format!("the rows end before {next} of {ROWS}"));
    }
    Ok(())
}

/// A line of the document, if it is a row of the catalogue: its first cell is a number.
fn row((index, line): (usize, &str)) -> Option<Row<'_>> {
    let cells = line.strip_prefix('|')?.strip_suffix('|')?;
    let (number, rest) = cells.split_once('|')?;
    let (_, cover) = rest.split_once('|')?;
    Some(Row { line: index + 1, number: number.trim().parse().ok()?, cover: cover.trim() })
}

/// What in a cell is written like a function's name.
fn tests(cover: &str) -> impl Iterator<Item = &str> {
    let quoted = cover.split('`').skip(1).step_by(2);
    quoted.filter(|text| {
        let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        plain && text.contains('_')
    })
}

/// True if a file has a function of this name with a test's attribute above it.
fn has_test(source: &Source, name: &str) -> bool {
    source.words(name).any(|offset| {
        let before = source.code[..offset].trim_end();
        let Some(before) = before.strip_suffix("fn") else { return false };
        // From the end of what stands before the function's attributes.
        let item = before.rfind([';', '}', '{']).map_or(before, |end| &before[end..]);
        !before.ends_with(is_name) && item.contains("#[test]")
    })
}
