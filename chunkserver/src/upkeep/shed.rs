//! The drop rule: how a node gets rid of chunks that belong to others.
//!
//! A node drops a chunk only while it is at ring e and no owner at e, holding from *every* owner at e an answer given at that
//! same e that its copy was read back from disk and lies on a volume in service, and it checks its ring again under the chunk's
//! lock as it removes. Both halves are needed: with either left out, two changes of the ring that give and take an owner let two
//! nodes drop on each other's word.
//!
//! Asking touches the owner's copy with the moment at which the chunk was seen to be referred to. Otherwise an owner that found
//! its own old copy unreferenced before that moment, and was slow to remove it, would remove it after it has confirmed it: a write
//! may have come in between that made the chunk count on the word of this node, and not of the owner.
//!
//! A copy that an open window may count on is not dropped, whoever else has the chunk: a receipt that was given for it must
//! stay true until it is of no use any more (P1).

use super::Context;
use crate::store::volume::{Holding, Removal};
use cairn_common::ids::{Epoch, NodeId, Stamp};
use cairn_common::seam::seeded_bug;
use cairn_common::wire::chunk::ConfirmChunk;
use cairn_common::wire::heal::{ChunkPlace, Referenced};
use std::sync::Arc;

/// What a placement is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) epoch: Epoch,
    pub(super) stamp: Stamp,
    pub(super) horizon: Stamp,
}

impl Context {
    /// Drops a chunk if all of its owners have it. Answers whether it is gone.
    pub(super) async fn shed(&self, chunk: Referenced, place: ChunkPlace, moment: Moment) -> bool {
        let (address, Moment { epoch, stamp, horizon }) = (chunk.address, moment);
        if place.owner || place.nodes.is_empty() || self.view.epoch() != epoch {
            return false;
        }
        for (owner, token) in place.nodes {
            if !self.confirmed_by(owner, ConfirmChunk { address, token, epoch, stamp }, chunk.length).await {
                return false;
            }
        }
        let horizon = if seeded_bug("drop-under-window") { Stamp::MAX } else { horizon };
        let may = || {
            let view = Arc::clone(&self.view);
            let last_look = move |holding: Holding| view.epoch() == epoch && holding.touched < horizon;
            Box::new(last_look) as crate::store::volume::RemoveIf
        };
        match self.store.remove(address, may).await {
            Ok(Removal::Removed) => {
                self.progress.dropped(chunk.length);
                true
            }
            Ok(Removal::Absent) => true,
            Ok(Removal::Kept) => false,
            Err(error) => {
                tracing::warn!(%address, %error, "a chunk of others was not dropped");
                false
            }
        }
    }

    async fn confirmed_by(&self, owner: NodeId, question: ConfirmChunk, length: u32) -> bool {
        if seeded_bug("drop-without-confirmation") {
            return true;
        }
        let Some(peer) = self.peers.chunkserver(&self.view, owner) else { return false };
        match peer.confirm(question).await {
            Ok(confirmed) => confirmed == length,
            Err(error) => {
                tracing::debug!(%owner, %error, "an owner does not confirm a chunk");
                false
            }
        }
    }
}
