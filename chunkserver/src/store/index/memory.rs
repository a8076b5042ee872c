//! The index as a map: what simulations use, and what the RocksDB one is compared with.

use super::super::pack::{PackNumber, Position};
use super::{After, BadRow, ChunkIndex, IndexBatch, IndexError, Indexes, PackRow, Row};
use cairn_common::chunk::{ChunkAddress, ChunkId, IdKind};
use cairn_common::ids::{Domain, Slot, VolumeId};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An index in memory that knows what a crash would leave of it.
#[derive(Clone, Debug, Default)]
pub struct MemoryIndex {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rows: Rows,
    flushed: Rows,
    failing: bool,
    unreadable: bool,
}

#[derive(Clone, Debug, Default)]
struct Rows {
    chunks: BTreeMap<(Slot, ChunkAddress), Row>,
    packs: BTreeMap<PackNumber, PackRow>,
    bad: BTreeMap<(ChunkAddress, Position), BadRow>,
}

impl MemoryIndex {
    /// Goes back to what was flushed last.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.rows = state.flushed.clone();
    }

    /// Fails every write from now on, or no longer.
    pub fn set_failing(&self, failing: bool) {
        self.lock().failing = failing;
    }

    /// Fails every question from now on, or no longer.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.lock().unreadable = unreadable;
    }

    fn read(&self) -> Result<MutexGuard<'_, State>, IndexError> {
        let state = self.lock();
        if state.unreadable { Err(IndexError("told to be unreadable".to_owned())) } else { Ok(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChunkIndex for MemoryIndex {
    fn get(&self, address: &ChunkAddress) -> Result<Option<Row>, IndexError> {
        Ok(self.read()?.rows.chunks.get(&(address.slot(), *address)).copied())
    }

    fn write(&self, batch: &IndexBatch) -> Result<(), IndexError> {
        let mut state = self.lock();
        if state.failing {
            return Err(IndexError("told to fail".to_owned()));
        }
        for (address, row) in &batch.rows {
            set(&mut state.rows.chunks, (address.slot(), *address), *row);
        }
        for (number, row) in &batch.packs {
            set(&mut state.rows.packs, *number, *row);
        }
        for (address, position, row) in &batch.bad {
            set(&mut state.rows.bad, (*address, *position), *row);
        }
        Ok(())
    }

    fn scan(&self, after: After, last: Slot, limit: usize) -> Result<Vec<(ChunkAddress, Row)>, IndexError> {
        let state = self.read()?;
        let lowest = ChunkAddress { domain: Domain(0), kind: IdKind::Plain, id: ChunkId([0; 32]) };
        let start = match after {
            After::SlotStart(slot) => Bound::Included((slot, lowest)),
            After::Chunk(slot, address) => Bound::Excluded((slot, address)),
        };
        let rows = state.rows.chunks.range((start, Bound::Unbounded));
        let rows = rows.take_while(|((slot, _), _)| *slot <= last).take(limit);
        Ok(rows.map(|((_, address), row)| (*address, *row)).collect())
    }

    fn packs(&self) -> Result<Vec<(PackNumber, PackRow)>, IndexError> {
        Ok(self.lock().rows.packs.iter().map(|(number, row)| (*number, *row)).collect())
    }

    fn bad(&self, address: Option<&ChunkAddress>) -> Result<Vec<(ChunkAddress, Position, BadRow)>, IndexError> {
        let state = self.read()?;
        let wanted = state.rows.bad.iter().filter(|((of, _), _)| address.is_none_or(|address| of == address));
        Ok(wanted.map(|((address, position), row)| (*address, *position, *row)).collect())
    }

    fn flush(&self, _wait: bool) -> Result<(), IndexError> {
        let mut state = self.lock();
        if state.failing {
            return Err(IndexError("told to fail".to_owned()));
        }
        state.flushed = state.rows.clone();
        Ok(())
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// The memory indexes of simulated volumes; they outlive the process that a test simulates.
#[derive(Debug, Default)]
pub struct MemoryIndexes {
    indexes: Mutex<BTreeMap<PathBuf, (VolumeId, MemoryIndex)>>,
}

impl MemoryIndexes {
    /// The index in `folder`, if one was opened.
    pub fn get(&self, folder: &Path) -> Option<MemoryIndex> {
        self.lock().get(folder).map(|(_, index)| index.clone())
    }

    /// Every index goes back to what was flushed last.
    pub fn crash(&self) {
        self.lock().values().for_each(|(_, index)| index.crash());
    }

    /// The index in `folder` is gone.
    pub fn lose(&self, folder: &Path) {
        self.lock().remove(folder);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, (VolumeId, MemoryIndex)>> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Indexes for MemoryIndexes {
    fn open(&self, folder: &Path, volume: VolumeId) -> Result<Arc<dyn ChunkIndex>, IndexError> {
        let mut indexes = self.lock();
        let known = indexes.get(folder).filter(|(of, _)| *of == volume).map(|(_, index)| index.clone());
        let index = known.unwrap_or_default();
        indexes.insert(folder.to_owned(), (volume, index.clone()));
        Ok(Arc::new(index))
    }
}
