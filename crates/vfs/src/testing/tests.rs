use std::panic::catch_unwind;

use super::*;

const DOC: &str = "\
# Formats

## header   (always first)

Some words about it.

    57534547  magic    \"WSEG\"
    01        version  1

## frame

    02000000  len      2
    68 69     payload  hi
";

fn message(section: &'static str, bytes: &'static [u8]) -> String {
    let panic = catch_unwind(|| check_dump(DOC, section, bytes)).expect_err("they differ");
    panic.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn bytes_as_documented_pass() {
    check_dump(DOC, "header", b"WSEG\x01");
    check_dump(DOC, "frame", &[2, 0, 0, 0, b'h', b'i']);
}

#[test]
fn a_difference_shows_its_line_and_what_stands_there() {
    let text = message("frame", &[2, 0, 0, 0, b'h', b'o']);
    assert!(text.contains("    68 69     payload  hi"), "{text}");
    assert!(text.contains("at byte 4") && text.contains("686f"), "{text}");
    let text = message("frame", &[2, 0]);
    assert!(text.contains("02000000  len"), "{text}");
    let text = message("header", b"WSEG\x01\xfe");
    assert!(text.contains("ends before these bytes") && text.contains("fe"), "{text}");
    let text = message("footer", b"");
    assert!(text.contains("no dump"), "{text}");
}

#[test]
fn a_dump_that_is_no_dump_is_refused() {
    for doc in ["## x\n\n    zz  name", "## x\n\n    123  odd", "## x\n\n      "] {
        assert!(catch_unwind(|| check_dump(doc, "x", b"")).is_err(), "{doc:?}");
    }
}

#[test]
fn as_many_seeds_are_drawn_as_asked_for_unless_one_is_given() {
    let drawn: Vec<_> = seeds(3).collect();
    match given_seed() {
        None => assert_eq!(drawn.len(), 3),
        Some(given) => assert_eq!(drawn, [given]),
    }
}
