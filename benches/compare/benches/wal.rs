//! Appends of 200 bytes to a log: ours, raft-engine, okaywal.
//!
//! Unsynced: ours and raft-engine; okaywal has no such commit. Durable: all three, one thread.
//! okaywal moves on to a new segment by itself and drops the old one, raft-engine keeps 10 GB, ours
//! is told to drop what lies behind.

use std::path::Path;
use std::process::Command;

use criterion::{Criterion, Throughput};
use okaywal::{LogVoid, WriteAheadLog};
use vfs::{Env, StdFs};
use wal::{AppendMode, Durability, Log, Options, Start};

const RECORD: [u8; 200] = [0x5a; 200];

/// Keys that raft-engine's index, which is in memory, grows to: an append replaces an older one.
const KEYS: u64 = 100_000;

fn ours(dir: &Path, append_mode: AppendMode, durability: Durability) -> Log {
    let fs = StdFs::create(dir).expect("a directory");
    let options = Options { append_mode, ..Options::new(durability) };
    let open = Log::open(fs, &Env::system(), options, Start::default(), &mut |_| Ok(()));
    open.expect("a new log").0
}

fn raft(dir: &Path) -> raft_engine::Engine {
    let dir = dir.to_str().expect("a path in UTF-8").to_owned();
    let config = raft_engine::Config { dir, ..raft_engine::Config::default() };
    raft_engine::Engine::open(config).expect("a new log")
}

/// What one log leaves to be written back must not slow down the next.
fn settle() {
    assert!(Command::new("sync").status().expect("a program of the system").success());
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    for (group, is_durable) in [("wal, unsynced", false), ("wal, durable", true)] {
        let mut group = c.benchmark_group(group);
        group.throughput(Throughput::Elements(1)).sample_size(20);
        let policy = if is_durable { Durability::Always } else { Durability::Never };
        let modes = [("ours, mapped", AppendMode::Mapped), ("ours", AppendMode::Positional)];
        for (name, mode) in modes {
            if is_durable && mode == AppendMode::Mapped {
                continue;
            }
            let dir = tempfile::tempdir().expect("a scratch directory");
            let log = ours(dir.path(), mode, policy);
            let mut count = 0_u64;
            settle();
            group.bench_function(name, |b| {
                b.iter(|| {
                    count += 1;
                    if count.is_multiple_of(1_000_000) {
                        log.drop_before(log.active()).expect("old segments go");
                    }
                    log.append(&RECORD).expect("there is room")
                });
            });
        }

        let dir = tempfile::tempdir().expect("a scratch directory");
        let log = raft(dir.path());
        let mut count = 0_u64;
        settle();
        group.bench_function("raft-engine", |b| {
            b.iter(|| {
                count += 1;
                let key = format!("key-{}", count % KEYS).into_bytes();
                let mut batch = raft_engine::LogBatch::default();
                batch.put(1, key, RECORD.to_vec()).expect("a legal key");
                log.write(&mut batch, is_durable).expect("there is room")
            });
        });

        if is_durable {
            let dir = tempfile::tempdir().expect("a scratch directory");
            let log = WriteAheadLog::recover(dir.path(), LogVoid).expect("a new log");
            settle();
            group.bench_function("okaywal", |b| {
                b.iter(|| {
                    let mut entry = log.begin_entry().expect("an entry");
                    entry.write_chunk(&RECORD).expect("there is room");
                    entry.commit().expect("synced")
                });
            });
        }
        group.finish();
    }
    c.final_summary();
}
