//! The results as Markdown: a column for each engine, our ratios, the bars.

use std::collections::BTreeMap;
use std::fmt::Write;

use benches::record::{self, Measurements, Spread};
use serde::{Deserialize, Serialize};

use crate::bars::{self, Limit};
use crate::rates::Rates;
use crate::rows::{Better, Peers, ROWS, Row};
use crate::size::Size;
use crate::store::Kind;

/// One figure of one run: a line of the results.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The engine.
    pub engine: String,
    /// The size.
    pub size: Size,
    /// Which run, from 0.
    pub run: usize,
    /// The row.
    pub row: String,
    /// The figure, in the row's unit.
    pub figure: f64,
}

/// Medians of all runs.
pub struct Results<'a> {
    kinds: &'a [Kind],
    rates: Rates,
    spreads: BTreeMap<(Size, String, String), Spread>,
}

/// Our figure by the best of the peers that count; above 1 ours is better.
fn better_by(row: &Row, ours: f64, peer: f64) -> f64 {
    match row.better {
        Better::Higher => ours / peer,
        Better::Lower => peer / ours,
    }
}

impl<'a> Results<'a> {
    /// Puts the runs together.
    pub fn new(kinds: &'a [Kind], rates: Rates, records: &[Record]) -> Results<'a> {
        let mut runs: BTreeMap<(Size, &str), BTreeMap<usize, Measurements>> = BTreeMap::new();
        for record in records {
            let of_engine = runs.entry((record.size, &record.engine)).or_default();
            of_engine.entry(record.run).or_default().add(&record.row, record.figure);
        }
        let mut spreads = BTreeMap::new();
        for ((size, engine), runs) in runs {
            // `spreads` takes the names of the first run; another may have more, if that failed.
            let mut runs: Vec<Measurements> = runs.into_values().collect();
            runs.sort_by_key(|run| std::cmp::Reverse(run.0.len()));
            for spread in record::spreads(&runs) {
                spreads.insert((size, engine.to_owned(), spread.name.clone()), spread);
            }
        }
        Results { kinds, rates, spreads }
    }

    fn of(&self, size: Size, kind: &Kind, row: &Row) -> Option<&Spread> {
        self.spreads.get(&(size, kind.name.to_owned(), row.name.to_owned()))
    }

    /// Does the engine count as a peer of ours in this row?
    fn counts(row: &Row, kind: &Kind, ours: &Kind) -> bool {
        !kind.is_ours
            && (kind.survives_kill || row.peers == Peers::All)
            && (kind.is_ordered || !ours.is_ordered)
    }

    /// Ours by the best peer that counts.
    fn ratio(&self, size: Size, ours: &Kind, row: &Row) -> Option<f64> {
        let figure = self.of(size, ours, row)?.median;
        let peers = self.kinds.iter().filter(|kind| Self::counts(row, kind, ours));
        let ratios = peers.filter_map(|kind| self.of(size, kind, row));
        let ratios = ratios.map(|spread| better_by(row, figure, spread.median));
        ratios.filter(|ratio| ratio.is_finite()).min_by(f64::total_cmp)
    }

    fn limit(size: Size, ours: &Kind, row: &Row) -> Option<Limit> {
        let bar = bars::find(size, row.name)?;
        if ours.is_ordered { bar.btree } else { bar.hash }
    }

    /// Does our keyspace keep its bar? Nothing where there is none, or no peer.
    fn holds(&self, size: Size, ours: &Kind, row: &Row) -> Option<bool> {
        let figure = self.of(size, ours, row)?.median;
        let limit = Self::limit(size, ours, row)?;
        limit.holds(size, figure, self.ratio(size, ours, row), &self.rates)
    }

    fn cell(&self, size: Size, kind: &Kind, row: &Row) -> String {
        let Some(spread) = self.of(size, kind, row) else { return "-".to_owned() };
        let half = (spread.high - spread.low) / 2.0 / spread.median * 100.0;
        let mut text = readable(spread.median);
        if half >= 0.5 {
            write!(text, " +-{half:.0}%").expect("writing to a string does not fail");
        }
        if !kind.is_ours {
            let counts = kind.survives_kill || row.peers == Peers::All;
            return if counts { text } else { format!("({text})") };
        }
        let wins = self.ratio(size, kind, row).is_some_and(|ratio| ratio > 1.0);
        if wins { format!("**{text}**") } else { text }
    }

    fn ratio_cell(&self, size: Size, kind: &Kind, row: &Row) -> String {
        let mut text = match self.ratio(size, kind, row) {
            Some(ratio) => format!("{ratio:.2}"),
            None => "-".to_owned(),
        };
        match self.holds(size, kind, row) {
            Some(false) => text.push_str(" **MISSED**"),
            Some(true) => text.push_str(" ok"),
            None => {}
        }
        text
    }

    /// All tables.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for size in Size::ALL {
            if self.spreads.keys().any(|(of, _, _)| *of == size) {
                text.push_str(&self.table(size));
            }
        }
        text.push_str(&self.verdict());
        text
    }

    fn table(&self, size: Size) -> String {
        let is_shown = |kind: &&Kind| ROWS.iter().any(|row| self.of(size, kind, row).is_some());
        let kinds: Vec<&Kind> = self.kinds.iter().filter(is_shown).collect();
        let ours: Vec<&Kind> = kinds.iter().copied().filter(|kind| kind.is_ours).collect();
        let mut head: Vec<String> = vec!["row".to_owned()];
        head.extend(kinds.iter().map(|kind| kind.name.to_owned()));
        head.extend(ours.iter().map(|kind| format!("{}: ratio", kind.name)));
        head.extend(ours.iter().map(|kind| format!("{}: bar", kind.name)));
        let rule = vec!["---".to_owned(); head.len()];
        let mut text = format!("\n## {}\n\n{}{}", size.title(), line(&head), line(&rule));
        for row in ROWS {
            if kinds.iter().all(|kind| self.of(size, kind, row).is_none()) {
                continue;
            }
            let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
            let mut cells = vec![format!("{}{unit}", row.name)];
            cells.extend(kinds.iter().map(|kind| self.cell(size, kind, row)));
            cells.extend(ours.iter().map(|kind| self.ratio_cell(size, kind, row)));
            cells.extend(ours.iter().map(|kind| {
                Self::limit(size, kind, row).map_or_else(String::new, |limit| limit.text())
            }));
            text.push_str(&line(&cells));
        }
        text
    }

    /// Which bars do not hold.
    fn verdict(&self) -> String {
        let ours = self.kinds.iter().filter(|kind| kind.is_ours);
        let mut text = String::new();
        let (mut kept, mut missed) = (0, 0);
        for (kind, bar) in ours.flat_map(|kind| bars::BARS.iter().map(move |bar| (kind, bar))) {
            let Some(row) = crate::rows::find(bar.row) else { continue };
            match self.holds(bar.size, kind, row) {
                Some(true) => kept += 1,
                Some(false) => {
                    missed += 1;
                    let ratio = self.ratio_cell(bar.size, kind, row);
                    let limit = Self::limit(bar.size, kind, row).map(|limit| limit.text());
                    let limit = limit.unwrap_or_default();
                    let cell = self.cell(bar.size, kind, row);
                    let (size, name) = (bar.size.name(), kind.name);
                    text.push_str(&format!(
                        "- {size}, {}, {name}: {cell}, ratio {ratio}; the bar is {limit}\n",
                        bar.row
                    ));
                }
                None => {}
            }
        }
        format!("\n## Bars\n\n{kept} hold, {missed} do not.\n\n{text}")
    }
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// Three digits and a letter.
fn readable(number: f64) -> String {
    let (number, letter) = match number {
        number if number >= 1e6 => (number / 1e6, " M"),
        number if number >= 1e4 => (number / 1e3, " K"),
        number => (number, ""),
    };
    match number {
        number if number >= 100.0 => format!("{number:.0}{letter}"),
        number if number >= 10.0 => format!("{number:.1}{letter}"),
        number => format!("{number:.2}{letter}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines;

    fn record(engine: &str, row: &str, figure: f64) -> Record {
        let (engine, row) = (engine.to_owned(), row.to_owned());
        Record { engine, size: Size::Small, run: 0, row, figure }
    }

    fn kind(name: &'static str, is_ordered: bool, survives_kill: bool) -> Kind {
        Kind { name, is_ours: false, is_ordered, survives_kill, ..engines::all()[0] }
    }

    #[test]
    fn who_loses_writes_or_has_no_order_does_not_count() {
        let mut kinds = engines::all();
        kinds.truncate(2);
        kinds.push(kind("forgetful", true, false));
        kinds.push(kind("unordered", false, true));
        kinds.push(kind("slow", true, true));
        let records = [
            record("ours-btree", "fill, 1 thread", 400.0),
            record("ours-hash", "fill, 1 thread", 400.0),
            record("forgetful", "fill, 1 thread", 900.0),
            record("unordered", "fill, 1 thread", 200.0),
            record("slow", "fill, 1 thread", 100.0),
            record("ours-btree", "read miss, 1 thread", 300.0),
            record("forgetful", "read miss, 1 thread", 600.0),
        ];
        let rates = Rates { filled_bytes_per_second: 1.0, durable_appends_per_second: 1.0 };
        let results = Results::new(&kinds, rates, &records);
        let fill = crate::rows::find("fill, 1 thread").expect("a row");
        assert_eq!(results.ratio(Size::Small, &kinds[0], fill), Some(4.0));
        assert_eq!(results.ratio(Size::Small, &kinds[1], fill), Some(2.0));
        assert_eq!(results.holds(Size::Small, &kinds[0], fill), Some(true));
        assert_eq!(results.holds(Size::Small, &kinds[1], fill), Some(false));
        let miss = crate::rows::find("read miss, 1 thread").expect("a row");
        assert_eq!(results.ratio(Size::Small, &kinds[0], miss), Some(0.5));
        let text = results.markdown();
        assert!(text.contains("(900)") && text.contains("**400**") && text.contains("MISSED"));
    }
}
