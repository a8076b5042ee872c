//! Ways to the other chunkservers, and to the masters, as upkeep uses them.

use super::view::ClusterView;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{ClusterId, NodeId, Slot};
use cairn_common::net::RemoteChunkserver;
use cairn_common::net::handshake::Credential;
use cairn_common::seam::{Clock, Random, Transport};
use cairn_common::wire::chunk::ChunkService;
use cairn_common::wire::heal::{Compare, Compared, Placement, ReferencePage};
use cairn_common::wire::master::{Caller, Master, MasterCall, MasterError, MasterReply, MasterRequest};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Ways to chunkservers.
pub(crate) trait Chunkservers: Send + Sync {
    /// A way to the node at this base URL.
    fn at(&self, node: NodeId, address: &str) -> Arc<dyn ChunkService>;
}

/// Ways over the network. Connections are kept for as long as an address stays the same; tokens say what may be asked.
pub(crate) struct RemoteChunkservers {
    cluster: ClusterId,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    links: Mutex<BTreeMap<NodeId, Arc<RemoteChunkserver>>>,
}

impl RemoteChunkservers {
    pub(crate) fn new(
        cluster: ClusterId,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> RemoteChunkservers {
        RemoteChunkservers { cluster, transport, clock, random, links: Mutex::default() }
    }
}

impl Chunkservers for RemoteChunkservers {
    fn at(&self, node: NodeId, address: &str) -> Arc<dyn ChunkService> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&node).filter(|link| link.address() == address) {
            return Arc::clone(link) as Arc<dyn ChunkService>;
        }
        let link = Arc::new(RemoteChunkserver::new(
            address.to_owned(),
            Arc::clone(&self.transport),
            Arc::clone(&self.clock),
            Arc::clone(&self.random),
            Credential::anonymous(),
            Some(self.cluster),
        ));
        links.insert(node, Arc::clone(&link));
        link
    }
}

/// Whom upkeep asks.
pub(crate) struct Peers {
    node: NodeId,
    master: Arc<dyn Master>,
    chunkservers: Box<dyn Chunkservers>,
}

impl Peers {
    /// In the name of `node`.
    pub(crate) fn new(node: NodeId, master: Arc<dyn Master>, chunkservers: Box<dyn Chunkservers>) -> Peers {
        Peers { node, master, chunkservers }
    }

    /// A way to a chunkserver; `None`: the membership does not know it.
    pub(super) fn chunkserver(&self, view: &ClusterView, node: NodeId) -> Option<Arc<dyn ChunkService>> {
        let membership = view.membership()?;
        let address = &membership.nodes.get(&node)?.address;
        Some(self.chunkservers.at(node, address))
    }

    async fn ask(&self, request: MasterRequest) -> Result<MasterReply, MasterError> {
        self.master.call(&Caller::Node(self.node), MasterCall { actor: None, request }).await
    }

    pub(super) async fn compare(&self, asked: Compare) -> Result<Compared, MasterError> {
        match self.ask(MasterRequest::Compare(asked)).await? {
            MasterReply::Compared(compared) => Ok(compared),
            other => Err(wrong(&other)),
        }
    }

    pub(super) async fn references(
        &self,
        slot: Slot,
        after: Option<ChunkAddress>,
    ) -> Result<ReferencePage, MasterError> {
        match self.ask(MasterRequest::References { slot, after }).await? {
            MasterReply::References(page) => Ok(page),
            other => Err(wrong(&other)),
        }
    }

    pub(super) async fn placement(&self, chunks: Vec<ChunkAddress>) -> Result<Placement, MasterError> {
        let wanted = chunks.len();
        match self.ask(MasterRequest::Placement { chunks }).await? {
            MasterReply::Placement(placement) if placement.chunks.len() == wanted => Ok(placement),
            other => Err(wrong(&other)),
        }
    }
}

fn wrong(reply: &MasterReply) -> MasterError {
    MasterError::Bug(format!("an answer to another question: {reply:?}"))
}
