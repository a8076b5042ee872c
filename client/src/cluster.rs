//! The cluster as a client sees it: rings to place chunks with, and a way to each chunkserver.

use crate::client::LocalNode;
use cairn_common::ids::{Epoch, NodeId};
use cairn_common::membership::{Membership, NodeState};
use cairn_common::net::RemoteChunkserver;
use cairn_common::net::handshake::Credential;
use cairn_common::ring::{Ring, RingError};
use cairn_common::seam::{Clock, Random, Transport};
use cairn_common::wire::chunk::ChunkService;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One state of the cluster. Immutable; a newer one replaces it.
pub struct ClusterView {
    membership: Membership,
    ring: Option<Arc<Ring>>,
}

impl ClusterView {
    /// What the masters said.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The ring that writers use. `None`: no chunkserver serves yet.
    pub fn ring(&self) -> Option<&Arc<Ring>> {
        self.ring.as_ref()
    }

    /// The number of that ring.
    pub fn epoch(&self) -> Epoch {
        self.membership.epoch()
    }

    /// Base URLs of the masters.
    pub(crate) fn masters(&self) -> Vec<String> {
        let nodes = self.membership.nodes.values();
        let masters = nodes.filter(|node| node.roles.master && node.state != NodeState::Removed);
        masters.map(|node| node.address.clone()).collect()
    }

    /// A view of `membership`, with the ring of `before` if it is still the same.
    pub(crate) fn new(membership: Membership, before: Option<&ClusterView>) -> Result<ClusterView, RingError> {
        let known = before.and_then(|before| before.ring.clone());
        let ring = match (membership.ring(), known) {
            (None, _) => None,
            (Some(spec), Some(known)) if known.spec() == spec => Some(known),
            (Some(spec), _) => Some(Ring::new(spec.clone())?),
        };
        Ok(ClusterView { membership, ring })
    }
}

/// Ways to chunkservers, kept for as long as their addresses stay the same.
pub(crate) struct Directory {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    local: Option<LocalNode>,
    remote: Mutex<BTreeMap<NodeId, (String, Arc<RemoteChunkserver>)>>,
}

impl Directory {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        local: Option<LocalNode>,
    ) -> Directory {
        Directory { transport, clock, random, local, remote: Mutex::new(BTreeMap::new()) }
    }

    /// Whether the chunkserver runs in this process.
    pub(crate) fn is_local(&self, node: NodeId) -> bool {
        self.local.as_ref().is_some_and(|local| local.node == node)
    }

    /// The network.
    pub(crate) fn transport(&self) -> &dyn Transport {
        self.transport.as_ref()
    }

    /// A way to a chunkserver. `None`: the membership does not know it.
    pub(crate) fn chunkserver(&self, view: &ClusterView, node: NodeId) -> Option<Arc<dyn ChunkService>> {
        if let Some(local) = self.local.as_ref().filter(|local| local.node == node) {
            return Some(Arc::clone(&local.chunkserver));
        }
        let address = &view.membership.nodes.get(&node)?.address;
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, chunkserver)) = remote.get(&node)
            && known == address
        {
            return Some(Arc::clone(chunkserver) as Arc<dyn ChunkService>);
        }
        let chunkserver = Arc::new(RemoteChunkserver::new(
            address.clone(),
            Arc::clone(&self.transport),
            Arc::clone(&self.clock),
            Arc::clone(&self.random),
            Credential::anonymous(),
            Some(view.membership.cluster),
        ));
        remote.insert(node, (address.clone(), Arc::clone(&chunkserver)));
        Some(chunkserver)
    }
}
