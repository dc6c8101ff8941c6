//! What only weak memory shows: small programs under loom, which lets a thread read every value
//! that the orders of loads and stores allow, in every interleaving of up to some preemptions.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64 as Counter, Ordering as Counting};
use std::time::Instant;

use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;
use memtable::{Entry, Memtable, Order};
use vfs::sim::{ImageKind, SimDisk};
use vfs::sync::atomic::{AtomicU64, Ordering};
use vfs::{Env, Name};
use wal::{AppendMode, Durability, Log, Options, ReadMode, SEGMENT, Start};

struct Program {
    name: &'static str,
    run: fn(),
    /// Preemptions of an execution, at most.
    preemptions: usize,
}

const ALL: [Program; 4] = [
    Program { name: "memtable", run: memtable, preemptions: 6 },
    Program { name: "seal", run: seal, preemptions: 6 },
    Program { name: "commits", run: commits, preemptions: 3 },
    Program { name: "visible", run: visible, preemptions: 3 },
];

/// `schedules` explores all programs; `schedules weak` makes every order a relaxed one, and says
/// which programs notice.
pub(crate) fn main() -> ExitCode {
    let weak = std::env::args().nth(1).is_some_and(|word| word == "weak");
    vfs::sync::weaken(weak);
    memtable::weaken(weak);
    let mut failed = 0;
    for program in &ALL {
        failed += u32::from(!explore(program));
    }
    if (failed > 0) == weak { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::disallowed_methods, reason = "a rate, nothing that an execution sees")]
fn explore(program: &Program) -> bool {
    static EXECUTIONS: Counter = Counter::new(0);
    EXECUTIONS.store(0, Counting::SeqCst);
    let mut builder = Builder::new();
    builder.preemption_bound = Some(program.preemptions);
    builder.max_branches = 100_000;
    let (start, run) = (Instant::now(), program.run);
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        builder.check(move || {
            EXECUTIONS.fetch_add(1, Counting::SeqCst);
            run();
        });
    }));
    let (count, seconds) = (EXECUTIONS.load(Counting::SeqCst), start.elapsed().as_secs_f64());
    let end = if ran.is_ok() { "all executions are right" } else { "failed" };
    println!("{} {count} executions, {seconds:.1} s: {end}", program.name);
    ran.is_ok()
}

fn write(table: &Memtable, seq: u64) {
    table.insert(&[Entry::put(b"a", seq, b"value"), Entry::put(b"b", seq, b"value")]);
}

/// A writer that publishes a seq; a reader at that seq, and one that looks at the counts.
fn memtable() {
    let table = Arc::new(Memtable::new(Order::Ordered));
    let visible = Arc::new(AtomicU64::new(0));
    let writer = {
        let (table, visible) = (table.clone(), visible.clone());
        thread::spawn(move || {
            write(&table, 1);
            visible.store(1, Ordering::Release);
        })
    };
    let looker = {
        let table = table.clone();
        thread::spawn(move || {
            if !table.is_empty() {
                assert_eq!((table.min_seq(), table.max_seq(), table.keys()), (Some(1), Some(1), 2));
            }
        })
    };
    let seq = visible.load(Ordering::Acquire);
    if seq > 0 {
        assert_eq!(table.get(b"a", seq, |entry| entry.seq), Some(1));
        assert_eq!((table.entries(), table.max_seq()), (2, Some(1)));
    }
    writer.join().expect("a panic ends the execution");
    looker.join().expect("a panic ends the execution");
}

/// A table that is sealed under two readers.
fn seal() {
    let table = Arc::new(Memtable::new(Order::Unordered));
    write(&table, 1);
    let sealer = {
        let table = table.clone();
        thread::spawn(move || table.seal())
    };
    let reader = {
        let table = table.clone();
        thread::spawn(move || assert_eq!(table.get(b"a", 1, |entry| entry.seq), Some(1)))
    };
    assert_eq!(table.newest_seq(b"b"), Some(1));
    sealer.join().expect("a panic ends the execution");
    reader.join().expect("a panic ends the execution");
    assert!(table.is_sealed());
}

fn open(disk: &SimDisk) -> Log {
    let options = Options {
        kind: SEGMENT,
        segment_bytes: 4096,
        durability: Durability::Never,
        append_mode: AppendMode::Positional,
        read_mode: ReadMode::Positional,
        preallocate: true,
    };
    let env = Env::sim(1).env;
    let opened = Log::open(disk.root(), &env, options, Start::default(), &mut |_| Ok(()));
    opened.expect("a healthy disk").0
}

/// Two writers of one log, of which one waits for the disk; what an acknowledgement promises.
fn commits() {
    let disk = SimDisk::new(1);
    let log = Arc::new(open(&disk));
    let other = {
        let (log, disk) = (log.clone(), disk.clone());
        thread::spawn(move || append(&log, &disk, b"other", true))
    };
    append(&log, &disk, b"first", false);
    other.join().expect("a panic ends the execution");
}

fn append(log: &Log, disk: &SimDisk, payload: &[u8], durable: bool) {
    let position = log.append(payload).expect("a healthy disk");
    // The length that readers go by covers what was acknowledged.
    assert_eq!(&*log.read(position).expect("it is in place"), payload);
    if durable {
        log.sync().expect("a healthy disk");
        assert!(position < log.synced());
        let name = Name::new(SEGMENT, u64::from(position.segment.0));
        let file = disk.crash(ImageKind::SyncedOnly, 0).read_file(name).expect("it is synced");
        assert!(file.windows(payload.len()).any(|bytes| bytes == payload), "not durable");
    }
}

/// A writer that publishes as the engine does, and a reader that knows nothing but what it sees.
fn visible() {
    let log = Arc::new(open(&SimDisk::new(1)));
    let segment = log.segment(log.active()).expect("the log has its active segment");
    let visible = Arc::new(AtomicU64::new(0));
    let writer = {
        let (log, visible) = (log.clone(), visible.clone());
        thread::spawn(move || {
            let position = log.append(b"payload").expect("a healthy disk");
            visible.store(position.offset, Ordering::Release);
        })
    };
    let offset = visible.load(Ordering::Acquire);
    if offset > 0 {
        assert!(offset < segment.len(), "visible, and behind the end of the segment");
    }
    writer.join().expect("a panic ends the execution");
}
