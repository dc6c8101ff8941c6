use vfs::Random;

use super::*;

fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    escape(bytes, &mut out);
    out
}

fn assert_round_trip(bytes: &[u8]) {
    let text = escaped(bytes);
    assert!(std::str::from_utf8(&text).is_ok(), "{bytes:?} became {text:?}");
    assert!(!text.contains(&b'\t') && !text.contains(&b'\n'), "{bytes:?} became {text:?}");
    assert_eq!(unescape(&text).as_deref(), Ok(bytes), "through {text:?}");
}

#[test]
fn any_bytes_come_back() {
    for byte in 0..=u8::MAX {
        assert_round_trip(&[byte]);
        assert_round_trip(&[b'\\', byte]);
    }
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"));
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let pieces = ["\\", "x", "t", "\t", "\n", "4", "f", "\u{e9}", "\u{85}", "\u{1f980}"];
    for _ in 0..5_000 {
        let len = random.index(40);
        assert_round_trip(&random.bytes(len));
        let mixed = (0..len).map(|_| pieces[random.index(pieces.len())]).collect::<String>();
        assert_round_trip(mixed.as_bytes());
        assert_round_trip(&mixed.as_bytes()[..random.index(mixed.len() + 1)]);
    }
}

#[test]
fn the_four_escapes_are_as_documented() {
    assert_eq!(escaped(b"a\tb\nc\\d\x00\xff"), b"a\\tb\\nc\\\\d\\x00\\xff");
    assert_eq!(unescape(b"\\x41\\xfF\\t"), Ok(b"A\xff\t".to_vec()));
    assert_eq!(escaped("caf\u{e9}".as_bytes()), "caf\u{e9}".as_bytes());
}

#[test]
fn broken_escapes_are_refused() {
    for text in ["\\", "a\\", "\\q", "\\x", "\\x1", "\\xg0", "\\x1 ", "\\T"] {
        assert!(unescape(text.as_bytes()).is_err(), "{text:?} was accepted");
    }
}
