use super::*;

#[test]
fn kept_hashes_keep_their_upper_bytes() {
    assert_eq!(keep(u64::MAX, 5), 0xffff_ffff_ff00_0000);
    assert_eq!(keep(0x0102_0304_0506_0708, 7), 0x0102_0304_0506_0700);
    assert_eq!(keep(u64::MAX, 8), u64::MAX);
    assert_eq!(keep(0xff_ffff, 5), 0);
}

#[test]
fn halves_are_the_whole_and_lead_back_to_it() {
    let mut random = vfs::Random::new(vfs::testing::seed());
    for _ in 0..1000 {
        let mut prefix = Prefix::ALL;
        let hash = random.next_u64();
        for bits in 1..=PREFIX_BITS_MAX {
            let [left, right] = prefix.halves();
            assert_eq!(left.start, prefix.start);
            assert_eq!(left.last() + 1, right.start);
            assert_eq!(right.last(), prefix.last());
            assert_eq!([left.parent(), right.parent()], [Some(prefix); 2]);
            assert!(left.is_sound() && right.is_sound());
            prefix = if left.contains(hash) { left } else { right };
            assert!(prefix.contains(hash) && prefix.bits == bits);
        }
    }
    assert_eq!(Prefix::ALL.parent(), None);
    assert_eq!(Prefix::ALL.last(), u64::MAX);
    assert!(!Prefix { bits: 3, start: 1 }.is_sound());
    assert!(!Prefix { bits: 33, start: 0 }.is_sound());
}

#[test]
fn homes_ascend_with_the_hash_and_stay_inside() {
    let mut random = vfs::Random::new(vfs::testing::seed());
    for _ in 0..2000 {
        let bits = u8::try_from(random.below(33)).unwrap();
        let hash = random.next_u64();
        let start = hash & u64::MAX.checked_shl(64 - u32::from(bits)).unwrap_or(0);
        let prefix = Prefix { bits, start };
        let section_bits = u8::try_from(random.below(24)).unwrap();
        let layout = Layout { prefix, section_bits };
        let pages = u32::try_from(random.below(1 << 32)).unwrap().max(1);
        let place = |hash: u64| (layout.section(hash), home(layout.fraction(hash), pages));
        assert_eq!(place(prefix.start), (0, 0));
        let last = (layout.sections() - 1, u64::from(pages) - 1);
        assert!(place(prefix.last()).0 == last.0 && place(prefix.last()).1 <= last.1);
        let next = hash.saturating_add(random.below(1 << 40)).min(prefix.last());
        assert!(place(hash) <= place(next.max(hash)));
    }
}

#[test]
fn extremes_of_the_hash_have_homes() {
    let layout = Layout { prefix: Prefix::ALL, section_bits: 0 };
    assert_eq!((layout.section(u64::MAX), layout.section(0)), (0, 0));
    for pages in [1, 2, 3, u32::MAX] {
        assert_eq!(home(layout.fraction(0), pages), 0);
        assert_eq!(home(layout.fraction(u64::MAX), pages), u64::from(pages) - 1);
    }
    assert_eq!(layout.section_span(5), (1 << 40) - 1);
    assert_eq!(Layout { section_bits: 3, ..layout }.section_span(8), u64::MAX >> 3);
}

// The ancestor computed bucket offsets in 32 bits: past 4 GiB they met the first buckets.
#[test]
fn pages_past_4_gib_do_not_overlap_the_first() {
    assert_eq!(page_offset(0), 4096);
    assert_eq!(page_offset(1 << 20), (1 << 32) + 4096);
    assert_eq!(page_offset(1 << 40), (1 << 52) + 4096);
    let layout = Layout { prefix: Prefix::ALL, section_bits: 0 };
    let pages = 3 << 20;
    let mut before = 0;
    for step in 0..1000_u64 {
        let offset = page_offset(home(layout.fraction(step << 54), pages));
        assert!(before < offset);
        before = offset;
    }
    assert!(before > 11 << 30);
}

#[test]
fn pages_are_filled_to_the_load_for_any_count_of_entries() {
    assert_eq!(pages_for(0, 254), 1);
    assert_eq!(pages_for(215, 254), 1);
    assert_eq!(pages_for(216, 254), 2);
    // More than 2^32 entries, and more than any file holds.
    assert_eq!(pages_for(1 << 33, 254), 39_786_636);
    assert_eq!(pages_for(u64::MAX, 3), u32::MAX);
}

#[test]
fn scaling_and_fractions_agree_with_long_division() {
    let mut random = vfs::Random::new(vfs::testing::seed());
    for _ in 0..1000 {
        let (fraction, pages) = (random.next_u64(), u32::try_from(random.below(1 << 20)).unwrap());
        let product = u128::from(fraction) * u128::from(pages.max(1));
        let (upper, lower) = (product >> 64, product & u128::from(u64::MAX));
        assert_eq!(u128::from(home(fraction, pages.max(1))), upper);
        assert_eq!(u128::from(within(fraction, pages.max(1))), lower);
        let count = random.index(1000) + 1;
        assert!(scale(fraction, count) < count);
    }
}
