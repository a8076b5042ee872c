//! Nodes, access keys, join tokens, and the cluster in figures.

use super::access::Who;
use super::identify::info;
use crate::query;
use crate::server::MasterServer;
use cairn_common::auth::{JoinToken, Secret};
use cairn_common::ids::{NodeId, Stamp, TenantId};
use cairn_common::limits::JOIN_TOKEN_TTL_MS;
use cairn_common::membership::{NodeState, Roles};
use cairn_common::wire::command::{Command, Done, Grant, KeyRecord, Refusal};
use cairn_common::wire::master::{Caller, Credential, Heartbeat, Joined, MasterError, MasterReply, Status};
use std::sync::PoisonError;

/// Length of a given access key id, in characters.
const ACCESS_LENGTH: std::ops::RangeInclusive<usize> = 3..=128;
/// Length of a given secret, in characters.
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 8..=128;

/// An access key to be made, as it was asked for.
pub(super) struct NewKey {
    pub(super) name: String,
    pub(super) given: Option<(String, String)>,
    pub(super) cluster_admin: bool,
    pub(super) grants: Vec<Grant>,
    pub(super) tenant: Option<TenantId>,
    pub(super) expires_ms: Option<u64>,
}

impl MasterServer {
    pub(super) fn membership(&self, revision: u64) -> Result<MasterReply, MasterError> {
        let members = self.members()?;
        let newer = members.membership.revision > revision;
        Ok(MasterReply::Membership(newer.then(|| Box::new(members.membership.clone()))))
    }

