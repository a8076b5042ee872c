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

pub use compact::{CompactError, Compaction};
pub use folder::{FolderError, FolderState, VolumeFolder};
pub use identity::VolumeIdentity;
pub(crate) use job::Placed;
pub use job::{AppendError, Holding, Removal, RemoveIf};
pub(crate) use read::ChunkReader;
pub use read::ReadError;
pub use recover::{Finding, RecoverError};
pub use shared::{Health, VolumeSettings};
pub use space::Space;

use super::index::{After, IndexError, Indexes, Row};
use super::pack::{PackNumber, Position};
use append::Appender;
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::{BootCount, ClusterId, Generation, NodeId, Slot, Stamp, VolumeId};
use cairn_common::limits::APPEND_QUEUE_MAX;
use cairn_common::seam::{Clock, DiskTrouble, Random, seeded_bug, spawn_thread};
use cairn_common::wire::master::VolumeReport;
use job::{Answer, Job};
use read::Checked;
use shared::{Beginning, Shared};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{Notify, mpsc, oneshot};

/// A volume that serves.
pub struct Volume {
    shared: Arc<Shared>,
    /// `None` only while it is being dropped.
    queue: Option<mpsc::Sender<Job>>,
    appender: Option<std::thread::JoinHandle<()>>,
    findings: Vec<(PackNumber, Finding)>,
}

/// As what the masters admitted a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its generation.
    pub generation: Generation,
    /// The node.
    pub node: NodeId,
    /// The incarnation.
    pub volume: VolumeId,
    /// The run of the node.
    pub boot: BootCount,
    /// Stamp of the entry that admitted it: a floor for touches that may have been lost.
    pub stamp: Stamp,
}

/// What a volume is given.
pub struct VolumeSeams<'a> {
    /// For the times of verifications.
    pub clock: Arc<dyn Clock>,
    /// For the secret of a new volume.
    pub random: &'a dyn Random,
    /// Opens its index.
    pub indexes: &'a dyn Indexes,
    /// Notified when the volume fails.
    pub failed: Arc<Notify>,
}

/// A volume that does not start.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Its folder is not what it should be.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It was taken out for ever.
    #[error("it was retired ({0}): replace the disk, or empty the folder to make it a new volume")]
    Retired(String),
    /// It is another volume than the one that was admitted.
    #[error("it is volume {found}, not {admitted}")]
    Other {
        /// What is there.
        found: VolumeId,
        /// What should be.
        admitted: VolumeId,
    },
    /// Its packs or its index cannot be brought up.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// Its disk failed.
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
}

