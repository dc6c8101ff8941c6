//! What an append costs, per record: 200 bytes, not synced, on the real disk.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use vfs::{Env, StdFs};
use wal::{AppendMode, Durability, Log, Options, Start};

const RECORD: [u8; 200] = [0x5a; 200];

fn open(dir: &tempfile::TempDir, append_mode: AppendMode, durability: Durability) -> Log {
    let fs = StdFs::create(dir.path()).expect("a directory");
    let options = Options { append_mode, ..Options::new(durability) };
    let open = Log::open(fs, &Env::system(), options, Start::default(), &mut |_| Ok(()));
    open.expect("a new log").0
}

/// Appends to one log; what was appended is dropped now and then, so that the disk stays empty.
fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append_200");
    group.throughput(Throughput::Elements(1));
    for (name, mode) in [("mapped", AppendMode::Mapped), ("positional", AppendMode::Positional)] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = open(&dir, mode, Durability::Never);
        let mut count = 0_u64;
        group.bench_function(name, |b| {
            b.iter(|| {
                count += 1;
                if count.is_multiple_of(2_000_000) {
                    log.drop_before(log.active()).expect("old segments go");
                }
                log.append(&RECORD).expect("there is room")
            });
        });
    }
    for threads in [1_usize, 4] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = open(&dir, AppendMode::Positional, Durability::Always);
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(format!("always_{threads}_threads"), |b| {
            b.iter_batched(
                || (),
                |()| {
                    std::thread::scope(|scope| {
                        for _ in 0..threads {
                            scope.spawn(|| log.append(&RECORD).expect("there is room"));
                        }
                    });
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
