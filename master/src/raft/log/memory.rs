//! The log in memory: the twin of the one on disk, for tests and the simulation.

use super::{LogError, LogStore};
use raft::eraftpb::{Entry, HardState};
use std::sync::{Arc, Mutex, PoisonError};

/// A log in memory: the twin for tests and simulation. A clone shares the contents, as a restarted node finds its disk.
#[derive(Clone, Default)]
pub struct MemoryLog {
    contents: Arc<Mutex<MemoryContents>>,
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
    pub(in crate::raft) fn deep_copy(&self) -> MemoryLog {
        let contents = self.with(|contents| contents.clone());
        MemoryLog { contents: Arc::new(Mutex::new(contents)) }
    }

    fn with<T>(&self, f: impl FnOnce(&mut MemoryContents) -> T) -> T {
        f(&mut self.contents.lock().unwrap_or_else(PoisonError::into_inner))
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
