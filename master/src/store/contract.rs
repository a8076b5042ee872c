//! What every store promises, as one suite that runs on each of them.

use super::{KeyRange, MemoryStore, MetaStore, MetaView, Order, Overlay, Position, Table, WriteBatch};
use super::{export, fingerprint};
use bytes::Bytes;
use cairn_common::ids::Stamp;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn at(index: u64) -> Position {
    Position { index, term: 1, stamp: Stamp(index * 100), digest: [index as u8; 32] }
}

fn batch(changes: &[(&'static str, Option<&'static str>)]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(Table::System, *key, *value),
            None => batch.delete(Table::System, *key),
        }
    }
    batch
}

fn value(view: &dyn MetaView, key: &str) -> Option<Bytes> {
    view.get(Table::System, key.as_bytes()).unwrap()
}

pub(crate) fn rows_are_read_as_they_were_last_written(store: &dyn MetaStore) {
    assert_eq!(value(store, "a"), None);
    store.write(&batch(&[("a", Some("1")), ("b", Some(""))]), &at(1)).unwrap();
    store.write(&batch(&[("a", Some("2")), ("c", None)]), &at(2)).unwrap();
    assert_eq!(value(store, "a"), Some("2".into()));
    assert_eq!(value(store, "b"), Some("".into()));
    assert_eq!(store.get(Table::Sessions, b"a").unwrap(), None, "tables are apart");
    store.write(&batch(&[("a", None)]), &at(3)).unwrap();
    assert_eq!(value(store, "a"), None);
    assert_eq!(store.applied().unwrap(), at(3));
}

pub(crate) fn a_snapshot_does_not_move(store: &dyn MetaStore) {
    store.write(&batch(&[("a", Some("1")), ("b", Some("1"))]), &at(1)).unwrap();
    let snapshot = store.snapshot().unwrap();
    store.write(&batch(&[("a", Some("2")), ("b", None), ("c", Some("2"))]), &at(2)).unwrap();
    let seen = |key| snapshot.get(Table::System, key).unwrap();
    assert_eq!((seen(b"a"), seen(b"b"), seen(b"c")), (Some("1".into()), Some("1".into()), None));
    assert_eq!(snapshot.position().unwrap(), at(1));
    let mut rows = 0;
    let mut cursor = snapshot.scan(Table::System, KeyRange::default(), Order::Forward).unwrap();
    while cursor.row().is_some() {
        rows += 1;
        cursor.advance().unwrap();
    }
    assert_eq!(rows, 2);
}

pub(crate) fn only_a_flush_makes_a_position_durable(store: &dyn MetaStore) {
    assert_eq!(store.flushed().unwrap(), Position::default());
    store.write(&batch(&[("a", Some("1"))]), &at(1)).unwrap();
    assert_eq!(store.flushed().unwrap(), Position::default());
    store.flush().unwrap();
    assert_eq!(store.flushed().unwrap(), at(1));
    // A batch that changes nothing moves the position all the same.
    store.write(&WriteBatch::new(), &at(2)).unwrap();
    assert_eq!((store.applied().unwrap(), store.flushed().unwrap()), (at(2), at(1)));
    store.flush().unwrap();
    assert_eq!(store.flushed().unwrap(), at(2));
}

pub(crate) fn an_exported_state_is_the_same_elsewhere(store: &dyn MetaStore) {
    let mut all = WriteBatch::new();
    for table in Table::ALL {
        for n in 0..50u8 {
            all.put(table, vec![table as u8, n], vec![n; usize::from(n)]);
        }
    }
    store.write(&all, &at(1)).unwrap();
    let copy = MemoryStore::new();
    let mut batches = 0;
    export(store, 1000, |batch| {
        batches += 1;
        copy.write(&batch, &at(1))
    })
    .unwrap();
    assert!(batches > 5);
    assert_eq!(fingerprint(store).unwrap(), fingerprint(&copy).unwrap());
    copy.write(&batch(&[("a", Some("1"))]), &at(2)).unwrap();
    assert_ne!(fingerprint(store).unwrap(), fingerprint(&copy).unwrap());
}

fn short_key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(proptest::sample::select(vec![0u8, 1, 97, 254, 255]), 0..3)
}

/// Random rows, some of them removed again; ranges to walk; and keys to seek to.
type Walk = (Vec<(Vec<u8>, Option<u8>)>, Vec<(Vec<u8>, Option<Vec<u8>>)>, Vec<Vec<u8>>);

fn walk() -> impl Strategy<Value = Walk> {
    let rows = proptest::collection::vec((short_key(), proptest::option::weighted(0.7, any::<u8>())), 0..20);
    let ranges = proptest::collection::vec((short_key(), proptest::option::of(short_key())), 1..4);
    (rows, ranges, proptest::collection::vec(short_key(), 1..5))
}

