//! The crash explorer: every short sequence of calls, on a disk that loses what was not synced,
//! crashed at every call of the file system in every way, judged by a prefix oracle.
//!
//! `call.rs` and `plan.rs` say what is explored, `run.rs` and `workload.rs` run and record, `images.rs` makes crashes of it,
//! `recovery.rs` recovers, `history.rs` judges, `explore.rs` goes through all of that, `liar.rs`
//! proves that the judge is awake, `replay.rs` shows one cell again.

pub mod call;
pub mod plan;
pub mod history;
pub mod liar;
pub mod observe;
pub mod reach;
mod copies;
mod run;
pub mod workload;
pub mod images;
mod recovery;
pub mod explore;
pub mod replay;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use self::call::{Op, random_sequence, sequences};
use self::explore::{Explorer, Tally, Violation};
use self::images::Effort;
use self::liar::Lie;
use self::plan::{Cell, Config};
use crate::kind::Kind;

/// What to explore.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The configurations.
    pub configs: Vec<Config>,
    /// The calls that are combined.
    pub alphabet: Vec<Op>,
    /// The calls that random sequences are drawn from.
    pub random_alphabet: Vec<Op>,
    /// Length of the longest sequences; all shorter ones are explored too.
    pub len_max: usize,
    /// Also explores one sequence in which hash tables grow and shrink.
    pub growth: bool,
    /// How many random sequences besides.
    pub random: usize,
    /// How long these are.
    pub random_len: usize,
    /// How much at each boundary.
    pub effort: Effort,
    /// Equal seeds explore the same.
    pub seed: u64,
    /// What the disk lies about, if it does.
    pub lie: Option<(&'static str, Lie)>,
    /// Stop after so many violations.
    pub violations_max: usize,
}

impl Campaign {
    /// Every configuration and every call, on an honest disk.
    pub fn new(len_max: usize, effort: Effort, seed: u64) -> Campaign {
        Campaign {
            configs: Config::all(),
            alphabet: Op::combined(),
            random_alphabet: Op::drawn(),
            growth: false,
            len_max,
            random: 0,
            random_len: 8,
            effort,
            seed,
            lie: None,
            violations_max: 5,
        }
    }

    /// The work in pieces that are explored each by one explorer.
    fn pieces(&self) -> Vec<(Config, Piece)> {
        let mut pieces = Vec::new();
        if self.len_max > 0 {
            pieces.extend(self.alphabet.iter().map(|op| Piece::StartingWith(*op)));
        }
        pieces.push(Piece::Prelude);
        let configs = |piece| self.configs.iter().map(move |config| (*config, piece));
        let mut pieces: Vec<(Config, Piece)> = pieces.into_iter().flat_map(configs).collect();
        if self.growth {
            let hashed = self.configs.iter().filter(|config| config.kind == Kind::Hash);
            pieces.extend(hashed.map(|config| (*config, Piece::Growth)));
        }
        for (number, config) in (0..self.random).zip(self.configs.iter().cycle()) {
            pieces.push((*config, Piece::Random(number as u64)));
        }
        pieces
    }

    fn explore_piece(&self, (config, piece): (Config, Piece)) -> Explorer {
        let seed = match piece {
            Piece::Random(number) => self.seed.wrapping_add(number),
            Piece::StartingWith(_) | Piece::Prelude | Piece::Growth => self.seed,
        };
        let mut explorer = Explorer::new(config, seed, self.effort);
        explorer.violations_max = self.violations_max;
        if let Some((name, lie)) = self.lie {
            explorer = explorer.with_lie(name, lie);
        }
        match piece {
            Piece::Prelude => explorer.explore(&[]),
            Piece::Growth => explorer.explore_whole(&Op::GROWTH),
            Piece::Random(_) => {
                explorer.explore_whole(&random_sequence(
                    &self.random_alphabet,
                    self.random_len,
                    seed,
                ));
            }
            Piece::StartingWith(first) => {
                for len in 0..self.len_max {
                    for rest in sequences(&self.alphabet, len) {
                        if !explorer.is_done() {
                            explorer.explore(&[&[first], &rest[..]].concat());
                        }
                    }
                }
            }
        }
        explorer
    }

