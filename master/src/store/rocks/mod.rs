//! Rows in RocksDB.
//!
//! There is no write-ahead log: the Raft log is one already, and a second would double what every commit writes. So a batch is
//! durable only when the memtables that hold it are flushed. All tables are flushed together (`atomic_flush`), and each batch
//! carries its [`Position`] in the same write, so what a crash leaves is the state at one position, never a mixture;
//! [`MetaStore::flushed`] reads that position back from the files alone.

mod options;
mod view;

pub use options::RocksMemory;

use super::{Cursor, KeyRange, MetaSnapshot, MetaStore, MetaView, Order, Position, StoreError, Table, WriteBatch};
use bytes::Bytes;
use cairn_common::seam::seeded_bug;
use cairn_common::wire;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, ErrorKind, FlushOptions, ReadOptions,
    ReadTier, WriteOptions,
};
use std::path::Path;
use view::RocksSnapshot;

/// The row of the default family that holds the position. Not part of the state: no view shows it.
const POSITION: &[u8] = b"position";

/// Rows in a RocksDB database.
pub struct RocksStore {
    db: DB,
    unlogged: WriteOptions,
    read: ReadOptions,
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl RocksStore {
    /// Opens the database at `path`, or makes it. Its memory comes out of `memory`. Blocks on the disk.
    pub fn open(path: &Path, memory: &RocksMemory) -> Result<RocksStore, StoreError> {
        let families = Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), options::table(table, memory)));
        let db = DB::open_cf_descriptors(&options::database(memory), path, families).map_err(failed)?;
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        Ok(RocksStore { db, unlogged, read: ReadOptions::default() })
    }

    fn family(&self, table: Table) -> &ColumnFamily {
        family(&self.db, table)
    }

    fn position_by(&self, read: &ReadOptions) -> Result<Position, StoreError> {
        position(self.db.get_pinned_opt(POSITION, read).map_err(failed)?.as_deref())
    }
}

fn family(db: &DB, table: Table) -> &ColumnFamily {
    db.cf_handle(table.name()).expect("every table's family is opened with the database")
}

/// Decodes the position row; a store without one is new.
fn position(row: Option<&[u8]>) -> Result<Position, StoreError> {
    let Some(row) = row else { return Ok(Position::default()) };
    wire::decode(row).map_err(|reason| StoreError::Damaged(format!("position: {reason}")))
}

/// What RocksDB says, sorted by what it means.
fn failed(error: rocksdb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::Corruption => StoreError::Damaged(error.into_string()),
        _ => StoreError::Failed(error.into_string()),
    }
}

impl MetaView for RocksStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.db.get_pinned_cf_opt(self.family(table), key, &self.read).map_err(failed)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Result<Box<dyn Cursor + '_>, StoreError> {
        view::scan(range, order, |read| self.db.raw_iterator_cf_opt(self.family(table), read))
    }
}

impl MetaStore for RocksStore {
    fn write(&self, batch: &WriteBatch, position: &Position) -> Result<(), StoreError> {
        let families = Table::ALL.map(|table| self.family(table));
        let mut rows = rocksdb::WriteBatch::default();
        for (table, key, value) in batch.changes() {
            let family = families[table as usize];
            match value {
                Some(value) => rows.put_cf(family, key, value),
                None => rows.delete_cf(family, key),
            }
        }
        if seeded_bug("position-outside-batch") {
            self.db.write_opt(rows, &self.unlogged).map_err(failed)?;
            return self.db.put_opt(POSITION, wire::encode(position), &self.unlogged).map_err(failed);
        }
        rows.put(POSITION, wire::encode(position));
        self.db.write_opt(rows, &self.unlogged).map_err(failed)
    }

    fn applied(&self) -> Result<Position, StoreError> {
        self.position_by(&self.read)
    }

    fn flushed(&self) -> Result<Position, StoreError> {
        let mut on_disk = ReadOptions::default();
        on_disk.set_read_tier(ReadTier::Persisted);
        self.position_by(&on_disk)
    }

    fn flush(&self) -> Result<(), StoreError> {
        // Even with atomic flush, RocksDB flushes together only what it is told to: all tables, and the position.
        let position = self.db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME).expect("RocksDB always has its default family");
        let families: Vec<&ColumnFamily> =
            Table::ALL.into_iter().map(|table| self.family(table)).chain([position]).collect();
        self.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(failed)
    }

    fn snapshot(&self) -> Result<Box<dyn MetaSnapshot + '_>, StoreError> {
        Ok(Box::new(RocksSnapshot::new(&self.db)))
    }
}

#[cfg(test)]
mod tests;
