//! Who asks: from what a connection proved, and in whose name a gateway speaks.

use super::access::Who;
use crate::query;
use crate::server::MasterServer;
use async_trait::async_trait;
use cairn_common::auth::Secret;
use cairn_common::ids::{ClusterId, Generation, NodeId, Stamp};
use cairn_common::membership::NodeState;
use cairn_common::net::handshake::{Identity, NotNow, Verifier, Vouched};
use cairn_common::wire::command::KeyRecord;
use cairn_common::wire::master::{Actor, Caller, KeyInfo, MasterError};

impl MasterServer {
    /// Who asks. A key that is gone or over counts as nobody, also on a connection that was opened while it was good.
    pub(super) fn identify(&self, caller: &Caller, actor: Option<&Actor>) -> Result<Who, MasterError> {
        match (caller, actor) {
            (Caller::Anonymous, None) => Ok(Who::Nobody),
            (Caller::Joiner(id), None) => Ok(Who::Joiner(id.clone())),
            (Caller::Key(access), None) => self.holder_of(access),
            (Caller::Node(node), actor) => {
                let Some(gateway) = self.is_gateway(*node)? else { return Ok(Who::Nobody) };
                match actor {
                    None => Ok(Who::Node { node: *node, gateway }),
                    Some(Actor::Anonymous) if gateway => Ok(Who::Nobody),
                    Some(Actor::Key(access)) if gateway => self.holder_of(access),
                    Some(Actor::Asking(asking)) if gateway => match &asking.access {
                        Some(access) => self.holder_of(access),
                        None => Ok(Who::Nobody),
                    },
                    Some(_) => Err(MasterError::Denied),
                }
            }
            // Only gateways speak in the name of others.
            (_, Some(_)) => Err(MasterError::Denied),
        }
    }

    fn holder_of(&self, access: &str) -> Result<Who, MasterError> {
        Ok(match self.live_key(access)? {
            Some(record) => Who::Key(Box::new(info(&record))),
            None => Who::Nobody,
        })
    }

    /// An access key that is there and not over.
    pub(super) fn live_key(&self, access: &str) -> Result<Option<KeyRecord>, MasterError> {
        let now = Stamp::from_ms(self.clock.wall_ms());
        let record = self.look(|view| query::key(view, access))?;
        Ok(record.filter(|record| record.expires.is_none_or(|expires| now < expires)))
    }

    /// Whether a node of the cluster has the gateway role; `None`: it is none, or was removed.
    fn is_gateway(&self, node: NodeId) -> Result<Option<bool>, MasterError> {
        let members = self.members()?;
        let known = members.membership.nodes.get(&node).filter(|node| node.state != NodeState::Removed);
        Ok(known.map(|node| node.roles.gateway))
    }

    fn secret_and_caller(&self, identity: &Identity) -> Result<Option<(Secret, Caller)>, MasterError> {
        Ok(match identity {
            Identity::Anonymous | Identity::Master => None,
            Identity::Key(access) => {
                let opened = |record: &KeyRecord| self.keyring.open_key_secret(access, &record.sealed_secret);
                let secret = self.live_key(access)?.as_ref().and_then(opened);
                secret.map(|secret| (Identity::key_secret(&secret), Caller::Key(access.clone())))
            }
            Identity::Node(node) => {
                (!self.was_removed(*node)).then(|| (self.keyring.node_handshake(*node), Caller::Node(*node)))
            }
            Identity::Joiner(id) => {
                let row = self.look(|view| query::join_token(view, id))?;
                let good = row.filter(|row| row.expires > Stamp::from_ms(self.clock.wall_ms()));
                good.map(|row| (Secret::new(row.secret_hash), Caller::Joiner(id.clone())))
            }
        })
    }

    /// Whether a node was removed, as far as is known here. One that is not known may have come while this master was away: its key
    /// shows that masters admitted it, and what it may do is judged when it asks, by the state of that moment.
    fn was_removed(&self, node: NodeId) -> bool {
        let Ok(members) = self.members() else { return false };
        members.membership.nodes.get(&node).is_some_and(|node| node.state == NodeState::Removed)
    }
}

/// A key's record without its secret.
pub(super) fn info(record: &KeyRecord) -> KeyInfo {
    KeyInfo {
        access: record.access.clone(),
        name: record.name.clone(),
        tenant: record.tenant,
        cluster_admin: record.cluster_admin,
        grants: record.grants.clone(),
        created: record.created,
        expires: record.expires,
    }
}

#[async_trait]
impl Verifier for MasterServer {
    async fn secret_of(&self, identity: &Identity) -> Vouched {
        // A key that was made a moment ago must open at once. Masters connect to each other also when there is no leader.
        if !matches!(identity, Identity::Node(_)) {
            self.barrier().await.map_err(|_| NotNow)?;
        }
        self.secret_and_caller(identity).map_err(|_| NotNow)
    }

    fn server(&self) -> (ClusterId, Generation) {
        (self.cluster, self.generation)
    }
}
