//! Rings as the membership wants them.
//!
//! A change of what the ring is made of makes a new one, with the next epoch. Earlier ones stay for readers while data moves,
//! a bounded number of them; when there is no room, the change waits. Nothing remembers that it does: the ring that is wanted
//! follows from the nodes, so it is compared with the newest whenever room may have come.

use super::tx::Tx;
use crate::store::{KeyRange, Order, StoreError, Table};
use cairn_common::ids::Epoch;
use cairn_common::limits::{EPOCHS_KEPT_MAX, REPLICAS_DEFAULT};
use cairn_common::membership::{Membership, Node, NodeState};
use cairn_common::ring::{Member, RingSpec};

fn in_ring(node: &Node) -> bool {
    node.roles.chunkserver && node.state == NodeState::Live
}

fn wanted(membership: &Membership) -> Vec<Member> {
    let member = |node: &Node| Member { node: node.id, zone: node.zone.clone(), weight: node.weight };
    membership.nodes.values().filter(|node| in_ring(node)).map(member).collect()
}

/// Adds a ring if the nodes want another than the newest. Answers whether the newest is now the one they want.
///
/// While nothing refers to any chunk, earlier rings are dropped at once instead of kept: they are there for readers of chunks
/// that were referred to under them and have not moved, and there are none. A chunk that was written under one of them and is
/// committed later is judged by the ring of that moment: whatever lies off its owners is noted as misplaced then. So a new
/// cluster of any size comes up without waiting for moves of nothing.
pub(super) fn renew(tx: &Tx<'_>, membership: &mut Membership) -> Result<bool, StoreError> {
    let members = wanted(membership);
    let current = membership.ring().map(|ring| ring.members.as_slice()).unwrap_or_default();
    if members == current {
        return Ok(true);
    }
    if !anything_referenced(tx)? {
        let newest = membership.rings.pop();
        membership.rings.clear();
        membership.rings.push(after(newest.as_ref(), members));
        return Ok(true);
    }
    // The newest becomes one of those that are kept.
    if membership.rings.len() > EPOCHS_KEPT_MAX {
        return Ok(false);
    }
    let next = after(membership.ring(), members);
    membership.rings.push(next);
    Ok(true)
}

/// The ring over `members` that follows `newest`. It keeps that one's calibration where it is good enough, so that a change
/// moves little more than it must.
fn after(newest: Option<&RingSpec>, members: Vec<Member>) -> RingSpec {
    match newest {
        None => RingSpec::new(Epoch(1), members),
        Some(newest) => newest.followed_by(Epoch(newest.epoch.0 + 1), members),
    }
}

fn anything_referenced(tx: &Tx<'_>) -> Result<bool, StoreError> {
    let cursor = tx.view().scan(Table::References, KeyRange::default(), Order::Forward)?;
    Ok(cursor.row().is_some())
}

/// Raises the copies of buckets that ask for none, once there are nodes for them. Nothing lowers them but a command.
pub(super) fn raise_replicas(membership: &mut Membership) {
    let serving = membership.nodes.values().filter(|node| in_ring(node)).count();
    if membership.replicas_rise && membership.replicas < REPLICAS_DEFAULT && serving >= usize::from(REPLICAS_DEFAULT) {
        membership.replicas = REPLICAS_DEFAULT;
    }
}
