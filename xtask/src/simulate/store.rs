//! A store for byte flows of the value log, without a byte written: puts fill log segments, a generation of
//! segments is flushed (promoted or copied), and garbage collection rewrites what design 3.5 says.
//!
//! What is modelled:
//! 1. A generation is four segments; a store holds `generations` generations of live values.
//! 2. A segment whose separated live bytes reach `promote_min` is kept whole, its dead part charged
//!    at once; of any other the survivors are copied to fresh files.
//! 3. A record shadowed on disk is charged as garbage only `lag` x keys puts later, as index merges
//!    find it late. Rewriting decides by the newest entry of the durable index, so it is exact.
//! 4. An expired record stays alive for garbage collection until a merge drops it, `lag` later.
//! 5. A rewritten file pays 12 bytes per record for its remap table; every key pays an index entry.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use super::draws::{Random, Zipfian, floor, to_f64};

const KEY_BYTES: u32 = 16;
/// Frame header, record header and padding around key and value.
const RECORD_OVERHEAD_BYTES: u32 = 64;
/// A B-tree's entry: key, pointer, expiry, slot; divided by a leaf's fill; upper levels included.
const TREE_ENTRY_BYTES: u64 = 48;
/// A hash index's slot, its page's fill and half as many again in runs (decision 0004).
const HASH_ENTRY_BYTES: u64 = 28;
const REMAP_ENTRY_BYTES: u64 = 12;
const INLINE_MAX_BYTES: u32 = 512;
const SEGMENTS_PER_GENERATION: u64 = 4;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Keys {
    Uniform,
    Zipfian,
    /// Every put has a new key, and dies by expiry only.
    Fresh,
}

#[derive(Clone, Copy)]
pub(super) enum Sizes {
    Fixed(u32),
    /// This share of the puts is 100 bytes, the others 16 KiB.
    Mixed(f64),
}

#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) keys: Keys,
    pub(super) sizes: Sizes,
    /// Every value is separated, as in a hash keyspace; otherwise values to `INLINE_MAX_BYTES` are inline.
    pub(super) separate_all: bool,
    /// Time to live of half the puts, in units of the live key count; the others live so long that
    /// the count of live keys is kept.
    pub(super) ttl: Option<f64>,
}

#[derive(Clone, Copy)]
pub(super) enum Victim {
    /// The most known garbage per byte.
    Greedy,
    /// Garbage x age / (1 + live), the log-structured file system's benefit over cost.
    CostBenefit,
}

#[derive(Clone, Copy)]
pub(super) struct Policy {
    pub(super) promote_min: f64,
    /// Below this share of garbage a file is not rewritten in the background.
    pub(super) advised: f64,
    /// From this share on a file is rewritten whatever the total says.
    pub(super) forced: f64,
    /// Known garbage over all value bytes, above which victims are taken.
    pub(super) total: f64,
    pub(super) victim: Victim,
    /// Copies at flush are grouped into files by how many of the last eight generations wrote
    /// their keys.
    pub(super) by_heat: bool,
    /// Survivors of one collection are grouped into files by age.
    pub(super) by_age: bool,
    pub(super) lag: f64,
    /// Live value bytes of the store in generations.
    pub(super) generations: u64,
}

#[derive(Clone, Copy)]
struct Put {
    key: u32,
    bytes: u32,
    separated: bool,
    /// Number of the put that ends its life.
    expires: Option<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Nowhere,
    Inline,
    File { file: usize, slot: usize },
}

/// What the durable index says about a key.
#[derive(Clone, Copy)]
struct Entry {
    at: At,
    bytes: u32,
    version: u64,
    expired: bool,
}

#[derive(Default)]
struct File {
    records: Vec<u32>,
    bytes: u64,
    known_dead_bytes: u64,
    rewritten: bool,
    born: u64,
}

