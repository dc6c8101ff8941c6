//! Reads of random keys that are there, and of keys that are not.

use anyhow::{Result, ensure};
use benches::latency::Sampler;
use vfs::Random;

use crate::bench::{Bench, on_threads, per_second};
use crate::data::Key;

/// One value in so many is compared to its last byte, the others at both ends.
const WHOLE_EVERY: u64 = 16;

/// How a value is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Into a buffer of the reader's.
    Copied,
    /// Where it lies, if the engine can show it there.
    InPlace,
}

/// Which keys are drawn, before the clock starts.
struct Deck(Vec<(u64, Key)>);

impl Deck {
    fn new(bench: &Bench, count: u64, start: u64, seed: u64) -> Deck {
        let mut random = Random::new(seed);
        let draw = |_| {
            let number = start + random.below(bench.live);
            (number, bench.data.key(number))
        };
        Deck((0..count).map(draw).collect())
    }
}

/// Reads of keys that are there.
///
/// # Errors
/// If a value is missing or wrong, or as the engine fails.
pub fn hit(bench: &mut Bench, prefix: &str, taken: Taken, threads: u64) -> Result<()> {
    let how = match taken {
        Taken::Copied => "copied",
        Taken::InPlace => "zero-copy",
    };
    let name = format!("{prefix}read hit, {how}, {}", on(threads));
    run(bench, &name, threads, 0, |bench, deck, sampler| {
        let (engine, data) = (bench.engine()?, &bench.data);
        let mut buffer = Vec::new();
        for (index, (number, key)) in (0..).zip(&deck.0) {
            let mut is_right = false;
            let mut look = |value: &[u8]| {
                is_right = match index % WHOLE_EVERY {
                    0 => data.is_right(*number, value),
                    _ => data.seems_right(*number, value),
                };
            };
            let is_there = sampler.run(|| match taken {
                Taken::InPlace => engine.get(key, &mut look),
                Taken::Copied => {
                    let is_there = engine.get_copied(key, &mut buffer)?;
                    look(&buffer);
                    Ok(is_there)
                }
            })?;
            ensure!(is_there && is_right, "key {number}: there {is_there}, right {is_right}");
        }
        Ok(())
    })
}

/// Reads of keys that nobody put.
///
/// # Errors
/// If one is there, or as the engine fails.
pub fn miss(bench: &mut Bench, prefix: &str, threads: u64) -> Result<()> {
    let name = format!("{prefix}read miss, {}", on(threads));
    // Above every number that any workload inserts.
    run(bench, &name, threads, 1 << 36, |bench, deck, sampler| {
        let engine = bench.engine()?;
        for (number, key) in &deck.0 {
            let is_there = sampler.run(|| engine.get(key, &mut |_| ()))?;
            ensure!(!is_there, "key {number} is there, and nobody put it");
        }
        Ok(())
    })
}

fn on(threads: u64) -> String {
    match threads {
        1 => "1 thread".to_owned(),
        _ => format!("{threads} threads"),
    }
}

fn run(
    bench: &mut Bench,
    name: &str,
    threads: u64,
    start: u64,
    body: impl Fn(&Bench, &Deck, &mut Sampler) -> Result<()> + Sync,
) -> Result<()> {
    if !bench.found.wants(name) {
        return Ok(());
    }
    let count = bench.effort.operations / threads;
    let decks: Vec<Deck> =
        (0..threads).map(|thread| Deck::new(bench, count, start, 2 + thread)).collect();
    let shared = &*bench;
    let (duration, samplers) = on_threads(threads, |thread| {
        let mut sampler = Sampler::default();
        body(shared, &decks[usize::try_from(thread)?], &mut sampler)?;
        Ok(sampler)
    })?;
    bench.found.add(name, per_second(count * threads, duration));
    if let [sampler] = &samplers[..] {
        for (side, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            bench.found.add_side(name, side, sampler.nanos_at(share) as f64 / 1e3);
        }
    }
    Ok(())
}
