//! All volumes of a node as one store.
//!
//! A chunk lies on one of the volumes; a question asks each. A new chunk goes where there is room, spread by its address; if a
//! volume fails or fills up while it is being written, the next one takes it. Blocking work runs on a bounded pool.

use super::index::{After, IndexError, Row};
use super::volume::{AppendError, ChunkReader, Prepared, ReadError, Removal, RemoveIf, ScrubMark, Volume};
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::{Slot, Stamp, VolumeId};
use cairn_common::limits::{INVENTORY_PAGE_MAX, REPORTED_CHECKS_MAX};
use cairn_common::ring::SLOTS;
use cairn_common::seam::Pool;
use cairn_common::wire::chunk::{ChunkStat, Held, SlotDigest};
use cairn_common::wire::master::VolumeReport;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Rows of one volume that a digest looks at together.
const DIGEST_ROWS: usize = 4096;

/// The volumes of a node.
pub struct Store {
    volumes: Vec<Arc<Volume>>,
    pool: Pool,
    checks: Semaphore,
}

/// A chunk that is durable on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// On which volume.
    pub volume: VolumeId,
    /// Its length, in bytes.
    pub length: u32,
}

/// A chunk that was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// No volume has room.
    #[error("no volume has room")]
    Full,
    /// Every volume that has room failed; what the last one said.
    #[error("volume {volume}: {reason}")]
    Failed {
        /// Which.
        volume: VolumeId,
        /// Why.
        reason: String,
    },
    /// No volume is in service.
    #[error("no volume is in service")]
    NoVolume,
}

/// Where a chunk may go, best first.
struct Target {
    volume: Arc<Volume>,
    prepared: Prepared,
}

/// Which chunks a window may have attested without their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Those it wrote or found before.
    Own,
    /// All of its domain.
    Any,
}

impl Store {
    /// A store of these volumes; blocking work runs on `pool`.
    pub fn new(volumes: Vec<Arc<Volume>>, pool: Pool) -> Store {
        Store { volumes, pool, checks: Semaphore::new(REPORTED_CHECKS_MAX) }
    }

    /// The volumes, in service or not.
    pub fn volumes(&self) -> &[Arc<Volume>] {
        &self.volumes
    }

    /// Makes a chunk durable on one volume. `touched`: start of the upload window that wrote it. A copy that is there is read from
    /// the disk and hashed first, and replaced if it is bad. Dropping the future leaves it open whether the chunk is stored.
    pub async fn put(&self, chunk: VerifiedChunk, touched: Stamp) -> Result<Stored, PutError> {
        let address = chunk.address();
        let volumes = self.volumes.clone();
        let targets = self.pool.run(move || targets(&volumes, &address)).await;
        let mut failed = PutError::NoVolume;
        for Target { volume, prepared } in targets {
            match volume.put(chunk.clone(), touched, prepared).await {
                Ok(placed) => return Ok(Stored { volume: volume.id(), length: placed.length }),
                Err(AppendError::Full) => {
                    if failed == PutError::NoVolume {
                        failed = PutError::Full;
                    }
                }
                Err(error) => failed = PutError::Failed { volume: volume.id(), reason: error.to_string() },
            }
        }
        Err(failed)
    }

    /// Attests a chunk anew for the window that wrote or found it here, after reading it back; with [`Finding::Any`] also for a
    /// window that never showed its bytes. `None`: it is not here, or is not for this window: whoever cannot show the bytes and may not
    /// read everything learns nothing (P5).
    pub async fn touch(
        &self,
        address: ChunkAddress,
        touched: Stamp,
        finding: Finding,
    ) -> Result<Option<Stored>, PutError> {
        let volumes = self.volumes.clone();
        let prepared = self.pool.run(move || {
            let mine = |volume: &&Arc<Volume>| {
                let row = volume.find(&address).ok().flatten();
                volume.is_serving() && row.is_some_and(|row| finding == Finding::Any || row.touched == touched)
            };
            let with_copy = volumes.iter().filter(mine).filter_map(|volume| {
                let prepared = volume.prepare(&address).ok().filter(|prepared| prepared.row.is_some())?;
                Some(Target { volume: Arc::clone(volume), prepared })
            });
            with_copy.collect::<Vec<Target>>()
        });
        for Target { volume, prepared } in prepared.await {
            match volume.touch(address, touched, prepared).await {
                Ok(Some(placed)) => return Ok(Some(Stored { volume: volume.id(), length: placed.length })),
                Ok(None) => {}
                Err(error) => return Err(PutError::Failed { volume: volume.id(), reason: error.to_string() }),
            }
        }
        Ok(None)
    }

    /// A chunk for reading, on whichever volume has it; volumes that take no changes any more are asked last.
    pub(crate) async fn open(&self, address: ChunkAddress) -> Result<ChunkReader, ReadError> {
        let volumes = self.volumes.clone();
        let find = move || {
            let (serving, others): (Vec<_>, Vec<_>) = volumes.iter().partition(|volume| volume.is_serving());
            let mut error = ReadError::Absent;
            for volume in serving.into_iter().chain(others) {
                match volume.open(&address) {
                    Err(ReadError::Absent) => {}
                    Err(failed) => error = failed,
                    opened => return opened,
                }
            }
            Err(error)
        };
        self.pool.run(find).await
    }