fn fill(changes: &[(Vec<u8>, Option<u8>)], model: &mut Model) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, value) in changes {
        match value {
            Some(value) => {
                batch.put(Table::Current, key.clone(), vec![*value]);
                model.insert(key.clone(), vec![*value]);
            }
            None => {
                batch.delete(Table::Current, key.clone());
                model.remove(key);
            }
        }
    }
    batch
}

/// Walks and seeks over each range in both orders and compares with a sorted map.
fn walks_as_the_model_says(view: &dyn MetaView, model: &Model, (_, ranges, seeks): &Walk) {
    for (start, end) in ranges {
        for order in [Order::Forward, Order::Backward] {
            let range = KeyRange { start: start.clone(), end: end.clone() };
            let mut rows: Vec<_> = model.iter().filter(|(key, _)| range.contains(key)).collect();
            if order == Order::Backward {
                rows.reverse();
            }
            let mut cursor = view.scan(Table::Current, range.clone(), order).unwrap();
            for (key, value) in &rows {
                assert_eq!(cursor.row(), Some((key.as_slice(), value.as_slice())), "{range:?} {order:?}");
                cursor.advance().unwrap();
            }
            assert_eq!(cursor.row(), None);
            cursor.advance().unwrap();
            assert_eq!(cursor.row(), None, "behind the end it stays there");
            for seek in seeks {
                cursor.seek(seek).unwrap();
                let at_or_after = |key: &Vec<u8>| if order == Order::Forward { key >= seek } else { key <= seek };
                let mut wanted = rows.iter().filter(|(key, _)| at_or_after(key));
                for _ in 0..2 {
                    let row = wanted.next().map(|(key, value)| (key.as_slice(), value.as_slice()));
                    assert_eq!(cursor.row(), row, "{range:?} {order:?} {seek:?}");
                    cursor.advance().unwrap();
                }
            }
        }
    }
}

/// Runs the walks on stores that `make` makes, and on overlays over them.
pub(crate) fn cursors_walk_like_a_sorted_map<S: MetaStore>(cases: u32, make: impl Fn() -> S) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    let strategy = (walk(), proptest::collection::vec((short_key(), proptest::option::of(any::<u8>())), 0..10));
    let result = runner.run(&strategy, |(walk, pending)| {
        let store = make();
        let mut model = Model::new();
        // One batch for each row, so that removed rows lie on top of older ones.
        for (index, change) in walk.0.iter().enumerate() {
            store.write(&fill(std::slice::from_ref(change), &mut model), &at(index as u64)).unwrap();
        }
        walks_as_the_model_says(&store, &model, &walk);
        walks_as_the_model_says(&*store.snapshot().unwrap(), &model, &walk);
        let mut overlay = Overlay::new(&store);
        overlay.put(Table::Current, vec![7], vec![7]);
        overlay.take_back();
        for (table, key, value) in fill(&pending, &mut model).changes() {
            match value {
                Some(value) => overlay.put(table, key.clone(), value.clone()),
                None => overlay.delete(table, key.clone()),
            }
        }
        walks_as_the_model_says(&overlay, &model, &walk);
        Ok(())
    });
    result.unwrap();
}

mod memory {
    use super::*;

    #[test]
    fn keeps_the_contract() {
        rows_are_read_as_they_were_last_written(&MemoryStore::new());
        a_snapshot_does_not_move(&MemoryStore::new());
        only_a_flush_makes_a_position_durable(&MemoryStore::new());
        an_exported_state_is_the_same_elsewhere(&MemoryStore::new());
    }

    #[test]
    fn cursors_and_overlays_walk_like_a_sorted_map() {
        cursors_walk_like_a_sorted_map(300, MemoryStore::new);
    }

    #[test]
    fn a_crash_leaves_the_last_flush() {
        let store = MemoryStore::new();
        store.write(&batch(&[("a", Some("1"))]), &at(1)).unwrap();
        store.flush().unwrap();
        store.write(&batch(&[("a", Some("2")), ("b", Some("2"))]), &at(2)).unwrap();
        let after = store.crash();
        assert_eq!((value(&after, "a"), value(&after, "b")), (Some("1".into()), None));
        assert_eq!(after.applied().unwrap(), at(1));
    }

    #[test]
    fn what_a_command_changed_can_be_taken_back() {
        let store = MemoryStore::new();
        store.write(&batch(&[("a", Some("1"))]), &at(1)).unwrap();
        let mut overlay = Overlay::new(&store);
        overlay.put(Table::System, "b", "kept");
        overlay.keep();
        overlay.put(Table::System, "b", "lost");
        overlay.put(Table::System, "b", "lost again");
        overlay.delete(Table::System, "a");
        overlay.put(Table::System, "c", "lost");
        assert_eq!(overlay.changed(), 4);
        assert_eq!(value(&overlay, "a"), None);
        overlay.take_back();
        assert_eq!(value(&overlay, "a"), Some("1".into()));
        assert_eq!(value(&overlay, "b"), Some("kept".into()));
        assert_eq!(overlay.into_batch(), batch(&[("b", Some("kept"))]));
    }
}
