//! One direction: between crates, and between the modules of a crate.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::source::{Source, is_name, leading_name};
use super::{Finding, Tree};

/// What each crate of `crates/` may depend on.
const EDGES: [(&str, &[&str]); 6] = [
    ("vfs", &[]),
    ("memtable", &[]),
    ("wal", &["vfs"]),
    ("sstable", &["vfs"]),
    ("diskhash", &["vfs"]),
    ("engine", &["vfs", "memtable", "wal", "sstable", "diskhash"]),
];

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) -> Result<()> {
    for package in &tree.packages {
        if package.starts_with("crates") {
            check_dependencies(tree, package, findings)?;
        }
        for root in ["src/lib.rs", "src/main.rs"] {
            if let Some(source) = tree.source(&package.join(root)) {
                check_modules(tree, source, findings);
            }
        }
    }
    Ok(())
}

fn check_dependencies(tree: &Tree, package: &Path, findings: &mut Vec<Finding>) -> Result<()> {
    let path = package.join("Cargo.toml");
    let name = package.file_name().context("a package has a folder")?.to_string_lossy();
    let shown = path.to_string_lossy().replace('\\', "/");
    let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
        findings.push(Finding::new(shown, 1, format!("`{name}` has no place in the layers")));
        return Ok(());
    };
    let manifest: toml::Table = tree.read_text(&path)?.parse().with_context(|| shown.clone())?;
    let ours = |dependency: &str| {
        let tool = ["xtask", "benches"].contains(&dependency);
        tool || EDGES.iter().any(|(known, _)| *known == dependency)
    };
    for dependency in dependencies(&manifest) {
        if ours(&dependency) && !allowed.contains(&dependency.as_str()) {
            let message = format!("`{name}` must not depend on `{dependency}`");
            findings.push(Finding::new(shown.clone(), 1, message));
        }
    }
    Ok(())
}

/// Packages named in any dependency table, those of one target included; the package's own name
/// where it was renamed.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if ["dependencies", "dev-dependencies", "build-dependencies"].contains(&key.as_str()) {
            names.extend(table.iter().map(|(name, value)| {
                value.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned()
            }));
        } else if key == "target" {
            names.extend(table.values().filter_map(toml::Value::as_table).flat_map(dependencies));
        }
    }
    names
}

/// Every `crate::x` in a module's files must name a module listed above it in `root`.
fn check_modules(tree: &Tree, root: &Source, findings: &mut Vec<Finding>) {
    let order = modules(root);
    let folder = root.path.parent().map_or_else(PathBuf::new, Path::to_owned);
    for (position, module) in order.iter().enumerate() {
        let file = folder.join(format!("{module}.rs"));
        let inside = folder.join(module);
        let files = tree
            .sources
            .iter()
            .filter(|source| source.path == file || source.path.starts_with(&inside));
        for source in files.filter(|source| !source.is_test()) {
            let depth = source.path.strip_prefix(&folder).map_or(1, |path| path.iter().count());
            let tests = source.inline_tests();
            for (offset, name) in uses(source, depth) {
                let in_tests = tests.iter().any(|range| range.contains(&offset));
                if in_tests || order[..=position].contains(&name) {
                    continue;
                }
                let message = if order.contains(&name) {
                    format!("`{module}` must not use `crate::{name}`, which is listed below it")
                } else {
                    format!("`{module}` uses `crate::{name}` of the root: name its module instead")
                };
                findings.push(Finding::new(source.name(), source.line(offset), message));
            }
        }
    }
}

/// Modules a file declares in files of their own, in order.
pub(super) fn modules(source: &Source) -> Vec<String> {
    source
        .words("mod")
        .filter_map(|offset| {
            let rest = source.code[offset + "mod".len()..].trim_start();
            let name = leading_name(rest);
            rest[name.len()..].trim_start().starts_with(';').then(|| name.to_owned())
        })
        .collect()
}

/// (offset, first name) of every path from the crate's root: through `crate::`, or through as many
/// `super::` as the file is deep.
fn uses(source: &Source, depth: usize) -> Vec<(usize, String)> {
    let supers = "super::".repeat(depth);
    let mut found = Vec::new();
    for prefix in ["crate::", supers.as_str()] {
        for (offset, _) in source.code.match_indices(prefix) {
            let before = source.code[..offset].chars().next_back();
            if before.is_some_and(|before| is_name(before) || before == '$' || before == ':') {
                continue;
            }
            let rest = &source.code[offset + prefix.len()..];
            let names = first_names(rest).into_iter().filter(|name| name != "super");
            found.extend(names.map(|name| (offset, name)));
        }
    }
    found
}

/// The first name of a path, or of each path of a group in braces.
fn first_names(code: &str) -> Vec<String> {
    let Some(group) = code.strip_prefix('{') else {
        return vec![leading_name(code).to_owned()];
    };
    let mut names = Vec::new();
    let mut depth = 0u32;
    let mut at_start = true;
    for (offset, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            _ if at_start && is_name(character) => {
                names.push(leading_name(&group[offset..]).to_owned());
                at_start = false;
            }
            _ => {}
        }
    }
    names
}
