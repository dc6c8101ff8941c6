//! A durability policy as a command-line argument.

use std::str::FromStr;
use std::time::Duration;

use engine::Durability;

/// `always`, `never`, `bytes=N` or `interval=MILLISECONDS`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy(pub(crate) Durability);

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Policy, String> {
        let number = |digits: &str| {
            let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| format!("{digits:?} is no whole number above 0"))
        };
        let durability = match text.split_once('=') {
            None if text == "always" => Durability::Always,
            None if text == "never" => Durability::Never,
            Some(("bytes", count)) => Durability::EveryBytes(number(count)?),
            Some(("interval", ms)) => Durability::Interval(Duration::from_millis(number(ms)?)),
            _ => {
                let known = "always, never, bytes=N or interval=MILLISECONDS";
                return Err(format!("{text:?} is no durability policy; those are {known}"));
            }
        };
        Ok(Policy(durability))
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Durability::Always => f.write_str("always"),
            Durability::Never => f.write_str("never"),
            Durability::EveryBytes(count) => write!(f, "bytes={count}"),
            Durability::Interval(period) => write!(f, "interval={}", period.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests;
