//! Small disks, mounted where nobody else sees them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A kind of small disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Disk {
    /// 8 MiB of memory.
    Tmpfs,
    /// ext4 in a file of 24 MiB.
    Ext4,
}

/// Bytes of the file that an ext4 disk is in.
const EXT4_BYTES: u64 = 24 << 20;

impl Disk {
    pub(super) const ALL: [Disk; 2] = [Disk::Tmpfs, Disk::Ext4];
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Disk::Tmpfs => "tmpfs",
            Disk::Ext4 => "ext4",
        })
    }
}

/// This program in a mount name space of its own; `None` where there can be none. What is mounted
/// there is gone when its last process is.
pub(super) fn name_space() -> Option<Command> {
    let as_root = ["--mount", "--propagation", "private"];
    let as_anybody = ["--map-root-user", "--mount", "--propagation", "private"];
    let works = |arguments: &&[&str]| {
        let mut probe = Command::new("unshare");
        probe.args(*arguments).arg("true").stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    let arguments = [&as_root[..], &as_anybody[..]].into_iter().find(works)?;
    let mut command = Command::new("unshare");
    command.args(arguments).arg(std::env::current_exe().ok()?);
    Some(command)
}

/// A mounted disk; dropped, it is unmounted.
#[derive(Debug)]
pub(super) struct Mount {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Mount {
    /// Mounts a fresh disk in a directory below `work`. The inner error says why this kind cannot
    /// be had.
    pub(super) fn new(work: &Path, disk: Disk) -> anyhow::Result<Result<Mount, String>> {
        let at = work.join("mnt");
        std::fs::create_dir_all(&at).with_context(|| format!("create {}", at.display()))?;
        let mut mount = Command::new("mount");
        let image = match disk {
            Disk::Tmpfs => {
                mount.args(["-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs"]);
                None
            }
            Disk::Ext4 => {
                let image = work.join("ext4.img");
                std::fs::File::create(&image)?.set_len(EXT4_BYTES)?;
                let mut make = Command::new("mke2fs");
                make.args(["-q", "-F", "-t", "ext4", "-m", "0"]).arg(&image);
                if let Err(why) = succeeds(&mut make) {
                    return Ok(Err(why));
                }
                mount.args(["-o", "loop"]).arg(&image);
                Some(image)
            }
        };
        match succeeds(mount.arg(&at)) {
            Ok(()) => Ok(Ok(Mount { at, image })),
            Err(why) => Ok(Err(why)),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.at
    }

    /// Allows writes, or no more.
    pub(super) fn set_read_only(&self, read_only: bool) -> anyhow::Result<()> {
        let mode = if read_only { "remount,ro" } else { "remount,rw" };
        let done = succeeds(Command::new("mount").args(["-o", mode]).arg(&self.at));
        done.map_err(|why| anyhow::anyhow!("{mode}: {why}"))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A process that was killed may not be quite gone: then lazily.
        if succeeds(Command::new("umount").arg(&self.at)).is_err() {
            drop(succeeds(Command::new("umount").arg("--lazy").arg(&self.at)));
        }
        if let Some(image) = &self.image {
            drop(std::fs::remove_file(image));
        }
    }
}

/// Runs a command to its end; the error is what it said.
fn succeeds(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("it says nothing");
            Err(format!("{program}: {said} ({})", output.status))
        }
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// A file of somebody else that takes all space there is; dropped, it is removed.
#[derive(Debug)]
pub(super) struct Ballast(PathBuf);

impl Ballast {
    /// Writes until the disk is full.
    pub(super) fn fill(dir: &Path) -> anyhow::Result<Ballast> {
        use std::io::Write;
        let ballast = Ballast(dir.join("ballast"));
        let mut file = std::fs::File::create(&ballast.0)?;
        for len in [64 << 10, 4096, 512] {
            let bytes = vec![0xba; len];
            loop {
                match file.write_all(&bytes).and_then(|()| file.sync_data()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => bail!("write ballast: {error}"),
                }
            }
        }
        Ok(ballast)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}
