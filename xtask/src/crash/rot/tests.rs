use super::*;

#[test]
fn row_071_073_no_damage_of_a_small_sample_is_served_or_goes_unreported() {
    let rot = Rot::sample(400);
    let mut outcome = Outcome::default();
    for unit in 0..rot.units() {
        outcome.add(rot.run(unit));
    }
    assert_eq!(outcome.findings, [], "{:?}", outcome.counts);
}

#[test]
fn a_case_is_read_as_it_is_shown() {
    let rot = Rot::sample(100);
    let plan = rot.plan();
    for (base, case) in plan.cases.iter() {
        let base = &plan.bases[usize::from(*base)];
        let line = case.show(base).to_string();
        assert_eq!(Case::parse(&line, base).expect("it was shown"), *case, "{line}");
    }
}

#[test]
fn of_the_damages_of_a_byte_one_is_asked_everything() {
    for depth in [Depth::CI, Depth::LONG] {
        for first in 0..1_000 {
            let mut asks = (first..first + 9).map(|number| depth.of(number));
            assert!(asks.any(|ask| ask.turn.is_none()), "from {first} on");
        }
        // What is merged is asked everything, in both ways of reading.
        for way in [0, 1] {
            let mut asks = (0..1_000).map(|number| depth.of(2 * number + way));
            assert!(asks.any(|ask| ask.merges && ask.turn.is_none()));
        }
    }
}

/// Turns were numbers of damages, whose parity is the way of reading: where not everything was
/// asked, no forward scan and no odd key was ever read in both ways. Postmortem: two choices drawn
/// from one number are one choice.
#[test]
fn every_key_and_scan_has_its_turn_in_both_ways_of_reading() {
    const SCANS: usize = 10;
    for way in [0, 1] {
        let asks: Vec<Ask> = (0..1_000).map(|number| Depth::LONG.of(2 * number + way)).collect();
        let sampled = || asks.iter().filter(|ask| ask.turn.is_some());
        for key in 0..16 {
            assert!(sampled().any(|ask| ask.wants_key(key)), "key {key}, way {way}");
        }
        for scan in 0..SCANS {
            assert!(sampled().any(|ask| ask.wants_scan(scan, SCANS)), "scan {scan}, way {way}");
        }
    }
}
