//! A volume: one folder on one disk, and the packs, the index and the thread that belong to it.
//!
//! Promises: what was answered as placed is on the disk, fsynced, and is found again after any crash; what was answered as
//! removed stays removed; a record that does not verify is never attested and never served once that is known. Relies on the
//! disk telling the truth about its syncs; where it does not, hashes show it.
//!
//! Questions block on the disk and belong on a pool. Changes are sent to the [appender](append) and awaited.

mod active;
mod append;
mod changes;
mod compact;
mod folder;
mod group;
mod identity;
mod job;
mod judge;
mod read;
mod recover;
mod reserve;
mod shared;
mod space;
mod stage;
mod start;
mod turnover;
mod worker;

pub use compact::{CompactError, Compaction};
pub use folder::{FolderError, FolderState, VolumeFolder};
pub(crate) use identity::ScrubMark;
pub use identity::VolumeIdentity;
pub(crate) use job::Placed;
pub use job::{AppendError, Holding, Removal, RemoveIf};
pub(crate) use read::ChunkReader;
pub use read::ReadError;
pub use recover::{Finding, RecoverError};
pub use shared::{Health, VolumeSettings};
pub use space::Space;
pub use start::{Admission, VolumeError, VolumeSeams};

use super::index::{After, IndexError, Row};
use super::pack::{PackNumber, Position};
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::{Slot, Stamp, VolumeId};
use cairn_common::seam::seeded_bug;
use cairn_common::wire::master::VolumeReport;
use job::{Answer, Job};
use read::Checked;
use shared::Shared;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, oneshot};
use worker::Worker;

/// A volume that serves.
pub struct Volume {
    shared: Arc<Shared>,
    /// `None` only while it is being dropped.
    queue: Option<mpsc::Sender<Job>>,
    worker: Worker,
    findings: Vec<(PackNumber, Finding)>,
}

/// What was found out about a chunk before it is put or touched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    /// Copies at this position or behind are good.
    trusted_from: Position,
    /// When the copy that is there was found good; 0: there is none.
    verified_ms: u64,
    /// Its row, if there is a good copy.
    pub(crate) row: Option<Row>,
}

