//! `cargo xtask tidy`: the rules of STYLE.md that no compiler checks.
//!
//! 1. Crates depend downwards only, and so do the modules of a crate (`layers`).
//! 2. Every file is declared, named after something, and where it belongs (`tree`).
//! 3. Files and functions are short; exceptions are listed in `xtask/tidy.toml`, each as long as it
//!    must be, so that the list can only shrink (`sizes`).
//! 4. Source is ASCII, without leftovers (`text`).
//! 5. Every row of the catalogue of failures has a test that exists (`catalogue`).

mod catalogue;
mod layers;
mod sizes;
mod source;
mod text;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use source::Source;

/// Where a rule is broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.into(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A tree of packages, read into memory.
struct Tree {
    root: PathBuf,
    sources: Vec<Source>,
    /// Package folders, relative to the root.
    packages: Vec<PathBuf>,
}

/// Checks the tree under `root`; prints every finding and fails if there is one.
pub(crate) fn run(root: &Path) -> Result<()> {
    let findings = check(root)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    Ok(())
}

fn check(root: &Path) -> Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let mut findings = Vec::new();
    layers::check(&tree, &mut findings)?;
    tree::check(&tree, &mut findings)?;
    sizes::check(&tree, &mut findings)?;
    text::check(&tree, &mut findings)?;
    catalogue::check(&tree, &mut findings)?;
    findings.sort();
    Ok(findings)
}

impl Tree {
    fn read(root: &Path) -> Result<Tree> {
        let mut tree = Tree { root: root.to_owned(), sources: Vec::new(), packages: Vec::new() };
        let walk = WalkDir::new(root).sort_by_file_name().into_iter();
        for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_skipped(entry)) {
            let entry = entry.context("walking the tree")?;
            let path = entry.path().strip_prefix(root).context("below the root")?.to_owned();
            if entry.file_name() == "Cargo.toml" && entry.depth() > 1 {
                tree.packages.push(path.parent().context("a file has a folder")?.to_owned());
            }
            if entry.file_type().is_file() && path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(entry.path())
                    .with_context(|| format!("reading {}", path.display()))?;
                tree.sources.push(Source::new(path, text));
            }
        }
        Ok(tree)
    }

    fn source(&self, path: &Path) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    fn read_text(&self, path: &Path) -> Result<String> {
        let path = self.root.join(path);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }
}

/// Build output and hidden folders are not ours to read; fixtures may break any rule.
fn is_skipped(entry: &walkdir::DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.file_type().is_dir() && (name == "target" || name == "fixtures" || name.starts_with('.'))
}

#[cfg(test)]
mod tests;
