//! The one thread that changes a volume.
//!
//! It takes every change that waits, writes the records of all of them, makes them durable with one fdatasync, tells the index,
//! and only then answers. While it syncs, the next group gathers. Because nothing else changes the volume, a change that was
//! decided here cannot be overtaken: confirming a copy, removing it, moving it and replacing it are in one order.
//!
//! An error of a write or a sync is final (P6): it fails the whole group and seals the pack for ever; EIO retires the volume.

use super::super::index::IndexError;
use super::super::pack::{PackNumber, Position};
use super::active::{ActivePack, Synced};
use super::changes::{Changes, PackRows, Written, apply_to};
use super::group::Group;
use super::identity::CleanMark;
use super::job::{Answer, AppendError, Job};
use super::shared::{Health, Shared};
use super::stage::{Staged, stage};
use super::{reserve, stage::Purpose};
use cairn_common::limits::{APPEND_GROUP_BYTES, INDEX_LAG_BYTES};
use cairn_common::seam::DiskTrouble;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// State of the thread.
pub(super) struct Appender {
    pub(super) shared: Arc<Shared>,
    pub(super) active: Option<ActivePack>,
    pub(super) next_number: PackNumber,
    pub(super) rows: Arc<PackRows>,
    /// Changes that are durable and that the index has not taken yet. Nothing else is done before it has.
    unindexed: Option<Written>,
    /// Bytes appended since the index was flushed.
    unflushed_bytes: u64,
}

impl Appender {
    pub(super) fn new(
        shared: Arc<Shared>,
        active: Option<ActivePack>,
        next_number: PackNumber,
        rows: PackRows,
    ) -> Appender {
        let rows = Arc::new(rows);
        let appender = Appender { shared, active, next_number, rows, unindexed: None, unflushed_bytes: 0 };
        appender.show_room();
        reserve::ensure(&appender.shared);
        appender
    }