impl Volume {
    /// Its incarnation.
    pub fn id(&self) -> VolumeId {
        self.shared.identity.volume
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Whether it takes changes.
    pub fn is_serving(&self) -> bool {
        self.health() == Health::Serving
    }

    /// Every chunk on it counts as touched then, at least.
    pub fn touch_floor(&self) -> Stamp {
        self.shared.identity.touch_floor
    }

    /// Its space, asked of the file system now. Blocks on the disk.
    pub fn space(&self) -> io::Result<Space> {
        self.shared.space()
    }

    /// Groups of changes that were made durable since the start, each with one sync.
    pub fn groups(&self) -> u64 {
        self.shared.groups.load(Ordering::Relaxed)
    }

    /// What the last start found in each pack.
    pub fn findings(&self) -> &[(PackNumber, Finding)] {
        &self.findings
    }

    /// Packs with what lives in them: number, length of the file, bytes that live.
    pub fn packs(&self) -> Vec<(PackNumber, u64, u64)> {
        let rows = self.shared.pack_rows();
        rows.iter().map(|(number, row)| (*number, u64::from(row.covered), row.live_bytes)).collect()
    }

    /// Damaged records that are set aside and not settled: address, length in bytes.
    pub fn set_aside(&self) -> Result<Vec<(ChunkAddress, u32)>, IndexError> {
        Ok(self
            .shared
            .ask_index(|index| index.bad(None))?
            .into_iter()
            .map(|(address, _, bad)| (address, bad.length))
            .collect())
    }

    /// Whether a bad record of the chunk is set aside. Blocks on the index.
    pub(crate) fn has_set_aside(&self, address: &ChunkAddress) -> Result<bool, IndexError> {
        Ok(!self.shared.ask_index(|index| index.bad(Some(address)))?.is_empty())
    }

    /// How far reading everything back was, as it was left on the disk. Blocks on the disk.
    pub(crate) fn scrubbed(&self) -> ScrubMark {
        self.shared.folder.scrubbed().unwrap_or_default()
    }

    /// Leaves on the disk how far reading everything back is. Blocks on the disk.
    pub(crate) fn leave_scrubbed(&self, mark: ScrubMark) -> io::Result<()> {
        self.shared.folder.leave_scrubbed(mark)
    }

    /// How it is, for the masters, with its space as it was last asked for. Never waits for the disk.
    pub fn report(&self) -> VolumeReport {
        let fault = match self.health() {
            Health::Failed(reason) | Health::Retired(reason) => Some(reason),
            Health::Serving => None,
        };
        let space = self.shared.last_space().filter(|_| fault.is_none());
        let (chunks, _) = self.shared.counts();
        VolumeReport {
            volume: self.id(),
            label: self.shared.folder.label(),
            capacity_bytes: space.map_or(0, |space| space.capacity_bytes),
            used_bytes: space.map_or(0, |space| space.used_bytes),
            free_bytes: space.map_or(0, |space| space.free_bytes),
            chunks,
            damaged: self.shared.damaged.load(Ordering::Relaxed),
            fault,
        }
    }

    /// The row of a chunk. Blocks on the index.
    pub(crate) fn find(&self, address: &ChunkAddress) -> Result<Option<Row>, IndexError> {
        self.shared.ask_index(|index| index.get(address))
    }

    /// Rows in the order of (slot, address). Blocks on the index.
    pub(crate) fn scan(&self, after: After, last: Slot, limit: usize) -> Result<Vec<(ChunkAddress, Row)>, IndexError> {
        self.shared.ask_index(|index| index.scan(after, last, limit))
    }

    /// A chunk for reading. Blocks on the disk.
    pub(crate) fn open(&self, address: &ChunkAddress) -> Result<ChunkReader, ReadError> {
        read::open(&self.shared, address)
    }

    /// Looks at what is there of a chunk before it is put or touched: a copy is read from the disk and hashed, and set aside if
    /// it is bad. Blocks on the disk.
    pub(crate) fn prepare(&self, address: &ChunkAddress) -> Result<Prepared, ReadError> {
        let trusted_from = self.shared.appended();
        let absent = Prepared { trusted_from, verified_ms: 0, row: None };
        if seeded_bug("receipt-without-rehash")
            && let Some(row) = self.find(address)?
        {
            return Ok(Prepared { trusted_from: row.position, verified_ms: 0, row: Some(row) });
        }
        match read::check(&self.shared, address)? {
            Checked::Absent => Ok(absent),
            Checked::Good(row, _) => {
                let verified_ms = self.shared.clock.wall_ms();
                Ok(Prepared { trusted_from: row.position, verified_ms, row: Some(row) })
            }
            Checked::Bad(row, bad) => {
                let (address, position) = (*address, row.position);
                // If the volume takes no changes any more, it will not take the chunk either.
                let _ = self.ask_blocking(|answer| Job::SetAside { address, position, bad, answer });
                Ok(absent)
            }
        }
    }

    /// Reads a chunk from the disk and hashes it; a bad copy is set aside. `None`: there is none that is good. Blocks on the disk.
    pub(crate) fn verify(&self, address: &ChunkAddress) -> Result<Option<Row>, ReadError> {
        let prepared = self.prepare(address)?;
        let Some(row) = prepared.row else { return Ok(None) };
        let (address, position, verified_ms) = (*address, row.position, prepared.verified_ms);
        // Only a note: losing it costs nothing.
        let _ = self.send_blocking(Job::Verified { address, position, verified_ms });
        Ok(Some(Row { verified_ms, ..row }))
    }

    /// Makes a chunk durable. Dropping the future leaves it open whether it is.
    pub(crate) async fn put(
        &self,
        chunk: VerifiedChunk,
        touched: Stamp,
        prepared: Prepared,
    ) -> Result<Placed, AppendError> {
        let Prepared { trusted_from, verified_ms, .. } = prepared;
        self.ask(|answer| Job::Put { chunk, touched, verified_ms, trusted_from, answer }).await
    }

    /// Attests a chunk that [`Volume::prepare`] found good. `None`: it has gone since.
    pub(crate) async fn touch(
        &self,
        address: ChunkAddress,
        touched: Stamp,
        prepared: Prepared,
    ) -> Result<Option<Placed>, AppendError> {
        let Prepared { trusted_from: position, verified_ms, .. } = prepared;
        self.ask(|answer| Job::Touch { address, touched, verified_ms, position, answer }).await
    }

    /// Removes a chunk, durably, if `remove_if` says so at the moment at which nothing else can happen to it.
    pub(crate) async fn remove(&self, address: ChunkAddress, remove_if: RemoveIf) -> Result<Removal, AppendError> {
        self.ask(|answer| Job::Remove { address, remove_if, answer }).await
    }

    /// Moves what lives in a sealed pack elsewhere and deletes it. Blocks on the disk.
    pub fn compact(&self, pack: PackNumber) -> Result<Compaction, CompactError> {
        compact::compact(self, pack)
    }

    /// Finishes what waits, flushes the index and leaves the mark of a clean stop. Later changes are refused; the folder is
    /// unlocked when the volume is dropped.
    pub async fn stop(&self) -> Result<(), AppendError> {
        self.ask(|answer| Job::Stop { answer }).await
    }

    fn queue(&self) -> &mpsc::Sender<Job> {
        self.queue.as_ref().expect("only dropping takes it")
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, AppendError> {
        let (answer, receiver) = oneshot::channel();
        self.queue().send(job(answer)).await.map_err(|_| gone())?;
        self.worker.sent().await;
        receiver.await.map_err(|_| gone())?
    }

    fn ask_blocking<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, AppendError> {
        let (answer, receiver) = oneshot::channel();
        self.send_blocking(job(answer))?;
        self.wait_blocking(receiver)
    }

    fn wait_blocking<T>(&self, answer: oneshot::Receiver<Result<T, AppendError>>) -> Result<T, AppendError> {
        self.worker.wait_blocking(answer).ok_or_else(gone)?
    }

    fn send_blocking(&self, job: Job) -> Result<(), AppendError> {
        if self.worker.send_blocking(self.queue(), job) { Ok(()) } else { Err(gone()) }
    }
}

impl Drop for Volume {
    /// Waits until the appender has finished what it was given: the folder's lock must not outlive the volume.
    fn drop(&mut self) {
        drop(self.queue.take());
        self.worker.join();
    }
}

/// Nobody is there to change the volume any more.
fn gone() -> AppendError {
    AppendError::Failed("it has stopped".to_owned())
}

#[cfg(test)]
mod tests;
