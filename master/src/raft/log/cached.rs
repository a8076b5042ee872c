//! A log as raft-rs reads it: the last entries are in memory, and members that have missed too much are told to fetch the state.

use super::{LogError, LogStore};
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of entries that are kept in memory.
const CACHE_BYTES: usize = 8 << 20;

/// Gives snapshots of the state to members that have missed too much.
pub trait SnapshotSource: Send + Sync {
    /// A snapshot of the state as it is applied now, or a recent one. `None`: not now.
    fn take(&self) -> Option<TakenSnapshot>;

    /// The oldest position of a snapshot that is being fetched: the log is kept from there on.
    fn oldest_in_use(&self) -> Option<u64>;

    /// Whether somebody is in the middle of fetching one.
    fn is_read(&self) -> bool;
}

/// A snapshot that can be fetched.
pub struct TakenSnapshot {
    /// Index of the last entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Members at that position.
    pub conf: ConfState,
    /// What the fetcher needs to know.
    pub data: Vec<u8>,
}

/// A log as raft-rs reads it, with the last entries in memory.
pub(in crate::raft) struct CachedLog<L> {
    store: L,
    snapshots: Option<Arc<dyn SnapshotSource>>,
    conf: ConfState,
    truncated: (u64, u64),
    last: u64,
    cache: VecDeque<Entry>,
    cached_bytes: usize,
}

impl<L: LogStore> CachedLog<L> {
    pub(in crate::raft) fn open(
        store: L,
        conf: ConfState,
        snapshots: Option<Arc<dyn SnapshotSource>>,
    ) -> Result<CachedLog<L>, LogError> {
        let (truncated, last) = (store.truncated()?, store.last_index()?);
        if last < truncated.0 {
            return Err(LogError(format!("it ends at {last}, before its beginning at {}", truncated.0 + 1)));
        }
        Ok(CachedLog { store, snapshots, conf, truncated, last, cache: VecDeque::new(), cached_bytes: 0 })
    }

    /// Stores what a Ready asks for. Durable on return.
    pub(in crate::raft) fn append(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) -> Result<(), LogError> {
        self.store.append(entries, hard_state)?;
        let Some(first) = entries.first() else { return Ok(()) };
        while self.cache.back().is_some_and(|entry| entry.index >= first.index) {
            self.cached_bytes -= self.cache.pop_back().map_or(0, |entry| size(&entry));
        }
        for entry in entries {
            self.cached_bytes += size(entry);
            self.cache.push_back(entry.clone());
            self.last = entry.index;
        }
        while self.cached_bytes > CACHE_BYTES {
            self.cached_bytes -= self.cache.pop_front().map_or(0, |entry| size(&entry));
        }
        Ok(())
    }

    /// Index of the first entry that is in memory; one past the last entry if none is.
    pub(in crate::raft) fn first_in_memory(&self) -> u64 {
        self.cache.front().map_or(self.last + 1, |entry| entry.index)
    }

    /// Forgets entries up to `index`, all of which are applied and durable in the state.
    pub(in crate::raft) fn compact(&mut self, index: u64) -> Result<(), LogError> {
        let in_use = self.snapshots.as_ref().and_then(|snapshots| snapshots.oldest_in_use());
        let index = index.min(in_use.unwrap_or(u64::MAX));
        if index <= self.truncated.0 {
            return Ok(());
        }
        let term = self.term(index).map_err(|error| LogError(error.to_string()))?;
        self.store.compact(index, term)?;
        self.truncated = (index, term);
        Ok(())
    }

    /// Begins anew behind a snapshot that is installed.
    pub(in crate::raft) fn reset(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        self.store.reset(index, term)?;
        self.cache.clear();
        (self.truncated, self.last, self.cached_bytes) = ((index, term), index, 0);
        Ok(())
    }

    pub(in crate::raft) fn set_conf(&mut self, conf: ConfState) {
        self.conf = conf;
    }

