use engine::Options;

use super::*;
use crate::kill::stream::{Change, Lost, Op, Wish};

const SEED: u64 = 5;

fn apply(db: &Db, op: &Op) {
    let mut batch = db.batch();
    for Change { space, key, value, .. } in op.changes() {
        let (name, kind) = SPACES[*space];
        let space = db.keyspace(name, kind.options()).expect("a keyspace");
        match value {
            Some(value) => batch.put(&space, key, value),
            None => batch.delete(&space, key),
        }
    }
    db.write(batch, engine::WriteOptions::default()).expect("a write");
}

fn progress(acknowledged: u64) -> Vec<Progress> {
    vec![Progress::after(SEED, 0, acknowledged)]
}

/// A database after the first `count` operations of thread 0.
fn database_after(count: u64) -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = Db::open(dir.path().join("data"), Options::default()).expect("a database");
    (0..count).for_each(|index| apply(&db, &Op::draw(SEED, 0, index)));
    (dir, db)
}

#[test]
fn a_state_with_all_acknowledged_operations_or_one_more_is_right() {
    let (_dir, db) = database_after(300);
    let mut exact = progress(300);
    database(&db, &mut exact).expect("nothing is missing");
    let after = |count| Model::after(SEED, 0, count, &Lost::default());
    // Find an operation that changed something: the state before it is another one.
    let last = (0..300).rev().find(|index| after(*index) != after(*index + 1));
    let last = last.expect("most operations change something");
    let mut one_more = progress(last);
    database(&db, &mut one_more).expect("one may be in doubt");
    assert!(one_more[0].acknowledged <= 300 && one_more[0].model == exact[0].model);
}

#[test]
fn a_lost_operation_is_a_violation() {
    let (_dir, db) = database_after(300);
    let error = database(&db, &mut progress(310)).expect_err("ten operations are missing");
    assert!(error.to_string().contains("310 acknowledged"), "{error}");
}

#[test]
fn an_invented_key_is_a_violation() {
    let (_dir, db) = database_after(50);
    for (name, kind) in SPACES {
        let space = db.keyspace(name, kind.options()).expect("a keyspace");
        space.put("unheard of", "x").expect("a put");
        let error = database(&db, &mut progress(50)).expect_err("nobody wrote that");
        assert!(error.to_string().contains("unheard of"), "{error}");
        space.delete("unheard of").expect("a delete");
    }
}

#[test]
fn half_a_batch_is_a_violation() {
    let batch = (0..).find(|index| Op::draw(SEED, 0, *index).changes().len() > 4);
    let batch = batch.expect("batches are drawn");
    let (_dir, db) = database_after(batch);
    let op = Op::draw(SEED, 0, batch);
    let half = Op::Batch { changes: op.changes()[..2].to_vec(), wish: Wish::Policy };
    apply(&db, &half);
    database(&db, &mut progress(batch)).expect_err("a batch is whole or absent");
}
