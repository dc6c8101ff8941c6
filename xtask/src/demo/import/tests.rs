use super::*;

#[test]
fn acknowledgements_are_read_as_written_up_to_a_cut() {
    let files = [
        Stored { key: b"a/b".to_vec(), len: 7, hash: u64::MAX },
        Stored { key: vec![b'k'; engine::KEY_LEN_MAX], len: 1 << 30, hash: 1 },
    ];
    let mut bytes = Vec::new();
    files.iter().for_each(|file| encode(file, &mut bytes));
    let mut pipe = bytes.as_slice();
    for file in &files {
        assert_eq!(decode(&mut pipe).expect("no error").as_ref(), Some(file));
    }
    assert_eq!(decode(&mut pipe).expect("no error"), None);
    let first_len = 4 + 8 + 8 + 3;
    for cut in 0..first_len {
        assert_eq!(decode(&mut &bytes[..cut]).expect("no error"), None, "cut at {cut}");
    }
}

#[test]
fn a_key_length_that_cannot_be_is_an_error() {
    let bytes = [0xff; 64];
    assert!(decode(&mut bytes.as_slice()).is_err());
}
