//! Nodes that leave on a person's word. What the state cannot know is judged here, from heartbeats: whether the others have room,
//! and whether the node holds nothing any more.

use crate::server::MasterServer;
use cairn_common::ids::NodeId;
use cairn_common::membership::NodeState;
use cairn_common::wire::command::{Command, Refusal};
use cairn_common::wire::heal::Upkeep;
use cairn_common::wire::master::{MasterError, MasterReply, VolumeReport};
use std::sync::PoisonError;

impl MasterServer {
    /// Takes a node out of the ring if the others have room for what it holds, or back in.
    pub(super) async fn drain(&self, node: NodeId, undo: bool) -> Result<MasterReply, MasterError> {
        if !self.status().leading {
            return Err(self.not_leading());
        }
        let members = self.members()?;
        let held = self.last_heard(node, |volume| volume.used_bytes).0;
        let others = members
            .membership
            .nodes
            .values()
            .filter(|other| other.id != node && other.roles.chunkserver && other.state == NodeState::Live);
        let free: u64 = others.map(|other| self.last_heard(other.id, |volume| volume.free_bytes).0).sum();
        if !undo && free < held {
            let reason =
                format!("the node holds {held} bytes, and the others have room for {free} more: add room first");
            return Err(Refusal::Invalid(reason).into());
        }
        self.execute(None, Command::DrainNode { node, undo }).await.map(MasterReply::Done)
    }

    /// Forgets a node that is out of the ring and has said that it holds nothing which others need.
    pub(super) async fn remove_node(&self, node: NodeId, force: bool) -> Result<MasterReply, MasterError> {
        if !self.status().leading {
            return Err(self.not_leading());
        }
        let members = self.members()?;
        let known = members.membership.nodes.get(&node).ok_or(Refusal::NoSuchNode(node))?;
        if node == self.node {
            let reason = "this node leads the masters: let another lead first, by restarting this one".to_owned();
            return Err(Refusal::Invalid(reason).into());
        }
        let (_, upkeep) = self.last_heard(node, |_| 0);
        let emptied = upkeep.is_some_and(|upkeep| upkeep.emptied >= members.membership.epoch());
        let was_needed = known.roles.chunkserver && known.state == NodeState::Draining;
        if was_needed && !force && (!emptied || members.membership.rings.len() > 1) {
            let reason = "the node may hold chunks that others still have to fetch: wait until `cairn admin status` says that it is \
                          drained, or give --force if it will never come back";
            return Err(Refusal::Invalid(reason.to_owned()).into());
        }
        self.execute(None, Command::RemoveNode { node }).await.map(MasterReply::Done)
    }

    /// A sum over a node's volumes as it last told, and how far its upkeep was.
    fn last_heard(&self, node: NodeId, of: fn(&VolumeReport) -> u64) -> (u64, Option<Upkeep>) {
        let heartbeats = self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        let heartbeat = heartbeats.get(&node).map(|(_, heartbeat)| heartbeat);
        let sum = heartbeat.map_or(0, |heartbeat| heartbeat.volumes.iter().map(of).sum());
        (sum, heartbeat.map(|heartbeat| heartbeat.upkeep.clone()))
    }
}
