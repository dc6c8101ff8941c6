//! Entries out of text: one format, one reader; what is wrong is said with its line.

use std::io::{BufRead, Read};

use anyhow::Context;
use clap::ValueEnum;
use engine::{KEY_LEN_MAX, VALUE_LEN_MAX};
use serde::Deserialize;

use super::escape::unescape;

/// Longest line, in bytes: the longest entry with every byte escaped.
const LINE_LEN_MAX: u64 = 4 * (KEY_LEN_MAX as u64 + VALUE_LEN_MAX as u64) + 64;

/// How the text is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// `key<TAB>value` lines with the escapes \t \n \\ \xHH.
    Tsv,
    /// Two columns, quoted as in RFC 4180, without a header row.
    Csv,
    /// `{"key":"..","value":".."}` lines.
    Jsonl,
}

/// One entry and the line it began on.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// The entries of a text, checked against the engine's limits. An error names its line; what
/// follows it is undefined.
pub(super) fn entries<'a>(
    format: Format,
    reader: impl BufRead + 'a,
) -> Box<dyn Iterator<Item = anyhow::Result<Entry>> + 'a> {
    match format {
        Format::Tsv => Box::new(Lines::new(reader, parse_tsv)),
        Format::Jsonl => Box::new(Lines::new(reader, parse_jsonl)),
        Format::Csv => Box::new(csv_entries(reader)),
    }
}

type Pair = (Vec<u8>, Vec<u8>);

/// Entries that are a line each.
struct Lines<R> {
    reader: R,
    parse: fn(&[u8]) -> anyhow::Result<Pair>,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R, parse: fn(&[u8]) -> anyhow::Result<Pair>) -> Lines<R> {
        Lines { reader, parse, number: 0, line: Vec::new() }
    }

    fn read(&mut self) -> anyhow::Result<Option<Pair>> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(LINE_LEN_MAX + 1);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() as u64 > LINE_LEN_MAX {
            anyhow::bail!("it is longer than {LINE_LEN_MAX} bytes");
        }
        let (key, value) = (self.parse)(&self.line)?;
        check(&key, &value)?;
        Ok(Some((key, value)))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = anyhow::Result<Entry>;

    fn next(&mut self) -> Option<anyhow::Result<Entry>> {
        self.number += 1;
        let line = self.number;
        match self.read() {
            Ok(None) => None,
            Ok(Some((key, value))) => Some(Ok(Entry { line, key, value })),
            Err(error) => Some(Err(error.context(format!("line {line}")))),
        }
    }
}

fn parse_tsv(line: &[u8]) -> anyhow::Result<Pair> {
    let mut fields = line.split(|byte| *byte == b'\t');
    let (Some(key), Some(value), None) = (fields.next(), fields.next(), fields.next()) else {
        let count = line.iter().filter(|byte| **byte == b'\t').count();
        anyhow::bail!("expected key<TAB>value, found {count} tabs (inside a field, write \\t)");
    };
    let field = |text, name| unescape(text).map_err(|wrong| anyhow::anyhow!("the {name}: {wrong}"));
    Ok((field(key, "key")?, field(value, "value")?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonEntry {
    key: String,
    value: String,
}

fn parse_jsonl(line: &[u8]) -> anyhow::Result<Pair> {
    // Deserialize would also take a list of two strings.
    anyhow::ensure!(line.trim_ascii_start().starts_with(b"{"), "expected a JSON object");
    let entry: JsonEntry = serde_json::from_slice(line)?;
    Ok((entry.key.into_bytes(), entry.value.into_bytes()))
}

fn csv_entries(reader: impl Read) -> impl Iterator<Item = anyhow::Result<Entry>> {
    let mut builder = csv::ReaderBuilder::new();
    // Rows of any width are let through, so that the message about them is ours.
    let reader = builder.has_headers(false).flexible(true).from_reader(reader);
    reader.into_byte_records().map(|record| {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let entry = || {
            let (Some(key), Some(value), 2) = (record.get(0), record.get(1), record.len()) else {
                anyhow::bail!("expected 2 columns, found {}", record.len());
            };
            check(key, value)?;
            Ok(Entry { line, key: key.to_vec(), value: value.to_vec() })
        };
        entry().with_context(|| format!("line {line}"))
    })
}

fn check(key: &[u8], value: &[u8]) -> anyhow::Result<()> {
    anyhow::ensure!(!key.is_empty(), "the key is empty");
    let (key_len, value_len) = (key.len(), value.len());
    anyhow::ensure!(key_len <= KEY_LEN_MAX, "the key has {key_len} bytes, at most {KEY_LEN_MAX}");
    anyhow::ensure!(
        value_len <= VALUE_LEN_MAX,
        "the value has {value_len} bytes, at most {VALUE_LEN_MAX}"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
