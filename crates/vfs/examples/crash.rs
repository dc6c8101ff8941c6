//! A journal of lines on a simulated disk, and everything a power cut may leave of it.
//!
//! `cargo run --release -p vfs --example crash` runs the workload once, makes every image of every
//! boundary from the recording, judges each distinct one, and says how fast that went. With the
//! argument `careless` the journal forgets to sync its directory, and the judge finds out.

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;

use vfs::sim::{ImageKind, SimDisk};
use vfs::{Access, Checksum, Env, Fs, Kind, Name, Result, read_exact_at, write_all_at};

const JOURNAL: Name = Name::new(Kind::new("journal"), 1);
const LINE_LEN: usize = 16;
const LINES: u64 = 40;

fn line(number: u64) -> [u8; LINE_LEN] {
    let mut line = [0; LINE_LEN];
    line[..8].copy_from_slice(&number.to_le_bytes());
    let sum = Checksum::of(0, number * LINE_LEN as u64, &line[..8]);
    line[8..12].copy_from_slice(&sum.to_le_bytes());
    line
}

/// Appends lines, every fourth durably; calls `acknowledged` with how many lines are safe.
fn write(fs: &Arc<dyn Fs>, careless: bool, mut acknowledged: impl FnMut(u64)) -> Result<()> {
    let file = fs.create_new(JOURNAL)?;
    if !careless {
        fs.sync_dir()?;
    }
    for number in 0..LINES {
        write_all_at(&*file, &line(number), number * LINE_LEN as u64)?;
        if number % 4 == 3 {
            file.sync_data()?;
            acknowledged(number + 1);
        }
    }
    Ok(())
}

/// How many whole lines there are in front of the first that is not.
fn recover(fs: &Arc<dyn Fs>) -> Result<u64> {
    let file = match fs.open(JOURNAL, Access::Read) {
        Err(vfs::Error::NotFound { .. }) => return Ok(0),
        other => other?,
    };
    let whole = file.len()? / LINE_LEN as u64;
    for number in 0..whole {
        let mut found = [0; LINE_LEN];
        read_exact_at(&*file, &mut found, number * LINE_LEN as u64)?;
        if found != line(number) {
            return Ok(number);
        }
    }
    Ok(whole)
}

fn main() -> Result<ExitCode> {
    let careless = std::env::args().nth(1).as_deref() == Some("careless");
    let env = Env::system();
    let disk = SimDisk::new(1);
    disk.record();
    // Acknowledged lines at each boundary.
    let mut safe = vec![(0, 0)];
    write(&disk.root(), careless, |lines| safe.push((disk.boundaries() - 1, lines)))?;

    let start = env.clock.mono();
    let (mut images, mut lost) = (0_u64, 0_u64);
    let mut judged = HashSet::new();
    for boundary in 0..disk.boundaries() {
        let promised = safe.iter().rev().find(|(at, _)| *at <= boundary).map_or(0, |(_, n)| *n);
        for kind in ImageKind::kinds() {
            for seed in 0..if kind.is_random() { 50 } else { 1 } {
                let image = disk.image(boundary, *kind, seed);
                images += 1;
                // Equal content under an equal promise needs no second look.
                if judged.insert((image.fingerprint(), promised)) {
                    let found = recover(&image.root())?;
                    if found < promised && lost < 5 {
                        let call = &disk.trace()[boundary - 1];
                        println!("{kind:?} after {call:?}: {found} lines of {promised}");
                    }
                    lost += u64::from(found < promised);
                }
            }
        }
    }
    let seconds = (env.clock.mono() - start).as_secs_f64();
    println!(
        "{images} images of {} boundaries, {} distinct, in {seconds:.2} s ({:.0} per second)",
        disk.boundaries(),
        judged.len(),
        images as f64 / seconds,
    );
    println!("{lost} images lost an acknowledged line");
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
