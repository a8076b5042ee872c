//! Where a chunk can be read: nodes in the order in which to ask them.

use crate::state::Members;
use crate::store::key::{MisplacedKey, ReferenceKey, TotalsKey};
use crate::store::{MetaView, StoreError};
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{NodeId, Slot};
use cairn_common::membership::NodeState;
use cairn_common::seam::seeded_bug;

/// Finds the nodes of chunks.
pub(super) struct Places<'a> {
    view: &'a dyn MetaView,
    members: &'a Members,
    /// Whether there is any row that says a chunk is misplaced: mostly there is none, and nobody need look.
    any_misplaced: bool,
}

impl<'a> Places<'a> {
    pub(super) fn new(view: &'a dyn MetaView, members: &'a Members) -> Result<Places<'a>, StoreError> {
        let any_misplaced = view.row(&TotalsKey)?.unwrap_or_default().misplaced > 0;
        Ok(Places { view, members, any_misplaced })
    }

    /// The owners in the newest ring.
    pub(super) fn owners(&self, slot: Slot, replicas: u8) -> Vec<NodeId> {
        self.members.owners(slot, replicas)
    }

    /// Nodes off the ring that are known to have the chunk.
    pub(super) fn misplaced(&self, slot: Slot, address: ChunkAddress) -> Result<Vec<NodeId>, StoreError> {
        if !self.any_misplaced {
            return Ok(Vec::new());
        }
        Ok(self.view.row(&MisplacedKey(ReferenceKey { slot, address }))?.unwrap_or_default())
    }

    /// Up to `limit` nodes, in the order in which to ask them: the owners; those of earlier rings, whose moves are unfinished;
    /// those that are known to have it though they own it in no ring; and then everyone else.
    pub(super) fn nodes(&self, address: ChunkAddress, replicas: u8, limit: usize) -> Result<Vec<NodeId>, StoreError> {
        let slot = address.slot();
        let mut nodes: Vec<NodeId> = Vec::with_capacity(limit.min(16));
        if seeded_bug("read-only-newest-epoch") {
            self.add(&mut nodes, limit, self.owners(slot, replicas));
            return Ok(nodes);
        }
        for ring in self.members.rings_newest_first() {
            self.add(&mut nodes, limit, ring.owners(slot, usize::from(replicas)));
        }
        self.add(&mut nodes, limit, self.misplaced(slot, address)?);
        if nodes.len() < limit
            && let Some(newest) = self.members.ring()
        {
            self.add(&mut nodes, limit, newest.preference(slot));
        }
        Ok(nodes)
    }

    fn add(&self, nodes: &mut Vec<NodeId>, limit: usize, more: impl IntoIterator<Item = NodeId>) {
        for node in more {
            if nodes.len() >= limit {
                return;
            }
            if !nodes.contains(&node) && self.may_answer(node) {
                nodes.push(node);
            }
        }
    }

    fn may_answer(&self, node: NodeId) -> bool {
        self.members.membership.nodes.get(&node).is_some_and(|node| node.state != NodeState::Removed)
    }
}
