//! What only the real disk has: modes, parents, signals of full and foreign file systems.

use std::io::IoSlice;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::fs::{AppendMap, BLOCK_LEN, write_all_at, write_blocks_at};

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

fn name(id: u64) -> Name {
    Name::new(Kind::new("tbl"), id)
}

fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn create_makes_the_missing_parents_private_and_leaves_the_others_alone() {
    let scratch = scratch();
    let before = mode(scratch.path());
    let path = scratch.path().join("a/b/c");
    let fs = StdFs::create(&path).expect("created");
    assert_eq!(fs.path(), path);
    for part in ["a", "a/b", "a/b/c"] {
        assert_eq!(mode(scratch.path().join(part)), 0o700);
    }
    assert_eq!(mode(scratch.path()), before);
    fs.create_new(name(1)).expect("created");
    fs.create_dir(name(2)).expect("created");
    assert_eq!(mode(path.join(name(1).to_string())), 0o600);
    assert_eq!(mode(path.join(name(2).to_string())), 0o700);
    let again = StdFs::create(&path).expect("opened");
    assert_eq!(again.list().expect("listed").entries.len(), 2);
}

#[test]
fn only_an_existing_directory_is_opened() {
    let scratch = scratch();
    let fs = StdFs::open(scratch.path()).expect("opened");
    fs.create_new(name(1)).expect("created");
    let file = scratch.path().join(name(1).to_string());
    assert!(matches!(StdFs::open(&file), Err(Error::Invalid { .. })));
    assert!(matches!(StdFs::create(&file), Err(Error::Invalid { .. })));
    assert!(matches!(StdFs::create(file.join("below")), Err(Error::Invalid { .. })));
    let missing = scratch.path().join("missing");
    let error = StdFs::open(&missing).expect_err("missing");
    assert!(matches!(&error, Error::NotFound { path } if *path == missing));
}

#[test]
fn row_091_a_lock_is_found_through_another_path_to_the_directory() {
    let scratch = scratch();
    let path = scratch.path().join("data");
    let lock = StdFs::create(&path).and_then(|fs| fs.lock()).expect("locked");
    let detour = scratch.path().join("detour");
    symlink(&path, &detour).expect("planted");
    let again = StdFs::open(&detour).expect("the caller's own path may be a link").lock();
    assert!(matches!(again, Err(Error::Locked { .. })));
    assert_eq!(mode(path.join(LOCK)), 0o600);
    drop(lock);
    assert!(path.join(LOCK).exists(), "the lock file is never removed");
}

// We believed that closing its descriptor lets go of a lock. A program that another thread was about to
// start had it too, from its fork to its exec, and the directory stayed locked after `close`.
#[test]
fn row_091_a_lock_that_was_let_go_of_is_free_though_a_forked_process_still_has_its_descriptor() {
    let scratch = scratch();
    let directory = || std::fs::File::open(scratch.path()).expect("opened").into();
    let path = scratch.path().join(LOCK);
    let lock = StdLock::take(directory(), path.clone()).expect("locked");
    let inherited = lock.inherited();
    assert!(matches!(StdLock::take(directory(), path.clone()), Err(Error::Locked { .. })));
    drop(lock);
    StdLock::take(directory(), path).expect("nobody holds it");
    drop(inherited);
}

#[test]
fn pipes_and_links_are_refused_without_waiting() {
    let scratch = scratch();
    let fs = StdFs::open(scratch.path()).expect("opened");
    let pipe = scratch.path().join(name(1).to_string());
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(CWD, &pipe, kind, Mode::RWXU, 0).expect("planted");
    assert!(matches!(fs.open(name(1), Access::Read), Err(Error::Invalid { .. })));
    assert!(matches!(fs.open(name(1), Access::ReadWrite), Err(Error::Invalid { .. })));
    assert_eq!(fs.list().expect("listed").foreign, [name(1).to_string()]);
    // A link to a directory is no directory of ours.
    std::fs::create_dir(scratch.path().join("real")).expect("created");
    symlink("real", scratch.path().join(name(2).to_string())).expect("planted");
    assert!(matches!(fs.open_dir(name(2)), Err(Error::Invalid { .. })));
}

