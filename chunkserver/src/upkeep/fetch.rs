//! Fetching a chunk that this node owns from whichever node has a good copy, and storing it as any chunk is stored.
//!
//! Owners fetch what they lack; nobody pushes. So nothing that was collected while a node was away can come back with it: what
//! it has and nothing refers to is asked for by no one. The bytes are checked against the address before they are stored, and
//! the copy is fsynced, read back when it is looked at the next time, and counted like any other. Its touch is none: no window
//! was told about this copy.

use super::Context;
use bytes::Bytes;
use cairn_common::auth::ReadToken;
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::wire::chunk::{ChunkError, GetChunk, StatChunk};
use cairn_common::wire::heal::Referenced;

/// What became of a chunk that was to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It is here, durably.
    Stored,
    /// Some node does not answer, or this one has no room: try again.
    NotNow,
    /// Every node has said that it does not have it, or that its copy is bad.
    Lost,
}

impl Context {
    /// Fetches one chunk from the first of `nodes` that has a good copy.
    pub(super) async fn fetch(&self, chunk: Referenced, nodes: Vec<(NodeId, ReadToken)>) -> Fetched {
        let mut lost = true;
        for (node, token) in nodes {
            self.fetching.spend(u64::from(chunk.length)).await;
            match self.fetch_from(chunk, node, token).await {
                Ok(verified) => return self.store(verified).await,
                Err(ChunkError::Absent | ChunkError::Damaged) => {}
                Err(error) => {
                    tracing::debug!(address = %chunk.address, %node, %error, "a copy was not fetched");
                    lost = false;
                }
            }
        }
        if lost { Fetched::Lost } else { Fetched::NotNow }
    }

    async fn fetch_from(&self, chunk: Referenced, node: NodeId, token: ReadToken) -> Result<VerifiedChunk, ChunkError> {
        let unknown = || ChunkError::Unavailable("the node is not known".to_owned());
        let peer = self.peers.chunkserver(&self.view, node).ok_or_else(unknown)?;
        let Referenced { address, length, .. } = chunk;
        let slice = peer.get(GetChunk { address, token: token.clone(), start: 0, end: length }).await?;
        let whole = slice.start == 0 && slice.chunk_length == length && slice.data.len() == length as usize;
        match self.checked(address, slice.data, whole).await {
            Some(verified) => Ok(verified),
            None => {
                // Its node looks for itself; whether it hears of this does not matter here.
                let _ = peer.report_bad(StatChunk { address, token }).await;
                Err(ChunkError::Damaged)
            }
        }
    }

    async fn checked(&self, address: ChunkAddress, data: Bytes, whole: bool) -> Option<VerifiedChunk> {
        if !whole {
            return None;
        }
        self.computing.run(move || VerifiedChunk::check(address, data).ok()).await
    }

    async fn store(&self, chunk: VerifiedChunk) -> Fetched {
        let (address, length) = (chunk.address(), chunk.length());
        match self.store.put(chunk, Stamp::ZERO).await {
            Ok(_) => {
                self.progress.fetched(length);
                Fetched::Stored
            }
            Err(error) => {
                tracing::warn!(%address, %error, "a fetched chunk was not stored");
                Fetched::NotNow
            }
        }
    }
}
