use super::*;

#[test]
fn heads_are_counted_as_by_one_loop() {
    let mut random = vfs::Random::new(4);
    for len in (0..70).chain([255, 256, 257]) {
        let limit = if len % 2 == 0 { 20 } else { u64::MAX };
        let mut heads: Vec<u64> = (0..len).map(|_| random.below(limit)).collect();
        heads.extend([0, u64::MAX].into_iter().take(random.index(3)));
        heads.sort_unstable();
        let stored: Vec<[u8; 8]> = heads.iter().map(|head| head.to_le_bytes()).collect();
        let near = |head: &u64| [head.saturating_sub(1), *head, head.saturating_add(1)];
        for head in heads.iter().flat_map(near).chain([0, u64::MAX]) {
            let naive = heads.iter().take_while(|other| **other < head).count();
            assert_eq!(count_below(&stored, head), naive, "{head} in {heads:?}");
        }
    }
}

#[test]
fn heads_order_as_suffixes_do() {
    let suffixes: [&[u8]; 8] =
        [b"", b"\0", b"\0\0\0\0\0\0\0\0\x01", b"a", b"a\0", b"abcdefgh", b"abcdefghi", b"b"];
    for pair in suffixes.windows(2) {
        assert!(head_of(pair[0]) <= head_of(pair[1]), "{pair:?}");
    }
    assert_eq!(head_bytes(head_of(b"abcdefghi")), *b"abcdefgh");
    assert_eq!(head_bytes(head_of(b"ab")), *b"ab\0\0\0\0\0\0");
}

#[test]
fn bytes_that_are_no_node_are_refused() {
    let path = Path::new("table");
    for bytes in [vec![], vec![0; 31], vec![0; 4096], vec![0xff; 4096]] {
        for level in [0, 1] {
            assert!(Node::parse(path, 1, level, &bytes).unwrap_err().is_corrupt());
        }
    }
}
