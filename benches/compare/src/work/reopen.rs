//! How long it takes to open a store and read a first value, after a close and after a kill.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::bench::{Bench, on_threads};
use crate::store::Durability;

/// What a victim prints when every write of its was acknowledged.
const READY: &str = "ready";

/// Opens a store that was closed cleanly, and reads an entry. The store is open afterwards.
///
/// # Errors
/// As the engine fails, or if the entry is not there.
pub fn clean(bench: &mut Bench) -> Result<()> {
    let clock = Instant::now();
    bench.open(Durability::Unsynced)?;
    let is_there = bench.engine()?.get(&bench.data.key(0), &mut |_| ())?;
    let ms = clock.elapsed().as_secs_f64() * 1e3;
    ensure!(is_there, "the first entry");
    bench.found.add("open after clean close", ms);
    Ok(())
}

/// The process that will be killed: fills a store by single puts and waits.
///
/// # Errors
/// As the engine fails.
pub fn victim(bench: &mut Bench) -> Result<()> {
    bench.open(Durability::Unsynced)?;
    let (engine, data, entries) = (bench.engine()?, &bench.data, bench.effort.entries);
    on_threads(1, |_| {
        (0..entries).try_for_each(|number| {
            engine.put(&data.key(number), data.value(number, 0), Durability::Unsynced)
        })
    })?;
    println!("{READY}");
    std::io::stdout().flush()?;
    // Whoever started this kills it. Should they be gone, the end of the input says so.
    std::io::stdin().lines().for_each(drop);
    Ok(())
}

/// Runs a victim, kills it, opens what it left and reads; tells how much of what was acknowledged
/// is lost.
///
/// # Errors
/// As the engine fails, or if a value is wrong, or if something was lost of an engine of which we
/// say that it loses nothing.
pub fn killed(bench: &mut Bench, mut victim: Command) -> Result<()> {
    let mut child = victim.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("it is piped")?;
    let line = BufReader::new(output).lines().next();
    let is_ready = matches!(&line, Some(Ok(line)) if line == READY);
    child.kill().context("kill the victim")?;
    child.wait()?;
    ensure!(is_ready, "the victim said {line:?}");

    let clock = Instant::now();
    bench.open(Durability::Unsynced)?;
    bench.engine()?.get(&bench.data.key(0), &mut |_| ())?;
    bench.found.add("open after kill", clock.elapsed().as_secs_f64() * 1e3);

    let entries = bench.effort.entries;
    let mut lost = 0_u64;
    for number in 0..entries {
        let mut is_right = true;
        let is_there = bench.engine()?.get(&bench.data.key(number), &mut |value| {
            is_right = bench.data.seems_right(number, value);
        })?;
        ensure!(is_right, "entry {number} has another's value");
        lost += u64::from(!is_there);
    }
    let name = bench.kind.name;
    ensure!(lost == 0 || !bench.kind.survives_kill, "{name} lost {lost} of {entries} entries");
    let percent = lost as f64 / entries as f64 * 100.0;
    bench.found.add("open after kill: acknowledged writes lost", percent);
    bench.close()
}
