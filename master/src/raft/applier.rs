//! Applying committed entries, in order, on a thread of its own: while one entry is applied the next is being synced.

use super::batch::Batch;
use super::node::{GroupError, Waiter};
use super::{ApplyError, StateMachine};
use cairn_common::ids::Stamp;
use raft::eraftpb::{ConfState, Entry};
use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// Log entries between two flushes of the state.
const FLUSH_ENTRIES: u64 = 20_000;
/// Bytes of log entries between two flushes of the state.
const FLUSH_BYTES: usize = 32 << 20;

/// Work for the applier.
pub(super) enum Work {
    /// A committed entry, with the batch and those who wait for it if it was proposed here.
    Entry(Entry, Option<Local>),
    /// A committed change of members, which raft-rs has made already.
    Conf { index: u64, term: u64, conf: ConfState, waiter: Option<oneshot::Sender<Result<(), GroupError>>> },
    /// Replace the state by the fetched one of this position, and tell the last stamp in it.
    Install { index: u64, term: u64, done: oneshot::Sender<Result<Stamp, String>> },
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

/// What the applier tells the core.
pub(super) enum Progress {
    /// Everything up to this index is applied; the last stamp in the state.
    Applied(u64, Stamp),
    /// Everything up to this index is durable without the log.
    Flushed(u64),
    /// The state machine failed; nothing more will be applied.
    Failed(String),
}

pub(super) struct Applier<M> {
    machine: M,
    applied: u64,
    stamp: Stamp,
    flushed: u64,
    unflushed_bytes: usize,
    barriers: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
}

impl<M: StateMachine> Applier<M> {
    pub(super) fn new(machine: M) -> Applier<M> {
        let (applied, stamp) = machine.applied();
        Applier { machine, applied, stamp, flushed: applied, unflushed_bytes: 0, barriers: BTreeMap::new() }
    }

    /// Works until the core hangs up.
    pub(super) fn run(mut self, work: &Receiver<Work>, progress: &dyn Fn(Progress)) {
        while let Ok(work) = work.recv() {
            if let Err(error) = self.work(work, progress) {
                tracing::error!(%error, "applying has stopped");
                return progress(Progress::Failed(error.to_string()));
            }
        }
    }

    pub(super) fn work(&mut self, work: Work, progress: &dyn Fn(Progress)) -> Result<(), ApplyError> {
        match work {
            Work::Entry(entry, local) => {
                self.unflushed_bytes += entry.data.len();
                self.apply(&entry, local)?;
                self.moved_to(entry.index, progress);
            }
            Work::Conf { index, term, conf, waiter } => {
                self.machine.apply_conf(index, term, &conf)?;
                self.moved_to(index, progress);
                if let Some(waiter) = waiter {
                    // The caller may have given up.
                    let _ = waiter.send(Ok(()));
                }
            }
            Work::Install { index, term, done } => {
                let installed = self.machine.install(index, term);
                if installed.is_ok() {
                    (self.applied, self.stamp) = self.machine.applied();
                    (self.flushed, self.unflushed_bytes) = (self.applied, 0);
                }
                let result = installed.map(|()| self.stamp).map_err(|error| error.to_string());
                let _ = done.send(result);
            }
            Work::Barrier(index, waiters) => self.barriers.entry(index).or_default().extend(waiters),
            Work::Flush(waiter) => {
                let result = self.machine.flush();
                let _ = waiter.send(result.map_err(|error| error.to_string()));
            }
        }
        while let Some(reached) = self.barriers.first_entry().filter(|first| *first.key() <= self.applied) {
            for waiter in reached.remove() {
                let _ = waiter.send(());
            }
        }
        if self.applied - self.flushed >= FLUSH_ENTRIES || self.unflushed_bytes >= FLUSH_BYTES {
            self.flushed = self.machine.flush()?;
            self.unflushed_bytes = 0;
            progress(Progress::Flushed(self.flushed));
        }
        Ok(())
    }

    fn moved_to(&mut self, index: u64, progress: &dyn Fn(Progress)) {
        assert_eq!(index, self.applied + 1, "entries are applied in order, without gaps");
        self.applied = index;
        progress(Progress::Applied(index, self.stamp));
    }

    /// Applies one entry and answers those who wait.
    fn apply(&mut self, entry: &Entry, local: Option<Local>) -> Result<(), ApplyError> {
        if entry.data.is_empty() {
            // A new leader's first entry.
            self.machine.apply(entry.index, entry.term, self.stamp, &[])?;
            return Ok(());
        }
        let (batch, waiters) = match local {
            Some(local) => (local.batch, local.waiters),
            None => (Batch::decode(&entry.data).map_err(|error| ApplyError(error.to_string()))?, Vec::new()),
        };
        let outcomes = self.machine.apply(entry.index, entry.term, batch.base, &batch.commands)?;
        assert_eq!(outcomes.len(), batch.commands.len(), "every command has an outcome");
        self.stamp = batch.base.next(batch.commands.len().saturating_sub(1) as u64);
        for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
            let _ = waiter.send(Ok(outcome));
        }
        Ok(())
    }
}

/// Tells waiters that nobody knows what becomes of their commands.
pub(super) fn give_up(waiters: Vec<Waiter>) {
    for waiter in waiters {
        let _ = waiter.send(Err(GroupError::Unknown));
    }
}
