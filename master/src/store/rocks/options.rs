//! How RocksDB is set up: small memtables under one budget, one block cache, no memory maps, and what each table needs.

use crate::store::Table;
use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DataBlockIndexType, LogLevel, Options, WriteBufferManager};

/// Memory that all databases of a process share. Cloning shares it.
#[derive(Clone)]
pub struct RocksMemory {
    /// For blocks, indexes and filters that were read.
    pub cache: Cache,
    /// For rows that are not on disk yet.
    pub buffers: WriteBufferManager,
}

impl RocksMemory {
    /// A budget of `cache_bytes` for reading and `buffer_bytes` for writing. The second is where a flush begins; while it runs,
    /// up to half as much again is used.
    pub fn new(cache_bytes: usize, buffer_bytes: usize) -> RocksMemory {
        // Writers are not stalled when the budget is used up: it is shared, and one database must not wait for another that
        // has nothing to write. Each database bounds its own memtables instead.
        RocksMemory {
            cache: Cache::new_hyper_clock_cache(cache_bytes, 0),
            buffers: WriteBufferManager::new_write_buffer_manager(buffer_bytes, false),
        }
    }
}

impl std::fmt::Debug for RocksMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (cache, buffers) = (self.cache.get_usage(), self.buffers.get_usage());
        f.debug_struct("RocksMemory").field("cache_bytes", &cache).field("buffer_bytes", &buffers).finish()
    }
}

/// Rows in a memtable are counted in blocks of this size, even where a table has but one.
const ARENA_BYTES: usize = 128 << 10;
/// Tables whose values are worth a large block: their readers walk over them.
const SCANNED_BLOCK_BYTES: usize = 16 << 10;
/// Tables that are read by key.
const POINT_BLOCK_BYTES: usize = 4 << 10;
/// Part of a memtable that is a filter, where most rows that are asked for are not in it.
const MEMTABLE_FILTER_RATIO: f64 = 0.02;
/// Of this many rows side by side …
const TOMBSTONE_WINDOW: usize = 1024;
/// … so many removed ones make RocksDB compact the file: a listing after a mass delete walks over all of them.
const TOMBSTONES: usize = 512;

/// Options of the database as a whole.
pub(super) fn database(memory: &RocksMemory) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // The state is written without a log of its own, so a flush must take all tables to the same batch.
    options.set_atomic_flush(true);
    options.set_write_buffer_manager(&memory.buffers);
    options.set_max_background_jobs(2);
    options.set_max_open_files(512);
    options.set_bytes_per_sync(1 << 20);
    options.set_allow_mmap_reads(false);
    options.set_allow_mmap_writes(false);
    // One thread writes.
    options.set_allow_concurrent_memtable_write(false);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_persist_period_sec(0);
    options
}

/// Whether rows of a table are mostly read side by side.
fn is_scanned(table: Table) -> bool {
    matches!(table, Table::Current | Table::Segments | Table::History)
}

/// Whether a table is mostly asked for rows that it does not have: new keys, new chunks, bytes with one holder.
fn is_probed(table: Table) -> bool {
    matches!(table, Table::Current | Table::References | Table::System)
}

/// Options of one table.
pub(super) fn table(table: Table, memory: &RocksMemory) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&memory.cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_optimize_filters_for_memory(true);
    blocks.set_format_version(6);
    if is_scanned(table) {
        blocks.set_block_size(SCANNED_BLOCK_BYTES);
    } else {
        blocks.set_block_size(POINT_BLOCK_BYTES);
        blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    }

    let buffer_bytes = memory.buffers.get_buffer_size();
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_manager(&memory.buffers);
    options.set_write_buffer_size((buffer_bytes / 2).max(ARENA_BYTES));
    options.set_max_write_buffer_number(3);
    options.set_arena_block_size(ARENA_BYTES);
    if is_probed(table) {
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER_RATIO);
    }
    options.set_target_file_size_base(32 << 20);
    options.set_max_bytes_for_level_base(128 << 20);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.add_compact_on_deletion_collector_factory(TOMBSTONE_WINDOW, TOMBSTONES, 0.0);
    options
}
