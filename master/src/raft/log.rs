//! Where entries and votes are kept.
//!
//! [`LogStore::append`] returns when both are on disk. The last entries are also kept in memory, since almost every read is of
//! what was just written.

use cairn_common::seam::{Disk as _, OpenMode, RealDisk, seeded_bug};
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

/// Bytes of entries that are kept in memory.
const CACHE_BYTES: usize = 8 << 20;
/// Size of one log file.
const FILE_BYTES: u64 = 32 << 20;
/// Log files beyond this are looked through for ones that are not needed any more.
const PURGE_BYTES: u64 = 128 << 20;

/// The log is damaged or cannot be written. The node must stop; what to do is in the text.
#[derive(Debug, thiserror::Error)]
#[error("the Raft log failed: {0}")]
pub struct LogError(pub String);

/// A log on some medium.
pub trait LogStore: Send + 'static {
    /// The vote and the commit index that were stored last.
    fn hard_state(&self) -> Result<HardState, LogError>;
    /// Index and term of the entry before the first that is kept.
    fn truncated(&self) -> Result<(u64, u64), LogError>;
    /// Index of the last entry; that of [`LogStore::truncated`] if there is none.
    fn last_index(&self) -> Result<u64, LogError>;
    /// Stores entries over those of the same and higher indexes, and the vote. Durable on return.
    fn append(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), LogError>;
    /// Entries from `low` to before `high`, all of which are kept.
    fn entries(&self, low: u64, high: u64) -> Result<Vec<Entry>, LogError>;
    /// Forgets all entries, and begins anew behind `index`, whose term is `term` and which is committed. Durable on return.
    fn reset(&mut self, index: u64, term: u64) -> Result<(), LogError>;
    /// Forgets entries up to and including `index`, whose term is `term`. Need not be durable.
    fn compact(&mut self, index: u64, term: u64) -> Result<(), LogError>;
}

/// A log in a folder, by raft-engine: checksummed, several files, recycled.
pub struct EngineLog {
    engine: Engine,
}

/// There is one Raft group; more will be told apart by this number.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard-state";
const TRUNCATED: &[u8] = b"truncated";

struct EntryExt;

impl MessageExt for EntryExt {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

impl EngineLog {
    /// Opens or makes the log in `folder`. A tail that was torn by a crash is cut; damage before it is an error. What is found is
    /// on disk: see [`settle`].
    pub fn open(folder: &Path) -> Result<EngineLog, LogError> {
        settle(folder).map_err(|error| LogError(format!("{}: {error}", folder.display())))?;
        let dir = folder.to_str().ok_or_else(|| LogError(format!("{} is not UTF-8", folder.display())))?;
        let config = Config {
            dir: dir.to_owned(),
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            recovery_threads: 1,
            // Bodies are mostly incompressible, and compression would cost more than it saves.
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize(FILE_BYTES),
            purge_threshold: ReadableSize(PURGE_BYTES),
            enable_log_recycle: true,
            ..Config::default()
        };
        let engine = Engine::open(config).map_err(|error| {
            let help = "If the disk is sound, restore this master from a backup or from the other masters";
            LogError(format!("{}: {error}. {help}", folder.display()))
        })?;
        Ok(EngineLog { engine })
    }
}

/// Syncs the files of a log and drops them from the page cache, so that what is read next is what the disk holds. The last run may
/// have ended with a failed sync, after which the cache shows entries that are nowhere else (P6). They must not be written again
/// instead: appending an entry forgets all behind it, so a crash in between would lose some that were acknowledged.
fn settle(folder: &Path) -> std::io::Result<()> {
    if !RealDisk.exists(folder)? {
        return Ok(());
    }
    for name in RealDisk.list(folder)? {
        let file = RealDisk.open(&folder.join(name), OpenMode::Read)?;
        file.sync_data()?;
        file.drop_cache(0, 0)?;
    }
    RealDisk.sync_dir(folder)
}

fn engine_error(error: raft_engine::Error) -> LogError {
    LogError(error.to_string())
}

impl LogStore for EngineLog {
    fn hard_state(&self) -> Result<HardState, LogError> {
        Ok(self.engine.get_message(GROUP, HARD_STATE).map_err(engine_error)?.unwrap_or_default())
    }

