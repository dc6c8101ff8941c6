//! A bank over several keyspaces: money moves between accounts and is never made or lost, whoever
//! counts it and whenever.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engine::{Db, ErrorKind, Keyspace, Transaction, WriteOptions};
use vfs::Random;

const ACCOUNTS: u64 = 60;
const DEPOSIT: u64 = 1000;

pub(super) struct Bank {
    db: Db,
    spaces: Vec<Keyspace>,
}

fn key(number: u64) -> String {
    format!("account{number:04}")
}

fn balance(bytes: Option<engine::Value>) -> Result<u64> {
    let bytes = bytes.context("an account is gone")?;
    let (money, _) = bytes.split_first_chunk().context("a balance is cut")?;
    Ok(u64::from_le_bytes(*money))
}

/// A balance, some of them long enough for the value log.
fn account(balance: u64) -> Vec<u8> {
    let mut bytes = balance.to_le_bytes().to_vec();
    bytes.resize(if balance.is_multiple_of(3) { 200 } else { 8 }, 0);
    bytes
}

impl Bank {
    /// With money in it from the first open on.
    pub(super) fn open(db: &Db, spaces: &[Keyspace]) -> Result<Bank> {
        let bank = Bank { spaces: spaces.to_vec(), db: db.clone() };
        if bank.space(0).get(key(0))?.is_none() {
            let mut batch = bank.db.batch();
            for number in 0..ACCOUNTS {
                batch.put(bank.space(number), key(number), account(DEPOSIT));
            }
            bank.db.write(batch, WriteOptions::default().durable())?;
        }
        Ok(bank)
    }

    fn space(&self, number: u64) -> &Keyspace {
        let index = usize::try_from(number).expect("small") % self.spaces.len();
        &self.spaces[index]
    }

    fn sum(&self, txn: &Transaction, space: &Keyspace) -> Result<u64> {
        let mut sum = 0;
        for item in txn.iter(space) {
            let (key, value) = item?;
            if key.starts_with(b"account") {
                sum += balance(Some(value))?;
            }
        }
        Ok(sum)
    }

    /// All money, as a transaction that only reads and a snapshot see it.
    pub(super) fn audit(&self) -> Result<()> {
        let sums = loop {
            let txn = self.db.transaction();
            let sums: Result<Vec<u64>> =
                self.spaces.iter().map(|space| self.sum(&txn, space)).collect();
            match txn.commit() {
                Ok(()) => break sums?,
                // A receipt that it read expired while it was open: another thread moves the clock.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
            }
        };
        let snapshot = self.db.snapshot();
        let mut held = 0;
        for number in 0..ACCOUNTS {
            held += balance(snapshot.get(self.space(number), key(number))?)?;
        }
        let (sum, all) = (sums.iter().sum::<u64>(), ACCOUNTS * DEPOSIT);
        ensure!(sum == all && held == all, "{sum} and, in a snapshot, {held} of {all} are there");
        Ok(())
    }
}

/// What one who works at the bank does next.
enum Task {
    Nothing,
    Pay {
        txn: Transaction,
        from: u64,
        to: u64,
        amount: u64,
    },
    Receive {
        txn: Transaction,
        to: u64,
        amount: u64,
    },
    Close {
        txn: Transaction,
        operations: u64,
    },
    /// Adds up one keyspace after the other; others work meanwhile.
    Count {
        txn: Transaction,
        space: usize,
        sum: u64,
    },
}

/// One who makes transactions, one after the other, step by step.
pub(super) struct Clerk {
    random: Random,
    task: Task,
    /// Operations in transactions that ended.
    pub(super) done: u64,
    pub(super) lost: u64,
}

impl Clerk {
    pub(super) fn new(number: u64, seed: u64) -> Clerk {
        let random = Random::new(seed ^ number.wrapping_mul(0xa076_1d64_78bd_642f));
        Clerk { random, task: Task::Nothing, done: 0, lost: 0 }
    }

    /// One step of a transaction.
    pub(super) fn step(&mut self, bank: &Bank) -> Result<()> {
        self.task = match std::mem::replace(&mut self.task, Task::Nothing) {
            Task::Nothing => self.begin(bank),
            Task::Pay { mut txn, from, to, amount } => {
                let payer = bank.space(from);
                let had = balance(txn.get(payer, key(from))?)?;
                let amount = amount.min(had);
                txn.put(payer, key(from), account(had - amount))?;
                Task::Receive { txn, to, amount }
            }
            Task::Receive { mut txn, to, amount } => {
                // Read after the write: the two may be one account.
                let payee = bank.space(to);
                let had = balance(txn.get(payee, key(to))?)?;
                txn.put(payee, key(to), account(had + amount))?;
                let receipt = format!("receipt{}", self.random.below(200));
                txn.put_ttl(payee, receipt, [1; 80], Duration::from_millis(30))?;
                Task::Close { txn, operations: 5 }
            }
            Task::Close { txn, operations } => {
                self.done += operations;
                match txn.commit() {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::Conflict => self.lost += 1,
                    Err(error) => return Err(error.into()),
                }
                Task::Nothing
            }
            Task::Count { txn, space, sum } => {
                let sum = sum + bank.sum(&txn, &bank.spaces[space])?;
                match space + 1 < bank.spaces.len() {
                    true => Task::Count { txn, space: space + 1, sum },
                    false => {
                        let all = ACCOUNTS * DEPOSIT;
                        ensure!(sum == all, "a transaction counts {sum} of {all}");
                        Task::Close { txn, operations: ACCOUNTS }
                    }
                }
            }
        };
        Ok(())
    }

    fn begin(&mut self, bank: &Bank) -> Task {
        let txn = bank.db.transaction();
        if self.random.index(25) == 0 {
            return Task::Count { txn, space: 0, sum: 0 };
        }
        let (from, to) = (self.random.below(ACCOUNTS), self.random.below(ACCOUNTS));
        Task::Pay { txn, from, to, amount: self.random.below(50) }
    }
}
