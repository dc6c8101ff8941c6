//! Appends the lines of standard input to a log in a directory, after showing what is there.
//!
//! ```text
//! echo lotus | cargo run -p wal --example append_and_replay -- /tmp/log
//! ```

use std::error::Error;
use std::io;

use vfs::{Env, StdFs};
use wal::{Durability, Log, Options, Start};

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let given = std::env::args().nth(1);
    let fs = match &given {
        Some(path) => StdFs::create(path)?,
        None => StdFs::create(scratch.path())?,
    };
    let _lock = fs.lock()?;
    let mut visit = |record: wal::Record<'_>| {
        println!("{} {} {}", record.position, record.seq, String::from_utf8_lossy(record.payload));
        Ok(())
    };
    let options = Options::new(Durability::EveryBytes(1 << 20));
    let (log, recovered) = Log::open(fs, &Env::system(), options, Start::default(), &mut visit)?;
    if let Some((position, bytes)) = recovered.cut {
        println!("an unfinished tail of {bytes} bytes was cut off at {position}");
    }
    if given.is_none() {
        println!("{} is the first record", log.append(b"give me a directory to keep things")?);
    } else {
        for line in io::stdin().lines() {
            println!("{} appended", log.append(line?.as_bytes())?);
        }
    }
    log.close()?;
    Ok(())
}
