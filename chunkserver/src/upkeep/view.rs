//! The cluster as this node knows it: who is in it, the newest ring, and what the leader wants known.
//!
//! There is one per process. Everything that depends on the ring's number asks it here, so that "this node is at ring e" has
//! one meaning: a node confirms copies, and drops its own, only as what it is *now*.

use cairn_common::ids::{Epoch, NodeId, Slot};
use cairn_common::limits::REPLICAS_MAX;
use cairn_common::membership::Membership;
use cairn_common::ring::{Ring, RingError};
use cairn_common::wire::heal::Orders;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What is known. Shared by reference.
#[derive(Debug)]
pub(crate) struct ClusterView {
    node: NodeId,
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    membership: Option<Arc<Membership>>,
    ring: Option<Arc<Ring>>,
    orders: Orders,
}

impl ClusterView {
    /// A view of nothing yet, of `node`.
    pub(crate) fn new(node: NodeId) -> ClusterView {
        ClusterView { node, known: Mutex::default(), changed: Notify::new() }
    }

    /// The newest ring's number; zero before anything is known.
    pub(crate) fn epoch(&self) -> Epoch {
        self.known().ring.as_ref().map_or(Epoch(0), |ring| ring.epoch())
    }

    pub(crate) fn ring(&self) -> Option<Arc<Ring>> {
        self.known().ring.clone()
    }

    pub(crate) fn membership(&self) -> Option<Arc<Membership>> {
        self.known().membership.clone()
    }

    /// The revision of the membership; zero before anything is known.
    pub(crate) fn revision(&self) -> u64 {
        self.known().membership.as_ref().map_or(0, |membership| membership.revision)
    }

    pub(crate) fn orders(&self) -> Orders {
        self.known().orders.clone()
    }

    /// Takes a newer membership; an older one is not news.
    pub(crate) fn set_membership(&self, membership: Membership) -> Result<(), RingError> {
        let before = self.ring();
        let ring = match (membership.ring(), before) {
            (None, _) => None,
            (Some(spec), Some(before)) if before.spec() == spec => Some(before),
            (Some(spec), _) => Some(Ring::new(spec.clone())?),
        };
        let mut known = self.known();
        if known.membership.as_ref().is_none_or(|known| known.revision < membership.revision) {
            (known.membership, known.ring) = (Some(Arc::new(membership)), ring);
            drop(known);
            self.changed.notify_one();
        }
        Ok(())
    }

    pub(crate) fn set_orders(&self, orders: Orders) {
        let mut known = self.known();
        if known.orders != orders {
            known.orders = orders;
            drop(known);
            self.changed.notify_one();
        }
    }

    /// Waits for news that upkeep should look at. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Has whoever waits for news look.
    pub(crate) fn kick(&self) {
        self.changed.notify_one();
    }

    /// At which place of a slot's list this node is; beyond all that any bucket may ask for, if it is not.
    pub(crate) fn position(&self, ring: &Ring, slot: Slot) -> usize {
        let mut owners = ring.owners(slot, usize::from(REPLICAS_MAX));
        owners.position(|owner| owner == self.node).unwrap_or(usize::MAX)
    }

    /// Whether chunks of a slot that this node owns and lacks are on their way from earlier owners, all of which are there; if
    /// not, they are to be made again.
    pub(crate) fn moves_here(&self, slot: Slot, copies: u8) -> bool {
        let known = self.known();
        let Some(membership) = &known.membership else { return false };
        let earlier = membership.rings.iter().rev().skip(1);
        let owners = earlier.map(|ring| ring.owners_of(slot, usize::from(copies)));
        let is_there = |owner: &NodeId| *owner != self.node && !known.orders.down.contains(owner);
        owners.into_iter().any(|owners| !owners.is_empty() && owners.iter().all(is_there))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
