use std::collections::BTreeSet;
use std::path::Path;

use vfs::Random;

use super::*;

#[test]
fn a_list_is_the_set_of_what_was_inserted() {
    let mut random = Random::new(7);
    for _ in 0..200 {
        let (mut listed, mut other) = (Listed::default(), Listed::default());
        let mut model = BTreeSet::new();
        for _ in 0..random.below(60) {
            let id = u32::try_from(random.below(64)).expect("small");
            if random.percent(50) {
                listed.insert(id)
            } else {
                other.insert(id)
            }
            model.insert(id);
        }
        let both = (0..64).any(|id| listed.contains(id) && other.contains(id));
        assert_eq!((listed.meets(&other), other.meets(&listed)), (both, both));
        listed.extend(&other);
        let decoded = Listed::decode(Path::new("file"), &listed.encode()).expect("just encoded");
        assert_eq!(decoded, listed);
        assert_eq!(listed, model.iter().copied().collect::<Listed>());
        for id in 0..64 {
            assert_eq!(listed.contains(id), model.contains(&id));
        }
    }
}

#[test]
fn the_ends_of_the_id_space_are_ids_like_others() {
    let listed: Listed = [0, u32::MAX, u32::MAX - 1].into_iter().collect();
    assert!(listed.contains(0) && listed.contains(u32::MAX) && !listed.contains(1));
    assert!(Listed::everything().contains(u32::MAX));
}

#[test]
fn bytes_that_are_no_list_are_refused() {
    let decode = |bytes: &[u8]| Listed::decode(Path::new("file"), bytes);
    assert_eq!(decode(&[]).expect("before there were lists"), Listed::everything());
    for bad in [&[2][..], &[1, 0], &[1, 5, 0, 0, 0, 4, 0, 0, 0]] {
        assert!(decode(bad).is_err(), "{bad:?}");
    }
    let twice = [&[1][..], &[4, 0, 0, 0, 4, 0, 0, 0].repeat(2)].concat();
    assert!(decode(&twice).is_err());
}
