//! Files: declared, named after something, documents in their place.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::layers::modules;
use super::source::Source;
use super::{Finding, Tree};

const NAMES_REFUSED: [&str; 9] =
    ["utils", "util", "common", "helpers", "helper", "types", "manager", "mod", "misc"];

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) -> Result<()> {
    for source in &tree.sources {
        check_name(source, findings);
        check_declared(tree, source, findings);
    }
    for package in tree.packages.iter().filter(|package| package.starts_with("crates")) {
        if !tree.root.join(package).join("README.md").is_file() {
            let path = package.join("README.md").to_string_lossy().replace('\\', "/");
            findings.push(Finding::new(path, 1, "every crate has a README.md"));
        }
    }
    check_output(tree, findings);
    check_decisions(tree, findings)
}

/// Build output that git tracks. A tree without a repository has none.
fn check_output(tree: &Tree, findings: &mut Vec<Finding>) {
    let listed = Command::new("git").arg("-C").arg(&tree.root).args(["ls-files", "-z"]).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else { return };
    let listed = String::from_utf8_lossy(&listed.stdout);
    let is_output = |path: &&str| path.split('/').rev().skip(1).any(|folder| folder == "target");
    if let Some(path) = listed.split('\0').find(is_output) {
        findings.push(Finding::new(path, 1, "build output is not kept: `git rm -r --cached` it"));
    }
}

fn check_name(source: &Source, findings: &mut Vec<Finding>) {
    for part in source.path.iter().map(|part| part.to_string_lossy()) {
        let stem = part.strip_suffix(".rs").unwrap_or(&part);
        if NAMES_REFUSED.contains(&stem) {
            let message = format!("`{stem}` names nothing: name the question the file answers");
            findings.push(Finding::new(source.name(), 1, message));
        }
        let version = stem.rsplit_once("_v").map_or("", |(_, version)| version);
        if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) {
            findings.push(Finding::new(source.name(), 1, "versions live in git, not in names"));
        }
    }
}

/// A file under `src` or `tests/it` must be a module of the file above it.
fn check_declared(tree: &Tree, source: &Source, findings: &mut Vec<Finding>) {
    let Some(package) = tree.packages.iter().filter(|at| source.path.starts_with(at)).max() else {
        return;
    };
    let Ok(inside) = source.path.strip_prefix(package) else { return };
    let parts: Vec<String> =
        inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (module, parents) = match parts.as_slice() {
        ["src", "lib.rs" | "main.rs"] | ["src", "bin", _] | ["tests", "it", "main.rs"] => return,
        ["src", name] => (*name, vec![package.join("src/lib.rs"), package.join("src/main.rs")]),
        ["tests", "it", name] => (*name, vec![package.join("tests/it/main.rs")]),
        ["tests", ..] if parts.len() < 3 => {
            let message = "one integration binary: put this under tests/it";
            findings.push(Finding::new(source.name(), 1, message));
            return;
        }
        ["src" | "tests", .., name] => {
            let folder = source.path.parent().unwrap_or(Path::new(""));
            (*name, vec![folder.with_extension("rs")])
        }
        _ => return,
    };
    let module = module.strip_suffix(".rs").unwrap_or(module);
    let declared = parents
        .iter()
        .filter_map(|parent| tree.source(parent))
        .any(|parent| modules(parent).iter().any(|name| name == module));
    if !declared {
        findings.push(Finding::new(source.name(), 1, format!("nothing declares `mod {module};`")));
    }
}

/// Decisions are `NNNN-*.md`, each number once.
fn check_decisions(tree: &Tree, findings: &mut Vec<Finding>) -> Result<()> {
    let folder = Path::new("docs/decisions");
    let absolute = tree.root.join(folder);
    if !absolute.is_dir() {
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&absolute).context("listing docs/decisions")? {
        names.push(entry.context("listing docs/decisions")?.file_name().into_string());
    }
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut names: Vec<String> = names.into_iter().filter_map(Result::ok).collect();
    names.sort();
    for name in names.into_iter().filter(|name| name != "README.md") {
        let path = format!("docs/decisions/{name}");
        let number = name.split('-').next().unwrap_or_default().to_owned();
        let is_number = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || !name.ends_with(".md") {
            findings.push(Finding::new(path, 1, "a decision is named NNNN-title.md"));
        } else if let Some(other) = seen.insert(number, name) {
            findings.push(Finding::new(path, 1, format!("has the number of {other}")));
        }
    }
    Ok(())
}
