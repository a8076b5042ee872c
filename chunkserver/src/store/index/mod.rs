//! The index of a volume: where each chunk lies. A cache of what the packs say, never the truth.
//!
//! It is written without a log and without syncs. Each batch carries the pack positions that it covers, and a crash leaves the
//! state after *some* batch, with everything before it: whatever the packs hold past the positions found at start is read and
//! applied again. A lost index is an index that covers nothing.
//!
//! Why RocksDB behind a trait: rows by slot and address in order, bounded memory at any number of chunks, and flushes that are
//! atomic and cost no write of ours. [`MemoryIndex`] is its twin for simulations; one contract suite holds both to this page.

#[cfg(test)]
mod contract;
mod memory;
mod rocks;
mod row;

pub use memory::{MemoryIndex, MemoryIndexes};
pub use rocks::{RocksIndex, RocksIndexes};
pub use row::{BadRow, PackRow, Row, Why};

use super::pack::{PackNumber, Position};
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{Slot, VolumeId};
use std::path::Path;
use std::sync::Arc;

/// An index that does not do what it should. What it covers can be read from the packs again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the index failed: {0}")]
pub struct IndexError(pub String);

/// Changes that become visible together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexBatch {
    /// New rows of chunks; `None`: the chunk is gone.
    pub rows: Vec<(ChunkAddress, Option<Row>)>,
    /// New rows of packs, with the position that the index now covers; `None`: the pack is gone.
    pub packs: Vec<(PackNumber, Option<PackRow>)>,
    /// Damaged records, by address and position; `None`: settled.
    pub bad: Vec<(ChunkAddress, Position, Option<BadRow>)>,
}

impl IndexBatch {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.packs.is_empty() && self.bad.is_empty()
    }
}

/// Where chunks lie. Shared by reference; readers do not wait for the one writer.
pub trait ChunkIndex: Send + Sync {
    /// The row of a chunk.
    fn get(&self, address: &ChunkAddress) -> Result<Option<Row>, IndexError>;

    /// Applies a batch: visible when it returns, durable after a later flush. Only one thread writes.
    fn write(&self, batch: &IndexBatch) -> Result<(), IndexError>;

    /// Rows in the order of (slot, address), after `after`, up to the end of slot `last`, at most `limit`.
    fn scan(&self, after: After, last: Slot, limit: usize) -> Result<Vec<(ChunkAddress, Row)>, IndexError>;

    /// Rows of all packs, by number.
    fn packs(&self) -> Result<Vec<(PackNumber, PackRow)>, IndexError>;

    /// Damaged records of one address, or of all.
    fn bad(&self, address: Option<&ChunkAddress>) -> Result<Vec<(ChunkAddress, Position, BadRow)>, IndexError>;

    /// Makes everything written so far durable; without `wait`, some time after it returns.
    fn flush(&self, wait: bool) -> Result<(), IndexError>;
}

/// Where a scan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// At the first row of this slot.
    SlotStart(Slot),
    /// Behind this chunk of this slot.
    Chunk(Slot, ChunkAddress),
}

/// Opens the indexes of a process's volumes.
pub trait Indexes: Send + Sync {
    /// The index in `folder`, whatever it covers. One that cannot be opened, or is another volume's, is thrown away and begun
    /// anew.
    fn open(&self, folder: &Path, volume: VolumeId) -> Result<Arc<dyn ChunkIndex>, IndexError>;
}
