//! List-append histories and their checker.
//!
//! Workers read lists and append elements that occur once in the world, so the lists themselves
//! say in which order the appends came, and a read says which of them it saw. Over the committed
//! transactions this gives edges (Adya, 1999): before whoever appended next (ww), after whoever
//! appended what was read (wr), before whoever appended behind what was read (rw), and in real
//! time. A history is strictly serializable only if they form no cycle, nothing aborted or half a
//! transaction was ever read, and no list forks. (The method is that of Elle, Kingsbury and Alvaro,
//! 2020.)

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::{Db, ErrorKind, IndexKind, Keyspace, Result, Transaction, WriteOptions};
use vfs::Random;

/// Lists that are in use at one time.
const SLOTS: u64 = 8;
/// Appends in an epoch; then other lists are used, so that none grows for ever.
const EPOCH_APPENDS: u64 = SLOTS * 24;
/// Bytes of an element.
const ELEMENT_LEN: usize = 8;

/// What is known about a transaction.
pub(super) struct Txn {
    /// When it began and when it had ended, on a clock that ticks at each.
    start: u64,
    end: u64,
    reads: Vec<Read>,
    appends: Vec<(u64, u64)>,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Committed { durable: bool },
    Lost,
}

/// A list as it was read, but for own appends.
struct Read {
    list: u64,
    count: usize,
    digest: u64,
}

/// The lists as they are in the end.
pub(super) type Lists = BTreeMap<u64, Vec<u64>>;