impl File {
    fn known_garbage(&self) -> f64 {
        to_f64(self.known_dead_bytes) / to_f64(self.bytes.max(1))
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Flows {
    pub(super) log_bytes: u64,
    pub(super) copied_bytes: u64,
    pub(super) gc_written_bytes: u64,
    pub(super) gc_freed_bytes: u64,
    /// Part of `gc_written_bytes` out of files that were at most four generations old.
    pub(super) gc_young_bytes: u64,
    pub(super) segments: u64,
    pub(super) promoted: u64,
}

/// A live record of a victim.
struct Survivor {
    version: u64,
    key: u32,
    bytes: u32,
}

pub(super) struct Store {
    case: Case,
    policy: Policy,
    key_count: u32,
    random: Random,
    zipfian: Option<Zipfian>,
    segment_bytes: u64,
    index: Vec<Entry>,
    /// A bit per recent generation that wrote the key. The engine would keep filters instead.
    recent: Vec<u8>,
    last_in_generation: Vec<usize>,
    generation: Vec<Put>,
    generation_bytes: u64,
    files: Vec<File>,
    in_use: BTreeSet<usize>,
    /// (due, file, bytes): garbage that no merge has met yet.
    charges: VecDeque<(u64, usize, u64)>,
    /// (due, key, version).
    expiries: BinaryHeap<Reverse<(u64, u32, u64)>>,
    drops: VecDeque<(u64, u32, u64)>,
    pub(super) puts: u64,
    live_bytes: u64,
    entries: u64,
    inline_bytes: u64,
    pub(super) flows: Flows,
}

impl Store {
    pub(super) fn new(case: Case, policy: Policy, key_count: u32, seed: u64, rounds: u32) -> Store {
        let value_bytes = match case.sizes {
            Sizes::Fixed(bytes) => f64::from(bytes),
            Sizes::Mixed(small) => small * 100.0 + (1.0 - small) * f64::from(16u32 << 10),
        };
        let record_bytes = value_bytes + f64::from(KEY_BYTES + RECORD_OVERHEAD_BYTES);
        let per_segment =
            f64::from(key_count) / to_f64(policy.generations * SEGMENTS_PER_GENERATION);
        let index_len = if case.keys == Keys::Fresh { key_count * (rounds + 1) } else { key_count };
        let index_len = usize::try_from(index_len).expect("32 bits fit");
        let nothing = Entry { at: At::Nowhere, bytes: 0, version: 0, expired: false };
        Store {
            case,
            policy,
            key_count,
            random: Random::new(seed),
            zipfian: (case.keys == Keys::Zipfian).then(|| Zipfian::new(key_count, 0.99)),
            segment_bytes: u64::from(floor(per_segment * record_bytes)),
            index: vec![nothing; index_len],
            recent: vec![0; index_len],
            last_in_generation: vec![0; index_len],
            generation: Vec::new(),
            generation_bytes: 0,
            files: Vec::new(),
            in_use: BTreeSet::new(),
            charges: VecDeque::new(),
            expiries: BinaryHeap::new(),
            drops: VecDeque::new(),
            puts: 0,
            live_bytes: 0,
            entries: 0,
            inline_bytes: 0,
            flows: Flows::default(),
        }
    }

    fn lag_puts(&self) -> u64 {
        u64::from(floor(self.policy.lag * f64::from(self.key_count)))
    }

    pub(super) fn put(&mut self, key: u32) {
        let value_bytes = match self.case.sizes {
            Sizes::Fixed(bytes) => bytes,
            Sizes::Mixed(small) if self.random.unit() < small => 100,
            Sizes::Mixed(_) => 16 << 10,
        };
        let keys = f64::from(self.key_count);
        let expires = self.case.ttl.map(|short| {
            let life = if self.random.unit() < 0.5 { short } else { 2.0 - short };
            self.puts + u64::from(floor(life * keys))
        });
        let bytes = (value_bytes + KEY_BYTES + RECORD_OVERHEAD_BYTES).next_multiple_of(8);
        let separated = self.case.separate_all || value_bytes > INLINE_MAX_BYTES;
        self.generation.push(Put { key, bytes, separated, expires });
        self.generation_bytes += u64::from(bytes);
        self.puts += 1;
        if self.generation_bytes >= self.segment_bytes * SEGMENTS_PER_GENERATION {
            self.flush();
        }
    }

    pub(super) fn draw(&mut self) -> u32 {
        match (&self.zipfian, self.case.keys) {
            (Some(zipfian), _) => zipfian.rank(&mut self.random),
            (None, Keys::Fresh) => u32::try_from(self.puts).expect("sized for 32 bits"),
            (None, _) => self.random.below(self.key_count),
        }
    }

    pub(super) fn flush(&mut self) {
        let generation = std::mem::take(&mut self.generation);
        self.flows.log_bytes += std::mem::take(&mut self.generation_bytes);
        for (position, put) in generation.iter().enumerate() {
            self.last_in_generation[put.key as usize] = position;
        }
        let mut survivors = Vec::new();
        let mut start = 0;
        while start < generation.len() {
            let mut end = start;
            let mut bytes = 0;
            while end < generation.len() && bytes < self.segment_bytes {
                bytes += u64::from(generation[end].bytes);
                end += 1;
            }
            let live: Vec<Put> = (start..end)
                .filter(|&position| {
                    self.last_in_generation[generation[position].key as usize] == position
                })
                .map(|position| generation[position])
                .collect();
            self.flush_segment(bytes, &live, &mut survivors);
            start = end;
        }
        if self.policy.by_heat {
            survivors.sort_by_key(|put| Reverse(self.heat(put.key)));
        }
        self.copy(survivors);
        self.note_heat(&generation);
        self.pass_time(self.puts);
    }

    fn heat(&self, key: u32) -> u32 {
        self.recent[key as usize].count_ones()
    }

    fn note_heat(&mut self, generation: &[Put]) {
        for recent in &mut self.recent {
            *recent <<= 1;
        }
        for put in generation {
            self.recent[put.key as usize] |= 1;
        }
    }

    fn copy(&mut self, survivors: Vec<Put>) {
        let mut file = None;
        for put in survivors {
            self.flows.copied_bytes += u64::from(put.bytes);
            let id = *file.get_or_insert_with(|| self.create(false));
            self.record(id, put);
            if self.files[id].bytes >= self.segment_bytes {
                file = None;
            }
        }
    }

    /// Keeps a segment whole or hands its live records to `survivors`.
    fn flush_segment(&mut self, bytes: u64, live: &[Put], survivors: &mut Vec<Put>) {
        let (separated, inline): (Vec<Put>, Vec<Put>) = live.iter().partition(|put| put.separated);
        for put in inline {
            self.place(put, At::Inline);
        }
        let live_bytes: u64 = separated.iter().map(|put| u64::from(put.bytes)).sum();
        self.flows.segments += 1;
        if to_f64(live_bytes) < self.policy.promote_min * to_f64(bytes) {
            survivors.extend(separated);
            return;
        }
        self.flows.promoted += 1;
        let file = self.create(false);
        for put in separated {
            self.record(file, put);
        }
        self.files[file].bytes = bytes;
        self.files[file].known_dead_bytes = bytes - live_bytes;
    }

    fn create(&mut self, rewritten: bool) -> usize {
        self.files.push(File { rewritten, born: self.puts, ..File::default() });
        let file = self.files.len() - 1;
        self.in_use.insert(file);
        file
    }

    fn record(&mut self, file: usize, put: Put) {
        let slot = self.append(file, put.key, put.bytes);
        self.place(put, At::File { file, slot });
    }

    fn append(&mut self, file: usize, key: u32, bytes: u32) -> usize {
        let file = &mut self.files[file];
        file.records.push(key);
        file.bytes += u64::from(bytes);
        file.records.len() - 1
    }

    /// The index learns of a put; what it shadows becomes garbage that a merge will meet later.
    fn place(&mut self, put: Put, at: At) {
        self.forget(put.key, self.puts + self.lag_puts());
        let version = self.puts;
        let entry = Entry { at, bytes: put.bytes, version, expired: false };
        self.index[put.key as usize] = entry;
        self.live_bytes += u64::from(put.bytes);
        self.entries += 1;
        if at == At::Inline {
            self.inline_bytes += u64::from(put.bytes);
        }
        if let Some(due) = put.expires {
            self.expiries.push(Reverse((due, put.key, version)));
        }
    }

    fn forget(&mut self, key: u32, charged: u64) {
        let entry = &mut self.index[key as usize];
        let old = *entry;
        entry.at = At::Nowhere;
        match old.at {
            At::Nowhere => return,
            At::Inline => self.inline_bytes -= u64::from(old.bytes),
            At::File { file, .. } => self.charges.push_back((charged, file, old.bytes.into())),
        }
        self.entries -= 1;
        if !old.expired {
            self.live_bytes -= u64::from(old.bytes);
        }
    }

    /// Expiries, merges that drop expired entries, and charges that are due.
    fn pass_time(&mut self, now: u64) {
        while let Some(&Reverse((due, key, version))) = self.expiries.peek() {
            if due > now {
                break;
            }
            self.expiries.pop();
            let lag = self.lag_puts();
            let entry = &mut self.index[key as usize];
            if entry.version == version && entry.at != At::Nowhere {
                entry.expired = true;
                self.live_bytes -= u64::from(entry.bytes);
                self.drops.push_back((due + lag, key, version));
            }
        }
        self.merge_indexes(now);
    }

    /// What merges have met by the put number `met`: expired entries dropped, garbage charged.
    pub(super) fn merge_indexes(&mut self, met: u64) {
        while self.drops.front().is_some_and(|drop| drop.0 <= met) {
            let (due, key, version) = self.drops.pop_front().expect("the front was seen");
            if self.index[key as usize].version == version {
                self.forget(key, due);
            }
        }
        // A dropped entry is charged at once, so the queue is not quite in the order of its dues.
        let all = std::mem::take(&mut self.charges);
        let (due, later): (VecDeque<_>, _) = all.into_iter().partition(|charge| charge.0 <= met);
        self.charges = later;
        for (_, file, bytes) in due {
            if self.in_use.contains(&file) {
                self.files[file].known_dead_bytes += bytes;
            }
        }
    }

    /// Rewrites victims until the policy is content; files under `garbage_min` are left alone.
    pub(super) fn collect(&mut self, garbage_min: f64) {
        let mut survivors: Vec<Survivor> = Vec::new();
        let mut pending_bytes = 0;
        while let Some(victim) = self.victim(garbage_min, pending_bytes) {
            self.in_use.remove(&victim);
            let file = std::mem::take(&mut self.files[victim]);
            let mut written = 0;
            for (slot, &key) in file.records.iter().enumerate() {
                let Entry { at, bytes, version, .. } = self.index[key as usize];
                if at == (At::File { file: victim, slot }) {
                    survivors.push(Survivor { version, key, bytes });
                    written += u64::from(bytes);
                }
            }
            pending_bytes += written;
            if self.puts - file.born <= 4 * u64::from(self.key_count) / self.policy.generations {
                self.flows.gc_young_bytes += written;
            }
            self.flows.gc_written_bytes += written;
            self.flows.gc_freed_bytes += file.bytes - written;
        }
        if self.policy.by_age {
            survivors.sort_unstable_by_key(|survivor| survivor.version);
        }
        let mut output = None;
        for Survivor { key, bytes, .. } in survivors {
            let file = *output.get_or_insert_with(|| self.create(true));
            let slot = self.append(file, key, bytes);
            self.index[key as usize].at = At::File { file, slot };
            if self.files[file].bytes >= self.segment_bytes {
                output = None;
            }
        }
    }

    fn victim(&self, garbage_min: f64, pending_bytes: u64) -> Option<usize> {
        let files = self.in_use.iter().copied();
        let score = |file: usize| {
            let garbage = self.files[file].known_garbage();
            match self.policy.victim {
                Victim::Greedy => garbage,
                Victim::CostBenefit => {
                    garbage * to_f64(self.puts - self.files[file].born) / (2.0 - garbage)
                }
            }
        };
        let forced =
            files.clone().find(|&file| self.files[file].known_garbage() >= self.policy.forced);
        if forced.is_some() {
            return forced;
        }
        let dead: u64 = self.in_use.iter().map(|&file| self.files[file].known_dead_bytes).sum();
        if to_f64(dead) <= self.policy.total * to_f64(self.value_bytes() + pending_bytes) {
            return None;
        }
        files
            .filter(|&file| self.files[file].known_dead_bytes > 0)
            .filter(|&file| self.files[file].known_garbage() >= garbage_min)
            .max_by(|&left, &right| score(left).total_cmp(&score(right)))
    }

    fn value_bytes(&self) -> u64 {
        self.in_use.iter().map(|&file| self.files[file].bytes).sum()
    }

    /// All files over live record bytes, the log excepted.
    pub(super) fn space(&self) -> f64 {
        let remaps: u64 = self
            .in_use
            .iter()
            .filter(|&&file| self.files[file].rewritten)
            .map(|&file| to_u64(self.files[file].records.len()) * REMAP_ENTRY_BYTES)
            .sum();
        let entry_bytes = if self.case.separate_all { HASH_ENTRY_BYTES } else { TREE_ENTRY_BYTES };
        let index = self.entries * entry_bytes + self.inline_bytes;
        to_f64(self.value_bytes() + remaps + index) / to_f64(self.live_bytes.max(1))
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).expect("64 bits hold a count")
}

#[cfg(test)]
mod tests;
