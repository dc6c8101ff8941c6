//! Counts words of standard input, or of a built-in text, in a database that outlives the
//! program: run it twice and the counts add up.
//!
//! `cargo run -p engine --example word_count [DIR] < text`

use std::io::{IsTerminal, Read};

use engine::{Db, Options};

const TEXT: &str = "the lotus opens at dawn and closes at dusk and opens again";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scratch = tempfile::tempdir()?;
    let dir = std::env::args_os().nth(1).map_or(scratch.path().join("words"), Into::into);
    let mut text = String::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin().read_to_string(&mut text)?;
    }
    if text.is_empty() {
        TEXT.clone_into(&mut text);
    }

    let db = Db::open(&dir, Options::default())?;
    for word in text.split_whitespace() {
        let count = match db.get(word)? {
            Some(value) => String::from_utf8(value.into_vec())?.parse::<u64>()?,
            None => 0,
        };
        db.put(word, (count + 1).to_string())?;
    }
    for entry in db.iter().take(20) {
        let (word, count) = entry?;
        println!("{} {}", String::from_utf8_lossy(&word), String::from_utf8_lossy(&count));
    }
    db.close()?;
    Ok(())
}
