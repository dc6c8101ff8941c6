//! Random calls on both file systems give the same answers and leave the same bytes.

use std::fmt::Debug;
use std::io::IoSlice;
use std::sync::Arc;

use vfs::testing::seeds;
use vfs::{Access, AppendMap, Error, File, Fs, Name, Random};

use crate::bed::{Bed, name};

/// What a call answered, without what differs by nature: where the file system is mounted.
fn shape<T: Debug>(result: &vfs::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => {
            let file = error.path().file_name().map(|name| name.to_string_lossy().into_owned());
            let kind = match error {
                Error::Io { op, source, .. } => format!("{op} {:?}", source.kind()),
                Error::Invalid { what, .. } => what.clone(),
                Error::Corrupt { what, offset, .. } => format!("{what} {offset}"),
                Error::NoSpace { op, .. } => format!("no space {op}"),
                Error::Locked { .. } => "locked".to_owned(),
                Error::NotFound { .. } => "not found".to_owned(),
                Error::Poisoned { .. } => "poisoned".to_owned(),
                other => panic!("a new error: {other:?}"),
            };
            format!("{kind} at {file:?}")
        }
    }
}

/// One file system and the handles that a run has open, in the same order on both sides.
struct Side {
    root: Arc<dyn Fs>,
    dirs: Vec<Arc<dyn Fs>>,
    files: Vec<Arc<dyn File>>,
    maps: Vec<Arc<dyn AppendMap>>,
}

/// A call with its arguments.
#[derive(Clone, Debug)]
enum Step {
    Create(usize, Name),
    Open(usize, Name, Access),
    Rename(usize, Name, Name),
    Link(usize, Name, usize, Name),
    Remove(usize, Name),
    List(usize),
    SyncDir(usize),
    CreateDir(usize, Name),
    OpenDir(usize, Name),
    RemoveDir(usize, Name),
    Lock(usize),
    Len(usize),
    Read(usize, usize, u64),
    Write(usize, Vec<u8>, u64),
    Truncate(usize, u64),
    Preallocate(usize, u64, u64),
    Sync(usize),
    Map(usize, u64),
    /// Behind what the file holds.
    MapAppend(usize, u64),
    Append(usize, Vec<u8>),
    ReadMap(usize, u64, usize),
    SyncMap(usize),
}

fn draw(random: &mut Random) -> Step {
    let dir = random.index(8);
    let file = random.index(8);
    let one = name(random.below(6));
    let two = name(random.below(6));
    let offset = random.below(3) * 4096 + random.below(20);
    let len = random.below(9000);
    let bytes = random.bytes(usize::try_from(random.clone().below(5000)).expect("small"));
    match random.below(28) {
        0..=2 => Step::Create(dir, one),
        3 => Step::Open(dir, one, Access::Read),
        4 => Step::Open(dir, one, Access::ReadWrite),
        5 => Step::Rename(dir, one, two),
        6 => Step::Link(dir, one, random.index(8), two),
        7 => Step::Remove(dir, one),
        8 => Step::List(dir),
        9 => Step::SyncDir(dir),
        10 => Step::CreateDir(dir, one),
        11 => Step::OpenDir(dir, one),
        12 => Step::RemoveDir(dir, one),
        13 => Step::Lock(dir),
        14 => Step::Len(file),
        15 | 16 => Step::Read(file, usize::try_from(len).expect("small"), offset),
        17..=19 => Step::Write(file, bytes, offset),
        20 => Step::Truncate(file, len),
        21 => Step::Preallocate(file, offset, len),
        22 => Step::Sync(file),
        23 => Step::Map(file, len),
        24 => Step::MapAppend(file, len),
        25 => Step::Append(file, bytes),
        26 => Step::ReadMap(file, offset, usize::try_from(len).expect("small")),
        _ => Step::SyncMap(file),
    }
}

impl Side {
    fn new(root: Arc<dyn Fs>) -> Side {
        Side { dirs: vec![Arc::clone(&root)], root, files: Vec::new(), maps: Vec::new() }
    }

    fn dir(&self, index: usize) -> Arc<dyn Fs> {
        Arc::clone(&self.dirs[index % self.dirs.len()])
    }

    fn file(&self, index: usize) -> Option<Arc<dyn File>> {
        self.files.get(index).cloned()
    }

    fn map(&self, index: usize) -> Option<Arc<dyn AppendMap>> {
        self.maps.get(index).cloned()
    }

    /// Keeps the newest handles of a kind.
    fn keep<T>(kept: &mut Vec<T>, result: vfs::Result<T>) -> String {
        result.map_or_else(
            |error| shape::<()>(&Err(error)),
            |handle| {
                kept.push(handle);
                if kept.len() > 6 {
                    kept.remove(1);
                }
                "opened".to_owned()
            },
        )
    }

