//! Applying committed entries, in order, on a thread of its own: while one entry is applied the next is being synced.

use super::batch::Batch;
use super::node::{GroupError, Waiter};
use super::{ApplyError, StateMachine};
use cairn_common::ids::Stamp;
use raft::eraftpb::{Entry, EntryType};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender};
use tokio::sync::oneshot;

/// Log entries between two flushes of the state.
const FLUSH_ENTRIES: u64 = 20_000;
/// Bytes of log entries between two flushes of the state.
const FLUSH_BYTES: usize = 32 << 20;

/// Work for the applier.
pub(super) enum Work {
    /// A committed entry, with the batch and those who wait for it if it was proposed here.
    Entry(Entry, Option<Local>),
    /// Tell these when everything up to this index is applied.
    Barrier(u64, Vec<oneshot::Sender<()>>),
    /// Flush now and tell.
    Flush(oneshot::Sender<Result<u64, String>>),
}

/// A batch that was proposed on this node.
pub(super) struct Local {
    pub(super) batch: Batch,
    pub(super) waiters: Vec<Waiter>,
}

/// What the applier tells the loop.
pub(super) enum Progress {
    /// Everything up to this index is applied.
    Applied(u64, Stamp),
    /// Everything up to this index is durable without the log.
    Flushed(u64),
    /// The state machine failed; nothing more will be applied.
    Failed(String),
}

pub(super) struct Applier<M> {
    pub(super) machine: M,
    pub(super) work: Receiver<Work>,
    pub(super) progress: Box<dyn Fn(Progress) + Send>,
}

impl<M: StateMachine> Applier<M> {
    /// Works until the loop hangs up.
    pub(super) fn run(mut self) {
        if let Err(error) = self.work_all() {
            tracing::error!(%error, "applying has stopped");
            (self.progress)(Progress::Failed(error.to_string()));
        }
    }

    fn work_all(&mut self) -> Result<(), ApplyError> {
        let mut barriers: BTreeMap<u64, Vec<oneshot::Sender<()>>> = BTreeMap::new();
        let (mut applied, mut stamp) = self.machine.applied();
        let mut flushed = applied;
        let mut unflushed_bytes = 0;
        while let Ok(work) = self.work.recv() {
            match work {
                Work::Entry(entry, local) => {
                    assert_eq!(entry.index, applied + 1, "entries are applied in order, without gaps");
                    unflushed_bytes += entry.data.len();
                    stamp = self.apply(&entry, local)?.unwrap_or(stamp);
                    applied = entry.index;
                    (self.progress)(Progress::Applied(applied, stamp));
                }
                Work::Barrier(index, waiters) => barriers.entry(index).or_default().extend(waiters),
                Work::Flush(waiter) => {
                    let result = self.machine.flush();
                    // The waiter may have gone.
                    let _ = waiter.send(result.map_err(|error| error.to_string()));
                }
            }
            while let Some(reached) = barriers.first_entry().filter(|first| *first.key() <= applied) {
                for waiter in reached.remove() {
                    let _ = waiter.send(());
                }
            }
            if applied - flushed >= FLUSH_ENTRIES || unflushed_bytes >= FLUSH_BYTES {
                flushed = self.machine.flush()?;
                unflushed_bytes = 0;
                (self.progress)(Progress::Flushed(flushed));
            }
        }
        Ok(())
    }

    /// Applies one entry and answers those who wait; the last stamp it used.
    fn apply(&mut self, entry: &Entry, local: Option<Local>) -> Result<Option<Stamp>, ApplyError> {
        if entry.entry_type != EntryType::EntryNormal || entry.data.is_empty() {
            self.machine.apply(entry.index, entry.term, Stamp::ZERO, &[])?;
            return Ok(None);
        }
        let (batch, waiters) = match local {
            Some(local) => (local.batch, local.waiters),
            None => (Batch::decode(&entry.data).map_err(|error| ApplyError(error.to_string()))?, Vec::new()),
        };
        let outcomes = self.machine.apply(entry.index, entry.term, batch.base, &batch.commands)?;
        assert_eq!(outcomes.len(), batch.commands.len(), "every command has an outcome");
        for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
            // The caller may have given up.
            let _ = waiter.send(Ok(outcome));
        }
        Ok(Some(batch.base.next(batch.commands.len().saturating_sub(1) as u64)))
    }
}

/// Tells waiters that nobody knows what becomes of their commands.
pub(super) fn give_up(waiters: Vec<Waiter>) {
    for waiter in waiters {
        let _ = waiter.send(Err(GroupError::Unknown));
    }
}

/// Sends work; `false`: the applier has stopped.
pub(super) fn send(work: &SyncSender<Work>, item: Work) -> bool {
    work.send(item).is_ok()
}