    /// Explores everything on some threads. `progress` is told what was done since the last time.
    pub fn run(&self, threads: usize, progress: &(dyn Fn(&Tally) + Sync)) -> Report {
        let pieces = self.pieces();
        let next = AtomicUsize::new(0);
        let enough = AtomicBool::new(false);
        let results = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(piece) = pieces.get(index) else { return };
                        if enough.load(Ordering::Relaxed) {
                            return;
                        }
                        let explorer = self.explore_piece(*piece);
                        enough.fetch_or(explorer.is_done(), Ordering::Relaxed);
                        progress(&explorer.tally);
                        results.lock().push((index, explorer.tally, explorer.violations));
                    }
                });
            }
        });
        let mut results = results.into_inner();
        results.sort_by_key(|(index, ..)| *index);
        let mut report = Report::default();
        for (_, tally, violations) in results {
            report.tally.add(&tally);
            report.violations.extend(violations);
        }
        report
    }
}

/// A piece of a campaign.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// The prelude alone.
    Prelude,
    /// All sequences that start with a call.
    StartingWith(Op),
    /// The sequence in which hash tables grow.
    Growth,
    /// A random sequence.
    Random(u64),
}

/// What a campaign did and found.
#[derive(Debug, Default)]
pub struct Report {
    /// What was done.
    pub tally: Tally,
    /// What must not be.
    pub violations: Vec<Violation>,
}

/// `cargo xtask crash`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Explores all sequences up to this length.
    #[arg(long, value_name = "LEN", default_value_t = 2)]
    exhaustive: usize,
    /// Explores so many random sequences besides.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    random: usize,
    /// How long the random sequences are.
    #[arg(long, value_name = "LEN", default_value_t = 8)]
    len: usize,
    /// How many threads work.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Equal seeds explore the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the eleven calls of the design, one draw of each random image, a sample of nested crashes.
    #[arg(long)]
    quick: bool,
    /// Runs one cell again, told by the line of a violation.
    #[arg(long, value_name = "LINE")]
    replay: Option<String>,
    /// The disk lies while the workload runs; the harness must find it.
    #[arg(long, value_name = "NAME")]
    lie: Option<String>,
}

/// Explores or replays.
///
/// # Errors
/// If something must not be.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(line) = &arguments.replay {
        ensure!(replay::replay(&line.parse::<Cell>()?)?, "the cell fails");
        return Ok(());
    }
    let mut campaign = Campaign::new(arguments.exhaustive, Effort::FULL, arguments.seed);
    (campaign.random, campaign.random_len) = (arguments.random, arguments.len);
    campaign.growth = arguments.exhaustive > 1;
    if arguments.quick {
        campaign.effort = Effort::QUICK;
        campaign.alphabet = Op::eleven();
    }
    if let Some(name) = &arguments.lie {
        let lie = Lie::parse(name)?;
        campaign.lie = Lie::ALL.into_iter().find(|(_, known)| *known == lie);
    }
    let pieces = campaign.pieces().len() as u64;
    let bar = ProgressBar::new(pieces);
    let style = ProgressStyle::with_template("{elapsed_precise} [{wide_bar}] {pos}/{len} {msg}")?;
    bar.set_style(style.progress_chars("=> "));
    let (started, done) = (Instant::now(), Mutex::new(Tally::default()));
    let report = campaign.run(arguments.threads, &|tally| {
        let mut done = done.lock();
        done.add(tally);
        let rate = done.images as f64 / started.elapsed().as_secs_f64();
        bar.set_message(format!("{} images, {rate:.0}/s", done.images));
        bar.inc(1);
    });
    bar.finish_and_clear();
    print(&report, started.elapsed().as_secs_f64(), arguments.threads);
    ensure!(report.violations.is_empty(), "{} violations", report.violations.len());
    Ok(())
}

fn print(report: &Report, seconds: f64, threads: usize) {
    for violation in &report.violations {
        println!("VIOLATION {}", violation.what);
        let image = violation.image().unwrap_or_else(|| "none".to_owned());
        println!("  image {image}, after {} images", violation.after_images);
        println!("  cargo xtask crash --replay \"{}\"\n", violation.cell);
    }
    let Tally { runs, boundaries, images, recoveries, nested, trace_hash, reach } = &report.tally;
    println!(
        "{runs} runs, {boundaries} boundaries, {images} images ({nested} inside recoveries), \
         {recoveries} of them distinct and recovered twice, trace {trace_hash:016x}"
    );
    println!("{reach}");
    let rate = *images as f64 / seconds;
    let recovered = *recoveries as f64 / seconds;
    println!(
        "{seconds:.1} s on {threads} threads: {rate:.0} images/s, {recovered:.0} recoveries/s, \
         {} violations",
        report.violations.len()
    );
}