    pub(in crate::raft) fn first(&self) -> u64 {
        self.truncated.0 + 1
    }

    fn read(&self, low: u64, high: u64) -> Result<Vec<Entry>, raft::Error> {
        let from_cache = self.cache.front().is_some_and(|first| first.index <= low);
        if let Some(first) = self.cache.front().filter(|_| from_cache) {
            let range = (low - first.index) as usize..(high - first.index) as usize;
            return Ok(self.cache.range(range).cloned().collect());
        }
        let entries = self.store.entries(low, high).map_err(other)?;
        // Every read is checked: a gap here would be a hole in the state.
        let whole =
            entries.len() as u64 == high - low && entries.iter().zip(low..).all(|(entry, index)| entry.index == index);
        if whole { Ok(entries) } else { Err(other(LogError(format!("entries {low} to {high} are not all there")))) }
    }
}

fn size(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + 64
}

fn other(error: LogError) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(error)))
}

impl<L: LogStore> Storage for CachedLog<L> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.store.hard_state().map_err(other)?, self.conf.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.first() {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let mut entries = self.read(low, high)?;
        if let Some(max) = max_size.into() {
            let mut bytes = 0u64;
            let within = entries.iter().take_while(|entry| {
                bytes += u64::from(entry.compute_size());
                bytes <= max
            });
            let count = within.count().max(1);
            entries.truncate(count);
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated.0 {
            return Ok(self.truncated.1);
        }
        if index < self.first() {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > self.last {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        if let Some(first) = self.cache.front().filter(|first| first.index <= index) {
            return Ok(self.cache[(index - first.index) as usize].term);
        }
        Ok(self.read(index, index + 1)?[0].term)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let taken = self.snapshots.as_ref().and_then(|snapshots| snapshots.take());
        let Some(taken) = taken.filter(|taken| taken.index >= request_index) else {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        };
        let mut snapshot = Snapshot { data: taken.data.into(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (taken.index, taken.term);
        metadata.set_conf_state(taken.conf);
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryLog;
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![index as u8; 100].into(), ..Entry::default() }
    }

    #[test]
    fn reads_are_the_same_from_memory_and_from_the_store() {
        let store = MemoryLog::default();
        let mut cached = CachedLog::open(store.clone(), ConfState::default(), None).unwrap();
        cached.append(&(1..=5).map(|index| entry(index, 1)).collect::<Vec<_>>(), None).unwrap();
        cached.append(&(4..=9).map(|index| entry(index, 2)).collect::<Vec<_>>(), None).unwrap();
        let cold = CachedLog::open(store, ConfState::default(), None).unwrap();
        for log in [&cached, &cold] {
            let all = log.entries(1, 10, None, GetEntriesContext::empty(false)).unwrap();
            assert_eq!(all.iter().map(|entry| entry.term).collect::<Vec<_>>(), [1, 1, 1, 2, 2, 2, 2, 2, 2]);
            assert_eq!(log.term(4).unwrap(), 2);
            assert_eq!(log.entries(2, 9, Some(1), GetEntriesContext::empty(false)).unwrap().len(), 1);
            assert!(log.entries(2, 11, None, GetEntriesContext::empty(false)).is_err());
        }
    }

    #[test]
    fn forgotten_entries_are_said_to_be_compacted() {
        let mut log = CachedLog::open(MemoryLog::default(), ConfState::default(), None).unwrap();
        log.append(&(1..=5).map(|index| entry(index, 3)).collect::<Vec<_>>(), None).unwrap();
        log.compact(3).unwrap();
        assert_eq!(log.term(3).unwrap(), 3);
        assert!(matches!(log.term(2), Err(raft::Error::Store(StorageError::Compacted))));
        assert!(matches!(
            log.entries(3, 5, None, GetEntriesContext::empty(false)),
            Err(raft::Error::Store(StorageError::Compacted))
        ));
        assert_eq!(log.entries(4, 6, None, GetEntriesContext::empty(false)).unwrap().len(), 2);
    }
}
