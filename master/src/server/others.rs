//! What a master has to do with the others: who may speak to it, what they say, and whether they agree.

use super::MasterServer;
use super::open::end_process;
use crate::digests::Checkpoint;
use crate::peers::{PeerReply, SnapshotTag};
use crate::query::QueryError;
use crate::raft::ConfState;
use cairn_common::ids::NodeId;
use cairn_common::membership::NodeState;
use cairn_common::net::FrameClient;
use cairn_common::wire;
use cairn_common::wire::master::MasterError;
use raft::eraftpb::{Message, MessageType};
use std::sync::Arc;

impl MasterServer {
    /// Whether a node may speak in the group: it should be in it, or still is. One that is to go hands over first, and must be
    /// heard until it is out.
    pub(crate) fn may_speak(&self, node: NodeId) -> bool {
        let ConfState { voters, voters_outgoing, learners, .. } = self.group.members().conf;
        let id = u64::from(node.0);
        self.is_master(node) || [voters, voters_outgoing, learners].iter().any(|members| members.contains(&id))
    }

    /// Whether a node should be in the group. A master without a state believes whoever has a node's key.
    pub(crate) fn is_master(&self, node: NodeId) -> bool {
        let members = self.members.load();
        let Some(members) = members.as_ref() else { return true };
        let known = members.membership.nodes.get(&node);
        known.is_some_and(|node| node.roles.master && node.state != NodeState::Removed)
    }

    /// A connection to another master, if it is known where it is.
    pub(crate) fn link(&self, node: NodeId) -> Option<Arc<FrameClient>> {
        self.peers.link(node)
    }

    /// What the machine's clock says, whether or not it is gone by; milliseconds since 1970.
    pub(crate) fn own_ms(&self) -> u64 {
        self.time.own_ms()
    }

    /// Index of the last entry that another member is known to have had on disk, if this one leads.
    pub(crate) fn matched(&self, node: NodeId) -> Option<u64> {
        let members = self.group.members();
        members.progress.iter().find(|member| member.node == node).map(|member| member.matched)
    }

    /// Who votes in the group besides this member.
    pub(crate) fn other_voters(&self) -> Vec<NodeId> {
        let voters = self.group.members().conf.voters;
        let nodes = voters.iter().filter_map(|id| u32::try_from(*id).ok()).map(NodeId);
        nodes.filter(|node| *node != self.node).collect()
    }

    /// How many vote in the group.
    pub(crate) fn voters(&self) -> usize {
        self.group.members().conf.voters.len()
    }

    /// Digests of this master's state at some places of the log.
    pub(crate) fn checkpoints(&self) -> Vec<Checkpoint> {
        self.checkpoints.all()
    }

    /// That this master's state and another's differ, as far as it knows.
    pub(crate) fn divergence(&self) -> Option<Arc<String>> {
        self.divergence.load_full()
    }

    pub(crate) fn set_divergence(&self, found: Option<String>) {
        if let Some(found) = found.as_ref().filter(|_| self.divergence().is_none()) {
            tracing::error!(found, "alarm");
        }
        self.divergence.store(found.map(Arc::new));
    }

    /// Ends the process: its state must not be read or written any more.
    pub(crate) fn end_process(&self, reason: String) {
        end_process(reason);
    }

    /// Takes messages of another member.
    pub(crate) fn hear(self: &Arc<Self>, from: NodeId, messages: Vec<Message>) {
        for message in messages {
            if message.from != u64::from(from.0) || message.to != u64::from(self.node.0) {
                tracing::warn!(%from, "a Raft message in the name of another node, or for another node");
                continue;
            }
            if message.get_msg_type() == MessageType::MsgSnapshot {
                tokio::spawn(Arc::clone(self).take_over(from, message));
            } else if let Err(error) = self.group.step(message) {
                tracing::debug!(%error, "a Raft message was lost");
            }
        }
    }

    /// Fetches the state that a snapshot's message is about, then lets Raft have the message.
    async fn take_over(self: Arc<Self>, from: NodeId, message: Message) {
        let tag: SnapshotTag = match wire::decode(&message.get_snapshot().data) {
            Ok(tag) => tag,
            Err(error) => return tracing::warn!(%error, %from, "a snapshot's message cannot be read"),
        };
        let Some(link) = self.peers.link(from) else { return };
        // One at a time: a second message about the same state comes when the first was slow.
        let Some(_only) = self.staging.begin() else { return };
        tracing::info!(%from, index = tag.position.index, "taking over the state of another master");
        match self.staging.fetch(&self.stores, &link, tag).await {
            Ok(()) => {
                if let Err(error) = self.group.step(message) {
                    tracing::debug!(%error, "a snapshot's message was lost");
                }
            }
            Err(error) => tracing::warn!(%error, %from, "the state was not taken over; the leader will offer it again"),
        }
    }

    /// A picture of the state as it is now, to be given away. Blocks another thread while it is taken.
    pub(crate) async fn begin_snapshot(&self) -> Result<SnapshotTag, MasterError> {
        let snapshots = Arc::clone(&self.snapshots);
        Ok(self.scans.run(move || snapshots.begin()).await.map_err(QueryError::from)?)
    }

    /// A page of a snapshot that another member fetches. Blocks while it is read.
    pub(crate) async fn snapshot_page(&self, id: u64, page: u64) -> PeerReply {
        let snapshots = Arc::clone(&self.snapshots);
        self.scans.run(move || snapshots.page(id, page)).await
    }
}
