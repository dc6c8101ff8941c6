//! The calls that workloads are made of, and sequences of them.

use anyhow::Context;
use vfs::Random;

/// One call of a workload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// A small value over a key that every layer knows.
    Put,
    /// A value that is longer than what an ordered index holds inline.
    BigPut,
    /// Removes the key that the puts write.
    Delete,
    /// Puts and deletes in two keyspaces.
    Batch,
    /// A value that expires.
    TtlPut,
    /// `Db::flush`.
    Flush,
    /// `Db::compact`.
    Compact,
    /// `Db::collect_garbage`.
    Gc,
    /// A snapshot, held and read again at the end.
    Snapshot,
    /// Time passes, beyond every expiry given so far.
    Tick,
    /// A clean close and the next open.
    Reopen,
    /// `Db::sync`.
    Sync,
    /// A batch over two keyspaces that skips the log.
    Unlogged,
    /// Drops the second keyspace and creates it again.
    Recreate,
    /// Background jobs run until they are idle.
    Jobs,
    /// A value longer than a log segment.
    HugePut,
    /// A transaction that reads and writes two keyspaces.
    Transact,
    /// `Keyspace::compare_and_swap`.
    Swap,
    /// `Keyspace::expire`.
    Expire,
    /// `Db::checkpoint_on`, beside the database; its target is opened at the end and after a crash.
    Checkpoint,
    /// A transaction over what somebody else writes meanwhile: it must not commit.
    Contend,
    /// The clock is set back over the expiry of a value that was seen to have expired.
    Back,
    /// Many small values in one batch, so that a hash table splits.
    Many,
    /// Removes most of them.
    Few,
}

/// Calls and their names in a replay line.
const NAMES: [(Op, &str); 24] = [
    (Op::Put, "put"),
    (Op::BigPut, "bigput"),
    (Op::Delete, "delete"),
    (Op::Batch, "batch"),
    (Op::TtlPut, "ttlput"),
    (Op::Flush, "flush"),
    (Op::Compact, "compact"),
    (Op::Gc, "gc"),
    (Op::Snapshot, "snapshot"),
    (Op::Tick, "tick"),
    (Op::Reopen, "reopen"),
    (Op::Sync, "sync"),
    (Op::Unlogged, "unlogged"),
    (Op::Recreate, "recreate"),
    (Op::Jobs, "jobs"),
    (Op::HugePut, "hugeput"),
    (Op::Transact, "transact"),
    (Op::Swap, "swap"),
    (Op::Expire, "expire"),
    (Op::Checkpoint, "checkpoint"),
    (Op::Contend, "contend"),
    (Op::Back, "back"),
    (Op::Many, "many"),
    (Op::Few, "few"),
];
/// How many of [`NAMES`] are the calls that design and issue name.
const ELEVEN: usize = 11;
/// How many of [`NAMES`] the exhaustive exploration combines.
const COMBINED: usize = 16;
/// How many of [`NAMES`] random sequences are drawn from.
const DRAWN: usize = 22;

fn first(count: usize) -> Vec<Op> {
    NAMES[..count].iter().map(|(op, _)| *op).collect()
}

impl Op {
    /// The alphabet that design and issue name.
    pub fn eleven() -> Vec<Op> {
        first(ELEVEN)
    }

    /// The eleven and what they cannot reach: what the exhaustive exploration combines.
    pub fn combined() -> Vec<Op> {
        first(COMBINED)
    }

    /// What random sequences are drawn from: all but those with many keys, which take long to
    /// judge.
    pub fn drawn() -> Vec<Op> {
        first(DRAWN)
    }

    /// A hash table grows by splits and shrinks again; the few values that are left in a large
    /// segment are moved, and then dissolved into a new one.
    pub const GROWTH: [Op; 9] = [
        Op::Many,
        Op::Compact,
        Op::Few,
        Op::Compact,
        Op::Gc,
        Op::Put,
        Op::Compact,
        Op::Gc,
        Op::Reopen,
    ];

    /// Its name in a replay line.
    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(op, _)| *op == self);
        found.expect("every call has a name").1
    }

    /// The call of a name.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(name: &str) -> anyhow::Result<Op> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(op, _)| *op).with_context(|| format!("{name:?} is no call"))
    }
}

/// All sequences of exactly `len` calls.
pub fn sequences(alphabet: &[Op], len: usize) -> Vec<Vec<Op>> {
    let mut all = vec![Vec::new()];
    for _ in 0..len {
        let longer = |ops: &Vec<Op>| {
            let ops = ops.clone();
            alphabet.iter().map(move |op| [&ops[..], &[*op]].concat())
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

/// `len` calls, writes more often than others.
pub fn random_sequence(alphabet: &[Op], len: usize, seed: u64) -> Vec<Op> {
    let mut random = Random::new(seed ^ 0x7a11);
    let writes = [Op::Put, Op::BigPut, Op::Batch, Op::HugePut];
    let draw = |_| match random.percent(40) {
        true => writes[random.index(writes.len())],
        false => alphabet[random.index(alphabet.len())],
    };
    (0..len).map(draw).collect()
}

#[cfg(test)]
mod tests;
