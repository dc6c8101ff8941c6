//! Measurements of several runs, and their medians as Markdown and JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Named numbers of one run, in the order they were measured.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measurements(pub Vec<(String, f64)>);

impl Measurements {
    /// Adds a number. The name ends in its unit.
    pub fn add(&mut self, name: &str, number: f64) {
        self.0.push((name.to_owned(), number));
    }
}

/// The median, lowest and highest of one number over the runs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Spread {
    /// What was measured, ending in its unit.
    pub name: String,
    /// The middle run; of an even number of runs, the mean of the two in the middle.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

/// Puts runs together, in the order of the first.
pub fn spreads(runs: &[Measurements]) -> Vec<Spread> {
    let mut numbers: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, number) in runs.iter().flat_map(|run| &run.0) {
        numbers.entry(name).or_default().push(*number);
    }
    let names = runs.first().into_iter().flat_map(|run| &run.0).map(|(name, _)| name);
    let spread = |name: &String| {
        let numbers = numbers.get_mut(name.as_str())?;
        numbers.sort_by(f64::total_cmp);
        let (low, high) = (*numbers.first()?, *numbers.last()?);
        let middle = numbers.len() / 2;
        let median = match numbers.len() % 2 {
            1 => numbers[middle],
            _ => f64::midpoint(numbers[middle - 1], numbers[middle]),
        };
        Some(Spread { name: name.clone(), median, low, high })
    };
    names.filter_map(spread).collect()
}

/// A table of spreads.
pub fn markdown(title: &str, spreads: &[Spread]) -> String {
    let mut text = format!("### {title}\n\n| | median | lowest | highest |\n|---|---|---|---|\n");
    for Spread { name, median, low, high } in spreads {
        let [median, low, high] = [median, low, high].map(|number| readable(*number));
        writeln!(text, "| {name} | {median} | {low} | {high} |").expect("a string takes all");
    }
    text
}

/// Four digits or more, with commas.
fn readable(number: f64) -> String {
    if number.abs() < 1000.0 {
        return format!("{number:.3}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
