//! What every index does, in RocksDB or in memory.

use super::super::pack::{PackNumber, Position};
use super::{After, BadRow, ChunkIndex, IndexBatch, Indexes, MemoryIndexes, PackRow, RocksIndexes, Row, Why};
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{Domain, Slot, Stamp, VolumeId};
use proptest::prelude::*;
use std::sync::Arc;

/// Runs `case` on both indexes, each in an empty folder.
fn on_both(case: impl Fn(&dyn Indexes, &std::path::Path)) {
    let folder = tempfile::tempdir().unwrap();
    case(&MemoryIndexes::default(), folder.path());
    case(&RocksIndexes::with_memory(1 << 20, 4 << 20), &folder.path().join("index"));
}

fn open(indexes: &dyn Indexes, folder: &std::path::Path) -> Arc<dyn ChunkIndex> {
    indexes.open(folder, VolumeId(7)).unwrap()
}

fn address(number: u32) -> ChunkAddress {
    ChunkAddress::of(Domain(1), &number.to_be_bytes())
}

fn row(number: u32) -> Row {
    let position = Position { pack: PackNumber(number % 3), offset: number * 512 };
    Row { position, length: number, touched: Stamp(u64::from(number)), verified_ms: 0 }
}

fn rows(numbers: impl IntoIterator<Item = u32>) -> IndexBatch {
    let rows = numbers.into_iter().map(|number| (address(number), Some(row(number)))).collect();
    IndexBatch { rows, ..IndexBatch::default() }
}

#[test]
fn rows_are_there_after_they_were_written_and_gone_after_they_were_removed() {
    on_both(|indexes, folder| {
        let index = open(indexes, folder);
        index.write(&rows(0..10)).unwrap();
        assert_eq!(index.get(&address(3)), Ok(Some(row(3))));
        assert_eq!(index.get(&address(10)), Ok(None));
        let newer = Row { verified_ms: 5, ..row(3) };
        let batch = IndexBatch { rows: vec![(address(3), Some(newer)), (address(4), None)], ..IndexBatch::default() };
        index.write(&batch).unwrap();
        assert_eq!(index.get(&address(3)), Ok(Some(newer)));
        assert_eq!(index.get(&address(4)), Ok(None));
    });
}

#[test]
fn a_scan_goes_by_slot_and_address_and_can_be_continued() {
    on_both(|indexes, folder| {
        let index = open(indexes, folder);
        index.write(&rows(0..300)).unwrap();
        let mut all: Vec<ChunkAddress> = (0..300).map(address).collect();
        all.sort_by_key(|address| (address.slot(), *address));
        let last = Slot(u16::MAX);
        let whole = index.scan(After::SlotStart(Slot(0)), last, usize::MAX).unwrap();
        assert_eq!(whole.iter().map(|(address, _)| *address).collect::<Vec<_>>(), all);
        let mut paged = Vec::new();
        let mut after = After::SlotStart(Slot(0));
        loop {
            let page = index.scan(after, last, 7).unwrap();
            let Some((address, _)) = page.last() else { break };
            after = After::Chunk(address.slot(), *address);
            paged.extend(page);
        }
        assert_eq!(paged, whole);
        let (first, second) = (all[100].slot(), all[200].slot());
        let some = index.scan(After::SlotStart(first), second, usize::MAX).unwrap();
        let expected: Vec<_> = all.iter().filter(|address| (first..=second).contains(&address.slot())).collect();
        assert_eq!(some.iter().map(|(address, _)| address).collect::<Vec<_>>(), expected);
    });
}

#[test]
fn packs_and_damaged_records_have_rows_of_their_own() {
    on_both(|indexes, folder| {
        let index = open(indexes, folder);
        let pack = PackRow { covered: 8192, sealed: true, live_bytes: 10, live_chunks: 2, bad: 1 };
        let bad = BadRow { length: 9, why: Why::Damaged };
        let at = |offset| Position { pack: PackNumber(300), offset };
        let batch = IndexBatch {
            rows: vec![(address(1), Some(row(1)))],
            packs: vec![(PackNumber(300), Some(pack)), (PackNumber(2), Some(PackRow::default()))],
            bad: vec![
                (address(1), at(4096), Some(bad)),
                (address(1), at(512), Some(bad)),
                (address(2), at(0), Some(bad)),
            ],
        };
        index.write(&batch).unwrap();
        assert_eq!(index.packs().unwrap(), [(PackNumber(2), PackRow::default()), (PackNumber(300), pack)]);
        assert_eq!(index.bad(None).unwrap().len(), 3);
        let of_one = index.bad(Some(&address(1))).unwrap();
        assert_eq!(of_one, [(address(1), at(512), bad), (address(1), at(4096), bad)]);
        let settled = IndexBatch {
            bad: vec![(address(1), at(512), None)],
            packs: vec![(PackNumber(2), None)],
            ..IndexBatch::default()
        };
        index.write(&settled).unwrap();
        assert_eq!(index.bad(Some(&address(1))).unwrap().len(), 1);
        assert_eq!(index.packs().unwrap().len(), 1);
        assert_eq!(index.scan(After::SlotStart(Slot(0)), Slot(u16::MAX), 10).unwrap().len(), 1);
    });
}

#[test]
fn what_was_flushed_is_there_when_it_is_opened_again() {
    on_both(|indexes, folder| {
        let index = open(indexes, folder);
        index.write(&rows(0..100)).unwrap();
        index.flush(true).unwrap();
        drop(index);
        let index = open(indexes, folder);
        assert_eq!(index.scan(After::SlotStart(Slot(0)), Slot(u16::MAX), usize::MAX).unwrap().len(), 100);
    });
}

#[test]
fn an_index_of_another_volume_is_begun_anew() {
    on_both(|indexes, folder| {
        let index = open(indexes, folder);
        index.write(&rows(0..10)).unwrap();
        index.flush(true).unwrap();
        drop(index);
        let index = indexes.open(folder, VolumeId(8)).unwrap();
        assert_eq!(index.get(&address(1)), Ok(None));
    });
}

#[test]
fn a_damaged_database_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let indexes = RocksIndexes::with_memory(1 << 20, 4 << 20);
    let index = open(&indexes, folder.path());
    index.write(&rows(0..10)).unwrap();
    index.flush(true).unwrap();
    drop(index);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST")) {
            std::fs::write(path, b"not a manifest").unwrap();
        }
    }
    let index = open(&indexes, folder.path());
    assert_eq!(index.get(&address(1)), Ok(None));
    index.write(&rows(0..10)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn both_indexes_agree_after_any_batches(batches in proptest::collection::vec(
        proptest::collection::vec((0u32..20, any::<bool>()), 1..10), 1..20,
    )) {
        let folder = tempfile::tempdir().unwrap();
        let memory = open(&MemoryIndexes::default(), folder.path());
        let rocks = open(&RocksIndexes::with_memory(1 << 20, 4 << 20), &folder.path().join("index"));
        for batch in batches {
            let rows = batch.into_iter().map(|(number, there)| (address(number), there.then(|| row(number)))).collect();
            let batch = IndexBatch { rows, ..IndexBatch::default() };
            memory.write(&batch).unwrap();
            rocks.write(&batch).unwrap();
        }
        let all = |index: &dyn ChunkIndex| index.scan(After::SlotStart(Slot(0)), Slot(u16::MAX), usize::MAX).unwrap();
        prop_assert_eq!(all(&*memory), all(&*rocks));
    }
}
