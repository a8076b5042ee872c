//! Ways to the other nodes of a test, without a network.

use super::super::peers::Chunkservers;
use crate::service::Service;
use async_trait::async_trait;
use cairn_common::auth::Receipt;
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::{BootCount, NodeId, Slot};
use cairn_common::wire::chunk::{
    ChunkError, ChunkService, ChunkSlice, ChunkStat, ConfirmChunk, GetChunk, Held, PutChunk, SlotDigest, StatChunk,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// All nodes of a test; one that is down is not reached.
#[derive(Clone, Default)]
pub(super) struct Near(pub(super) Arc<Mutex<BTreeMap<NodeId, Arc<Service>>>>);

pub(super) struct Down;

pub(super) fn down() -> ChunkError {
    ChunkError::Unavailable("down".to_owned())
}

#[async_trait]
impl ChunkService for Down {
    async fn put(&self, _: PutChunk, _: VerifiedChunk) -> Result<Receipt, ChunkError> {
        Err(down())
    }
    async fn get(&self, _: GetChunk) -> Result<ChunkSlice, ChunkError> {
        Err(down())
    }
    async fn touch(&self, _: PutChunk) -> Result<Receipt, ChunkError> {
        Err(down())
    }
    async fn stat(&self, _: StatChunk) -> Result<ChunkStat, ChunkError> {
        Err(down())
    }
    async fn report_bad(&self, _: StatChunk) -> Result<(), ChunkError> {
        Err(down())
    }
    async fn confirm(&self, _: ConfirmChunk) -> Result<u32, ChunkError> {
        Err(down())
    }
    async fn digests(&self, _: Slot, _: u32) -> Result<Vec<SlotDigest>, ChunkError> {
        Err(down())
    }
    async fn inventory(&self, _: Slot, _: Option<ChunkAddress>) -> Result<Vec<Held>, ChunkError> {
        Err(down())
    }
    async fn whoami(&self) -> Result<(NodeId, BootCount), ChunkError> {
        Err(down())
    }
}

impl Chunkservers for Near {
    fn at(&self, node: NodeId, _: &str) -> Arc<dyn ChunkService> {
        match self.0.lock().unwrap().get(&node) {
            Some(service) => Arc::clone(service) as Arc<dyn ChunkService>,
            None => Arc::new(Down),
        }
    }
}
