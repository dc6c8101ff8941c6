//! What to import: a tree of real files.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use walkdir::WalkDir;

/// One file.
#[derive(Clone, Debug)]
pub(super) struct SourceFile {
    /// Its path below the tree, with `/` between the parts.
    pub(super) key: Vec<u8>,
    pub(super) path: PathBuf,
    pub(super) len: u64,
}

/// A tree of files, in the order of the walk, sorted by name within each directory.
#[derive(Debug)]
pub(super) struct SourceTree {
    /// For people.
    pub(super) name: String,
    pub(super) files: Vec<SourceFile>,
    /// Links, devices, unreadable directories and files over the engine's limits.
    pub(super) skipped: usize,
    paths: BTreeMap<Vec<u8>, PathBuf>,
}

impl SourceTree {
    /// Every file below a directory. Links are not followed.
    pub(super) fn of_dir(dir: &Path) -> anyhow::Result<SourceTree> {
        let metadata = std::fs::metadata(dir).with_context(|| format!("read {}", dir.display()))?;
        anyhow::ensure!(metadata.is_dir(), "{} is no directory", dir.display());
        let name = dir.display().to_string();
        let mut tree = SourceTree { name, files: Vec::new(), skipped: 0, paths: BTreeMap::new() };
        tree.walk(dir, dir);
        Ok(tree)
    }

    /// The sources of the packages in `Cargo.lock`, where cargo unpacked them: certainly there
    /// where this program was built from a registry. With vendored packages they are elsewhere,
    /// and the workspace itself is the tree.
    pub(super) fn of_dependencies() -> anyhow::Result<SourceTree> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a workspace")?;
        let name = "the sources of this build's dependencies".to_owned();
        let mut tree = SourceTree { name, files: Vec::new(), skipped: 0, paths: BTreeMap::new() };
        for (registry, package) in unpacked_packages(workspace)? {
            tree.walk(&registry, &package);
        }
        if tree.files.is_empty() {
            for part in ["benches", "crates", "docs", "xtask"] {
                tree.walk(workspace, &workspace.join(part));
            }
            tree.name = "this workspace, as no dependency is unpacked".to_owned();
        }
        Ok(tree)
    }

    /// Adds every file below `dir`, keyed by its path below `root`.
    fn walk(&mut self, root: &Path, dir: &Path) {
        for entry in WalkDir::new(dir).sort_by_file_name() {
            let found = entry.ok().and_then(|entry| Some((entry.metadata().ok()?, entry)));
            let Some((metadata, entry)) = found else {
                self.skipped += 1;
                continue;
            };
            if metadata.is_dir() {
                continue;
            }
            let key = key_of(root, entry.path());
            let len = metadata.len();
            let fits = key.len() <= engine::KEY_LEN_MAX && len <= engine::VALUE_LEN_MAX as u64;
            if !metadata.is_file() || key.is_empty() || !fits {
                self.skipped += 1;
                continue;
            }
            self.paths.insert(key.clone(), entry.path().to_owned());
            self.files.push(SourceFile { key, path: entry.into_path(), len });
        }
    }

    /// Where the file with a key is. Takes logarithmic time.
    pub(super) fn path(&self, key: &[u8]) -> Option<&Path> {
        self.paths.get(key).map(PathBuf::as_path)
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }
}

fn key_of(root: &Path, path: &Path) -> Vec<u8> {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts = below.iter().map(|part| part.as_encoded_bytes());
    parts.collect::<Vec<_>>().join(&b'/')
}

#[derive(Deserialize)]
struct LockFile {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
}

/// Each package of `Cargo.lock` that is unpacked, behind its registry's directory.
fn unpacked_packages(workspace: &Path) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
    let lock = workspace.join("Cargo.lock");
    let text =
        std::fs::read_to_string(&lock).with_context(|| format!("read {}", lock.display()))?;
    let lock: LockFile = toml::from_str(&text).with_context(|| format!("{}", lock.display()))?;
    let Some(home) = cargo_home() else { return Ok(Vec::new()) };
    // A missing directory is an empty one: then there are no packages.
    let registries = std::fs::read_dir(home.join("registry").join("src"));
    let mut registries: Vec<PathBuf> =
        registries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    registries.sort();
    let mut found = Vec::new();
    for package in lock.package.iter().filter(|package| package.source.is_some()) {
        let name = format!("{}-{}", package.name, package.version);
        let dir = registries.iter().map(|registry| (registry.clone(), registry.join(&name)));
        found.extend(dir.into_iter().find(|(_, dir)| dir.is_dir()));
    }
    Ok(found)
}

fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}

/// Bytes that a file occupies; where the system does not say, its length.
pub(super) fn bytes_on_disk(metadata: &Metadata) -> u64 {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::blocks(metadata) * 512
    }
    #[cfg(not(unix))]
    {
        metadata.len()
    }
}

/// True if a file has another name, where the system says so.
pub(super) fn is_shared(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::nlink(metadata) > 1
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

#[cfg(test)]
mod tests;
