use std::collections::HashSet;

use super::*;

#[test]
fn sequences_of_two_calls_are_all_pairs() {
    let eleven = Op::eleven();
    let pairs = sequences(&eleven, 2);
    assert_eq!(pairs.len(), 121);
    assert_eq!(pairs.iter().collect::<HashSet<_>>().len(), 121);
    assert_eq!(sequences(&eleven, 0), [Vec::new()]);
}

#[test]
fn every_call_has_one_name_and_is_found_by_it() {
    let all: Vec<Op> = NAMES.iter().map(|(op, _)| *op).collect();
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    assert_eq!(NAMES.iter().map(|(_, name)| *name).collect::<HashSet<_>>().len(), all.len());
    assert!(all.iter().all(|op| Op::parse(op.name()).is_ok_and(|found| found == *op)));
    assert!(Op::parse("pot").is_err());
}

#[test]
fn the_alphabet_of_the_specification_is_part_of_what_is_combined_and_that_of_what_is_drawn() {
    let (eleven, combined, drawn) = (Op::eleven(), Op::combined(), Op::drawn());
    assert!(combined.starts_with(&eleven) && drawn.starts_with(&combined));
    assert!(eleven.contains(&Op::Gc) && drawn.contains(&Op::Checkpoint));
}
