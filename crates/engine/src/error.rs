//! What the caller can do about it: one [`ErrorKind`] for each reaction.

use std::fmt;
use std::sync::Arc;

/// The result of every call of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller would *do* about an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fix the call or the options; nothing was changed.
    Invalid,
    /// The keyspace or database is not there.
    NotFound,
    /// The transaction lost; run it again.
    Conflict,
    /// Somebody else has the database open.
    Locked,
    /// Make space and try again; nothing was changed.
    NoSpace,
    /// The database takes no more writes until it is opened again; the message says why.
    ReadOnly,
    /// Bytes on disk are damaged; restore the file or what it held.
    Corrupt,
    /// The operating system refused a call.
    Io,
    /// The snapshot held more memory than `Options::pinned_bytes_max`; take a new one.
    SnapshotExpired,
    /// The database was closed.
    Closed,
}

/// An error of the engine: a kind to act on, a message that names the file and offset or the
/// option, and the error below it, if there is one.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<vfs::Error>>,
    conflict: Option<Arc<Conflict>>,
}

/// What a transaction lost over.
struct Conflict {
    keyspace: Arc<str>,
    key: Box<[u8]>,
}

/// Key bytes that a message shows.
const SHOWN_LEN_MAX: usize = 64;

impl Error {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the operating system said, if that is what went wrong.
    pub fn io_error(&self) -> Option<&std::io::Error> {
        match self.source.as_deref()? {
            vfs::Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Over which keyspace and key a transaction lost, if it lost over one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().expect("a temporary directory");
    /// # let path = dir.path().join("data");
    /// # let db = engine::Db::open(&path, engine::Options::default())?;
    /// let mut txn = db.transaction();
    /// txn.get(db.default_keyspace(), b"seats")?;
    /// db.put(b"seats", b"0")?;
    /// txn.put(db.default_keyspace(), b"booked", b"me")?;
    /// let error = txn.commit().expect_err("what it read has changed");
    /// assert_eq!(error.conflict(), Some(("default", b"seats".as_slice())));
    /// # Ok::<(), engine::Error>(())
    /// ```
    pub fn conflict(&self) -> Option<(&str, &[u8])> {
        let conflict = self.conflict.as_deref()?;
        Some((&conflict.keyspace, &conflict.key))
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), source: None, conflict: None }
    }

    /// A transaction lost: the key that it read `what`, say "was written".
    pub(crate) fn lost_over(keyspace: &Arc<str>, key: &[u8], what: &str) -> Error {
        let shown = key.get(..SHOWN_LEN_MAX).unwrap_or(key);
        let more = if shown.len() < key.len() { "..." } else { "" };
        let shown = shown.escape_ascii();
        let message =
            format!("transaction conflict: key \"{shown}\"{more} of keyspace {keyspace:?} {what}");
        let conflict = Conflict { keyspace: keyspace.clone(), key: key.into() };
        let conflict = Some(Arc::new(conflict));
        Error { conflict, ..Error::new(ErrorKind::Conflict, message) }
    }

    /// An attempt of a transaction ended so, and another may not.
    pub(crate) fn lost(self) -> Error {
        Error::new(ErrorKind::Conflict, format!("transaction conflict: {}", self.message))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn closed() -> Error {
        Error::new(ErrorKind::Closed, "the database is closed")
    }

    /// The same error for a caller who only meets its consequence: no more writes.
    pub(crate) fn as_read_only(&self) -> Error {
        let message = match self.kind {
            ErrorKind::ReadOnly => self.message.clone(),
            _ => format!("read-only since an earlier failure: {}", self.message),
        };
        Error { source: self.source.clone(), ..Error::new(ErrorKind::ReadOnly, message) }
    }

    /// True if a sync of this file or directory failed.
    pub(crate) fn is_failed_sync_of(&self, synced: &std::path::Path) -> bool {
        matches!(
            self.source.as_deref(),
            Some(vfs::Error::Io { op: "sync", path, .. }) if path == synced
        )
    }

    /// The same error where nobody knows what reached the disk: what `NoSpace` and `Invalid`
    /// promise, that nothing was changed, does not hold then.
    pub(crate) fn in_doubt(self) -> Error {
        match self.kind {
            ErrorKind::NoSpace | ErrorKind::Invalid => Error { kind: ErrorKind::Io, ..self },
            _ => self,
        }
    }

    /// Damage seen by the engine itself.
    pub(crate) fn corrupt(
        what: &'static str,
        path: &std::path::Path,
        offset: u64,
        expected: u64,
        found: u64,
    ) -> Error {
        vfs::Error::corrupt(what, path, offset, expected, found).into()
    }

    /// A file that the MANIFEST names must be there: its absence is damage.
    pub(crate) fn named_file(error: vfs::Error) -> Error {
        match &error {
            vfs::Error::NotFound { path } => {
                let message = format!("{} is named by the MANIFEST and missing", path.display());
                let source = Some(Arc::new(error));
                Error { source, ..Error::new(ErrorKind::Corrupt, message) }
            }
            _ => error.into(),
        }
    }
}

impl From<vfs::Error> for Error {
    fn from(error: vfs::Error) -> Error {
        let kind = match &error {
            vfs::Error::Corrupt { .. } => ErrorKind::Corrupt,
            vfs::Error::NoSpace { .. } => ErrorKind::NoSpace,
            vfs::Error::Locked { .. } => ErrorKind::Locked,
            vfs::Error::NotFound { .. } => ErrorKind::NotFound,
            vfs::Error::Poisoned { .. } => ErrorKind::ReadOnly,
            vfs::Error::Invalid { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Io,
        };
        let message = match std::error::Error::source(&error) {
            Some(reason) => format!("{error}: {reason}"),
            None => error.to_string(),
        };
        Error { source: Some(Arc::new(error)), ..Error::new(kind, message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

/// The message says all there is to say, so there is no source to print behind it.
impl std::error::Error for Error {}
