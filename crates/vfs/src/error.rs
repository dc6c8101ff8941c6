//! What can go wrong below a record, always with the path and, where bytes are concerned, the offset.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The only error type below the engine.
///
/// There is no `From<io::Error>`: a bare `?` on an I/O call would lose the path, so it does not
/// compile. Go through [`Error::io`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call for a reason that has no variant of its own.
    #[error("{op} {}", path.display())]
    Io {
        /// The call, as a short verb: `"read"`, `"sync"`.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes on disk are not what was written. Never served, always reported.
    #[error(
        "{what} in {} at byte {offset}: expected {expected:#x}, found {found:#x}",
        path.display()
    )]
    Corrupt {
        /// The field or rule that does not hold.
        what: &'static str,
        /// The damaged file.
        path: PathBuf,
        /// Bytes from the start of the file.
        offset: u64,
        /// What should stand there (a value, a limit or a checksum).
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// The disk or a quota is full. Nothing was changed.
    #[error("no space left: {op} {}", path.display())]
    NoSpace {
        /// The call that needed space.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
    },
    /// Another process, or another handle of this one, holds the directory.
    #[error("{} is locked by another process or handle", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The file or directory does not exist.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// What was looked for.
        path: PathBuf,
    },
    /// An earlier call through this handle failed; nothing is retried and nothing more is
    /// acknowledged until the file is opened again.
    #[error("{} refused: an earlier call failed", path.display())]
    Poisoned {
        /// The poisoned file.
        path: PathBuf,
    },
    /// The caller asked for something that is not allowed. Nothing was changed.
    #[error("{what}: {}", path.display())]
    Invalid {
        /// The rule that was broken.
        what: String,
        /// The file or directory meant.
        path: PathBuf,
    },
}

/// The verb of a sync.
pub(crate) const SYNC: &str = "sync";

impl Error {
    /// Wraps what the system said, naming the call and the path. A full disk or quota becomes
    /// [`Error::NoSpace`], a missing file [`Error::NotFound`]; but a sync that found no space is
    /// [`Error::Io`] like every failed sync: pages may be gone, and trying again proves nothing.
    pub fn io(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Error {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded if op != SYNC => {
                Error::NoSpace { op, path }
            }
            io::ErrorKind::NotFound => Error::NotFound { path },
            _ => Error::Io { op, path, source },
        }
    }

    /// Damage: `what` at `offset` of `path` should be `expected` and is `found`.
    pub fn corrupt(
        what: &'static str,
        path: impl Into<PathBuf>,
        offset: u64,
        expected: u64,
        found: u64,
    ) -> Error {
        Error::Corrupt { what, path: path.into(), offset, expected, found }
    }

    /// A rule the caller broke.
    pub fn invalid(what: impl Into<String>, path: impl Into<PathBuf>) -> Error {
        Error::Invalid { what: what.into(), path: path.into() }
    }

    /// The path the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Error::Io { path, .. }
            | Error::Corrupt { path, .. }
            | Error::NoSpace { path, .. }
            | Error::Locked { path }
            | Error::NotFound { path }
            | Error::Poisoned { path }
            | Error::Invalid { path, .. } => path,
        }
    }

    /// True for [`Error::Corrupt`].
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Error::Corrupt { .. })
    }
}