    fn truncated(&self) -> Result<(u64, u64), LogError> {
        match self.engine.get(GROUP, TRUNCATED) {
            None => Ok((0, 0)),
            Some(bytes) => match <[u8; 16]>::try_from(bytes) {
                Ok(bytes) => {
                    let both = u128::from_be_bytes(bytes);
                    Ok(((both >> 64) as u64, both as u64))
                }
                Err(_) => Err(LogError("the record of the first entry is damaged".to_owned())),
            },
        }
    }

    fn last_index(&self) -> Result<u64, LogError> {
        let truncated = self.truncated()?.0;
        Ok(self.engine.last_index(GROUP).unwrap_or(truncated).max(truncated))
    }

    fn append(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), LogError> {
        let mut batch = LogBatch::default();
        batch.add_entries::<EntryExt>(GROUP, entries).map_err(engine_error)?;
        if let Some(hard_state) = hard_state {
            batch.put_message(GROUP, HARD_STATE.to_vec(), hard_state).map_err(engine_error)?;
        }
        let sync = !seeded_bug("skip-log-sync");
        self.engine.write(&mut batch, sync).map_err(engine_error)?;
        Ok(())
    }

    fn entries(&self, low: u64, high: u64) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        self.engine.fetch_entries_to::<EntryExt>(GROUP, low, high, None, &mut entries).map_err(engine_error)?;
        Ok(entries)
    }

    fn reset(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        let old = self.hard_state()?;
        // The vote of this term or a later one stands.
        let (term_, vote) = if old.term >= term { (old.term, old.vote) } else { (term, 0) };
        let hard_state = HardState { term: term_, vote, commit: index, ..HardState::default() };
        let mut batch = LogBatch::default();
        batch.add_command(GROUP, raft_engine::Command::Clean);
        let both = u128::from(index) << 64 | u128::from(term);
        batch.put(GROUP, TRUNCATED.to_vec(), both.to_be_bytes().to_vec()).map_err(engine_error)?;
        batch.put_message(GROUP, HARD_STATE.to_vec(), &hard_state).map_err(engine_error)?;
        self.engine.write(&mut batch, true).map_err(engine_error)?;
        Ok(())
    }

    fn compact(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        let mut batch = LogBatch::default();
        let both = u128::from(index) << 64 | u128::from(term);
        batch.put(GROUP, TRUNCATED.to_vec(), both.to_be_bytes().to_vec()).map_err(engine_error)?;
        self.engine.write(&mut batch, false).map_err(engine_error)?;
        self.engine.compact_to(GROUP, index + 1);
        self.engine.purge_expired_files().map_err(engine_error)?;
        Ok(())
    }
}

/// A log in memory: the twin for tests and simulation. A clone shares the contents, as a restarted node finds its disk.
#[derive(Clone, Default)]
pub struct MemoryLog {
    contents: std::sync::Arc<std::sync::Mutex<MemoryContents>>,
}

#[derive(Clone, Default)]
struct MemoryContents {
    hard_state: HardState,
    truncated: (u64, u64),
    entries: Vec<Entry>,
}

impl MemoryLog {
    /// A log of its own with the same contents.
    #[cfg(test)]
    pub(super) fn deep_copy(&self) -> MemoryLog {
        let contents = self.with(|contents| contents.clone());
        MemoryLog { contents: std::sync::Arc::new(std::sync::Mutex::new(contents)) }
    }