    pub(super) fn heard(&self, caller: &Caller, heartbeat: Heartbeat) -> Result<MasterReply, MasterError> {
        let Caller::Node(node) = caller else { return Err(MasterError::Denied) };
        self.check_leading()?;
        let members = self.members()?;
        let known = members.membership.nodes.get(node).ok_or(Refusal::NoSuchNode(*node))?;
        if known.boot != heartbeat.boot {
            return Err(Refusal::StaleBoot { node: *node, boot: heartbeat.boot }.into());
        }
        let now = self.clock.monotonic();
        self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner).insert(*node, (now, heartbeat));
        Ok(MasterReply::Heard { revision: members.membership.revision, orders: self.orders()? })
    }

    /// What is known from heartbeats is known to the leader.
    fn check_leading(&self) -> Result<(), MasterError> {
        if self.status().leading { Ok(()) } else { Err(self.not_leading()) }
    }

    pub(super) fn cluster_status(&self) -> Result<MasterReply, MasterError> {
        self.check_leading()?;
        let (members, counts, group) = (self.members()?, self.look(query::counts)?, self.status());
        let collection = self.look(query::collection)?;
        let now = self.clock.monotonic();
        let heartbeats = self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = heartbeats.iter().map(|(node, (when, heartbeat))| {
            let ago_ms = u64::try_from(now.saturating_sub(*when).as_millis()).unwrap_or(u64::MAX);
            (*node, (ago_ms, heartbeat.clone()))
        });
        Ok(MasterReply::Status(Box::new(Status {
            membership: members.membership.clone(),
            heartbeats: heard.collect(),
            usage: counts.usage,
            buckets: counts.buckets,
            releasing: counts.releasing,
            misplaced: counts.misplaced,
            stamp: counts.stamp,
            term: group.term,
            applied: group.applied,
            leader: group.leader,
            alarms: self.alarms(),
            collect: (collection.paused, collection.approved, collection.read_grace_ms),
            rebalance: self.look(query::rebalance)?,
            entries: group.entries,
            commands: group.commands,
        })))
    }

    pub(super) fn credential(&self, access: &str) -> Result<MasterReply, MasterError> {
        let Some(record) = self.live_key(access)? else { return Ok(MasterReply::Credential(None)) };
        // A record that does not open is no key, and never equal to anything.
        let secret = self.keyring.open_key_secret(access, &record.sealed_secret);
        Ok(MasterReply::Credential(secret.map(|secret| Credential { key: info(&record), secret })))
    }

    pub(super) async fn create_key(&self, who: &Who, new: NewKey) -> Result<MasterReply, MasterError> {
        let Who::Key(maker) = who else { return Err(MasterError::Denied) };
        let now_ms = self.clock.wall_ms();
        if new.tenant.is_some_and(|tenant| tenant.0 == 0) {
            return Err(MasterError::BadRequest("tenants are numbered from 1".to_owned()));
        }
        if new.expires_ms.is_some_and(|expires| expires <= now_ms) {
            return Err(MasterError::BadRequest("the key would have expired already".to_owned()));
        }
        let (access, secret) = match new.given {
            Some(given) => check_given(given)?,
            None => self.new_key_pair(),
        };
        let record = KeyRecord {
            sealed_secret: self.keyring.seal_key_secret(self.random.as_ref(), &access, &secret),
            access: access.clone(),
            name: new.name,
            tenant: new.tenant.unwrap_or(maker.tenant),
            cluster_admin: new.cluster_admin,
            grants: new.grants,
            created: Stamp::from_ms(now_ms),
            expires: new.expires_ms.map(Stamp::from_ms),
        };
        self.execute(None, Command::CreateKey(Box::new(record))).await?;
        Ok(MasterReply::NewKey { access, secret })
    }

    pub(super) async fn delete_key(&self, access: String) -> Result<MasterReply, MasterError> {
        self.execute(None, Command::DeleteKey { access }).await.map(MasterReply::Done)
    }

    pub(super) fn keys(&self) -> Result<MasterReply, MasterError> {
        Ok(MasterReply::Keys(self.look(query::keys)?))
    }

    pub(super) async fn create_join_token(&self) -> Result<MasterReply, MasterError> {
        let token = JoinToken::new(self.random.as_ref());
        let command = Command::CreateJoinToken {
            id: token.id.clone(),
            secret_hash: *token.secret().expose(),
            expires: Stamp::from_ms(self.clock.wall_ms() + JOIN_TOKEN_TTL_MS),
        };
        self.execute(None, command).await?;
        Ok(MasterReply::JoinToken(token.expose()))
    }

    /// Admits a node. If its token was used by the same node and the answer was lost, it gets the same identity again.
    pub(super) async fn join(
        &self,
        who: &Who,
        name: String,
        zone: String,
        weight: u32,
        address: String,
        roles: Roles,
    ) -> Result<MasterReply, MasterError> {
        let Who::Joiner(id) = who else { return Err(MasterError::Denied) };
        let row = self.look(|view| query::join_token(view, id))?.ok_or(Refusal::BadJoinToken)?;
        let node = match row.used_by {
            Some(node) if self.is_joining(node, &name)? => node,
            Some(_) => return Err(Refusal::BadJoinToken.into()),
            None => {
                let join_token = Some(id.clone());
                let command = Command::AddNode { name, zone, weight, address, roles, join_token };
                let Done::Node(node) = self.execute(None, command).await? else {
                    return Err(MasterError::Bug("a new node has an id".to_owned()));
                };
                node
            }
        };
        let key = self.keyring.node_key(node);
        let seal = |key: &[u8; 32]| Secret::new(row.secret_hash).seal(self.random.as_ref(), &node.0.to_be_bytes(), key);
        tracing::info!(%node, "a node was admitted");
        Ok(MasterReply::Joined(Joined {
            cluster: self.cluster,
            generation: self.generation,
            node,
            sealed_key: seal(key.expose()),
            // Masters derive every other key from it.
            sealed_cluster_key: roles.master.then(|| seal(self.keyring.cluster_key())),
            membership: Box::new(self.members()?.membership.clone()),
        }))
    }

    fn is_joining(&self, node: NodeId, name: &str) -> Result<bool, MasterError> {
        let members = self.members()?;
        let known = members.membership.nodes.get(&node);
        Ok(known.is_some_and(|node| node.state == NodeState::Joining && node.name == name))
    }
}

fn check_given((access, secret): (String, String)) -> Result<(String, String), MasterError> {
    let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !ACCESS_LENGTH.contains(&access.len()) || !access.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(MasterError::BadRequest("an access key has 3 to 128 letters and digits".to_owned()));
    }
    if !SECRET_LENGTH.contains(&secret.len()) || !printable(&secret) {
        return Err(MasterError::BadRequest("a secret has 8 to 128 printable characters without spaces".to_owned()));
    }
    Ok((access, secret))
}
