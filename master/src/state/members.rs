//! The membership, decoded once for each change of it instead of once for each command.

use crate::store::key::{MembershipKey, MembershipStampKey};
use crate::store::{MetaView, StoreError};
use cairn_common::ids::{Epoch, NodeId, Slot, Stamp};
use cairn_common::membership::{Membership, NodeState};
use cairn_common::ring::Ring;
use std::sync::Arc;

/// The membership with its rings ready for look-ups. Immutable, and follows from the rows alone: its stamp, which is unique in
/// the life of a cluster, says which membership it is.
#[derive(Clone, Debug)]
pub struct Members {
    /// Who is in the cluster.
    pub membership: Membership,
    stamp: Stamp,
    /// Oldest first, as in the membership.
    rings: Vec<Arc<Ring>>,
}

impl Members {
    /// The membership that `view` has, or `known` if that is it. `None`: the cluster was not made yet.
    pub fn load(view: &dyn MetaView, known: Option<&Arc<Members>>) -> Result<Option<Arc<Members>>, StoreError> {
        let Some(stamp) = view.row(&MembershipStampKey)? else { return Ok(None) };
        if let Some(known) = known
            && known.stamp == stamp
        {
            return Ok(Some(Arc::clone(known)));
        }
        let membership = view.expect_row(&MembershipKey)?;
        Members::new(membership, stamp, known.map(Arc::as_ref)).map(|members| Some(Arc::new(members)))
    }

    /// The membership as the command of `stamp` made it. Rings that `known` has are not built again.
    pub(crate) fn new(membership: Membership, stamp: Stamp, known: Option<&Members>) -> Result<Members, StoreError> {
        let mut rings = Vec::with_capacity(membership.rings.len());
        for spec in &membership.rings {
            let built = known.and_then(|known| known.rings.iter().find(|ring| ring.spec() == spec));
            rings.push(match built {
                Some(ring) => Arc::clone(ring),
                None => Ring::new(spec.clone()).map_err(|error| StoreError::Damaged(error.to_string()))?,
            });
        }
        Ok(Members { membership, stamp, rings })
    }

    /// The stamp of the command that last changed anything here.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The ring that writers use; `None` before a chunkserver serves.
    pub fn ring(&self) -> Option<&Arc<Ring>> {
        self.rings.last()
    }

    /// The ring of an epoch, if it is kept.
    pub fn ring_of(&self, epoch: Epoch) -> Option<&Arc<Ring>> {
        self.rings.iter().find(|ring| ring.epoch() == epoch)
    }

    /// All rings that readers use, newest first.
    pub fn rings_newest_first(&self) -> impl Iterator<Item = &Arc<Ring>> {
        self.rings.iter().rev()
    }

    /// Copies that a bucket or a manifest wants which asked for `replicas`.
    pub fn replicas(&self, replicas: Option<u8>) -> u8 {
        replicas.unwrap_or(self.membership.replicas).max(1)
    }

    /// The owners of a slot's chunks in the newest ring.
    pub fn owners(&self, slot: Slot, replicas: u8) -> Vec<NodeId> {
        self.ring().map_or_else(Vec::new, |ring| ring.owners(slot, usize::from(replicas)).collect())
    }

    /// Masters that hold a log entry when it is committed: a majority of those that vote, which are an odd number.
    pub(super) fn log_copies(&self) -> u8 {
        let nodes = self.membership.nodes.values();
        let masters = nodes.filter(|node| node.roles.master && node.state != NodeState::Removed).count();
        let voters = u8::try_from(masters).unwrap_or(u8::MAX).min(self.membership.voters);
        voters.div_ceil(2).max(1)
    }
}
