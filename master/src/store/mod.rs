//! Rows: what the masters' state is made of, and where it is kept.
//!
//! A row is a key and a value in one of a few [`Table`]s. [`MetaView`] reads rows and can do nothing else; [`WriteBatch`] is
//! changes as data; [`MetaStore`] keeps rows and takes batches, each whole or not at all, together with the [`Position`] in
//! the log that it brings the state to. So the code that decides (`state`) touches no disk, and the code that touches the disk
//! decides nothing. Keys and values are made and read in [`key`], nowhere else.
//!
//! Two stores keep the contract (`contract.rs`): [`MemoryStore`] for simulation and tests, and `RocksStore` for data.

mod batch;
#[cfg(test)]
pub(crate) mod contract;
mod dump;
mod entries;
pub mod key;
mod memory;
mod overlay;
#[cfg(feature = "rocks")]
mod rocks;
mod scan;
mod versions;

pub use batch::WriteBatch;
pub use dump::{export, fingerprint};
pub use entries::EntryWalk;
pub use memory::MemoryStore;
pub use overlay::Overlay;
#[cfg(feature = "rocks")]
pub use rocks::{RocksMemory, RocksStore};
pub use scan::{Cursor, KeyRange, Order, successor};
pub use versions::{Located, LocatedFile, earlier, locate};

use bytes::Bytes;
use cairn_common::error::ErrorKind;
use cairn_common::ids::Stamp;
use cairn_common::wire::DecodeError;
use key::{Record, RowKey};
use serde::{Deserialize, Serialize};

/// Rows by use: what is read together lies together, and a listing never walks over bytes that it does not show. Each is a
/// column family of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Table {
    /// The current version of every key: all that a listing shows.
    Current = 0,
    /// Headers and metadata of current versions that have any.
    Attributes = 1,
    /// Bodies of small files.
    Inline = 2,
    /// Manifests without their segments.
    Manifests = 3,
    /// Segments of manifests, by where they start.
    Segments = 4,
    /// How often manifests refer to each chunk, by slot.
    References = 5,
    /// Earlier versions and marks of removal.
    History = 6,
    /// Sessions, their answers and windows: written by every command, kept for minutes.
    Sessions = 7,
    /// All else: buckets, counters, uploads, the release queue, membership, access keys.
    System = 8,
}

impl Table {
    /// How many there are.
    pub const COUNT: usize = 9;
    /// All, in the order of their numbers.
    pub const ALL: [Table; Table::COUNT] = [
        Table::Current,
        Table::Attributes,
        Table::Inline,
        Table::Manifests,
        Table::Segments,
        Table::References,
        Table::History,
        Table::Sessions,
        Table::System,
    ];

    /// Its name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Table::Current => "current",
            Table::Attributes => "attributes",
            Table::Inline => "inline",
            Table::Manifests => "manifests",
            Table::Segments => "segments",
            Table::References => "references",
            Table::History => "history",
            Table::Sessions => "sessions",
            Table::System => "system",
        }
    }
}

/// Why rows could not be read or written. Never part of an outcome: a node that meets one stops applying, it does not answer
/// from a state that it cannot read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the database on it, failed.
    #[error("the metadata store failed: {0}")]
    Failed(String),
    /// The database found its own files damaged.
    #[error("the metadata store is damaged: {0}")]
    Damaged(String),
    /// A row does not decode.
    #[error("row {key} of {table:?} is damaged: {reason}")]
    Row {
        /// In which table.
        table: Table,
        /// Its key, in hex.
        key: String,
        /// What is wrong with it.
        reason: DecodeError,
    },
    /// A row is missing that another one names.
    #[error("{table:?} has no row {key}, which another row names")]
    Missing {
        /// In which table.
        table: Table,
        /// Its key, in hex.
        key: String,
    },
}

impl StoreError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            StoreError::Failed(_) => ErrorKind::Unavailable,
            StoreError::Damaged(_) | StoreError::Row { .. } | StoreError::Missing { .. } => ErrorKind::Corrupt,
        }
    }

    /// A row that does not decode.
    pub(crate) fn row(table: Table, key: &[u8], reason: DecodeError) -> StoreError {
        StoreError::Row { table, key: hex::encode(key), reason }
    }
}

/// How far a state has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Index of the last log entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Stamp of the last command in it.
    pub stamp: Stamp,
    /// Running BLAKE3 over all batches since the first: two masters at one index with different digests have diverged.
    pub digest: [u8; 32],
}

impl Position {
    /// The position after an entry that changed the state by `batch`.
    pub fn after(&self, index: u64, term: u64, stamp: Stamp, batch: &WriteBatch) -> Position {
        Position { index, term, stamp, digest: batch.digest(&self.digest) }
    }
}

/// Rows, to be read.
pub trait MetaView {
    /// The value of a row.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// A walk over the rows of a range, from its start or, backward, from its end.
    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Result<Box<dyn Cursor + '_>, StoreError>;
}

impl dyn MetaView + '_ {
    /// Reads and decodes a row.
    pub fn row<K: RowKey>(&self, key: &K) -> Result<Option<K::Row>, StoreError> {
        let bytes = key.encode();
        let Some(value) = self.get(K::TABLE, &bytes)? else { return Ok(None) };
        let row = K::Row::from_bytes(value).map_err(|reason| StoreError::row(K::TABLE, &bytes, reason))?;
        Ok(Some(row))
    }

    /// Reads and decodes a row that another one says is there.
    pub fn expect_row<K: RowKey>(&self, key: &K) -> Result<K::Row, StoreError> {
        let missing = || StoreError::Missing { table: K::TABLE, key: hex::encode(key.encode()) };
        self.row(key)?.ok_or_else(missing)
    }
}

/// A consistent picture of a store at one position, unmoved by later batches. Hold it briefly: the store keeps everything
/// that it shows.
pub trait MetaSnapshot: MetaView + Send + Sync {
    /// Where in the log it was taken.
    fn position(&self) -> Result<Position, StoreError>;
}

/// Keeps rows. One thread writes, in the order of the log; any number read.
pub trait MetaStore: MetaView + Send + Sync {
    /// Applies a batch and moves to `position`: both or neither, also across a crash. Readable at once, durable only once
    /// [`MetaStore::flushed`] says so. After an error the state is the one before, or the store is to be reopened.
    fn write(&self, batch: &WriteBatch, position: &Position) -> Result<(), StoreError>;

    /// The position of the last batch.
    fn applied(&self) -> Result<Position, StoreError>;

    /// The position that is durable: what a crash now would fall back to, at worst. The log may be purged up to its index and
    /// no further.
    fn flushed(&self) -> Result<Position, StoreError>;

    /// Makes durable all that was written before the call.
    fn flush(&self) -> Result<(), StoreError>;

    /// A consistent picture of now.
    fn snapshot(&self) -> Result<Box<dyn MetaSnapshot + '_>, StoreError>;
}
