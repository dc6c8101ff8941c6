//! For the tests of every crate: seeds that are printed, and dumps that live in the documentation.

#[cfg(test)]
mod tests;

use std::env;

/// The seed of a random test: from the environment variable `SEED` if that is set, else a new one.
/// Printed as `SEED=...`, which the test harness shows when the test fails.
///
/// # Panics
/// If `SEED` is set to something else than a number.
pub fn seed() -> u64 {
    let seed = given_seed().unwrap_or_else(rand::random);
    println!("SEED={seed}");
    seed
}

/// Seeds for `count` rounds of a random test; only the one in `SEED` if that is set. Each is
/// printed as it is taken, so that the last one printed is the one that failed.
///
/// # Panics
/// If `SEED` is set to something else than a number.
pub fn seeds(count: usize) -> impl Iterator<Item = u64> {
    let given = given_seed();
    let rounds = if given.is_some() { 1 } else { count };
    (0..rounds).map(move |_| {
        let seed = given.unwrap_or_else(rand::random);
        println!("SEED={seed}");
        seed
    })
}

fn given_seed() -> Option<u64> {
    let text = env::var("SEED").ok()?;
    Some(text.trim().parse().expect("SEED is a decimal number"))
}

/// Checks bytes against their dump in a document: below the line `## section`, every indented line
/// is `hex  name  explanation`, two spaces apart; hexadecimal digits may be grouped by single
/// spaces.
///
/// ```
/// let doc = "
/// ### frame
///
///     02000000  len      2
///     68 69     payload  hi
/// ";
/// vfs::testing::check_dump(doc, "frame", &[2, 0, 0, 0, b'h', b'i']);
/// ```
///
/// # Panics
/// If the bytes differ, showing the line; if the section is missing or not in this form.
pub fn check_dump(doc: &str, section: &str, bytes: &[u8]) {
    let mut rest = bytes;
    let mut found = false;
    for line in lines_of(doc, section) {
        found = true;
        let expected = parse_line(line);
        let len = expected.len().min(rest.len());
        let (head, tail) = rest.split_at(len);
        assert!(
            head == expected,
            "section {section}, at byte {}, is documented as\n{line}\nbut the bytes are\n    {}",
            bytes.len() - rest.len(),
            hex(head),
        );
        rest = tail;
    }
    assert!(found, "the document has no dump in a section {section}");
    assert!(rest.is_empty(), "section {section} ends before these bytes:\n    {}", hex(rest));
}

/// The indented lines of a section.
fn lines_of<'a>(doc: &'a str, section: &str) -> impl Iterator<Item = &'a str> {
    let heading = move |line: &&str| {
        // A remark may follow the name, at least two spaces behind it.
        let title = line.strip_prefix("## ").map(|title| title.split("  ").next());
        title.flatten().is_some_and(|title| title.trim() == section)
    };
    let after = doc.lines().skip_while(move |line| !heading(line)).skip(1);
    after.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("    "))
}

/// The bytes at the front of a line.
fn parse_line(line: &str) -> Vec<u8> {
    let digits = line.trim_start().split("  ").next().unwrap_or_default();
    let digits: String = digits.chars().filter(|c| *c != ' ').collect();
    let legal = digits.len().is_multiple_of(2) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(legal && !digits.is_empty(), "no hexadecimal bytes at the front of\n{line}");
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two digits")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
