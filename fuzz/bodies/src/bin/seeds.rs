//! Writes the first inputs of every target into `fuzz/corpus`: `cargo run -p fuzz-bodies --bin seeds`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let seeds = fuzz_bodies::seeds::seeds();
    for (target, name, bytes) in &seeds {
        write(&corpus.join(target), &format!("seed-{name}"), bytes)?;
    }
    println!("{} seeds", seeds.len());
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the corpus is in real files")]
fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(name), bytes)
}
