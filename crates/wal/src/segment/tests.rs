use vfs::{Env, SimDisk};

use super::*;
use crate::{AppendMode, Durability, Log, Options, SEGMENT, Start};

/// Postmortem: who makes the start of a segment durable looked whether that was done, stood still
/// while the segment was synced, cut and its file let go of, and then found no file: the log was
/// poisoned, and a healthy database read-only.
#[test]
fn a_sync_that_comes_after_the_cut_has_nothing_to_do() {
    for append_mode in [AppendMode::Mapped, AppendMode::Positional] {
        let disk = SimDisk::new(1);
        let options = Options {
            kind: SEGMENT,
            segment_bytes: 4096,
            durability: Durability::Never,
            append_mode,
            read_mode: ReadMode::Mapped,
            preallocate: true,
        };
        let env = Env::sim(1).env;
        let (log, _) = Log::open(disk.root(), &env, options, Start::default(), &mut |_| Ok(()))
            .expect("a healthy disk");
        let segment = log.segment(log.active()).expect("it is there");
        segment.sync().expect("it has a file");
        log.rotate().expect("a healthy disk");
        log.sync_sealed(segment.id()).expect("a healthy disk");
        assert!(segment.file().is_err(), "only the mapping is left");
        segment.sync().expect("it is durable");
    }
}
