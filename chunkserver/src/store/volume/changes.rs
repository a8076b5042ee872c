//! What a run of records does to the index. The same rules for records that are being appended and for those that a start
//! finds.
//!
//! The one rule behind all: an event at a position changes only what is older than itself. So a record may be applied twice,
//! and a stretch of a pack that the index covers already may be read again.

use super::super::index::{BadRow, ChunkIndex, IndexBatch, IndexError, PackRow, Row};
use super::super::pack::{PackNumber, Position, RecordHeader};
use cairn_common::chunk::ChunkAddress;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of all packs of a volume, as the index has them.
pub(super) type PackRows = BTreeMap<PackNumber, PackRow>;

/// Changes on top of an index, not written yet.
pub(super) struct Changes {
    index: Arc<dyn ChunkIndex>,
    packs_before: Arc<PackRows>,
    /// Whether any pack had damaged records before; almost always not, and then the index is not asked about them.
    any_bad: bool,
    /// The row that was read from the index last: a change looks at its chunk more than once.
    looked_up: Cell<Option<(ChunkAddress, Option<Row>)>>,
    rows: BTreeMap<ChunkAddress, Option<Row>>,
    packs: BTreeMap<PackNumber, Option<PackRow>>,
    bad: BTreeMap<(ChunkAddress, Position), Option<BadRow>>,
    /// Chunks that lie elsewhere now, or nowhere: readers must not use what they remember of them.
    moved: Vec<ChunkAddress>,
}

/// Changes that are ready to be written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) batch: IndexBatch,
    pub(super) moved: Vec<ChunkAddress>,
}

impl Changes {
    pub(super) fn new(index: Arc<dyn ChunkIndex>, packs_before: Arc<PackRows>) -> Changes {
        let (rows, packs, bad) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let any_bad = packs_before.values().any(|pack| pack.bad > 0);
        Changes { index, packs_before, any_bad, looked_up: Cell::new(None), rows, packs, bad, moved: Vec::new() }
    }

    /// How many rows have changed.
    pub(super) fn len(&self) -> usize {
        self.rows.len() + self.bad.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.packs.is_empty() && self.bad.is_empty()
    }

    /// The row of a chunk as it is after these changes.
    pub(super) fn row(&self, address: &ChunkAddress) -> Result<Option<Row>, IndexError> {
        if let Some(row) = self.rows.get(address) {
            return Ok(*row);
        }
        if let Some((known, row)) = self.looked_up.get()
            && known == *address
        {
            return Ok(row);
        }
        let row = self.index.get(address)?;
        self.looked_up.set(Some((*address, row)));
        Ok(row)
    }

    /// A whole record of the chunk lies at `row.position`.
    pub(super) fn found(&mut self, address: ChunkAddress, row: Row) -> Result<(), IndexError> {
        let before = self.row(&address)?;
        match before {
            Some(before) if before.position > row.position => return Ok(()),
            Some(before) if before.position == row.position => {
                let touched = row.touched.max(before.touched);
                let verified_ms = row.verified_ms.max(before.verified_ms);
                self.rows.insert(address, Some(Row { touched, verified_ms, ..row }));
            }
            before => {
                if let Some(before) = before {
                    self.leaves(&address, before);
                }
                let pack = self.pack(row.position.pack);
                pack.live_bytes += u64::from(RecordHeader::chunk_bytes(row.length));
                pack.live_chunks += 1;
                self.rows.insert(address, Some(row));
            }
        }
        self.settle(&address, row.position)
    }

    /// The chunk was removed at `position`. Returns the row it had.
    pub(super) fn removed(&mut self, address: ChunkAddress, position: Position) -> Result<Option<Row>, IndexError> {
        let before = self.row(&address)?.filter(|row| row.position < position);
        if let Some(before) = before {
            self.leaves(&address, before);
            self.rows.insert(address, None);
        }
        self.settle(&address, position)?;
        Ok(before)
    }

    /// The record of the chunk at `position` is bad. It is set aside, unless something newer of the chunk is there.
    pub(super) fn set_aside(
        &mut self,
        address: ChunkAddress,
        position: Position,
        bad: BadRow,
    ) -> Result<bool, IndexError> {
        match self.row(&address)? {
            Some(row) if row.position > position => return Ok(false),
            Some(row) if row.position == position => {
                self.leaves(&address, row);
                self.rows.insert(address, None);
            }
            _ => {}
        }
        let known = match self.bad.get(&(address, position)) {
            Some(known) => known.is_some(),
            None => self.index.bad(Some(&address))?.iter().any(|(_, at, _)| *at == position),
        };
        if !known {
            self.pack(position.pack).bad += 1;
        }
        self.bad.insert((address, position), Some(bad));
        Ok(true)
    }