#[test]
fn row_016_a_refused_write_poisons_its_handle_and_no_other() {
    let scratch = scratch();
    let fs = StdFs::open(scratch.path()).expect("opened");
    let file = fs.create_new(name(1)).expect("created");
    let other = fs.open(name(1), Access::ReadWrite).expect("opened");
    write_all_at(&*file, b"lotus", 0).expect("written");
    // A descriptor that was opened for reading refuses writes as a broken disk would.
    let fd = rustix::fs::openat(
        CWD,
        scratch.path().join(name(1).to_string()),
        OFlags::RDONLY,
        Mode::empty(),
    );
    let broken = StdFile::new(file.path().to_owned(), fd.expect("opened"), Access::ReadWrite);
    let refused = broken.write_at(&[IoSlice::new(b"x")], 0);
    assert!(matches!(refused, Err(Error::Io { op: "write", .. })), "{refused:?}");
    for result in [
        broken.write_at(&[IoSlice::new(b"x")], 0).map(drop),
        broken.sync_data(),
        broken.sync_all(),
        broken.truncate(0),
        broken.preallocate(0, 1),
        broken.map_append(0, 1).map(drop),
    ] {
        assert!(matches!(result, Err(Error::Poisoned { .. })), "{result:?}");
    }
    let mut bytes = [0; 5];
    assert_eq!(broken.read_at(&mut bytes, 0).expect("reads go on"), 5);
    assert_eq!(&bytes, b"lotus");
    write_all_at(&*other, b"L", 0).expect("a handle of its own");
    other.sync_all().expect("synced");
}

#[test]
fn row_079_a_refused_sync_poisons_files_mappings_and_directories() {
    let scratch = scratch();
    let path = scratch.path().join(name(1).to_string());
    let fs = StdFs::open(scratch.path()).expect("opened");
    let file = fs.create_new(name(1)).expect("created");
    write_all_at(&*file, &[1; 100], 0).expect("written");
    let is_poisoned = |result: Result<()>| matches!(result, Err(Error::Poisoned { .. }));
    // A pipe cannot be synced: the system answers EINVAL.
    let pipe = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        OwnedFd::from(writer)
    };

    let broken = StdFile::new(path.clone(), pipe(), Access::ReadWrite);
    assert!(matches!(broken.sync_data(), Err(Error::Io { op: "sync", .. })));
    assert!(is_poisoned(broken.sync_data()));
    assert!(is_poisoned(broken.write_at(&[IoSlice::new(b"x")], 0).map(drop)));

    let fd = rustix::fs::openat(CWD, &path, OFlags::RDWR, Mode::empty()).expect("opened");
    let map = map::StdAppendMap::broken(path, &fd, pipe(), 5, 100);
    map.append(b"lotus").expect("appended");
    assert!(matches!(map.sync(), Err(Error::Io { op: "sync", .. })));
    assert!(is_poisoned(map.sync()));
    assert!(is_poisoned(map.append(b"x")));
    assert_eq!(map.read(5, 5).expect("reads go on"), "lotus");

    // Row 81: no error number of a directory sync is ignored.
    let directory = StdFs::from_fd(scratch.path().to_owned(), pipe());
    assert!(matches!(directory.sync_dir(), Err(Error::Io { op: "sync", .. })));
    assert!(is_poisoned(directory.sync_dir()));
}

#[test]
fn row_035_who_syncs_beside_a_sync_that_fails_is_not_told_that_all_is_well() {
    let sound = sound::Soundness::default();
    let path = Path::new("segment");
    let (enter, entered) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            sound.sync(path, || {
                enter.send(()).expect("somebody waits");
                // Long enough for the second to ask; if it comes later it is told as well.
                std::thread::sleep(std::time::Duration::from_millis(50));
                Err(Errno::IO)
            })
        });
        entered.recv().expect("the first is there");
        // The system would say so: it has told its failure.
        let second = sound.sync(path, || Ok(()));
        assert!(matches!(second, Err(Error::Poisoned { .. })), "{second:?}");
        let first = first.join().expect("it does not panic");
        assert!(matches!(first, Err(Error::Io { op: "sync", .. })), "{first:?}");
    });
}