    /// How far reading everything back was at the last start: as far as on the disk that has seen least of it.
    pub(crate) async fn scrubbed(&self) -> ScrubMark {
        let volumes = self.volumes.clone();
        let least = move || {
            let marks = volumes.iter().filter(|volume| volume.is_serving()).map(|volume| volume.scrubbed());
            marks.min_by_key(|mark| (mark.ended_ms, mark.slot)).unwrap_or_default()
        };
        self.pool.run(least).await
    }

    /// Leaves on every disk how far reading everything back is. Where that fails, the next start reads more.
    pub(crate) async fn leave_scrubbed(&self, mark: ScrubMark) {
        let volumes = self.volumes.clone();
        let leave = move || {
            for volume in volumes.iter().filter(|volume| volume.is_serving()) {
                if let Err(error) = volume.leave_scrubbed(mark) {
                    tracing::debug!(volume = %volume.id(), %error, "how far the scrub is was not left on the disk");
                }
            }
        };
        self.pool.run(leave).await;
    }

    /// Runs blocking work on the store's pool.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.pool.run(work).await
    }

    /// What is known about a chunk without reading it.
    pub async fn stat(&self, address: ChunkAddress) -> Result<Option<ChunkStat>, IndexError> {
        let volumes = self.volumes.clone();
        let find = move || {
            for volume in volumes.iter().filter(|volume| volume.is_serving()) {
                if let Some(row) = volume.find(&address)? {
                    let Row { length, verified_ms, .. } = row;
                    return Ok(Some(ChunkStat { length, volume: volume.id(), verified_ms }));
                }
            }
            Ok(None)
        };
        self.pool.run(find).await
    }

    /// Reads every copy of a chunk from the disk and hashes it; bad ones are set aside. Returns whether a good one is left.
    pub async fn verify(&self, address: ChunkAddress) -> Result<bool, ReadError> {
        let volumes = self.volumes.clone();
        let check = move || {
            let mut good = false;
            for volume in volumes.iter().filter(|volume| volume.is_serving()) {
                good |= volume.verify(&address)?.is_some();
            }
            Ok(good)
        };
        self.pool.run(check).await
    }

    /// The same on the word of a reader: a few at a time, the others are not heard.
    pub async fn verify_reported(&self, address: ChunkAddress) {
        let Ok(_permit) = self.checks.try_acquire() else { return };
        match self.verify(address).await {
            Ok(good) => tracing::info!(%address, good, "a copy was checked because a read of it went wrong"),
            Err(error) => tracing::warn!(%address, %error, "a copy cannot be checked"),
        }
    }

    /// For tests: nothing is checked on the word of a reader while the answer is held.
    #[cfg(test)]
    pub(crate) fn without_checks(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.checks.try_acquire_many(REPORTED_CHECKS_MAX as u32).expect("no check is under way")
    }

    /// Reads a chunk back and hashes it, and has every removal spare it that was decided on before `touched` or has been done by now:
    /// its length, if a good copy is on a volume in service, fsynced.
    pub async fn confirm(&self, address: ChunkAddress, touched: Stamp) -> Result<Option<u32>, PutError> {
        let volumes = self.volumes.clone();
        let prepared = self.pool.run(move || {
            let serving = volumes.iter().filter(|volume| volume.is_serving());
            let with_copy = serving.filter_map(|volume| {
                let prepared = volume.prepare(&address).ok().filter(|prepared| prepared.row.is_some())?;
                Some(Target { volume: Arc::clone(volume), prepared })
            });
            with_copy.collect::<Vec<Target>>()
        });
        for Target { volume, prepared } in prepared.await {
            match volume.touch(address, touched, prepared).await {
                Ok(Some(placed)) => return Ok(Some(placed.length)),
                Ok(None) => {}
                Err(error) => return Err(PutError::Failed { volume: volume.id(), reason: error.to_string() }),
            }
        }
        Ok(None)
    }

    /// Whether a bad record of the chunk is set aside on any volume.
    pub async fn is_set_aside(&self, address: ChunkAddress) -> Result<bool, IndexError> {
        let volumes = self.volumes.clone();
        let look = move || {
            for volume in volumes.iter().filter(|volume| volume.is_serving()) {
                if volume.has_set_aside(&address)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        self.pool.run(look).await
    }

    /// Removes every copy of a chunk, durably, each if `remove_if` says so when nothing else can happen to it any more.
    pub async fn remove(
        &self,
        address: ChunkAddress,
        remove_if: impl Fn() -> RemoveIf,
    ) -> Result<Removal, AppendError> {
        let mut result = Removal::Absent;
        for volume in self.volumes.iter().filter(|volume| volume.is_serving()) {
            match volume.remove(address, remove_if()).await? {
                Removal::Absent => {}
                Removal::Removed if result == Removal::Kept => {}
                removal => result = removal,
            }
        }
        Ok(result)
    }

    /// Digests of the slots `first..first + count` in which something is held.
    pub async fn digests(&self, first: Slot, count: u32) -> Result<Vec<SlotDigest>, IndexError> {
        let end = (u32::from(first.0).saturating_add(count)).min(SLOTS as u32);
        let Some(last) = end.checked_sub(1).filter(|last| *last >= u32::from(first.0)) else { return Ok(Vec::new()) };
        let (volumes, last) = (self.volumes.clone(), Slot(last as u16));
        let digest = move || {
            let mut digests: BTreeMap<Slot, SlotDigest> = BTreeMap::new();
            let mut after = After::SlotStart(first);
            loop {
                let rows = merged(&volumes, after, last, DIGEST_ROWS)?;
                let Some(held) = rows.last() else { break };
                after = After::Chunk(held.address.slot(), held.address);
                for held in &rows {
                    let slot = held.address.slot();
                    let digest = digests.entry(slot).or_insert(SlotDigest { slot, chunks: 0, digest: [0; 16] });
                    digest.add(&held.address);
                }
            }
            Ok(digests.into_values().collect())
        };
        self.pool.run(digest).await
    }

    /// What is held in a slot, by address, after `after`, at most [`INVENTORY_PAGE_MAX`].
    pub async fn inventory(&self, slot: Slot, after: Option<ChunkAddress>) -> Result<Vec<Held>, IndexError> {
        let volumes = self.volumes.clone();
        let after = after.map_or(After::SlotStart(slot), |address| After::Chunk(slot, address));
        self.pool.run(move || merged(&volumes, after, slot, INVENTORY_PAGE_MAX)).await
    }

    /// Asks every disk for its space, so that [`Store::reports`] are up to date. Waits for the disks.
    pub async fn refresh(&self) {
        let volumes = self.volumes.clone();
        let ask = move || {
            for volume in volumes.iter().filter(|volume| volume.is_serving()) {
                if let Err(error) = volume.space() {
                    tracing::warn!(volume = %volume.id(), %error, "the space of a volume is not known");
                }
            }
        };
        self.pool.run(ask).await;
    }

    /// How each volume is, as far as is known without waiting for any disk.
    pub fn reports(&self) -> Vec<VolumeReport> {
        self.volumes.iter().map(|volume| volume.report()).collect()
    }
}

/// Where a chunk may go: the volume that has a good copy, or else all with room, in the order that its address chooses.
fn targets(volumes: &[Arc<Volume>], address: &ChunkAddress) -> Vec<Target> {
    let mut without = Vec::new();
    for volume in volumes.iter().filter(|volume| volume.is_serving()) {
        match volume.prepare(address) {
            Ok(prepared) if prepared.row.is_some() => return vec![Target { volume: Arc::clone(volume), prepared }],
            Ok(prepared) => without.push(Target { volume: Arc::clone(volume), prepared }),
            Err(error) => tracing::warn!(volume = %volume.id(), %error, "a volume cannot say what it has"),
        }
    }
    if without.len() > 1 {
        let free = |target: &Target| target.volume.space().map_or(0, |space| space.free_bytes);
        let weights: Vec<u64> = without.iter().map(free).collect();
        let first = choose(address, &weights);
        let mut order: Vec<usize> = (0..without.len()).collect();
        order.sort_by_key(|index| (*index != first, std::cmp::Reverse(weights[*index])));
        let mut slots: Vec<Option<Target>> = without.into_iter().map(Some).collect();
        without = order.into_iter().filter_map(|index| slots[index].take()).collect();
    }
    without
}

/// Which of several volumes a chunk goes to: each as likely as it has room, decided by the chunk's address.
fn choose(address: &ChunkAddress, weights: &[u64]) -> usize {
    // In MiB, so that the sum fits whatever the volumes' sizes.
    let weights: Vec<u64> = weights.iter().map(|bytes| bytes >> 20).collect();
    let total: u64 = weights.iter().sum();
    if total == 0 {
        return 0;
    }
    let hash = blake3::derive_key("cairn 2026 choice of a volume", &address.to_bytes());
    let mut draw = u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]]) % total;
    for (index, weight) in weights.iter().enumerate() {
        match draw.checked_sub(*weight) {
            Some(rest) => draw = rest,
            None => return index,
        }
    }
    unreachable!("the draw is below the sum of all weights")
}

/// Rows of all volumes in service in one order, each chunk once.
fn merged(volumes: &[Arc<Volume>], after: After, last: Slot, limit: usize) -> Result<Vec<Held>, IndexError> {
    let mut rows: BTreeMap<(Slot, ChunkAddress), Held> = BTreeMap::new();
    for volume in volumes.iter().filter(|volume| volume.is_serving()) {
        for (address, row) in volume.scan(after, last, limit)? {
            let touched = row.touched.max(volume.touch_floor());
            let held = Held { address, length: row.length, volume: volume.id(), touched };
            let known = rows.entry((address.slot(), address)).or_insert(held);
            known.touched = known.touched.max(touched);
        }
    }
    // Each volume gave its first rows, so the first ones of all are complete.
    Ok(rows.into_values().take(limit).collect())
}

#[cfg(test)]
mod tests;
