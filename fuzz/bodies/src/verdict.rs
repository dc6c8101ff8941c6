//! Which errors hostile bytes may give.

use engine::ErrorKind;

/// The value, or nothing for an error that says clearly what is wrong with the files.
///
/// # Panics
/// For an error that blames the disk, or says nothing.
#[track_caller]
pub fn clear<T>(result: vfs::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(
            vfs::Error::Corrupt { .. } | vfs::Error::Invalid { .. } | vfs::Error::NotFound { .. },
        ) => None,
        Err(error) => panic!("{error} ({error:?}) for hostile bytes"),
    }
}

/// As [`clear`], of the engine.
///
/// # Panics
/// As [`clear`].
#[track_caller]
pub fn clear_of_engine<T>(result: engine::Result<T>) -> Option<T> {
    use ErrorKind as K;
    match result {
        Ok(value) => Some(value),
        Err(error) => match error.kind() {
            K::Corrupt | K::Invalid | K::NotFound | K::NoSpace | K::ReadOnly | K::Conflict => None,
            _ => panic!("{error} ({error:?}) for hostile bytes"),
        },
    }
}
