//! Where entries and votes are kept.
//!
//! [`LogStore::append`] returns when both are on disk. The last entries are also kept in memory, since almost every read is of
//! what was just written.

mod cached;
mod engine;
mod marker;
mod memory;
mod watched;

pub(super) use cached::CachedLog;
pub use cached::{SnapshotSource, TakenSnapshot};
pub use engine::EngineLog;
pub use memory::MemoryLog;

use raft::eraftpb::{Entry, HardState};

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
}
