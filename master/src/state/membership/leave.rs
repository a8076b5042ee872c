//! Nodes that leave: out of the ring first, and for ever later.
//!
//! A node out of the ring goes on serving what it has, so that its chunks can be fetched from it. The same state is that of one
//! that was not heard of for too long: if it comes back, what it has is of use again, and an administrator decides whether it is.
//! Whether the others have *room* is known from heartbeats only and judged by the leader before it proposes.

use super::{find_node, ring, write};
use crate::state::tx::{Step, Tx};
use cairn_common::ids::NodeId;
use cairn_common::membership::{Membership, Node, NodeState};
use cairn_common::wire::command::{Done, Refusal};

/// Takes a node out of the ring, or back in.
pub(in crate::state) fn drain(tx: &mut Tx<'_>, id: NodeId, undo: bool) -> Step<Done> {
    let mut membership = tx.members().membership.clone();
    let node = find_node(&mut membership, id)?;
    match (node.state, undo) {
        (NodeState::Live, false) => node.state = NodeState::Draining,
        (NodeState::Draining, true) => node.state = NodeState::Live,
        (NodeState::Draining, false) | (NodeState::Live, true) => return Ok(Done::Epoch(membership.epoch())),
        (NodeState::Joining | NodeState::Removed, _) => return Err(Refusal::NoSuchNode(id).into()),
    }
    if !undo {
        check_enough(&membership)?;
    }
    if !ring::renew(tx, &mut membership)? {
        return Err(Refusal::TooManyEpochs.into());
    }
    let epoch = membership.epoch();
    write(tx, membership)?;
    Ok(Done::Epoch(epoch))
}

/// Copies need distinct nodes: a ring smaller than their number would leave every chunk short.
fn check_enough(membership: &Membership) -> Result<(), Refusal> {
    let left = membership.nodes.values().filter(|node| holds_chunks(node)).count();
    let needed = membership.replicas;
    if left < usize::from(needed).max(1) { Err(Refusal::TooFewNodes { left, needed }) } else { Ok(()) }
}

fn holds_chunks(node: &Node) -> bool {
    node.roles.chunkserver && node.state == NodeState::Live
}

/// Forgets a node. Its id and its key are never given to another, and receipts of it count no more.
pub(in crate::state) fn remove_node(tx: &mut Tx<'_>, id: NodeId) -> Step<Done> {
    let mut membership = tx.members().membership.clone();
    let node = find_node(&mut membership, id)?;
    if holds_chunks(node) {
        return Err(Refusal::NodeInRing(id).into());
    }
    node.state = NodeState::Removed;
    write(tx, membership)?;
    Ok(Done::Nothing)
}
