//! The log of a toy Raft member: entries by index, a durable vote, a dropped prefix.
//!
//! ```text
//! cargo run -p wal --example raft_log
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use vfs::{Env, Fs, StdFs};
use wal::{Durability, Log, Options, Position, Start};

/// A record: what it is, the term, and for an entry its index and command.
enum Record {
    Vote { term: u64 },
    Entry { index: u64, term: u64, command: Vec<u8> },
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        match self {
            Record::Vote { term } => [&[0][..], &term.to_le_bytes()].concat(),
            Record::Entry { index, term, command } => {
                [&[1][..], &term.to_le_bytes(), &index.to_le_bytes(), command].concat()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Record> {
        let (kind, rest) = bytes.split_first()?;
        let (term, rest) = rest.split_first_chunk()?;
        let term = u64::from_le_bytes(*term);
        if *kind == 0 {
            return Some(Record::Vote { term });
        }
        let (index, command) = rest.split_first_chunk()?;
        Some(Record::Entry { index: u64::from_le_bytes(*index), term, command: command.to_vec() })
    }
}

struct Member {
    log: Log,
    term: u64,
    /// Where each entry is; a later entry of the same index replaces it and all behind it.
    entries: BTreeMap<u64, Position>,
}

impl Member {
    fn open(fs: &Arc<dyn Fs>) -> Result<Member, vfs::Error> {
        let (mut term, mut entries) = (0, BTreeMap::new());
        let options = Options { segment_bytes: 4096, ..Options::new(Durability::Always) };
        let start = Start::default();
        let (log, _) = Log::open(Arc::clone(fs), &Env::system(), options, start, &mut |record| {
            match Record::decode(record.payload) {
                Some(Record::Vote { term: voted }) => term = voted,
                Some(Record::Entry { index, .. }) => {
                    entries.split_off(&index);
                    entries.insert(index, record.position);
                }
                None => return Err(vfs::Error::invalid("not a record of this log", fs.path())),
            }
            Ok(())
        })?;
        Ok(Member { log, term, entries })
    }

    fn vote(&mut self, term: u64) -> Result<(), vfs::Error> {
        self.log.append(&Record::Vote { term }.encode())?;
        self.term = term;
        Ok(())
    }

    /// Appends entries from `index` on, all or none.
    fn append(&mut self, index: u64, commands: &[&[u8]]) -> Result<(), vfs::Error> {
        let records = (index..).zip(commands).map(|(index, command)| {
            Record::Entry { index, term: self.term, command: command.to_vec() }.encode()
        });
        let records: Vec<_> = records.collect();
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let positions = self.log.append_batch(&slices)?;
        self.entries.split_off(&index);
        self.entries.extend((index..).zip(positions));
        Ok(())
    }

    fn command(&self, index: u64) -> Result<Option<Vec<u8>>, vfs::Error> {
        let Some(position) = self.entries.get(&index) else { return Ok(None) };
        match Record::decode(&self.log.read(*position)?) {
            Some(Record::Entry { command, .. }) => Ok(Some(command)),
            _ => Ok(None),
        }
    }

    /// Everything before `index` is in a snapshot: drops the segments that hold nothing else.
    fn compact(&mut self, index: u64) -> Result<(), vfs::Error> {
        self.entries = self.entries.split_off(&index);
        // The vote must stay, so it is written again.
        self.vote(self.term)?;
        match self.entries.first_key_value() {
            Some((_, position)) => self.log.drop_before(position.segment),
            None => Ok(()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let fs = StdFs::create(dir.path())?;
    let mut member = Member::open(&fs)?;
    member.vote(1)?;
    for index in 1..200 {
        member.append(index, &[format!("set x {index}").as_bytes()])?;
    }
    // A new leader overwrites the uncommitted end.
    member.vote(2)?;
    member.append(190, &[b"set y 1", b"set y 2"])?;
    member.compact(150)?;
    drop(member);

    let member = Member::open(&fs)?;
    let last = member.entries.keys().next_back().copied();
    println!("term {}, entries {:?} to {last:?}", member.term, member.entries.keys().next());
    println!("191 is {:?}", member.command(191)?.map(|c| String::from_utf8_lossy(&c).into_owned()));
    assert_eq!((member.term, last), (2, Some(191)));
    assert_eq!(member.command(191)?.as_deref(), Some(&b"set y 2"[..]));
    assert_eq!(member.command(192)?, None);
    Ok(())
}
