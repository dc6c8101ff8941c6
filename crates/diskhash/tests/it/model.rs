//! Random histories against a model. Catalogue row 97.

use std::sync::Arc;

use diskhash::{At, Generation, Options, ReadMode, Table};
use vfs::Random;
use vfs::sim::SimDisk;

use crate::bed::{
    Batch, HASHERS, Hasher, Keys, Model, apply, apply_model, judge, merge_all, open, open_at,
    options,
};

struct Run {
    disk: SimDisk,
    options: Options,
    hasher: Hasher,
    keys: u64,
    table: Table,
    model: Model,
    /// Older generations that are still read.
    held: Vec<(Arc<Generation>, Model)>,
    seen: Vec<u64>,
}

impl Run {
    fn new(random: &mut Random) -> Run {
        let disk = SimDisk::new(random.next_u64());
        let hash = random.index(HASHERS.len());
        let hasher = HASHERS[hash];
        let read_mode = if random.percent(50) { ReadMode::Mapped } else { ReadMode::Positional };
        let hash_bytes = 5 + u8::try_from(random.below(4)).unwrap();
        let runs_max = 2 + random.index(5);
        let options = Options { read_mode, hash_bytes, runs_max, ..options() };
        // Where all hashes are equal, every look-up meets every slot.
        let keys = if hash == 0 { 3000 } else { 150 };
        let table = open(&disk, &options).unwrap();
        let seen = vec![table.newest().id()];
        Run { disk, options, hasher, keys, table, model: Model::new(), held: Vec::new(), seen }
    }

    fn note(&mut self, generation: &Generation) {
        assert!(self.seen.iter().all(|id| *id < generation.id()), "ids ascend");
        self.seen.push(generation.id());
    }

    fn random_batch(&self, random: &mut Random) -> Batch {
        let count = random.below(self.keys / 2) + 1;
        let deletes = u8::try_from(random.below(100)).unwrap();
        let mut draw = |_| {
            let key = random.below(self.keys);
            let value = u32::try_from(random.below(1 << 20)).unwrap();
            (key, (!random.percent(deletes)).then_some(value))
        };
        (0..count).map(&mut draw).collect()
    }

    fn apply(&mut self, random: &mut Random) {
        let batch = self.random_batch(random);
        self.hold_or_release(random, |run| {
            apply_model(&mut run.model, &batch);
            apply(&run.table, run.hasher, &batch).unwrap()
        });
    }

    /// Does something that commits; what was newest before is held or released.
    fn hold_or_release(
        &mut self,
        random: &mut Random,
        commit: impl FnOnce(&mut Run) -> Arc<Generation>,
    ) {
        let (before, model) = (self.table.newest(), self.model.clone());
        let after = commit(self);
        self.note(&after);
        if random.percent(20) {
            self.held.push((before, model));
        } else {
            self.table.release(before.id());
        }
    }

    /// A merge, with applies between its steps, perhaps given up.
    fn merge(&mut self, random: &mut Random) {
        let mut owner = Keys { replace: random.percent(30).then_some(2), ..Keys::default() };
        let job = match random.below(4) {
            0 => self.table.plan_rewrite(),
            1 => self.table.plan(true),
            _ => self.table.plan(false),
        };
        let Some(mut job) = job else { return };
        assert!(self.table.plan(true).is_none(), "one merge at a time");
        if random.percent(40) {
            self.apply(random);
        }
        while !job.step(&mut owner).unwrap() {
            if random.percent(30) {
                self.apply(random);
            }
        }
        if random.percent(10) {
            self.table.abandon(job.finish());
            return;
        }
        self.hold_or_release(random, |run| run.table.commit(job.finish()).unwrap());
    }

    fn reopen(&mut self, random: &mut Random) {
        let back = random.percent(30) && !self.held.is_empty();
        let at = if back {
            let (generation, model) = self.held.swap_remove(random.index(self.held.len()));
            self.model = model;
            At::Generation(generation.id())
        } else if random.percent(50) {
            At::Latest
        } else {
            At::Generation(self.table.newest().id())
        };
        self.held.clear();
        self.disk.kill();
        self.table = open_at(&self.disk, &self.options, at).unwrap();
        if let At::Generation(id) = at {
            assert_eq!(self.table.newest().id(), id);
        }
    }

    fn judge(&self) {
        judge(&self.table.newest(), self.hasher, &self.model, self.keys);
        for (generation, model) in &self.held {
            judge(generation, self.hasher, model, self.keys);
        }
    }
}

#[test]
fn row_097_random_histories_agree_with_a_model() {
    for seed in vfs::testing::seeds(90) {
        let mut random = Random::new(seed);
        let mut run = Run::new(&mut random);
        for step in 0..40 {
            match random.below(10) {
                0..5 => run.apply(&mut random),
                5..9 => run.merge(&mut random),
                _ => run.reopen(&mut random),
            }
            if step % 8 == 7 {
                run.judge();
            }
        }
        merge_all(&run.table, true, &mut Keys::default()).unwrap();
        run.judge();
        assert_eq!(run.table.newest().stats().runs, 0);
        // After all that is deleted nothing is left, not even a tombstone.
        let batch: Batch = run.model.keys().map(|key| (*key, None)).collect();
        apply(&run.table, run.hasher, &batch).unwrap();
        merge_all(&run.table, true, &mut Keys::default()).unwrap();
        run.model.clear();
        run.judge();
        assert!(run.table.newest().is_empty());
        assert_eq!(run.table.newest().stats().partitions, 1);
    }
}
