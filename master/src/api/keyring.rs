//! The masters' keys, and what they sign with them.

use cairn_common::auth::{ClusterKey, OpenTicket, ReadToken, Receipt, Secret, TokenError, TokenKeys, WriteToken};
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{Domain, Generation, KeyId, ManifestId, NodeId, Stamp, WindowId};
use cairn_common::listen::Authority;
use cairn_common::seam::Random;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Derives a node's keys once and keeps them.
pub(crate) struct Keyring {
    cluster_key: ClusterKey,
    generation: Generation,
    masters: Secret,
    at_rest: Secret,
    nodes: RwLock<BTreeMap<NodeId, Arc<TokenKeys>>>,
}

impl Keyring {
    pub(crate) fn new(cluster_key: ClusterKey, generation: Generation) -> Keyring {
        let (masters, at_rest) = (cluster_key.masters(generation), cluster_key.at_rest());
        Keyring { cluster_key, generation, masters, at_rest, nodes: RwLock::default() }
    }

    /// The root of all keys, for another master.
    pub(crate) fn cluster_key(&self) -> &[u8; 32] {
        self.cluster_key.expose()
    }

    /// The cluster's certificate authority.
    pub(crate) fn authority(&self) -> Authority {
        Authority::of(&self.cluster_key)
    }

    /// The key that a node joins with.
    pub(crate) fn node_key(&self, node: NodeId) -> Secret {
        Secret::new(*self.cluster_key.node_key(self.generation, node).expose())
    }

    /// The secret that a node, and a master that calls it, prove themselves with.
    pub(crate) fn node_handshake(&self, node: NodeId) -> Secret {
        self.cluster_key.node_key(self.generation, node).handshake()
    }

    pub(crate) fn write_token(
        &self,
        node: NodeId,
        domain: Domain,
        window: WindowId,
        limit_bytes: u64,
        expires_ms: u64,
    ) -> WriteToken {
        self.node(node).write_token(domain, window, limit_bytes, expires_ms)
    }

    /// The same token for somebody who may read everything of the tenant.
    pub(crate) fn finding(&self, node: NodeId, token: WriteToken) -> WriteToken {
        self.node(node).finding(token)
    }

    pub(crate) fn read_token(&self, node: NodeId, address: &ChunkAddress, expires_ms: u64) -> ReadToken {
        self.node(node).read_token(address, expires_ms)
    }

    pub(crate) fn confirm_token(
        &self,
        node: NodeId,
        address: &ChunkAddress,
        stamp: Stamp,
        expires_ms: u64,
    ) -> ReadToken {
        self.node(node).confirm_token(address, stamp, expires_ms)
    }

    pub(crate) fn check_receipt(&self, receipt: &Receipt, address: &ChunkAddress) -> Result<(), TokenError> {
        self.node(receipt.node).check_receipt(receipt, address)
    }

    pub(crate) fn ticket(&self, manifest: ManifestId, domain: Domain, expires_ms: u64) -> OpenTicket {
        OpenTicket::new(&self.masters, manifest, domain, expires_ms)
    }

    pub(crate) fn check_ticket(&self, ticket: &OpenTicket, now_ms: u64) -> Result<(), TokenError> {
        ticket.check(&self.masters, now_ms)
    }

    /// Seals the secret of an access key for the state.
    pub(crate) fn seal_key_secret(&self, random: &dyn Random, access: &str, secret: &str) -> Vec<u8> {
        self.at_rest.seal(random, access.as_bytes(), secret.as_bytes())
    }

    /// Reverse of [`Keyring::seal_key_secret`]. `None`: the record is damaged, which never counts as a match (S18, S28 of
    /// docs/faults.md).
    pub(crate) fn open_key_secret(&self, access: &str, sealed: &[u8]) -> Option<String> {
        String::from_utf8(self.at_rest.open(access.as_bytes(), sealed).ok()?).ok()
    }

    fn node(&self, node: NodeId) -> Arc<TokenKeys> {
        if let Some(keys) = self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(&node) {
            return Arc::clone(keys);
        }
        let node_key = self.cluster_key.node_key(self.generation, node);
        let keys = Arc::new(TokenKeys::new(KeyId(self.generation.0), node, &node_key));
        // A receipt may name any number; only so many are kept.
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() < cairn_common::limits::NODES_MAX {
            nodes.insert(node, Arc::clone(&keys));
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::seam::OsRandom;

    #[test]
    fn a_sealed_key_opens_for_its_own_id_only() {
        let keyring = Keyring::new(ClusterKey::new(Secret::new([5; 32])), Generation(1));
        let sealed = keyring.seal_key_secret(&OsRandom, "AK1", "secret");
        assert_eq!(keyring.open_key_secret("AK1", &sealed).as_deref(), Some("secret"));
        assert_eq!(keyring.open_key_secret("AK2", &sealed), None);
        assert_eq!(keyring.open_key_secret("AK1", &sealed[1..]), None);
    }
}
