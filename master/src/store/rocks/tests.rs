//! The contract on RocksDB, and what a crash leaves of it. A crash is real here: the test runs itself as another process, which
//! aborts at a random moment, so that nothing is closed and nothing is flushed.

use super::*;
use crate::store::contract::{self, at};
use cairn_common::ids::Stamp;
use cairn_common::seam::{SEEDED_BUGS, with_seeded_bug};
use std::panic::catch_unwind;
use std::process::Command;
use tempfile::TempDir;

const CRASHER: &str = "CAIRN_TEST_CRASH_DIR";

/// A store in a folder of its own.
struct Temporary {
    store: RocksStore,
    _folder: TempDir,
}

fn memory() -> RocksMemory {
    RocksMemory::new(8 << 20, 4 << 20)
}

fn temporary() -> Temporary {
    let folder = tempfile::tempdir().unwrap();
    Temporary { store: RocksStore::open(folder.path(), &memory()).unwrap(), _folder: folder }
}

#[test]
fn rocks_keeps_the_contract() {
    contract::rows_are_read_as_they_were_last_written(&temporary().store);
    contract::a_snapshot_does_not_move(&temporary().store);
    contract::only_a_flush_makes_a_position_durable(&temporary().store);
    contract::an_exported_state_is_the_same_elsewhere(&temporary().store);
}

/// A store over rows that begin with a number of its own, in one database: opening one for every case would take minutes.
struct Slice<'a>(&'a RocksStore);

impl MetaView for Slice<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(table, key)
    }
    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Result<Box<dyn Cursor + '_>, StoreError> {
        self.0.scan(table, range, order)
    }
}

impl MetaStore for Slice<'_> {
    fn write(&self, batch: &WriteBatch, position: &Position) -> Result<(), StoreError> {
        self.0.write(batch, position)
    }
    fn applied(&self) -> Result<Position, StoreError> {
        self.0.applied()
    }
    fn flushed(&self) -> Result<Position, StoreError> {
        self.0.flushed()
    }
    fn flush(&self) -> Result<(), StoreError> {
        self.0.flush()
    }
    fn snapshot(&self) -> Result<Box<dyn MetaSnapshot + '_>, StoreError> {
        self.0.snapshot()
    }
}

#[test]
fn rocks_cursors_walk_like_a_sorted_map() {
    let temporary = temporary();
    let flushes = std::cell::Cell::new(0);
    contract::cursors_walk_like_a_sorted_map(200, || {
        let mut clear = WriteBatch::new();
        let mut cursor = temporary.store.scan(Table::Current, KeyRange::default(), Order::Forward).unwrap();
        while let Some((key, _)) = cursor.row() {
            clear.delete(Table::Current, key);
            cursor.advance().unwrap();
        }
        temporary.store.write(&clear, &at(0)).unwrap();
        // Now and then what was removed lies in files.
        flushes.set(flushes.get() + 1);
        if flushes.get() % 20 == 0 {
            temporary.store.flush().unwrap();
        }
        Slice(&temporary.store)
    });
}

#[test]
fn a_store_is_found_again_as_it_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut batch = WriteBatch::new();
    batch.put(Table::Inline, "key", "value");
    let store = RocksStore::open(folder.path(), &memory()).unwrap();
    store.write(&batch, &at(7)).unwrap();
    drop(store);
    let store = RocksStore::open(folder.path(), &memory()).unwrap();
    assert_eq!(store.get(Table::Inline, b"key").unwrap(), Some("value".into()));
    assert_eq!((store.applied().unwrap(), store.flushed().unwrap()), (at(7), at(7)));
}

#[test]
fn two_processes_cannot_open_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let _first = RocksStore::open(folder.path(), &memory()).unwrap();
    assert!(matches!(RocksStore::open(folder.path(), &memory()), Err(StoreError::Failed(_))));
}