    /// The row of a chunk points at nothing that can be read: a pack that is gone, or was cut short.
    pub(super) fn lost(&mut self, address: ChunkAddress, row: Row) {
        self.leaves(&address, row);
        self.rows.insert(address, None);
    }

    /// Changes what is known about a chunk without moving it.
    pub(super) fn note(&mut self, address: ChunkAddress, row: Row) {
        self.rows.insert(address, Some(row));
    }

    /// The row of a pack, to be changed.
    pub(super) fn pack(&mut self, number: PackNumber) -> &mut PackRow {
        let before = self.packs_before.get(&number).copied().unwrap_or_default();
        self.packs.entry(number).or_insert(Some(before)).get_or_insert_default()
    }

    /// A pack is gone.
    pub(super) fn forget_pack(&mut self, number: PackNumber) {
        self.packs.insert(number, None);
    }

    /// Ends the collecting: what is to be written.
    pub(super) fn finish(self) -> Written {
        let batch = IndexBatch {
            rows: self.rows.into_iter().collect(),
            packs: self.packs.into_iter().collect(),
            bad: self.bad.into_iter().map(|((address, position), row)| (address, position, row)).collect(),
        };
        Written { batch, moved: self.moved }
    }

    /// A chunk no longer lies at `row`.
    fn leaves(&mut self, address: &ChunkAddress, row: Row) {
        let pack = self.pack(row.position.pack);
        pack.live_bytes = pack.live_bytes.saturating_sub(u64::from(RecordHeader::chunk_bytes(row.length)));
        pack.live_chunks = pack.live_chunks.saturating_sub(1);
        self.moved.push(*address);
    }

    /// Damaged records of the chunk up to `position` are of no interest any more.
    fn settle(&mut self, address: &ChunkAddress, position: Position) -> Result<(), IndexError> {
        if !self.any_bad && self.bad.is_empty() {
            return Ok(());
        }
        let mut known: BTreeMap<Position, bool> = BTreeMap::new();
        for (_, at, _) in self.index.bad(Some(address))? {
            known.insert(at, true);
        }
        for ((of, at), row) in &self.bad {
            if of == address {
                known.insert(*at, row.is_some());
            }
        }
        for (at, _) in known.into_iter().filter(|(at, there)| *there && *at <= position) {
            let pack = self.pack(at.pack);
            pack.bad = pack.bad.saturating_sub(1);
            self.bad.insert((*address, at), None);
        }
        Ok(())
    }
}