    /// Works until it is told to stop, or nobody can ask any more.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            if self.turn(first, &mut queue).is_break() {
                return;
            }
        }
    }

    /// Carries out `first` and what waits behind it, up to the size of a group. `Break`: it was told to stop.
    pub(super) fn turn(&mut self, first: Job, queue: &mut mpsc::Receiver<Job>) -> ControlFlow<()> {
        let mut weight = first.weight();
        let mut jobs = vec![first];
        while weight < APPEND_GROUP_BYTES
            && let Ok(job) = queue.try_recv()
        {
            weight += job.weight();
            jobs.push(job);
        }
        let Some(answer) = self.process(jobs) else { return ControlFlow::Continue(()) };
        queue.close();
        while let Ok(job) = queue.try_recv() {
            job.refuse(AppendError::Failed("it is being stopped".to_owned()));
        }
        let _ = answer.send(self.stop());
        ControlFlow::Break(())
    }

    /// Carries out jobs in their order, as one group or, where a pack ends, as several. Returns who asked to stop.
    pub(super) fn process(&mut self, jobs: Vec<Job>) -> Option<Answer<()>> {
        let mut stop = None;
        let mut open: Option<Group> = None;
        for job in jobs {
            let mut group = match open.take().map_or_else(|| self.begin(), Ok) {
                Ok(group) => group,
                Err(error) => {
                    if let Job::Stop { answer } = job {
                        stop = Some(answer)
                    } else {
                        job.refuse(error)
                    }
                    continue;
                }
            };
            match job {
                Job::Stop { answer } => stop = Some(answer),
                Job::DropPack { pack, answer } => {
                    self.commit(group);
                    let _ = answer.send(self.drop_pack(pack));
                    continue;
                }
                job => {
                    open = match stage(&self.shared, &mut group, job) {
                        Ok(Staged::Done) => Some(group),
                        Ok(Staged::NeedsRoom(job, bytes, purpose)) => {
                            self.commit(group);
                            self.stage_with_room(job, bytes, purpose)
                        }
                        Err(error) => self.abandon(group, &error),
                    };
                    continue;
                }
            }
            open = Some(group);
        }
        if let Some(group) = open {
            self.commit(group);
        }
        stop
    }

    /// A new group, unless nothing can be changed now.
    fn begin(&mut self) -> Result<Group, AppendError> {
        self.check()?;
        Ok(Group::new(self.active.as_ref(), self.changes()))
    }

    /// Whether anything can be changed now: the volume is well, and the index has taken all that is durable.
    pub(super) fn check(&mut self) -> Result<(), AppendError> {
        if let Health::Failed(reason) | Health::Retired(reason) = self.shared.health() {
            return Err(AppendError::Failed(reason));
        }
        self.unindexed.take().map_or(Ok(()), |written| self.index(written))
    }

    pub(super) fn changes(&self) -> Changes {
        Changes::new(Arc::clone(&self.shared.index), Arc::clone(&self.rows))
    }

    /// Makes room and starts a new group with the job in it. Without room the job is refused.
    fn stage_with_room(&mut self, job: Job, bytes: u32, purpose: Purpose) -> Option<Group> {
        match self.make_room(bytes, purpose).and_then(|()| self.begin()) {
            Ok(mut group) => match stage(&self.shared, &mut group, job) {
                Ok(Staged::Done) => Some(group),
                Ok(Staged::NeedsRoom(..)) => unreachable!("room for {bytes} bytes was made"),
                Err(error) => self.abandon(group, &error),
            },
            Err(error) => {
                job.refuse(error);
                None
            }
        }
    }

    /// Makes a group durable, then visible, then known to those who wait for it; in this order and no other.
    fn commit(&mut self, group: Group) {
        if group.is_empty() {
            return;
        }
        let bytes = group.bytes();
        let durable = group.make_durable(self.active.as_mut());
        let (mut changes, answers) = group.into_parts();
        let synced: Option<Synced> = match durable {
            Ok(synced) => synced,
            Err(error) => {
                let error = self.fail(&error, "appending");
                drop(changes);
                answers.fail(&error);
                return;
            }
        };
        if let Some(active) = self.active.as_ref().filter(|_| bytes > 0) {
            changes.pack(active.number()).covered = active.end().offset;
            self.shared.set_appended(active.end());
            self.show_room();
        }
        if synced.is_some() {
            self.shared.groups.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("cairn_pack_groups_total").increment(1);
        }
        metrics::counter!("cairn_pack_bytes_total").increment(u64::from(bytes));
        match self.index(changes.finish()) {
            Ok(()) => answers.succeed(synced.as_ref()),
            Err(error) => answers.fail(&error),
        }
        self.unflushed_bytes += u64::from(bytes);
        if self.unflushed_bytes >= self.shared.settings.index_lag_bytes.unwrap_or(INDEX_LAG_BYTES) {
            self.flush_index();
        }
    }

    /// Writes changes that are durable to the index. If it does not take them they are kept, and written before anything else.
    pub(super) fn index(&mut self, written: Written) -> Result<(), AppendError> {
        match self.shared.index.write(&written.batch) {
            Ok(()) => {
                apply_to(Arc::make_mut(&mut self.rows), &written.batch);
                self.shared.publish(&written.batch, &written.moved);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(volume = %self.shared.identity.volume, %error, "the index does not take changes");
                reserve::lend_index_room(&self.shared);
                self.unindexed = Some(written);
                Err(AppendError::Index(error.to_string()))
            }
        }
    }

    /// Gives up a group that cannot be told from the index any more; nothing of it was written.
    fn abandon(&self, group: Group, error: &IndexError) -> Option<Group> {
        tracing::error!(volume = %self.shared.identity.volume, %error, "the index cannot be read");
        self.shared.worsen(Health::Failed(format!("reading the index: {error}")));
        let (_, answers) = group.into_parts();
        answers.fail(&AppendError::Index(error.to_string()));
        None
    }

    fn flush_index(&mut self) {
        match self.shared.index.flush(false) {
            Ok(()) => self.unflushed_bytes = 0,
            // A start reads more, that is all.
            Err(error) => tracing::warn!(volume = %self.shared.identity.volume, %error, "the index was not flushed"),
        }
    }

    /// Makes the index durable, if need be in the room that is kept for it.
    pub(super) fn flush_index_now(&mut self) -> Result<(), AppendError> {
        reserve::lend_index_room(&self.shared);
        self.shared.index.flush(true).map_err(|error| AppendError::Index(error.to_string()))
    }

    /// The disk failed in a way that is final. Whatever was being written is not there, and the pack is sealed for ever.
    pub(super) fn fail(&mut self, error: &io::Error, doing: &str) -> AppendError {
        let volume = self.shared.identity.volume;
        tracing::error!(%volume, %error, doing, "a volume failed");
        self.active = None;
        self.show_room();
        let reason = format!("{doing}: {error}");
        match DiskTrouble::of(error) {
            DiskTrouble::Full => return AppendError::Full,
            DiskTrouble::Broken => {
                self.shared.worsen(Health::Retired(reason.clone()));
                if let Err(error) = self.shared.folder.mark_retired(volume, &reason) {
                    tracing::error!(%volume, %error, "the volume cannot be marked as retired");
                }
            }
            DiskTrouble::ReadOnly | DiskTrouble::Other => self.shared.worsen(Health::Failed(reason.clone())),
        }
        AppendError::Failed(reason)
    }

    /// Shows how much the active pack still takes.
    pub(super) fn show_room(&self) {
        self.shared.set_room(self.active.as_ref().map_or(0, |active| u64::from(active.room())));
    }

    /// Leaves the volume so that the next start has nothing to read again.
    fn stop(&mut self) -> Result<(), AppendError> {
        self.check()?;
        self.flush_index_now()?;
        let end: Position = self.shared.appended();
        let mark = CleanMark { boot: self.shared.identity.boot, end };
        self.shared
            .folder
            .leave_clean_mark(&mark)
            .map_err(|error| self.fail(&error, "leaving the mark of a clean stop"))
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.worsen(Health::Failed("its thread has died of a bug".to_owned()));
        }
    }
}
