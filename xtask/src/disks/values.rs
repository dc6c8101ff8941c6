//! Which keys and values a served database holds: functions of a number.

use std::collections::BTreeMap;

use vfs::Random;

/// Different keys.
pub(super) const KEYS: u64 = 6_000;

/// What a database should hold: for each key the put whose value it has.
pub(super) type Model = BTreeMap<u64, u64>;

/// The key of put number `put`.
pub(super) fn key_of(put: u64) -> u64 {
    put.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS
}

pub(super) fn key(number: u64) -> Vec<u8> {
    format!("key {number:06}").into_bytes()
}

/// The value that put number `put` writes: inline, separated, or larger than most.
pub(super) fn value(seed: u64, put: u64) -> Vec<u8> {
    let mut random = Random::new(seed ^ put.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let len = match random.below(100) {
        0..40 => random.index(100),
        40..90 => random.index(3_000),
        _ => random.index(20_000),
    };
    random.bytes(len)
}

/// A model as text, for the child.
pub(super) fn to_text(model: &Model) -> String {
    let pairs: Vec<String> = model.iter().map(|(key, put)| format!("{key}={put}")).collect();
    pairs.join(" ")
}

/// Reads what [`to_text`] wrote.
pub(super) fn from_text(text: &str) -> Option<Model> {
    let pair = |pair: &str| {
        let (key, put) = pair.split_once('=')?;
        Some((key.parse().ok()?, put.parse().ok()?))
    };
    text.split_whitespace().map(pair).collect()
}
