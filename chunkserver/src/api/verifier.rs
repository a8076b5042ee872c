//! Who may open frame connections to a chunkserver: anyone, as nobody; and masters, who can derive this node's key.

use async_trait::async_trait;
use cairn_common::auth::{NodeKey, Secret};
use cairn_common::ids::{ClusterId, Generation, NodeId};
use cairn_common::net::handshake::{Identity, Verifier, Vouched};
use cairn_common::wire::master::Caller;

/// Verifies callers of one chunkserver.
pub struct NodeVerifier {
    cluster: ClusterId,
    generation: Generation,
    node: NodeId,
    handshake: Secret,
}

impl NodeVerifier {
    /// For `node`, whose key is `key`.
    pub fn new(cluster: ClusterId, generation: Generation, node: NodeId, key: &NodeKey) -> NodeVerifier {
        NodeVerifier { cluster, generation, node, handshake: key.handshake() }
    }
}

#[async_trait]
impl Verifier for NodeVerifier {
    /// A master proves that it knows this node's key; which master it is does not matter here, so it stands for the node.
    async fn secret_of(&self, identity: &Identity) -> Vouched {
        Ok(match identity {
            Identity::Master => Some((self.handshake.clone(), Caller::Node(self.node))),
            Identity::Anonymous | Identity::Key(_) | Identity::Node(_) | Identity::Joiner(_) => None,
        })
    }

    fn server(&self) -> (ClusterId, Generation) {
        (self.cluster, self.generation)
    }
}