fn digest(digest: u64, element: u64) -> u64 {
    (digest ^ element).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// What the workers of one history share.
pub(super) struct History {
    db: Db,
    spaces: Vec<Keyspace>,
    /// Tells the elements of this history from those of others.
    number: u64,
    ticks: AtomicU64,
    appended: AtomicU64,
    /// Some transactions are long.
    long: bool,
}

impl History {
    /// `number` and `epoch` grow over the histories of one database.
    pub(super) fn new(db: &Db, spaces: &[Keyspace], number: u64, long: bool) -> History {
        History {
            db: db.clone(),
            spaces: spaces.to_vec(),
            number,
            ticks: AtomicU64::new(1),
            appended: AtomicU64::new(number * EPOCH_APPENDS / 2),
            long,
        }
    }

    fn space(&self, list: u64) -> &Keyspace {
        let index = usize::try_from(list).expect("small") % self.spaces.len();
        &self.spaces[index]
    }

    /// The next tick.
    pub(super) fn now(&self) -> u64 {
        self.ticks.load(Ordering::SeqCst)
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    fn read(&self, txn: &Transaction, list: u64, log: &mut Txn) -> Result<Vec<u8>> {
        let value = txn.get(self.space(list), name(list))?;
        let bytes = value.map(engine::Value::into_vec).unwrap_or_default();
        note(list, &bytes, log);
        Ok(bytes)
    }

    /// Reads all lists of an epoch that are in the first keyspace.
    fn scan(&self, txn: &Transaction, epoch: u64, log: &mut Txn) -> Result<()> {
        let space = &self.spaces[0];
        let lists = (0..SLOTS).map(|slot| epoch * SLOTS + slot);
        let mut absent: Vec<u64> =
            lists.filter(|list| self.space(*list).name() == space.name()).collect();
        if space.kind() != IndexKind::BTree {
            return absent.iter().try_for_each(|list| self.read(txn, *list, log).map(drop));
        }
        let range = txn.range(space, name(epoch * SLOTS)..name((epoch + 1) * SLOTS));
        let items: Vec<_> = match epoch % 2 {
            0 => range.collect(),
            _ => range.rev().collect(),
        };
        for item in items {
            let (key, value) = item?;
            let list = String::from_utf8_lossy(&key[4..]).parse().expect("a number");
            absent.retain(|other| *other != list);
            note(list, &value, log);
        }
        absent.into_iter().for_each(|list| note(list, &[], log));
        Ok(())
    }

    fn append(&self, txn: &mut Transaction, list: u64, element: u64, log: &mut Txn) -> Result<()> {
        let mut bytes = self.read(txn, list, log)?;
        bytes.extend_from_slice(&element.to_le_bytes());
        txn.put(self.space(list), name(list), &bytes)?;
        log.appends.push((list, element));
        self.appended.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// One who makes transactions, one after the other, step by step.
pub(super) struct Worker {
    number: u64,
    random: Random,
    elements: u64,
    open: Option<Open>,
    /// Operations in transactions that ended.
    pub(super) done: u64,
    txns: Vec<Txn>,
}

/// A transaction that has not ended.
struct Open {
    txn: Transaction,
    log: Txn,
    count: u64,
    left: u64,
}

impl Worker {
    pub(super) fn new(number: u64, seed: u64) -> Worker {
        let random = Random::new(seed ^ number.wrapping_mul(0xa076_1d64_78bd_642f));
        Worker { number, random, elements: 0, open: None, done: 0, txns: Vec::new() }
    }

    /// What it did; a transaction that has not ended never will.
    pub(super) fn into_txns(self) -> Vec<Txn> {
        self.txns
    }

    /// Begins a transaction, reads or appends in it, or commits it.
    pub(super) fn step(&mut self, history: &History) -> Result<()> {
        let Some(mut open) = self.open.take() else {
            self.begin(history);
            return Ok(());
        };
        if open.left == 0 {
            return self.commit(open, history);
        }
        open.left -= 1;
        self.operate(&mut open, history)?;
        self.open = Some(open);
        Ok(())
    }

    fn begin(&mut self, history: &History) {
        let count = match history.long && self.random.index(100) == 0 {
            true => 60,
            false => 1 + self.random.below(5),
        };
        let log = Txn {
            start: history.tick(),
            end: 0,
            reads: Vec::new(),
            appends: Vec::new(),
            outcome: Outcome::Lost,
        };
        self.open = Some(Open { txn: history.db.transaction(), log, count, left: count });
    }

    fn operate(&mut self, open: &mut Open, history: &History) -> Result<()> {
        let epoch = history.appended.load(Ordering::Relaxed) / EPOCH_APPENDS;
        let list = epoch * SLOTS + self.random.below(SLOTS);
        let Open { txn, log, .. } = open;
        match self.random.index(20) {
            0 => history.scan(txn, epoch, log),
            1..10 => history.read(txn, list, log).map(drop),
            _ => {
                self.elements += 1;
                let element = history.number << 48 | self.number << 32 | self.elements;
                history.append(txn, list, element, log)?;
                // Something that merges and collections drop beside the lists.
                if self.random.index(8) == 0 {
                    let (space, ttl) = (history.space(list), Duration::from_millis(20));
                    txn.put_ttl(space, format!("note{}", list % 64), [7; 90], ttl)?;
                }
                Ok(())
            }
        }
    }

    fn commit(&mut self, open: Open, history: &History) -> Result<()> {
        let Open { txn, mut log, count, .. } = open;
        let durable = self.random.index(50) == 0;
        let options = WriteOptions::default();
        match txn.commit_with(if durable { options.durable() } else { options }) {
            Ok(()) => log.outcome = Outcome::Committed { durable },
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
        log.end = history.tick();
        self.done += count;
        self.txns.push(log);
        Ok(())
    }
}

fn name(list: u64) -> String {
    format!("list{list:012}")
}

fn elements(bytes: &[u8]) -> Vec<u64> {
    let elements = bytes.chunks(ELEMENT_LEN);
    elements.map(|bytes| u64::from_le_bytes(bytes.try_into().expect("whole elements"))).collect()
}

/// Takes note of a list as read; the own appends, which must be its end, without.
fn note(list: u64, bytes: &[u8], log: &mut Txn) {
    let mut elements = elements(bytes);
    let own: Vec<u64> = log.appends.iter().filter(|own| own.0 == list).map(|own| own.1).collect();
    assert!(elements.ends_with(&own), "a transaction reads its own appends, in order");
    elements.truncate(elements.len() - own.len());
    let digest = elements.iter().fold(0, |all, element| digest(all, *element));
    log.reads.push(Read { list, count: elements.len(), digest });
}

/// Every list in a database.
pub(super) fn lists(spaces: &[Keyspace]) -> Result<Lists> {
    let mut lists = Lists::new();
    for space in spaces {
        for item in space.iter() {
            let (key, value) = item?;
            if let Some(number) = key.strip_prefix(b"list") {
                let list = String::from_utf8_lossy(number).parse().expect("a number");
                assert!(lists.insert(list, elements(&value)).is_none(), "a list in two keyspaces");
            }
        }
    }
    Ok(lists)
}

/// A history that was found in order.
pub(super) struct Checked {
    /// The committed transactions.
    txns: Vec<Txn>,
    /// Who must come before whom.
    edges: Vec<(u32, u32)>,
    pub(super) operations: usize,
    pub(super) lost: usize,
}

/// Checks what the workers noted against the lists in the end. `before`: the lists at the start.
pub(super) fn check(workers: Vec<Vec<Txn>>, before: &Lists, lists: &Lists) -> Checked {
    let lost_elements: Vec<u64> = workers
        .iter()
        .flatten()
        .filter(|txn| txn.outcome == Outcome::Lost)
        .flat_map(|txn| txn.appends.iter().map(|append| append.1))
        .collect();
    let lost = workers.iter().flatten().filter(|txn| txn.outcome == Outcome::Lost).count();
    let mut edges = Vec::new();
    real_time_edges(&workers, &mut edges);
    let committed = workers.into_iter().flatten().filter(|txn| txn.outcome != Outcome::Lost);
    let txns: Vec<Txn> = committed.collect();
    let number = |index: usize| u32::try_from(index).expect("fewer than 2^32");

    let mut writers = HashMap::new();
    for (index, txn) in txns.iter().enumerate() {
        for (_, element) in &txn.appends {
            assert!(writers.insert(*element, number(index)).is_none(), "elements are unique");
        }
    }
    let mut seen = 0;
    for (list, elements) in lists {
        let old = before.get(list).map_or(0, Vec::len);
        assert_eq!(elements.get(..old), before.get(list).map_or(Some(&[][..]), |old| Some(old)));
        let writer = |element: &u64| writers.get(element).copied();
        for element in elements.iter().skip(old) {
            assert!(writer(element).is_some(), "{element:x} was aborted and is in list {list}");
            seen += 1;
        }
        let pairs =
            elements.windows(2).filter_map(|two| Some((writer(&two[0])?, writer(&two[1])?)));
        edges.extend(pairs.filter(|(one, two)| one != two));
    }
    assert_eq!(seen, writers.len(), "every committed append is in its list, once");
    assert!(lost_elements.iter().all(|element| !writers.contains_key(element)));

    let mut operations = 0;
    for (index, txn) in txns.iter().enumerate() {
        operations += txn.reads.len();
        for read in &txn.reads {
            let list = lists.get(&read.list).map_or(&[][..], Vec::as_slice);
            let shown = list.get(..read.count).expect("no list was ever longer than in the end");
            let found = shown.iter().fold(0, |all, element| digest(all, *element));
            assert_eq!(found, read.digest, "list {} forked", read.list);
            let writer = |element: Option<&u64>| element.and_then(|one| writers.get(one).copied());
            let (from, to) = (writer(shown.last()), writer(list.get(read.count)));
            let me = number(index);
            edges.extend(from.filter(|from| *from != me).map(|from| (from, me)));
            edges.extend(to.filter(|to| *to != me).map(|to| (me, to)));
        }
    }
    assert_acyclic(&txns, &edges);
    Checked { txns, edges, operations, lost }
}

/// Whoever had ended before another began comes first. From each only to those of every worker
/// that follow first: the others follow from that.
fn real_time_edges(workers: &[Vec<Txn>], edges: &mut Vec<(u32, u32)>) {
    let mut first = 0;
    let committed: Vec<Vec<(u32, &Txn)>> = workers
        .iter()
        .map(|txns| {
            let kept = txns.iter().filter(|txn| txn.outcome != Outcome::Lost);
            let start = first;
            let kept: Vec<(u32, &Txn)> = (start..).zip(kept).collect();
            first += u32::try_from(kept.len()).expect("fewer than 2^32");
            kept
        })
        .collect();
    for one in &committed {
        for other in &committed {
            let mut next = other.iter().peekable();
            for (index, txn) in one {
                while next.next_if(|(_, later)| later.start < txn.end).is_some() {}
                edges.extend(next.peek().map(|(later, _)| (*index, *later)));
            }
        }
    }
}

/// Takes away whoever nobody must precede (Kahn, 1962); what is left is in or behind a cycle.
fn assert_acyclic(txns: &[Txn], edges: &[(u32, u32)]) {
    let mut waiting = vec![0_u32; txns.len()];
    let mut after: Vec<Vec<u32>> = vec![Vec::new(); txns.len()];
    for (from, to) in edges {
        waiting[*to as usize] += 1;
        after[*from as usize].push(*to);
    }
    let free = waiting.iter().enumerate().filter(|(_, count)| **count == 0);
    let mut free: Vec<usize> = free.map(|(index, _)| index).collect();
    let mut done = 0;
    while let Some(index) = free.pop() {
        done += 1;
        for to in std::mem::take(&mut after[index]) {
            let to = to as usize;
            waiting[to] -= 1;
            if waiting[to] == 0 {
                free.push(to);
            }
        }
    }
    let left = || {
        let left = waiting.iter().enumerate().filter(|(_, count)| **count > 0).take(6);
        let show = |(index, _): (usize, &u32)| {
            let txn = &txns[index];
            let reads: Vec<_> = txn.reads.iter().map(|read| (read.list, read.count)).collect();
            format!("{}..{} read {reads:?}, appended {:x?}\n", txn.start, txn.end, txn.appends)
        };
        left.map(show).collect::<String>()
    };
    assert!(done == txns.len(), "a cycle of {} transactions: {}", txns.len() - done, left());
}

impl Checked {
    /// Checks what a crash left of the history: whole transactions, all that had ended as durable
    /// before it, none that began after it, and with each all that must come before it.
    pub(super) fn check_image(&self, image: &Lists, lists: &Lists, from: u64, to: u64) {
        for (list, elements) in image {
            let whole = lists.get(list).map_or(&[][..], Vec::as_slice);
            assert!(whole.starts_with(elements), "list {list} forked over the crash");
        }
        let is_there = |(list, element): &(u64, u64)| {
            image.get(list).is_some_and(|elements| elements.contains(element))
        };
        let survived = self.txns.iter().map(|txn| {
            let count = txn.appends.iter().filter(|append| is_there(append)).count();
            assert!(count == 0 || count == txn.appends.len(), "half of a transaction");
            let durable = txn.outcome == Outcome::Committed { durable: true };
            if durable && txn.end < from {
                assert_eq!(count, txn.appends.len(), "a durable transaction was lost");
            }
            assert!(count == 0 || txn.start < to, "it began after the crash");
            count > 0
        });
        let survived: Vec<bool> = survived.collect();
        for (one, two) in &self.edges {
            let (one, two) = (*one as usize, *two as usize);
            let writes = !self.txns[one].appends.is_empty();
            assert!(survived[one] || !survived[two] || !writes, "a gap in what survived");
        }
    }
}

#[cfg(test)]
mod tests;
