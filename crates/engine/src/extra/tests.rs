use super::*;

const PATH: &str = "file";

#[test]
fn an_extra_reads_back_and_so_does_that_of_an_older_build() {
    let listed: Listed = [3, 4, 9].into_iter().collect();
    for due_ms in [0, 1, u64::MAX] {
        let extra = Extra { listed: listed.clone(), due_ms };
        assert_eq!(Extra::decode(Path::new(PATH), &extra.encode()).expect("just encoded"), extra);
    }
    let old = Extra::decode(Path::new(PATH), &listed.encode()).expect("a list alone");
    assert_eq!(old, Extra { listed, due_ms: 0 });
    let older = Extra::decode(Path::new(PATH), &[]).expect("nothing");
    assert_eq!(older.listed, Listed::everything());
}

#[test]
fn every_truncation_is_refused() {
    let extra = Extra { listed: [3, 4, 9].into_iter().collect(), due_ms: 7 };
    let bytes = extra.encode();
    // A list with fewer ranges is a list: whose bytes these are, the file's checksums say.
    for len in (1..bytes.len()).filter(|len| *len < 10 || !(len - 10).is_multiple_of(8)) {
        assert!(Extra::decode(Path::new(PATH), &bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_file_is_due_when_a_quarter_of_its_entries_has_expired() {
    let due = |expiries: &[u64]| {
        let mut all = Expiries::new(1);
        expiries.iter().for_each(|expiry| all.add(*expiry));
        all.take_due_ms()
    };
    assert_eq!(due(&[]), 0);
    assert_eq!(due(&[0, 0, 0, 0]), 0);
    assert_eq!(due(&[5]), 5);
    assert_eq!(due(&[0, 9, 0, 0]), 9);
    assert_eq!(due(&[0, 9, 0, 0, 0]), 0);
    assert_eq!(due(&[4, 3, 2, 1, 8, 7, 6, 5]), 2);
    assert!(!Extra::is_due(0, 9) && !Extra::is_due(9, 8) && Extra::is_due(9, 9));
}

#[test]
fn of_many_entries_a_sample_tells_about_when() {
    let mut all = Expiries::new(7);
    for round in 0..2 {
        for number in 0..100_000_u64 {
            all.add(1 + (number * 7919) % 100_000);
        }
        let due = all.take_due_ms();
        assert!((10_000..45_000).contains(&due), "round {round}: {due} is about a quarter");
    }
}