#[test]
fn an_interrupted_call_is_repeated_a_bounded_number_of_times() {
    let mut calls = 0;
    let result = retry(|| {
        calls += 1;
        if calls < 5 { Err(Errno::INTR) } else { Ok(calls) }
    });
    assert_eq!(result, Ok(5));
    let mut calls = 0;
    let result: rustix::io::Result<()> = retry(|| {
        calls += 1;
        Err(Errno::INTR)
    });
    assert_eq!((result, calls), (Err(Errno::INTR), 100));
    assert_eq!(retry(|| Err::<(), _>(Errno::IO)), Err(Errno::IO));
}

#[test]
fn the_probe_finds_reservations_where_blocks_are_counted() {
    let scratch = scratch();
    let fs = StdFs::open(scratch.path()).expect("opened");
    let file = fs.create_new(name(1)).expect("created");
    file.preallocate(0, PROBE_BYTES).expect("reserved");
    let stat = std::fs::metadata(file.path()).expect("it is there");
    let counted = std::os::unix::fs::MetadataExt::blocks(&stat) * 512 >= PROBE_BYTES;
    let copies = system::copies_on_write(std::fs::File::open(scratch.path()).expect("opened"));
    let reserves = fs.preallocation().expect("probed") == Preallocation::Reserves;
    assert_eq!(reserves, counted && !copies);
}

#[test]
fn names_that_are_no_utf_8_are_listed_as_foreign() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = scratch();
    let odd = std::ffi::OsStr::from_bytes(b"0000000000000001.tb\xff");
    std::fs::write(scratch.path().join(odd), b"").expect("planted");
    let listing = StdFs::open(scratch.path()).and_then(|fs| fs.list()).expect("listed");
    assert!(listing.entries.is_empty());
    assert_eq!(listing.foreign, ["0000000000000001.tb\u{fffd}"]);
}

#[test]
#[should_panic(expected = "two threads append")]
fn two_appends_at_once_are_our_bug() {
    let scratch = scratch();
    let path = scratch.path().join("map");
    std::fs::write(&path, [0; 100]).expect("planted");
    let fd = rustix::fs::openat(CWD, &path, OFlags::RDWR, Mode::empty()).expect("opened");
    let map = map::StdAppendMap::new(path, fd, 0, 100, Arc::default()).expect("mapped");
    map.pretend_to_append();
    let _ = map.append(b"x");
}

#[test]
fn readers_of_an_append_mapping_never_see_a_byte_that_is_not_written() {
    let scratch = scratch();
    let fs = StdFs::open(scratch.path()).expect("opened");
    let file = fs.create_new(name(1)).expect("created");
    let len: u64 = 1 << 20;
    file.preallocate(0, len).expect("reserved");
    let map = file.map_append(0, len).expect("mapped");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut end = 0;
                while end < len {
                    end = map.end();
                    let start = end.saturating_sub(700);
                    let bytes = map.read(start, usize::try_from(end - start).expect("small"));
                    let bytes = bytes.expect("below the end");
                    let expected = |at: u64| u8::try_from(at % 251 + 1).expect("a byte");
                    let right = bytes.iter().zip(start..).all(|(byte, at)| *byte == expected(at));
                    assert!(right, "between {start} and {end}");
                }
            });
        }
        let mut at = 0;
        while at < len {
            let upto = len.min(at + 113);
            let bytes: Vec<_> =
                (at..upto).map(|at| u8::try_from(at % 251 + 1).expect("a byte")).collect();
            map.append(&bytes).expect("appended");
            at = upto;
        }
    });
}

/// What is made ready for appends is never what was appended, however often a sync comes between
/// and wherever pieces end.
#[test]
fn an_append_mapping_holds_what_was_appended_and_zeros_behind_it() {
    let seed = crate::testing::seed();
    let mut random = crate::Random::new(seed);
    let scratch = scratch();
    let fs = StdFs::open(scratch.path()).expect("opened");
    let file = fs.create_new(name(1)).expect("created");
    let len: u64 = (9 << 20) + 777;
    file.preallocate(0, len).expect("reserved");
    let map = file.map_append(0, len).expect("mapped");
    let mut model = Vec::new();
    for turn in 0.. {
        let longest = if random.index(20) == 0 { 1 << 20 } else { 30_000 };
        let piece = random.index(longest);
        let left = usize::try_from(len).expect("small") - model.len();
        let bytes = random.bytes(piece.min(left));
        if bytes.is_empty() && left == 0 {
            break;
        }
        map.append(&bytes).expect("appended");
        model.extend_from_slice(&bytes);
        if random.index(30) == 0 {
            map.sync().expect("synced");
        }
        if turn % 16 == 0 || model.len() as u64 == len {
            let mut found = vec![1; usize::try_from(len).expect("small")];
            crate::read_exact_at(&*file, &mut found, 0).expect("read");
            assert!(found.starts_with(&model), "{} bytes, seed {seed}", model.len());
            assert_eq!(crate::first_nonzero(&found[model.len()..]), None, "seed {seed}");
        }
    }
}