    fn with<T>(&self, f: impl FnOnce(&mut MemoryContents) -> T) -> T {
        f(&mut self.contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl LogStore for MemoryLog {
    fn hard_state(&self) -> Result<HardState, LogError> {
        Ok(self.with(|contents| contents.hard_state.clone()))
    }

    fn truncated(&self) -> Result<(u64, u64), LogError> {
        Ok(self.with(|contents| contents.truncated))
    }

    fn last_index(&self) -> Result<u64, LogError> {
        Ok(self.with(|contents| contents.truncated.0 + contents.entries.len() as u64))
    }

    fn append(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), LogError> {
        self.with(|contents| {
            if let Some(first) = entries.first() {
                contents.entries.truncate((first.index - contents.truncated.0 - 1) as usize);
                contents.entries.extend_from_slice(entries);
            }
            if let Some(hard_state) = hard_state {
                contents.hard_state = hard_state.clone();
            }
        });
        Ok(())
    }

    fn entries(&self, low: u64, high: u64) -> Result<Vec<Entry>, LogError> {
        Ok(self.with(|contents| {
            let first = contents.truncated.0 + 1;
            contents.entries[(low - first) as usize..(high - first) as usize].to_vec()
        }))
    }

    fn reset(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        self.with(|contents| {
            contents.entries.clear();
            contents.truncated = (index, term);
            if contents.hard_state.term < term {
                contents.hard_state = HardState { term, ..HardState::default() };
            }
            contents.hard_state.commit = index;
        });
        Ok(())
    }

    fn compact(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        self.with(|contents| {
            contents.entries.drain(..(index - contents.truncated.0) as usize);
            contents.truncated = (index, term);
        });
        Ok(())
    }
}

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
pub(super) struct CachedLog<L> {
    store: L,
    snapshots: Option<Arc<dyn SnapshotSource>>,
    conf: ConfState,
    truncated: (u64, u64),
    last: u64,
    cache: VecDeque<Entry>,
    cached_bytes: usize,
}

impl<L: LogStore> CachedLog<L> {
    pub(super) fn open(
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
    pub(super) fn append(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), LogError> {
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
    pub(super) fn first_in_memory(&self) -> u64 {
        self.cache.front().map_or(self.last + 1, |entry| entry.index)
    }

    /// Forgets entries up to `index`, all of which are applied and durable in the state.
    pub(super) fn compact(&mut self, index: u64) -> Result<(), LogError> {
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
    pub(super) fn reset(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        self.store.reset(index, term)?;
        self.cache.clear();
        (self.truncated, self.last, self.cached_bytes) = ((index, term), index, 0);
        Ok(())
    }

    pub(super) fn set_conf(&mut self, conf: ConfState) {
        self.conf = conf;
    }

    pub(super) fn first(&self) -> u64 {
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
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![index as u8; 100].into(), ..Entry::default() }
    }

    fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
        HardState { term, vote, commit, ..HardState::default() }
    }

    /// The same cases on every store; `again` opens what `first` left, as after a restart.
    fn contract<L: LogStore>(mut first: L, again: impl FnOnce(L) -> L) {
        assert_eq!((first.truncated().unwrap(), first.last_index().unwrap()), ((0, 0), 0));
        let entries: Vec<Entry> = (1..=10).map(|index| entry(index, 1)).collect();
        first.append(&entries, Some(&hard_state(1, 7, 3))).unwrap();
        first.append(&[entry(8, 2), entry(9, 2)], None).unwrap();
        assert_eq!(first.last_index().unwrap(), 9);
        first.compact(4, 1).unwrap();
        assert_eq!((first.truncated().unwrap(), first.last_index().unwrap()), ((4, 1), 9));
        let second = again(first);
        assert_eq!(second.hard_state().unwrap(), hard_state(1, 7, 3));
        assert_eq!((second.truncated().unwrap(), second.last_index().unwrap()), ((4, 1), 9));
        let mut second = second;
        let read = second.entries(5, 10).unwrap();
        assert_eq!(
            read.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>(),
            [(5, 1), (6, 1), (7, 1), (8, 2), (9, 2)]
        );
        assert_eq!(read[0].data, vec![5; 100]);
        second.reset(20, 3).unwrap();
        assert_eq!((second.truncated().unwrap(), second.last_index().unwrap()), ((20, 3), 20));
        assert_eq!(second.hard_state().unwrap(), hard_state(3, 0, 20));
        second.append(&[entry(21, 4)], Some(&hard_state(4, 2, 20))).unwrap();
        second.reset(30, 4).unwrap();
        assert_eq!(second.hard_state().unwrap(), hard_state(4, 2, 30), "the vote of the term stands");
        assert_eq!(second.last_index().unwrap(), 30);
        second.append(&[entry(31, 4)], None).unwrap();
        assert_eq!(second.entries(31, 32).unwrap()[0].term, 4);
    }

    #[test]
    fn a_log_in_memory_keeps_the_contract() {
        contract(MemoryLog::default(), |log| log.clone());
    }

    #[test]
    fn a_log_on_disk_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        contract(EngineLog::open(&path).unwrap(), |log| {
            drop(log);
            EngineLog::open(&path).unwrap()
        });
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
