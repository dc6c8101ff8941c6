use super::*;

#[test]
fn what_was_squeezed_is_expanded_to_the_same() {
    let mut random = vfs::Random::new(vfs::testing::seed());
    for _ in 0..200 {
        let len = 1 + random.index(20);
        let mut bytes = random.bytes(len);
        for _ in 0..random.index(6) {
            let zeros = [1, 3, 254, 255, 256, 600, 4096, 9000][random.index(8)];
            bytes.extend(std::iter::repeat_n(0, zeros));
            let len = random.index(5000);
            bytes.extend(random.bytes(len));
        }
        let squeezed = squeeze(&bytes);
        assert_eq!(Input::new(&squeezed).expand(), bytes);
    }
}

#[test]
fn a_page_of_few_bytes_is_short_and_any_bytes_expand() {
    let mut page = vec![0; 3 * 4096];
    page[4096..4100].copy_from_slice(b"leaf");
    assert_eq!(squeeze(&page), [0, 0, b'l', b'e', b'a', b'f', 0, 0, 0, 0]);
    assert_eq!(Input::new(&[0; 1001]).expand().len(), FILE_LEN_MAX);
    assert_eq!(Input::new(&[1, 0, 0, 2, 0]).expand().len(), 4096 + 2);
}

#[test]
fn an_input_that_ends_goes_on_with_zeros() {
    let mut input = Input::new(&[3, 0, 1]);
    let mut part = input.part();
    assert_eq!((part.u16(), part.u64(), input.number()), (1, 0, 0));
    assert!(part.is_empty() && input.is_empty());
}
