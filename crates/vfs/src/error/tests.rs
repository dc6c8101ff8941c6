use super::*;

#[test]
fn what_the_system_said_finds_its_variant_and_keeps_the_path() {
    let error = |number| Error::io("write", "a/b", io::Error::from_raw_os_error(number));
    assert!(matches!(error(28), Error::NoSpace { op: "write", .. }));
    assert!(matches!(error(2), Error::NotFound { .. }));
    assert!(matches!(error(5), Error::Io { op: "write", .. }));
    for number in [2, 5, 28] {
        assert_eq!(error(number).path(), Path::new("a/b"));
        assert!(error(number).to_string().contains("a/b"));
    }
}

#[test]
fn a_sync_that_finds_no_space_is_a_failed_sync() {
    // Believed: a full disk is NoSpace, which changes nothing and may be tried again.
    // True: a sync that says so has lost pages; an open that tried again built on an empty segment.
    let error = Error::io(SYNC, "a/b", io::Error::from_raw_os_error(28));
    assert!(matches!(error, Error::Io { op: "sync", .. }), "{error:?}");
}

#[test]
fn every_message_names_its_file() {
    let path = PathBuf::from("dir/file");
    let errors = [
        Error::corrupt("crc", &path, 16, 1, 255),
        Error::invalid("too long", &path),
        Error::Locked { path: path.clone() },
        Error::Poisoned { path: path.clone() },
    ];
    for error in &errors {
        assert!(error.to_string().contains("dir/file"), "{error}");
        assert_eq!(error.path(), path);
    }
    let expected = "crc in dir/file at byte 16: expected 0x1, found 0xff";
    assert_eq!(errors[0].to_string(), expected);
    assert!(errors[0].is_corrupt() && !errors[1].is_corrupt());
}