impl VolumeError {
    /// Whether the device gave an error, so that this incarnation must not serve again.
    pub fn is_broken(&self) -> bool {
        let (VolumeError::Disk(error) | VolumeError::Recover(RecoverError::Disk(error))) = self else { return false };
        DiskTrouble::of(error) == DiskTrouble::Broken
    }
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
    /// Starts the volume in `folder`, or makes it one. When it returns, the boot count is on the disk, and everything that the
    /// volume will ever attest was read from the disk or is in its index. Blocks for as long as that takes.
    pub fn start(
        folder: VolumeFolder,
        admission: Admission,
        seams: &VolumeSeams<'_>,
        settings: VolumeSettings,
    ) -> Result<Volume, VolumeError> {
        let before = match folder.state()? {
            FolderState::Retired(_, reason) => return Err(VolumeError::Retired(reason)),
            FolderState::Volume(identity) => Some(identity),
            FolderState::Empty => None,
        };
        let Admission { cluster, generation, node, volume, boot, stamp } = admission;
        if let Some(before) = before.as_ref().filter(|before| before.volume != volume) {
            return Err(VolumeError::Other { found: before.volume, admitted: volume });
        }
        reserve::make_room_to_start(&folder)?;
        let mark = folder.take_clean_mark()?;
        let index = seams.indexes.open(&folder.index_path(), volume).map_err(RecoverError::from)?;
        let covered = index.packs().map_err(RecoverError::from)?.last().map(|(pack, row)| (*pack, row.covered));
        let covered = covered.map_or(Position::ZERO, |(pack, offset)| Position { pack, offset });
        let (salt, touch_floor) = match before {
            // The index has every touch only if it was flushed at the end of the last run, and is still that index.
            Some(before) if mark.is_some_and(|mark| mark.boot == before.boot && mark.end == covered) => {
                (before.salt, before.touch_floor)
            }
            Some(before) => (before.salt, before.touch_floor.max(stamp)),
            None => {
                let mut salt = [0; 32];
                seams.random.fill(&mut salt);
                (salt, Stamp::ZERO)
            }
        };
        let identity = VolumeIdentity { cluster, generation, node, volume, boot, touch_floor, salt };
        folder.write_identity(&identity)?;
        let found = recover::recover(&folder, &identity, &index)?;
        let total_bytes = folder.disk().space(folder.root())?.total_bytes;
        let capacity_bytes = settings.capacity_bytes.map_or(total_bytes, |configured| configured.min(total_bytes));
        let pack_bytes = space::pack_bytes(capacity_bytes, settings.pack_bytes);
        let end = found.rows.iter().next_back().map(|(pack, row)| Position { pack: *pack, offset: row.covered });
        let beginning = Beginning {
            rows: found.rows.clone(),
            file_bytes: found.file_bytes,
            damaged: found.damaged,
            end: end.unwrap_or(Position::ZERO),
        };
        let (clock, failed) = (Arc::clone(&seams.clock), Arc::clone(&seams.failed));
        let shared = Shared::new(folder, identity, settings, pack_bytes, index, (clock, failed), beginning);
        let shared = Arc::new(shared);
        let appender = Appender::new(Arc::clone(&shared), found.active, found.next_number, found.rows);
        let (queue, jobs) = mpsc::channel(APPEND_QUEUE_MAX);
        let name = format!("append-{}", shared.folder.label());
        let thread = spawn_thread(&name, move || appender.run(jobs));
        Ok(Volume { shared, queue: Some(queue), appender: Some(thread), findings: found.findings })
    }

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

    /// Its space, asked of the file system now.
    pub fn space(&self) -> io::Result<Space> {
        self.shared.space()
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
        Ok(self.shared.index.bad(None)?.into_iter().map(|(address, _, bad)| (address, bad.length)).collect())
    }

    /// How it is, for the masters. Blocks on the disk.
    pub fn report(&self) -> VolumeReport {
        let space = self.space();
        let fault = match (self.health(), &space) {
            (Health::Failed(reason) | Health::Retired(reason), _) => Some(reason),
            (Health::Serving, Err(error)) => Some(error.to_string()),
            (Health::Serving, Ok(_)) => None,
        };
        let space = space.ok().filter(|_| fault.is_none());
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
        self.shared.index.get(address)
    }

    /// Rows in the order of (slot, address). Blocks on the index.
    pub(crate) fn scan(&self, after: After, last: Slot, limit: usize) -> Result<Vec<(ChunkAddress, Row)>, IndexError> {
        self.shared.index.scan(after, last, limit)
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
        receiver.await.map_err(|_| gone())?
    }

    fn ask_blocking<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, AppendError> {
        let (answer, receiver) = oneshot::channel();
        self.send_blocking(job(answer))?;
        receiver.blocking_recv().map_err(|_| gone())?
    }

    fn send_blocking(&self, job: Job) -> Result<(), AppendError> {
        self.queue().blocking_send(job).map_err(|_| gone())
    }
}

impl Drop for Volume {
    /// Waits until the appender has finished what it was given: the folder's lock must not outlive the volume.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.appender.take() {
            // A panic of the thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Nobody is there to change the volume any more.
fn gone() -> AppendError {
    AppendError::Failed("it has stopped".to_owned())
}

#[cfg(test)]
mod tests;
