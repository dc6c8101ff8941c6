//! Runs one cell again and tells everything about it.

use anyhow::{Result, ensure};
use vfs::sim::SimDisk;

use super::faults;
use super::images::{build, image_name};
use super::liar::Lie;
use super::lives;
use super::part::Outcome;
use super::plan::{Cell, Place};
use super::recovery::{Allowed, Recovery, guard, hush};
use super::workload;

/// Runs what a line says again: a cell, a program of lives, or a failing call. False if it fails.
///
/// # Errors
/// If the line is none of these.
pub fn line(line: &str) -> Result<bool> {
    if line.starts_with("fault ") {
        return faults::replay(&line.parse()?);
    }
    if !line.starts_with("lives") {
        return replay(&line.parse::<Cell>()?);
    }
    let mut outcome = Outcome::default();
    let result = lives::run_watched(&line.parse()?, &mut outcome, &|disk, place, image| {
        print_trace(disk, place.boundary);
        print_image(image, place);
    });
    println!("{:?}", outcome.counts);
    if let Err(error) = &result {
        println!("VIOLATION: {error:#}");
    }
    Ok(result.is_ok())
}

/// Runs one cell again and tells everything about it. False if it fails.
///
/// # Errors
/// If the cell names what does not exist.
pub fn replay(cell: &Cell) -> Result<bool> {
    hush();
    println!("{cell}");
    let lie = cell.lie.as_deref().map(Lie::parse).transpose()?;
    let recording = match guard(|| workload::record(cell.config, &cell.ops, cell.seed, lie)) {
        Ok(recording) => recording,
        Err(error) => {
            println!("the run itself fails: {error:#}");
            return Ok(false);
        }
    };
    let place = cell.crash.unwrap_or(Place { boundary: recording.last, image: 0 });
    ensure!(place.boundary <= recording.last, "the run has {} calls", recording.last);
    print_trace(&recording.disk, place.boundary);
    let allowed = Allowed::new(&recording, place.boundary);
    println!("allowed: {:?}", allowed.bounds);
    let mut image = build(&recording.disk, place, cell.seed);
    print_image(&image, place);
    let mut depth = 1;
    for nested in &cell.nested {
        image.record();
        let recovery = Recovery { config: cell.config, seed: cell.seed + depth, settle: false };
        if let Err(error) = guard(|| recovery.run(&image, &allowed)) {
            println!("recovery {depth} fails: {error:#}");
        }
        print_trace(&image, nested.boundary);
        image = build(&image, *nested, cell.seed);
        print_image(&image, *nested);
        depth += 1;
    }
    let recovery = Recovery { config: cell.config, seed: cell.seed + depth, settle: true };
    let trail = image.clone();
    trail.record();
    match guard(|| recovery.run(&image, &allowed)) {
        Ok(recovered) => {
            println!("recovered within {} calls:", recovered.open_calls);
            for (name, entries) in &recovered.shown.seen {
                for (key, value) in entries {
                    println!("  {name}/{}: {} bytes", key.escape_ascii(), value.len());
                }
            }
            Ok(true)
        }
        Err(error) => {
            print_trace(&trail, usize::MAX);
            println!("VIOLATION: {error:#}");
            Ok(false)
        }
    }
}

fn print_trace(disk: &SimDisk, boundary: usize) {
    for (index, call) in disk.trace().iter().enumerate() {
        if index == boundary {
            println!("----- the power goes out -----");
        }
        if index < boundary.saturating_add(3) {
            let vfs::sim::Call { kind, path, offset, len, .. } = call;
            println!("{index:5} {kind:?} {path} {offset}+{len}");
        }
    }
}

fn print_image(disk: &SimDisk, place: Place) {
    println!("image {} at boundary {}:", image_name(place.image), place.boundary);
    for (path, len) in disk.files() {
        println!("  {path} {len}");
    }
}