/// Applies written changes to what is known of the packs in memory.
pub(super) fn apply_to(packs: &mut PackRows, batch: &IndexBatch) {
    for (number, row) in &batch.packs {
        match row {
            Some(row) => packs.insert(*number, *row),
            None => packs.remove(number),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::index::{MemoryIndex, Why};
    use super::*;
    use cairn_common::ids::{Domain, Stamp};

    fn address(name: &[u8]) -> ChunkAddress {
        ChunkAddress::of(Domain(1), name)
    }

    fn at(pack: u32, offset: u32) -> Position {
        Position { pack: PackNumber(pack), offset }
    }

    fn row(position: Position, touched: u64) -> Row {
        Row { position, length: 100, touched: Stamp(touched), verified_ms: 0 }
    }

    /// Applies one change after the other, each written before the next.
    fn apply(index: &MemoryIndex, packs: &mut PackRows, change: impl FnOnce(&mut Changes)) -> Written {
        let mut changes = Changes::new(Arc::new(index.clone()), Arc::new(packs.clone()));
        change(&mut changes);
        let written = changes.finish();
        index.write(&written.batch).unwrap();
        apply_to(packs, &written.batch);
        written
    }

    #[test]
    fn a_newer_record_takes_the_place_of_an_older_one_and_never_the_other_way_round() {
        let (index, mut packs) = (MemoryIndex::default(), PackRows::new());
        apply(&index, &mut packs, |changes| changes.found(address(b"a"), row(at(1, 4096), 5)).unwrap());
        let written = apply(&index, &mut packs, |changes| changes.found(address(b"a"), row(at(2, 4096), 3)).unwrap());
        assert_eq!(written.moved, [address(b"a")]);
        assert_eq!((packs[&PackNumber(1)].live_chunks, packs[&PackNumber(2)].live_chunks), (0, 1));
        assert_eq!((packs[&PackNumber(1)].live_bytes, packs[&PackNumber(2)].live_bytes), (0, 512));
        apply(&index, &mut packs, |changes| changes.found(address(b"a"), row(at(1, 4096), 9)).unwrap());
        assert_eq!(index.get(&address(b"a")).unwrap().unwrap().position, at(2, 4096));
    }

    #[test]
    fn the_same_record_twice_counts_once_and_keeps_the_later_touch() {
        let (index, mut packs) = (MemoryIndex::default(), PackRows::new());
        for touched in [5, 9, 3] {
            apply(&index, &mut packs, |changes| changes.found(address(b"a"), row(at(1, 4096), touched)).unwrap());
        }
        assert_eq!(packs[&PackNumber(1)].live_chunks, 1);
        assert_eq!(index.get(&address(b"a")).unwrap().unwrap().touched, Stamp(9));
    }

    #[test]
    fn a_removal_reaches_only_what_is_older() {
        let (index, mut packs) = (MemoryIndex::default(), PackRows::new());
        apply(&index, &mut packs, |changes| changes.found(address(b"a"), row(at(2, 4096), 5)).unwrap());
        apply(&index, &mut packs, |changes| assert_eq!(changes.removed(address(b"a"), at(1, 8192)), Ok(None)));
        assert!(index.get(&address(b"a")).unwrap().is_some());
        apply(&index, &mut packs, |changes| assert!(changes.removed(address(b"a"), at(2, 8192)).unwrap().is_some()));
        assert_eq!(index.get(&address(b"a")), Ok(None));
        assert_eq!(packs[&PackNumber(2)], PackRow::default());
    }

    #[test]
    fn a_damaged_record_is_set_aside_until_the_chunk_is_written_again_or_removed() {
        let bad = BadRow { length: 100, why: Why::Damaged };
        type Settle = fn(&mut Changes);
        let again: Settle = |changes| changes.found(address(b"a"), row(at(2, 0), 5)).unwrap();
        let gone: Settle = |changes| assert_eq!(changes.removed(address(b"a"), at(2, 0)), Ok(None));
        for settle in [again, gone] {
            let (index, mut packs) = (MemoryIndex::default(), PackRows::new());
            apply(&index, &mut packs, |changes| changes.found(address(b"a"), row(at(1, 0), 5)).unwrap());
            for _ in 0..2 {
                apply(&index, &mut packs, |changes| assert!(changes.set_aside(address(b"a"), at(1, 0), bad).unwrap()));
            }
            assert_eq!(index.get(&address(b"a")), Ok(None));
            assert_eq!(packs[&PackNumber(1)], PackRow { bad: 1, ..PackRow::default() });
            assert_eq!(index.bad(None).unwrap(), [(address(b"a"), at(1, 0), bad)]);
            apply(&index, &mut packs, settle);
            assert_eq!(packs[&PackNumber(1)].bad, 0);
            assert_eq!(index.bad(None).unwrap(), []);
        }
    }

    #[test]
    fn a_damaged_record_that_is_dead_already_is_of_no_interest() {
        let (index, mut packs) = (MemoryIndex::default(), PackRows::new());
        apply(&index, &mut packs, |changes| changes.found(address(b"a"), row(at(2, 0), 5)).unwrap());
        let bad = BadRow { length: 100, why: Why::Damaged };
        apply(&index, &mut packs, |changes| assert!(!changes.set_aside(address(b"a"), at(1, 0), bad).unwrap()));
        assert_eq!(packs.get(&PackNumber(1)), None);
        assert!(index.get(&address(b"a")).unwrap().is_some());
    }

    #[test]
    fn changes_see_each_other_before_they_are_written() {
        let (index, packs) = (MemoryIndex::default(), PackRows::new());
        let mut changes = Changes::new(Arc::new(index), Arc::new(packs));
        changes.found(address(b"a"), row(at(1, 0), 5)).unwrap();
        changes.set_aside(address(b"a"), at(1, 0), BadRow { length: 100, why: Why::Torn }).unwrap();
        changes.found(address(b"a"), row(at(1, 512), 6)).unwrap();
        assert_eq!(changes.row(&address(b"a")).unwrap().unwrap().position, at(1, 512));
        changes.removed(address(b"a"), at(1, 1024)).unwrap();
        assert_eq!(changes.row(&address(b"a")), Ok(None));
        assert_eq!(*changes.pack(PackNumber(1)), PackRow::default());
    }
}
