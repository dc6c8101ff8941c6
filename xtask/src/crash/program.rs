//! Programs of the random exploration: several lives of one database, each with options, calls and
//! the crash that ends it. A program is its text, and a seed draws one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use engine::{Durability, Options};
use vfs::Random;

use super::call::Op;
use super::plan::{Acks, Append, Config};
use crate::kind::Kind;

/// Lives of a program: a crash behind each.
const LIVES: (u64, u64) = (5, 20);
/// Calls of most lives, and of a few.
const CALLS: (u64, u64) = (12, 60);
/// Keys that calls are about.
const KEYS: u64 = 12;
/// Lengths of values: around every limit that the options may set.
const LENS: [u16; 12] = [0, 1, 40, 200, 255, 256, 257, 600, 1500, 2560, 4090, 7000];

/// One call of a life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// What.
    pub op: Op,
    /// About which key.
    pub key: u8,
    /// Bytes of the value, where it has one.
    pub len: u16,
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// Behind which of the life's calls of the file system, in thousandths.
    pub permille: u16,
    /// What the disk then holds, as the explorer numbers images.
    pub image: usize,
}

/// One life of a database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Life {
    /// How it is opened.
    pub config: Config,
    /// Draws its limits.
    pub tuning: u64,
    /// A call of the disk that fails, counted from its open, and how; 0 for none.
    pub fault: u32,
    /// What it does.
    pub steps: Vec<Step>,
    /// How it ends.
    pub end: End,
}

/// Lives of one database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Of schedules, salts and images.
    pub seed: u64,
    /// One after the other.
    pub lives: Vec<Life>,
}

impl Program {
    /// The program of a seed. Every third one has failing calls too.
    pub fn draw(seed: u64, images: &[usize]) -> Program {
        let mut random = Random::new(seed ^ 0x9106_2a31);
        let kind = Kind::ALL[random.index(Kind::ALL.len())];
        let configs: Vec<Config> =
            Config::all().into_iter().filter(|config| config.kind == kind).collect();
        let faulty = random.percent(33);
        let lives = LIVES.0 + random.below(LIVES.1 - LIVES.0 + 1);
        let life = |_| Life {
            config: configs[random.index(configs.len())],
            tuning: random.next_u64() >> 40,
            fault: match faulty && random.percent(50) {
                true => 1 + u32::try_from(random.below(1 << 14)).expect("14 bits"),
                false => 0,
            },
            steps: draw_steps(&mut random),
            end: End {
                permille: u16::try_from(random.below(1001)).expect("below 1001"),
                image: images[random.index(images.len())],
            },
        };
        Program { seed, lives: (0..lives).map(life).collect() }
    }

    /// Calls of all lives.
    pub fn steps(&self) -> usize {
        self.lives.iter().map(|life| life.steps.len()).sum()
    }
}

fn draw_steps(random: &mut Random) -> Vec<Step> {
    let calls = if random.percent(90) { CALLS.0 } else { CALLS.1 };
    // Those need places of their own, a disk that does not fail, a clock that is theirs.
    let elsewhere = [Op::Checkpoint, Op::Contend, Op::Back];
    let alphabet: Vec<Op> = Op::drawn().into_iter().filter(|op| !elsewhere.contains(op)).collect();
    let writes = [Op::Put, Op::Put, Op::Delete, Op::Batch, Op::TtlPut, Op::HugePut];
    let count = random.below(calls + 1);
    let step = |_| Step {
        op: match random.percent(60) {
            true => writes[random.index(writes.len())],
            false => alphabet[random.index(alphabet.len())],
        },
        key: u8::try_from(random.below(KEYS)).expect("few keys"),
        len: LENS[random.index(LENS.len())],
    };
    (0..count).map(step).collect()
}

impl Life {
    /// Its limits: tiny, around each other, and drawn.
    pub fn options(&self) -> Options {
        let mut random = Random::new(self.tuning);
        let mut draw = |values: &[u64]| values[random.index(values.len())];
        let options = self.config.options();
        let plain = self.config.acks == Acks::Never && self.config.append == Append::Positional;
        let options = match draw(&[0, 1, 2]) {
            0 if plain => options.durability(Durability::EveryBytes(draw(&[1, 500, 4096]))),
            1 if plain => options.durability(Durability::Interval(Duration::from_millis(10))),
            _ => options,
        };
        let share = |percent: u64| percent as f64 / 100.0;
        let inline_max = usize::try_from(draw(&[0, 64, 256, 256, 1024])).expect("small");
        let (advised, segment) = (draw(&[10, 20, 45]), draw(&[4096, 4096, 8192, 16384]));
        options
            .memtable_bytes(draw(&[4096, 4096, 8192, 65536]))
            .segment_bytes(segment)
            .log_bytes(segment * draw(&[1, 2, 8]))
            .table_bytes(draw(&[4096, 8192]))
            .inline_max(inline_max)
            .sealed_max(usize::try_from(draw(&[1, 1, 2, 3])).expect("small"))
            .level1_bytes(draw(&[4096, 16384]))
            .level_multiplier(draw(&[2, 3, 10]))
            .promote_min(share(draw(&[30, 50, 70, 95])))
            .advised_garbage(share(advised))
            .forced_garbage(share(draw(&[50, 70])))
            .total_garbage_max(share(draw(&[5, 25])))
            .bloom_bits_per_key(u32::try_from(draw(&[0, 10])).expect("small"))
            .reserve_bytes(draw(&[0, 8192, 65536]))
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Life { config, tuning, fault, steps, end } = self;
        let step = |step: &Step| format!("{}.{}.{}", step.op.name(), step.key, step.len);
        let steps: Vec<String> = steps.iter().map(step).collect();
        let steps = if steps.is_empty() { "-".to_owned() } else { steps.join(",") };
        write!(f, "{config} {tuning} {fault} {steps} {}:{}", end.permille, end.image)
    }
}

impl FromStr for Life {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Life> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [config, tuning, fault, steps, end] = parts[..] else {
            bail!("a life is config tuning fault calls end, not {text:?}");
        };
        let step = |text: &str| {
            let parts: Vec<&str> = text.split('.').collect();
            let [op, key, len] = parts[..] else { bail!("a call is name.key.len, not {text:?}") };
            Ok(Step { op: Op::parse(op)?, key: key.parse()?, len: len.parse()? })
        };
        let steps = steps.split(',').filter(|text| *text != "-");
        let (permille, image) = end.split_once(':').context("an end is permille:image")?;
        Ok(Life {
            config: config.parse()?,
            tuning: tuning.parse()?,
            fault: fault.parse()?,
            steps: steps.map(step).collect::<anyhow::Result<_>>()?,
            end: End { permille: permille.parse()?, image: image.parse()? },
        })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lives {}", self.seed)?;
        self.lives.iter().try_for_each(|life| write!(f, " | {life}"))
    }
}

impl FromStr for Program {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Program> {
        let mut parts = text.split(" | ");
        let seed = parts.next().and_then(|head| head.strip_prefix("lives "));
        let seed = seed.context("a program is: lives seed | life | ...")?.parse()?;
        let lives: Vec<Life> = parts.map(str::parse).collect::<anyhow::Result<_>>()?;
        ensure!(!lives.is_empty(), "a program has lives");
        Ok(Program { seed, lives })
    }
}

#[cfg(test)]
mod tests;
