//! The index in RocksDB.
//!
//! One column family and no write-ahead log: RocksDB flushes whole memtables in the order in which they were filled, so what a
//! crash leaves is a prefix of the batches. Memory is bounded for the whole process by the cache and the write-buffer manager
//! that are passed in.

use super::super::pack::{PackNumber, Position};
use super::row::{address_of_chunk_key, bad_key, chunk_key, number_of_pack_key, pack_key, parts_of_bad_key, slot_key};
use super::{After, BadRow, ChunkIndex, IndexBatch, IndexError, Indexes, PackRow, Row};
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{Slot, VolumeId};
use cairn_common::limits::INDEX_MEMTABLE_BYTES;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, FlushOptions, IteratorMode, LogLevel, Options,
    ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};
use std::path::Path;
use std::sync::Arc;

/// Key of the row that says whose index it is.
const OWNER: &[u8] = b"m";
/// Files that RocksDB keeps open.
const OPEN_FILES_MAX: i32 = 64;

/// An open index.
pub struct RocksIndex {
    db: DB,
}

impl From<rocksdb::Error> for IndexError {
    fn from(error: rocksdb::Error) -> IndexError {
        IndexError(error.into_string())
    }
}

/// Opens indexes that share one block cache and one budget of write buffers.
pub struct RocksIndexes {
    cache: Cache,
    buffers: WriteBufferManager,
}

impl RocksIndexes {
    /// Indexes within the memory of these two, which other databases of the process may share.
    pub fn new(cache: Cache, buffers: WriteBufferManager) -> RocksIndexes {
        RocksIndexes { cache, buffers }
    }

    /// Indexes with a memory of their own: `cache_bytes` for blocks and `buffer_bytes` for unwritten rows.
    pub fn with_memory(cache_bytes: usize, buffer_bytes: usize) -> RocksIndexes {
        let buffers = WriteBufferManager::new_write_buffer_manager(buffer_bytes, false);
        RocksIndexes::new(Cache::new_lru_cache(cache_bytes), buffers)
    }

    fn options(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // Most questions are about chunks that are not there.
        table.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_manager(&self.buffers);
        options.set_write_buffer_size(INDEX_MEMTABLE_BYTES);
        // Addresses are hashes: nothing to compress.
        options.set_compression_type(DBCompressionType::None);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    fn open_owned(&self, folder: &Path, volume: VolumeId) -> Result<RocksIndex, IndexError> {
        let index = RocksIndex { db: DB::open(&self.options(), folder)? };
        let owner = volume.0.to_be_bytes();
        let found = index.db.get(OWNER)?;
        match found.as_deref() {
            Some(found) if *found == owner => {}
            Some(_) => return Err(IndexError("it belongs to another volume".to_owned())),
            None => {
                let mut batch = WriteBatch::default();
                batch.put(OWNER, owner);
                index.db.write_opt(batch, &without_log())?;
            }
        }
        Ok(index)
    }
}

impl Indexes for RocksIndexes {
    fn open(&self, folder: &Path, volume: VolumeId) -> Result<Arc<dyn ChunkIndex>, IndexError> {
        match self.open_owned(folder, volume) {
            Ok(index) => Ok(Arc::new(index)),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "the index is made anew from the packs");
                DB::destroy(&self.options(), folder)?;
                Ok(Arc::new(self.open_owned(folder, volume)?))
            }
        }
    }
}

fn without_log() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

/// The first key that does not start with `prefix`.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

impl RocksIndex {
    /// Rows from `start` (included or not) to before `end`, decoded.
    fn rows<T>(
        &self,
        (start, included): (&[u8], bool),
        end: Vec<u8>,
        limit: usize,
        decode: impl Fn(&[u8], &[u8]) -> Result<T, IndexError>,
    ) -> Result<Vec<T>, IndexError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        let rows = self.db.iterator_opt(IteratorMode::From(start, Direction::Forward), options);
        let mut found = Vec::new();
        for row in rows {
            let (key, value) = row?;
            if !included && key[..] == *start {
                continue;
            }
            if found.len() == limit {
                break;
            }
            found.push(decode(&key, &value)?);
        }
        Ok(found)
    }
}

impl ChunkIndex for RocksIndex {
    fn get(&self, address: &ChunkAddress) -> Result<Option<Row>, IndexError> {
        let value = self.db.get_pinned(chunk_key(address.slot(), address))?;
        value.map(|value| Row::decode(&value)).transpose()
    }

    fn write(&self, batch: &IndexBatch) -> Result<(), IndexError> {
        let mut writes = WriteBatch::default();
        let mut set = |key: Vec<u8>, value: Option<Vec<u8>>| match value {
            Some(value) => writes.put(key, value),
            None => writes.delete(key),
        };
        for (address, row) in &batch.rows {
            set(chunk_key(address.slot(), address), row.map(|row| row.encode()));
        }
        for (number, row) in &batch.packs {
            set(pack_key(*number), row.map(|row| row.encode()));
        }
        for (address, position, row) in &batch.bad {
            set(bad_key(address, Some(*position)), row.map(|row| row.encode()));
        }
        Ok(self.db.write_opt(writes, &without_log())?)
    }

    fn scan(&self, after: After, last: Slot, limit: usize) -> Result<Vec<(ChunkAddress, Row)>, IndexError> {
        let (start, included) = match after {
            After::SlotStart(slot) => (slot_key(slot), true),
            After::Chunk(slot, address) => (chunk_key(slot, &address), false),
        };
        self.rows((&start, included), behind(&slot_key(last)), limit, |key, value| {
            Ok((address_of_chunk_key(key)?, Row::decode(value)?))
        })
    }

    fn packs(&self) -> Result<Vec<(PackNumber, PackRow)>, IndexError> {
        self.rows((b"p", true), behind(b"p"), usize::MAX, |key, value| {
            Ok((number_of_pack_key(key)?, PackRow::decode(value)?))
        })
    }

    fn bad(&self, address: Option<&ChunkAddress>) -> Result<Vec<(ChunkAddress, Position, BadRow)>, IndexError> {
        let prefix = address.map_or_else(|| b"q".to_vec(), |address| bad_key(address, None));
        self.rows((&prefix, true), behind(&prefix), usize::MAX, |key, value| {
            let (address, position) = parts_of_bad_key(key)?;
            Ok((address, position, BadRow::decode(value)?))
        })
    }

    fn flush(&self, wait: bool) -> Result<(), IndexError> {
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        Ok(self.db.flush_opt(&options)?)
    }
}
