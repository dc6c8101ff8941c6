use super::*;

fn put(key: &str, value: &str) -> Change {
    let entry = Entry { value: value.as_bytes().into(), expiry_ms: 0 };
    Change::Put(engine::DEFAULT_KEYSPACE.to_owned(), key.as_bytes().to_vec(), entry)
}

fn keys(state: &State) -> Vec<String> {
    let entries = state[engine::DEFAULT_KEYSPACE].keys();
    entries.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

/// Three commits at calls 10, 20 and 30; the first two durable at call 25.
fn three() -> History {
    let mut history = History::default();
    history.tick(0, 1000);
    for (calls, key, unlogged) in [(10, "a", false), (20, "b", true), (30, "c", false)] {
        if calls == 30 {
            history.durable(25, 0);
        }
        history.attempt(calls, vec![put(key, "v")], unlogged);
        history.placed(1);
    }
    history
}

#[test]
fn a_commit_may_survive_from_its_first_call_and_must_from_its_ack() {
    let history = three();
    let at = |boundary| {
        let bounds = history.bounds(boundary);
        (bounds.durable, bounds.attempted)
    };
    assert_eq!(at(10), (0, 0));
    assert_eq!(at(11), (0, 1));
    assert_eq!(at(24), (0, 2));
    assert_eq!(at(25), (2, 2));
    assert_eq!(at(31), (2, 3));
}

#[test]
fn an_unlogged_commit_comes_only_with_everything_before_it_and_in_its_generation() {
    let history = three();
    let states: Vec<Vec<String>> =
        history.candidates(history.bounds(31)).iter().map(keys).collect();
    assert_eq!(states, [vec!["a"], vec!["a", "c"], vec!["a", "b", "c"]]);
}

#[test]
fn expired_entries_are_invisible_from_their_expiry_on() {
    let mut history = History::default();
    let entry = Entry { value: b"v".as_slice().into(), expiry_ms: 50 };
    let change = Change::Put(engine::DEFAULT_KEYSPACE.to_owned(), b"k".to_vec(), entry);
    history.attempt(0, vec![change], false);
    let now = history.now();
    assert_eq!(visible(&now, 49)[engine::DEFAULT_KEYSPACE].len(), 1);
    assert_eq!(visible(&now, 50)[engine::DEFAULT_KEYSPACE].len(), 0);
    assert!(will_expire(std::slice::from_ref(&now), 49) && !will_expire(&[now], 50));
}

#[test]
fn a_difference_names_keyspace_key_and_both_values() {
    let history = three();
    let want = visible(&history.now(), 0);
    let mut have = want.clone();
    have.get_mut(engine::DEFAULT_KEYSPACE).expect("it is there").remove(b"a".as_slice());
    assert_eq!(diff(&want, &have), "  default/a: expected 1 bytes \"v\", found nothing\n");
    assert_eq!(diff(&want, &want), "");
}
