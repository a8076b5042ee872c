//! The calls to this chunkserver, each with its token checked before anything else.
//!
//! Inside one process these methods are called directly, and a chunk passes by reference; `api` puts them on the network. A
//! read token is checked before it is looked up whether the chunk exists, so its answer says nothing about that (P5).

use crate::store::volume::{ChunkReader, ReadError};
use crate::store::{Finding, PutError, Store};
use crate::upkeep::ClusterView;
use crate::windows::Windows;
use async_trait::async_trait;
use cairn_common::auth::{Receipt, TokenKeys};
use cairn_common::chunk::{ChunkAddress, GroupRange, VerifiedChunk};
use cairn_common::ids::{BootCount, NodeId, Slot, Stamp, WindowId};
use cairn_common::limits::CONFIRMS_MAX;
use cairn_common::ring::SLOTS;
use cairn_common::seam::{Clock, seeded_bug};
use cairn_common::wire::chunk::{
    ChunkError, ChunkService, ChunkSlice, ChunkStat, ConfirmChunk, GetChunk, Held, PutChunk, SlotDigest, StatChunk,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// A chunkserver in this process.
pub struct Service {
    store: Arc<Store>,
    keys: TokenKeys,
    node: NodeId,
    boot: BootCount,
    clock: Arc<dyn Clock>,
    windows: Windows,
    view: Arc<ClusterView>,
    /// Copies that are read back for others at the same time.
    confirms: Semaphore,
    /// Another process runs under this node's name: this one must not attest anything any more.
    fenced: AtomicBool,
}

impl Service {
    /// The service of run `boot` of `node`.
    pub fn new(store: Arc<Store>, keys: TokenKeys, node: NodeId, boot: BootCount, clock: Arc<dyn Clock>) -> Service {
        let (windows, confirms) = (Windows::default(), Semaphore::new(CONFIRMS_MAX));
        let view = Arc::new(ClusterView::new(node));
        Service { store, keys, node, boot, clock, windows, view, confirms, fenced: AtomicBool::new(false) }
    }

    /// The cluster as this node knows it.
    pub(crate) fn view(&self) -> &Arc<ClusterView> {
        &self.view
    }

    /// The volumes behind it.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// From now on nothing is attested: a newer run of this node exists.
    pub fn fence(&self) {
        self.fenced.store(true, Ordering::Release);
    }

    /// Whether a write would be allowed: asked before a body is taken in.
    pub(crate) fn authorise_put(&self, request: &PutChunk) -> Result<(), ChunkError> {
        self.keys.check_write(&request.token, request.address.domain, self.clock.wall_ms())?;
        if self.fenced.load(Ordering::Acquire) {
            return Err(ChunkError::Unavailable("another run of this node has begun".to_owned()));
        }
        Ok(())
    }

    /// A chunk that may be read, and the groups that cover the range asked for.
    pub(crate) async fn open(&self, request: &GetChunk) -> Result<(ChunkReader, GroupRange), ChunkError> {
        self.keys.check_read(&request.token, &request.address, self.clock.wall_ms())?;
        let reader = self.store.open(request.address).await.map_err(|error| self.failed(request.address, error))?;
        let groups = GroupRange::covering(request.start..request.end, reader.length()).ok_or(ChunkError::BadRange)?;
        Ok((reader, groups))
    }

    /// A copy could not be read: the disk is asked about it again, behind the caller's back, and the copy set aside if it stays so.
    pub(crate) fn failed(&self, address: ChunkAddress, error: ReadError) -> ChunkError {
        if let ReadError::Disk(error) = &error {
            tracing::warn!(%address, %error, "a copy cannot be read");
            let store = Arc::clone(&self.store);
            tokio::spawn(async move { store.verify_reported(address).await });
        }
        read_error(error)
    }

    fn receipt(&self, address: &ChunkAddress, stored: crate::store::Stored, window: WindowId) -> Receipt {
        self.keys.receipt(address, stored.length, stored.volume, self.boot, window)
    }
}

/// Windows are named by the stamp of the entry that opened them: that is what a touch remembers.
fn stamp_of(window: WindowId) -> Stamp {
    Stamp(window.0)
}

fn put_error(error: PutError) -> ChunkError {
    match error {
        PutError::Full => ChunkError::Full,
        PutError::Failed { .. } => ChunkError::Volume(error.to_string()),
        PutError::NoVolume => ChunkError::Unavailable(error.to_string()),
    }
}

fn read_error(error: ReadError) -> ChunkError {
    match error {
        ReadError::Absent => ChunkError::Absent,
        ReadError::Disk(_) | ReadError::Index(_) => ChunkError::Volume(error.to_string()),
    }
}

#[async_trait]
impl ChunkService for Service {
    async fn put(&self, request: PutChunk, chunk: VerifiedChunk) -> Result<Receipt, ChunkError> {
        self.authorise_put(&request)?;
        if chunk.address() != request.address {
            return Err(ChunkError::HashMismatch);
        }
        let PutChunk { address, token, .. } = request;
        let length = u64::from(chunk.length());
        let charge =
            self.windows.charge(token.window, length, token.limit_bytes, token.expires_ms, self.clock.wall_ms())?;
        let stored = self.store.put(chunk, stamp_of(token.window)).await.map_err(put_error)?;
        charge.keep();
        metrics::counter!("cairn_chunks_put_total").increment(1);
        metrics::counter!("cairn_chunk_bytes_put_total").increment(length);
        Ok(self.receipt(&address, stored, token.window))
    }

    async fn get(&self, request: GetChunk) -> Result<ChunkSlice, ChunkError> {
        let address = request.address;
        let (reader, groups) = self.open(&request).await?;
        let (chunk_length, outboard) = (reader.length(), reader.outboard().clone());
        let data = self.store.run(move || reader.read(groups.start, groups.end)).await;
        let data = data.map_err(|error| self.failed(address, error.into()))?;
        metrics::counter!("cairn_chunks_read_total").increment(1);
        metrics::counter!("cairn_chunk_bytes_read_total").increment(data.len() as u64);
        Ok(ChunkSlice { chunk_length, outboard, start: groups.start, data })
    }

    /// Only for the window that wrote or found the chunk here, or whose owner may read everything of the tenant: a hash alone is no
    /// right to a receipt (P5).
    async fn touch(&self, request: PutChunk) -> Result<Receipt, ChunkError> {
        self.authorise_put(&request)?;
        let PutChunk { address, token, .. } = request;
        let finding = if token.finds { Finding::Any } else { Finding::Own };
        let stored = self.store.touch(address, stamp_of(token.window), finding).await.map_err(put_error)?;
        let stored = stored.ok_or(ChunkError::Absent)?;
        metrics::counter!("cairn_chunks_found_total").increment(1);
        metrics::counter!("cairn_chunk_bytes_found_total").increment(u64::from(stored.length));
        Ok(self.receipt(&address, stored, token.window))
    }

    async fn stat(&self, request: StatChunk) -> Result<ChunkStat, ChunkError> {
        self.keys.check_read(&request.token, &request.address, self.clock.wall_ms())?;
        let stat = self.store.stat(request.address).await;
        stat.map_err(|error| read_error(error.into()))?.ok_or(ChunkError::Absent)
    }

    async fn report_bad(&self, request: StatChunk) -> Result<(), ChunkError> {
        self.keys.check_read(&request.token, &request.address, self.clock.wall_ms())?;
        self.store.verify_reported(request.address).await;
        Ok(())
    }

    /// The ring is looked at before the disk and after it: the answer is given at the ring that was asked about, or not at all.
    async fn confirm(&self, request: ConfirmChunk) -> Result<u32, ChunkError> {
        let ConfirmChunk { address, token, epoch, stamp } = request;
        self.keys.check_confirm(&token, &address, stamp, self.clock.wall_ms())?;
        let spared = if seeded_bug("confirm-without-touch") { Stamp::ZERO } else { stamp };
        let at_epoch = || {
            let own = self.view.epoch();
            if own == epoch || seeded_bug("confirm-at-any-epoch") { Ok(()) } else { Err(ChunkError::OtherEpoch(own)) }
        };
        at_epoch()?;
        if self.fenced.load(Ordering::Acquire) {
            return Err(ChunkError::Unavailable("another run of this node has begun".to_owned()));
        }
        let _permit = self.confirms.acquire().await.expect("never closed");
        let length = self.store.confirm(address, spared).await.map_err(put_error)?.ok_or(ChunkError::Absent)?;
        at_epoch()?;
        Ok(length)
    }

    async fn digests(&self, first: Slot, count: u32) -> Result<Vec<SlotDigest>, ChunkError> {
        if u64::from(first.0) + u64::from(count) > SLOTS as u64 {
            return Err(ChunkError::BadRequest(format!("there are {SLOTS} slots")));
        }
        self.store.digests(first, count).await.map_err(|error| read_error(error.into()))
    }

    async fn inventory(&self, slot: Slot, after: Option<ChunkAddress>) -> Result<Vec<Held>, ChunkError> {
        self.store.inventory(slot, after).await.map_err(|error| read_error(error.into()))
    }

    async fn whoami(&self) -> Result<(NodeId, BootCount), ChunkError> {
        Ok((self.node, self.boot))
    }
}

#[cfg(test)]
mod tests;
