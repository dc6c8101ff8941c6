use super::*;
use crate::options::KEY_LEN_MAX;

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    Op { keyspace: 0, kind: RecordKind::Put, expiry: Expiry::Never, key, value }
}

/// One buffer of zeros stands for many values: nobody touches it, so it takes no memory.
#[test]
fn row_065_a_batch_is_refused_from_its_first_byte_too_many() {
    let zeros = vec![0; 64 << 20];
    let value = |len: usize| zeros.get(..len).expect("no value here is longer");
    let full = put(b"k", value((64 << 20) - 64));
    let mut ops = vec![full; 15];
    let used: usize = ops.iter().map(Op::encoded_len).sum();
    let left = BATCH_LEN_MAX - used;
    // A record takes a multiple of eight bytes, its header 24.
    let fitting = (left - 24 - 1) / 8 * 8 + 7;
    ops.push(put(b"k", value(fitting.min(zeros.len() - 8))));
    let mut len: usize = ops.iter().map(Op::encoded_len).sum();
    assert_eq!(check(&ops).expect("it fits"), len);
    // Fill up what is left in small steps: every length is judged by the same limit.
    while len < BATCH_LEN_MAX {
        let room = BATCH_LEN_MAX - len;
        let op = put(b"k", value(room.min(4096).saturating_sub(25)));
        if op.encoded_len() > room || len > LAST_RECORD_MAX {
            break;
        }
        len += op.encoded_len();
        ops.push(op);
        assert_eq!(check(&ops).expect("it fits"), len);
    }
    ops.push(put(b"k", value(BATCH_LEN_MAX - len)));
    let error = check(&ops).expect_err("it is too long");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("batch"), "{error}");
}

#[test]
fn row_065_the_longest_key_with_the_longest_value_fits_a_batch_of_one() {
    let zeros = vec![0; VALUE_LEN_MAX + 1];
    let (key, value) = zeros.split_at(KEY_LEN_MAX);
    assert!(value.len() < VALUE_LEN_MAX);
    let value = zeros.get(..VALUE_LEN_MAX).expect("one shorter");
    let op = Op { expiry: Expiry::After(Duration::MAX), ..put(key, value) };
    assert_eq!(check(&[op]).expect("it fits"), op.encoded_len());
    assert!(op.encoded_len() <= BATCH_LEN_MAX);
    assert!(u64::try_from(op.encoded_len()).expect("small") <= u64::from(u32::MAX));
    let long = put(key, &zeros);
    assert!(check(&[long]).expect_err("one too many").to_string().contains("value"));
    let long = put(zeros.get(..=KEY_LEN_MAX).expect("one more"), b"");
    assert!(check(&[long]).expect_err("one too many").to_string().contains("key"));
}

#[test]
fn an_expiry_is_rounded_up_and_never_overflows() {
    let at = |ttl, now_ms| expiry_of(&Op { expiry: Expiry::After(ttl), ..put(b"k", b"v") }, now_ms);
    assert_eq!(expiry_of(&put(b"k", b"v"), 5), 0);
    assert_eq!(at(Duration::from_nanos(1), 5), 6);
    assert_eq!(at(Duration::from_millis(3), 5), 8);
    assert_eq!(at(Duration::ZERO, 5), 5);
    assert_eq!(at(Duration::ZERO, 0), 1, "0 would mean never");
    assert_eq!(at(Duration::MAX, 5), u64::MAX);
    assert_eq!(at(Duration::from_secs(1), u64::MAX), u64::MAX);
    assert_eq!(expiry_of(&Op { expiry: Expiry::At(7), ..put(b"k", b"v") }, 9), 7, "as it is");
}