/// Another thread that makes memory ready, all the time, never writes over what was appended.
#[test]
fn memory_is_made_ready_beside_appends_and_never_where_they_were() {
    let scratch = scratch();
    let fs = StdFs::open(scratch.path()).expect("opened");
    let file = fs.create_new(name(1)).expect("created");
    let len: u64 = (48 << 20) + 777;
    file.preallocate(0, len).expect("reserved");
    let map = file.map_append(0, len).expect("mapped");
    let piece: Vec<u8> = (0..250).map(|at| at + 1).collect();
    let mut short = 0;
    std::thread::scope(|scope| {
        let is_done = std::sync::Arc::new(AtomicBool::new(false));
        let (done, map) = (is_done.clone(), &map);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                map.make_ready();
            }
        });
        while map.capacity() - map.end() >= piece.len() as u64 {
            map.append(&piece).expect("appended");
            short += u32::from(map.runs_short());
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let end = usize::try_from(map.end()).expect("small");
    let mut found = vec![1; usize::try_from(len).expect("small")];
    crate::read_exact_at(&*file, &mut found, 0).expect("read");
    let wrong = found[..end].chunks(piece.len()).position(|found| found != piece);
    assert_eq!(wrong, None, "pieces told {short} times that memory runs short");
    assert_eq!(crate::first_nonzero(&found[end..]), None);
}

/// A mapping tells once that it runs short, when appends come fast, and not when each is synced.
#[test]
fn an_append_mapping_runs_short_when_appends_come_fast() {
    let scratch = scratch();
    let fs = StdFs::open(scratch.path()).expect("opened");
    let file = fs.create_new(name(1)).expect("created");
    let len: u64 = 32 << 20;
    file.preallocate(0, len).expect("reserved");
    let map = file.map_append(0, len).expect("mapped");
    let piece = vec![7; 4096];
    for _ in 0..256 {
        map.append(&piece).expect("appended");
        map.sync().expect("synced");
        assert!(!map.runs_short());
    }
    let mut fast = 0;
    while !map.runs_short() {
        map.append(&piece).expect("appended");
        fast += 1;
    }
    assert!(fast > 1, "not at once after a sync");
    map.append(&piece).expect("appended");
    assert!(!map.runs_short(), "it was told");
    map.make_ready();
    assert!(!map.runs_short(), "there is enough now");
    while !map.runs_short() {
        map.append(&piece).expect("appended");
    }
}

/// Whatever pieces come: blocks are written whole, what is left stays in the buffer, and in the
/// end the file is what came.
#[test]
fn blocks_are_written_when_they_are_full_and_end_where_blocks_end() {
    let mut random = crate::Random::new(crate::testing::seed());
    let scratch = scratch();
    let fs = StdFs::open(scratch.path()).expect("opened");
    let file = fs.create_new(name(1)).expect("created");
    let (mut model, mut buffer, mut written) = (Vec::new(), Vec::new(), 0);
    while model.len() < 3 * BLOCK_LEN {
        let piece = random.index(BLOCK_LEN / 2);
        let piece = random.bytes(piece);
        model.extend_from_slice(&piece);
        buffer.extend_from_slice(&piece);
        written += write_blocks_at(&*file, &mut buffer, written).expect("written");
        assert!(buffer.len() < BLOCK_LEN);
        assert_eq!(written % BLOCK_LEN as u64, 0);
        assert_eq!(written + buffer.len() as u64, model.len() as u64);
    }
    write_all_at(&*file, &buffer, written).expect("written");
    let mut found = vec![0; model.len()];
    crate::read_exact_at(&*file, &mut found, 0).expect("read");
    assert!(found == model);
}
