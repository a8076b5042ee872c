//! Reading from RocksDB: snapshots and cursors.

use super::{POSITION, failed, family, position};
use crate::store::{Cursor, KeyRange, MetaSnapshot, MetaView, Order, Position, StoreError, Table};
use bytes::Bytes;
use rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions, Snapshot};

type RawIterator<'a> = DBRawIteratorWithThreadMode<'a, DB>;

/// The rows at one moment.
pub(super) struct RocksSnapshot<'a> {
    db: &'a DB,
    /// Reads at the snapshot, which must outlive it: fields are dropped in their order.
    read: ReadOptions,
    snapshot: Snapshot<'a>,
}

impl<'a> RocksSnapshot<'a> {
    pub(super) fn new(db: &'a DB) -> RocksSnapshot<'a> {
        let snapshot = db.snapshot();
        let mut read = ReadOptions::default();
        read.set_snapshot(&snapshot);
        RocksSnapshot { db, read, snapshot }
    }
}

impl MetaView for RocksSnapshot<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.db.get_pinned_cf_opt(family(self.db, table), key, &self.read).map_err(failed)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Result<Box<dyn Cursor + '_>, StoreError> {
        scan(range, order, |read| self.snapshot.raw_iterator_cf_opt(family(self.db, table), read))
    }
}

impl MetaSnapshot for RocksSnapshot<'_> {
    fn position(&self) -> Result<Position, StoreError> {
        position(self.db.get_pinned_opt(POSITION, &self.read).map_err(failed)?.as_deref())
    }
}

/// A cursor over `range`, on the iterator that `open` makes.
pub(super) fn scan<'a>(
    range: KeyRange,
    order: Order,
    open: impl FnOnce(ReadOptions) -> RawIterator<'a>,
) -> Result<Box<dyn Cursor + 'a>, StoreError> {
    if range.is_empty() {
        return Ok(Box::new(Nothing));
    }
    let mut read = ReadOptions::default();
    // The bounds keep RocksDB from walking over removed rows beyond the range.
    read.set_iterate_lower_bound(range.start);
    if let Some(end) = range.end {
        read.set_iterate_upper_bound(end);
    }
    let mut iterator = open(read);
    match order {
        Order::Forward => iterator.seek_to_first(),
        Order::Backward => iterator.seek_to_last(),
    }
    iterator.status().map_err(failed)?;
    Ok(Box::new(RocksCursor { iterator, order }))
}

struct RocksCursor<'a> {
    iterator: RawIterator<'a>,
    order: Order,
}

impl Cursor for RocksCursor<'_> {
    fn row(&self) -> Option<(&[u8], &[u8])> {
        self.iterator.item()
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        if !self.iterator.valid() {
            return Ok(());
        }
        match self.order {
            Order::Forward => self.iterator.next(),
            Order::Backward => self.iterator.prev(),
        }
        self.settle()
    }

    fn seek(&mut self, key: &[u8]) -> Result<(), StoreError> {
        match self.order {
            Order::Forward => self.iterator.seek(key),
            Order::Backward => self.iterator.seek_for_prev(key),
        }
        self.settle()
    }
}

impl RocksCursor<'_> {
    /// An iterator that stopped at damage looks like one at its end; only its status tells.
    fn settle(&self) -> Result<(), StoreError> {
        if self.iterator.valid() { Ok(()) } else { self.iterator.status().map_err(failed) }
    }
}

/// A walk over an empty range, which RocksDB would not take.
struct Nothing;

impl Cursor for Nothing {
    fn row(&self) -> Option<(&[u8], &[u8])> {
        None
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn seek(&mut self, _key: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }
}
