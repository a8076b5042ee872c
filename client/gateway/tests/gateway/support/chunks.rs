//! A chunkserver that keeps its chunks in memory and can be told to fail.

use async_trait::async_trait;
use bytes::Bytes;
use cairn_common::auth::{Mac, Receipt};
use cairn_common::chunk::{ChunkAddress, GroupRange, Outboard, VerifiedChunk};
use cairn_common::ids::{BootCount, KeyId, NodeId, Slot, TenantId, VolumeId};
use cairn_common::manifest::Entry;
use cairn_common::wire::chunk::{
    ChunkError, ChunkService, ChunkSlice, ChunkStat, ConfirmChunk, GetChunk, Held, PutChunk, SlotDigest, StatChunk,
};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// See the module.
#[derive(Default)]
pub(crate) struct MemoryChunks {
    chunks: Mutex<BTreeMap<ChunkAddress, VerifiedChunk>>,
    damaged: Mutex<Vec<ChunkAddress>>,
    /// Takes no more chunks.
    pub(crate) full: AtomicBool,
    /// Chunks that were given out.
    pub(crate) reads: AtomicUsize,
}

impl MemoryChunks {
    /// Empty and well.
    pub(crate) fn new() -> MemoryChunks {
        MemoryChunks::default()
    }

    /// How many chunks there are.
    pub(crate) fn count(&self) -> usize {
        self.chunks.lock().unwrap().len()
    }

    /// Flips a bit in the chunk that holds `bytes` from its start on.
    pub(crate) fn damage(&self, bytes: &[u8]) {
        let chunks = self.chunks.lock().unwrap();
        let found = chunks.values().find(|chunk| chunk.data().starts_with(bytes)).expect("there is such a chunk");
        self.damaged.lock().unwrap().push(found.address());
    }

    /// Keeps bytes as a chunk of the first tenant.
    pub(crate) fn keep(&self, bytes: Bytes) -> Entry {
        let chunk = VerifiedChunk::hash(TenantId::FIRST.domain(), bytes, |_| ());
        let entry = Entry::chunk(chunk.address(), chunk.length());
        self.chunks.lock().unwrap().insert(chunk.address(), chunk);
        entry
    }

    fn receipt(&self, request: &PutChunk, length: u32) -> Receipt {
        Receipt {
            key: KeyId(1),
            node: NodeId(1),
            volume: VolumeId(1),
            boot: BootCount(1),
            window: request.token.window,
            length,
            mac: Mac([0; 16]),
        }
    }
}

#[async_trait]
impl ChunkService for MemoryChunks {
    async fn put(&self, request: PutChunk, chunk: VerifiedChunk) -> Result<Receipt, ChunkError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(ChunkError::Full);
        }
        let receipt = self.receipt(&request, chunk.length());
        self.chunks.lock().unwrap().insert(request.address, chunk);
        Ok(receipt)
    }

    async fn get(&self, request: GetChunk) -> Result<ChunkSlice, ChunkError> {
        // Others have their turn first, as while a disk reads.
        tokio::task::yield_now().await;
        self.reads.fetch_add(1, Ordering::SeqCst);
        let chunk = self.chunks.lock().unwrap().get(&request.address).cloned().ok_or(ChunkError::Absent)?;
        let range = GroupRange::covering(request.start..request.end, chunk.length()).ok_or(ChunkError::BadRange)?;
        let mut data = chunk.data().slice(range.start as usize..range.end as usize);
        if self.damaged.lock().unwrap().contains(&request.address) {
            let mut bad = data.to_vec();
            bad[0] ^= 1;
            data = Bytes::from(bad);
        }
        let outboard: &Outboard = chunk.outboard();
        Ok(ChunkSlice { chunk_length: chunk.length(), outboard: outboard.values().clone(), start: range.start, data })
    }

    async fn touch(&self, request: PutChunk) -> Result<Receipt, ChunkError> {
        let chunk = self.chunks.lock().unwrap().get(&request.address).cloned().ok_or(ChunkError::Absent)?;
        Ok(self.receipt(&request, chunk.length()))
    }

    async fn stat(&self, _: StatChunk) -> Result<ChunkStat, ChunkError> {
        Err(ChunkError::Absent)
    }

    async fn report_bad(&self, _: StatChunk) -> Result<(), ChunkError> {
        Ok(())
    }

    async fn confirm(&self, _: ConfirmChunk) -> Result<u32, ChunkError> {
        Err(ChunkError::Absent)
    }

    async fn digests(&self, _: Slot, _: u32) -> Result<Vec<SlotDigest>, ChunkError> {
        Ok(Vec::new())
    }

    async fn inventory(&self, _: Slot, _: Option<ChunkAddress>) -> Result<Vec<Held>, ChunkError> {
        Ok(Vec::new())
    }

    async fn whoami(&self) -> Result<(NodeId, BootCount), ChunkError> {
        Ok((NodeId(1), BootCount(1)))
    }
}
