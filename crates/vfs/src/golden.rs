//! For the tests of every crate: directories that an earlier build wrote and that every later one must
//! read. They are copied to a simulated disk, because what a repository holds is never written to.

use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::fs::{Access, Fs, read_exact_at, write_all_at};
use crate::name::Name;
use crate::sim::SimDisk;
use crate::std_fs::StdFs;

/// A disk that holds what the real directory does.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn load(dir: impl AsRef<Path>) -> Result<SimDisk> {
    let disk = SimDisk::new(1);
    copy_in(&StdFs::open(dir)?, "", &disk)?;
    Ok(disk)
}

fn copy_in(fs: &Arc<dyn Fs>, prefix: &str, disk: &SimDisk) -> Result<()> {
    for entry in fs.list()?.entries {
        let path = format!("{prefix}{}", entry.name);
        if entry.is_dir {
            copy_in(&fs.open_dir(entry.name)?, &format!("{path}/"), disk)?;
            continue;
        }
        let file = fs.open(entry.name, Access::Read)?;
        let mut bytes = vec![0; usize::try_from(entry.len).expect("golden files are small")];
        read_exact_at(&*file, &mut bytes, 0)?;
        disk.write_file(path, &bytes);
    }
    Ok(())
}

/// Makes the real directory, of every file of the disk that has a legal name and is `wanted`.
///
/// # Errors
/// `Invalid` if one of the files is there: what is golden is never written again.
pub fn save(disk: &SimDisk, dir: impl AsRef<Path>, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for (path, _) in disk.files().into_iter().filter(|(path, _)| wanted(path)) {
        let (below, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let Some(name) = Name::parse(name) else { continue };
        let fs = StdFs::create(dir.as_ref().join(below))?;
        let bytes = disk.read_file(&path).expect("it was listed");
        write_all_at(&*fs.create_new(name)?, &bytes, 0)?;
    }
    Ok(())
}