/// Entry `n` of the crash test: writes `n` in rows of several tables, large enough that memtables fill up by themselves.
fn entry(n: u64) -> (WriteBatch, Position) {
    let mut batch = WriteBatch::new();
    let number = Bytes::copy_from_slice(&n.to_be_bytes());
    let body = blake3::hash(&number).as_bytes().repeat(256);
    batch.put(Table::Inline, number.clone(), body);
    batch.delete(Table::Inline, n.saturating_sub(50).to_be_bytes());
    for table in [Table::Current, Table::Sessions, Table::References, Table::System] {
        batch.put(table, "last", number.clone());
    }
    (batch, Position { stamp: Stamp(n), ..at(n) })
}

/// Not a test of its own: what the other process does, with the bug that it was told to have.
#[test]
fn crashes_when_told_to() {
    let Ok(told) = std::env::var(CRASHER) else { return };
    let mut told = told.splitn(3, '|');
    let (entries, bug, folder) = (told.next().unwrap().parse().unwrap(), told.next().unwrap(), told.next().unwrap());
    match SEEDED_BUGS.iter().find(|name| **name == bug) {
        Some(bug) => with_seeded_bug(bug, || write_and_abort(Path::new(folder), entries)),
        None => write_and_abort(Path::new(folder), entries),
    }
}

/// Writes, prints the flushed position it was last told, and aborts.
fn write_and_abort(folder: &Path, entries: u64) {
    let store = RocksStore::open(folder, &memory()).unwrap();
    let first = store.applied().unwrap().index + 1;
    for n in first..first + entries {
        let (batch, position) = entry(n);
        store.write(&batch, &position).unwrap();
        if n % 700 == 0 {
            store.flush().unwrap();
            assert_eq!(store.flushed().unwrap().index, n);
        }
    }
    println!("\nflushed={}", store.flushed().unwrap().index);
    std::process::abort();
}

#[test]
fn a_crash_leaves_one_earlier_position_and_no_mixture() {
    crash_again_and_again("");
}

#[test]
fn a_position_that_is_not_in_the_batch_of_what_it_covers_is_noticed_after_a_crash() {
    let caught = catch_unwind(|| crash_again_and_again("position-outside-batch")).unwrap_err();
    let told = caught.downcast_ref::<String>().unwrap();
    assert!(told.contains(MIXTURE), "the test failed for another reason: {told}");
}

/// What a state says that is not the one at its position.
const MIXTURE: &str = "not the state at";

/// Crashes a process that writes, with a bug if it has a name, and compares what is left with what it wrote.
fn crash_again_and_again(bug: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut cut = 0;
    for round in 0..6u64 {
        let before = RocksStore::open(folder.path(), &memory()).unwrap().applied().unwrap().index;
        let entries = 300 + round * 397;
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["store::rocks::tests::crashes_when_told_to", "--exact", "--nocapture"])
            .env(CRASHER, format!("{entries}|{bug}|{}", folder.path().display()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let flushed = text.lines().find_map(|line| line.strip_prefix("flushed="));
        let flushed: u64 = flushed.unwrap_or_else(|| panic!("{text}")).parse().unwrap();

        let store = RocksStore::open(folder.path(), &memory()).unwrap();
        let position = store.applied().unwrap();
        assert_eq!(store.flushed().unwrap(), position, "all that is there after a crash is on disk");
        assert!(position.index >= flushed, "flushed said {flushed}, the crash left {position:?}");
        assert!(position.index >= before && position.index <= before + entries);
        cut += before + entries - position.index;
        for table in [Table::Current, Table::Sessions, Table::References, Table::System] {
            let last = store.get(table, b"last").unwrap();
            let wanted = (position.index > 0).then(|| Bytes::from(position.index.to_be_bytes().to_vec()));
            assert_eq!(last, wanted, "{table:?} has {MIXTURE} {position:?}");
        }
        for n in position.index.saturating_sub(49).max(1)..=position.index {
            let body = store.get(Table::Inline, &n.to_be_bytes()).unwrap();
            assert_eq!(body.as_ref(), entry(n).0.get(Table::Inline, &n.to_be_bytes()).unwrap().as_ref(), "body {n}");
        }
        assert_eq!(store.get(Table::Inline, &(position.index + 1).to_be_bytes()).unwrap(), None);
    }
    assert!(cut > 0, "no crash lost anything: the test proves nothing");
}
