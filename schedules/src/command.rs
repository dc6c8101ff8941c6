//! What this program is asked, and how it answers: one line for each thing, for `cargo xtask`.
//!
//! ```text
//! schedules list                          -> MODEL PROMISE
//! schedules run MODEL CHUNK COUNT         -> ok COUNT SECONDS | failed SCHEDULE WHAT
//! schedules planted MODEL COUNT           -> found AFTER CHUNK MISTAKE: WHAT | missed MISTAKE
//! ```

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use crate::explore::{Failure, Model};
use crate::models::ALL;

/// Schedules of a chunk while a planted mistake is looked for.
const CHUNK: u64 = 250;

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words {
        ["list"] => {
            for Model { name, promise, .. } in ALL {
                println!("{name} {promise}");
            }
            ExitCode::SUCCESS
        }
        ["run", name, chunk, count] => with(name, |model| run(model, chunk, count)),
        ["planted", name, count] => with(name, |model| planted(model, count)),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("schedules list | run MODEL CHUNK COUNT | planted MODEL COUNT");
    ExitCode::FAILURE
}

fn with(name: &str, act: impl FnOnce(&Model) -> Option<bool>) -> ExitCode {
    let Some(model) = ALL.iter().find(|model| model.name == name) else {
        eprintln!("there is no model {name}");
        return ExitCode::FAILURE;
    };
    match act(model) {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::from(2),
        None => usage(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a rate, nothing that a schedule sees")]
fn run(model: &Model, chunk: &str, count: &str) -> Option<bool> {
    let (chunk, count) = (chunk.parse().ok()?, count.parse().ok()?);
    let start = Instant::now();
    let ran = model.explore(chunk, count, None);
    let seconds = start.elapsed().as_secs_f64();
    match &ran {
        Ok(()) => println!("ok {count} {seconds:.3}"),
        Err(Failure { schedule, what }) => println!("failed {schedule} {}", line(what)),
    }
    Some(ran.is_ok())
}

/// Plants each mistake of a model in turn; all must be found within `count` schedules.
fn planted(model: &Model, count: &str) -> Option<bool> {
    let count: u64 = count.parse().ok()?;
    let mut all = true;
    for mistake in model.mistakes {
        let chunks = 0..count.div_ceil(CHUNK);
        let found = chunks.into_iter().find_map(|chunk| {
            let failure = model.explore(chunk, CHUNK, Some(mistake)).err()?;
            Some((chunk * CHUNK + failure.schedule, chunk, failure.what))
        });
        all &= found.is_some();
        match found {
            Some((after, chunk, what)) => {
                println!("found {after} {chunk} {mistake}: {}", line(&what));
            }
            None => println!("missed {mistake}"),
        }
    }
    Some(all)
}

fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
