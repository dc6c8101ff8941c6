use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_name_is_read_as_it_is_written(kind in "[a-z]{1,8}", id: u64, quarantined: bool) {
        prop_assume!(kind != "bad");
        let name = Name { kind: Kind::new(&kind), id, quarantined };
        prop_assert_eq!(Name::parse(&name.to_string()), Some(name));
    }

    /// Row 74: whatever lies in a directory, it is a name as we write it or none.
    #[test]
    fn row_074_what_is_read_as_a_name_is_written_like_that(text in "[0-9a-gA-F]{15,17}\\.?[a-c.]{0,10}|\\PC*") {
        if let Some(name) = Name::parse(&text) {
            prop_assert_eq!(name.to_string(), text);
        }
    }
}

#[test]
fn row_111_look_alikes_are_no_names() {
    assert!(Name::parse("0000000000000012.tbl").is_some());
    assert!(Name::parse("0000000000000012.tbl.bad").is_some_and(|name| name.quarantined));
    for text in [
        "",
        ".",
        "..",
        ".tbl",
        "LOCK",
        "12.tbl",
        "00000000000000012.tbl",
        "000000000000012.tbl",
        "000000000000001A.tbl",
        "+000000000000012.tbl",
        "0000000000000012.Tbl",
        "0000000000000012.tb1",
        "0000000000000012.",
        "0000000000000012",
        "0000000000000012.bad",
        "0000000000000012.bad.bad",
        "0000000000000012.tbl.bad.bad",
        "0000000000000012.tbl.bak",
        "0000000000000012.tbl.",
        "0000000000000012.abcdefghi",
        "0000000000000012.tbl\0",
        " 0000000000000012.tbl",
        "../000000000012.tbl",
        "0000000000000012/tbl",
        "0000000000000012.t\u{e4}l",
    ] {
        assert_eq!(Name::parse(text), None, "{text:?}");
    }
}

#[test]
#[should_panic(expected = "1 to 8 letters")]
fn a_kind_has_a_letter() {
    Kind::new("");
}

#[test]
#[should_panic(expected = "bad marks quarantined files")]
fn the_mark_of_quarantine_is_no_kind() {
    Kind::new("bad");
}

#[test]
fn names_sort_by_kind_then_id_then_quarantine() {
    let kind = Kind::new("b");
    let sorted = [
        Name::new(Kind::new("a"), 9),
        Name::new(kind, 1),
        Name::new(kind, 1).quarantine(),
        Name::new(kind, 2),
    ];
    assert!(sorted.is_sorted());
    assert_eq!(format!("{:?}", sorted[2]), "0000000000000001.b.bad");
    assert_eq!(format!("{kind:?}"), "b");
}
