use std::collections::BTreeSet;

use super::*;

#[test]
fn a_turn_of_rounds_meets_every_config_once() {
    let count = configs().len() as u64;
    let met: BTreeSet<usize> = (0..count).map(|index| Round::draw(7, index).config).collect();
    assert_eq!(met.len() as u64, count);
}

#[test]
fn both_kinds_of_moment_and_of_verification_are_drawn() {
    let rounds: Vec<Round> = (0..64).map(|index| Round::draw(7, index)).collect();
    let early = rounds.iter().filter(|round| round.moment.from_start).count();
    let copied = rounds.iter().filter(|round| round.copy).count();
    let settled = rounds.iter().filter(|round| round.settle).count();
    assert!(0 < early && early < rounds.len(), "{early} from the start");
    assert!(0 < copied && copied < rounds.len(), "{copied} copied");
    assert!(0 < settled && settled < rounds.len(), "{settled} settled");
}