    fn run(&mut self, step: &Step) -> Option<String> {
        Some(match step {
            Step::Create(dir, name) => {
                let result = self.dir(*dir).create_new(*name);
                Side::keep(&mut self.files, result)
            }
            Step::Open(dir, name, access) => {
                let result = self.dir(*dir).open(*name, *access);
                Side::keep(&mut self.files, result)
            }
            Step::Rename(dir, from, to) => shape(&self.dir(*dir).rename(*from, *to)),
            Step::Link(dir, from, other, to) => {
                shape(&self.dir(*dir).link(*from, &*self.dir(*other), *to))
            }
            Step::Remove(dir, name) => shape(&self.dir(*dir).remove(*name)),
            Step::List(dir) => {
                let listing = self.dir(*dir).list().map(|mut listing| {
                    listing.entries.sort();
                    listing.foreign.sort();
                    (listing.entries, listing.foreign)
                });
                shape(&listing)
            }
            Step::SyncDir(dir) => shape(&self.dir(*dir).sync_dir()),
            Step::CreateDir(dir, name) => {
                let result = self.dir(*dir).create_dir(*name);
                Side::keep(&mut self.dirs, result)
            }
            Step::OpenDir(dir, name) => {
                let result = self.dir(*dir).open_dir(*name);
                Side::keep(&mut self.dirs, result)
            }
            Step::RemoveDir(dir, name) => shape(&self.dir(*dir).remove_dir(*name)),
            Step::Lock(dir) => shape(&self.dir(*dir).lock().map(|_| ())),
            Step::Append(..) | Step::ReadMap(..) | Step::SyncMap(..) => return self.run_map(step),
            _ => return self.run_file(step),
        })
    }

    fn run_file(&mut self, step: &Step) -> Option<String> {
        Some(match step {
            Step::Len(file) => shape(&self.file(*file)?.len()),
            Step::Read(file, len, offset) => {
                let mut bytes = vec![0; *len];
                let result = self.file(*file)?.read_at(&mut bytes, *offset);
                let count = *result.as_ref().unwrap_or(&0);
                format!("{} {:?}", shape(&result), &bytes[..count])
            }
            Step::Write(file, bytes, offset) => {
                self.maps.clear(); // what is behind the end of a mapping is the mapping's
                shape(&self.file(*file)?.write_at(&[IoSlice::new(bytes)], *offset))
            }
            Step::Truncate(file, len) => {
                self.maps.clear(); // no file is cut while it is mapped
                shape(&self.file(*file)?.truncate(*len))
            }
            Step::Preallocate(file, offset, len) => {
                shape(&self.file(*file)?.preallocate(*offset, *len))
            }
            Step::Sync(file) => shape(&self.file(*file)?.sync_data()),
            Step::Map(file, len) => shape(&self.file(*file)?.map(*len).map(|bytes| bytes.to_vec())),
            Step::MapAppend(file, len) => {
                let file = self.file(*file)?;
                let result = file.len().and_then(|from| {
                    file.preallocate(from, *len)?;
                    file.map_append(from, from + len)
                });
                Side::keep(&mut self.maps, result)
            }
            other => panic!("{other:?} is not about a file"),
        })
    }

    fn run_map(&mut self, step: &Step) -> Option<String> {
        Some(match step {
            Step::Append(map, bytes) => {
                let map = self.map(*map)?;
                format!("{} {}", shape(&map.append(bytes)), map.end())
            }
            Step::ReadMap(map, offset, len) => {
                shape(&self.map(*map)?.read(*offset, *len).map(|bytes| bytes.to_vec()))
            }
            Step::SyncMap(map) => shape(&self.map(*map)?.sync()),
            other => panic!("{other:?} is not about a mapping"),
        })
    }
}

/// Every path below a directory with its bytes.
fn dump(fs: &Arc<dyn Fs>, prefix: &str, out: &mut Vec<(String, Vec<u8>)>) {
    let mut entries = fs.list().expect("listed").entries;
    entries.sort();
    for entry in entries {
        let path = format!("{prefix}/{}", entry.name);
        if entry.is_dir {
            out.push((path.clone(), Vec::new()));
            dump(&fs.open_dir(entry.name).expect("opened"), &path, out);
        } else {
            let file = fs.open(entry.name, Access::Read).expect("opened");
            let mut bytes = vec![0; usize::try_from(entry.len).expect("small")];
            vfs::read_exact_at(&*file, &mut bytes, 0).expect("read");
            out.push((path, bytes));
        }
    }
}

#[test]
fn both_file_systems_answer_alike_and_hold_the_same_bytes() {
    for seed in seeds(60) {
        let [std, sim] = Bed::all();
        let mut sides = [Side::new(std.open()), Side::new(sim.open())];
        let mut random = Random::new(seed);
        for number in 0..250 {
            let step = draw(&mut random);
            let [one, two] = sides.each_mut().map(|side| side.run(&step));
            let cut = |answer: Option<String>| {
                answer.map(|text| text.chars().take(80).collect::<String>())
            };
            let same = one == two;
            assert!(same, "call {number}: {step:.80?}: {:?}, {:?}", cut(one), cut(two));
        }
        let [one, two] = sides.each_ref().map(|side| {
            let mut out = Vec::new();
            dump(&side.root, "", &mut out);
            out
        });
        let names = |side: &[(String, Vec<u8>)], other: &[(String, Vec<u8>)]| -> Vec<String> {
            let differs = |file: &&(String, Vec<u8>)| !other.contains(file);
            side.iter().filter(differs).map(|(name, _)| name.clone()).collect()
        };
        assert!(one == two, "{:?} and {:?} differ", names(&one, &two), names(&two, &one));
    }
}
