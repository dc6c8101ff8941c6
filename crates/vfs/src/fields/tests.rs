use super::first_nonzero;

#[test]
fn the_first_byte_that_is_not_zero_is_found_wherever_it_is() {
    for len in [0, 1, 63, 64, 65, 200] {
        let mut bytes = vec![0; len];
        assert_eq!(first_nonzero(&bytes), None);
        for at in (0..len).rev() {
            bytes[at] = 1 << (at % 8);
            assert_eq!(first_nonzero(&bytes), Some(at), "of {len}");
        }
    }
}
