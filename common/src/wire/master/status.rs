//! How the cluster is: what nodes tell, what administrators see, what an audit finds.

use super::super::heal::{Rebalance, Upkeep};
use super::reply::Usage;
use crate::chunk::ChunkAddress;
use crate::ids::{BootCount, NodeId, Slot, Stamp, VolumeId};
use crate::membership::Membership;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an audit found in a stretch of slots.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Audited {
    /// The slot to go on with; `None`: all is done.
    pub next: Option<Slot>,
    /// What is wrong; at most [`FINDINGS_MAX`](crate::limits::FINDINGS_MAX).
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more_findings: u64,
    /// Referenced chunks that were looked at.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Copies of them that are where they belong.
    pub copies: u64,
    /// Copies that nothing refers to, and their bytes, by how long ago they were touched: less than an hour, a day, longer.
    pub unreferenced: [(u64, u64); 3],
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// A counter or a row of the state is not what recomputing it gives. In words.
    State(String),
    /// A node did not answer, so nothing is known about its copies.
    Silent(NodeId),
    /// Fewer of its owners have a chunk than should.
    Short {
        /// Which chunk.
        address: ChunkAddress,
        /// Copies that are wanted.
        wanted: u8,
        /// Owners that have it.
        holders: Vec<NodeId>,
        /// Owners that do not, or whose copy is bad.
        without: Vec<NodeId>,
    },
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// In which run.
    pub boot: BootCount,
    /// Its disks.
    pub volumes: Vec<VolumeReport>,
    /// How far it is with its upkeep.
    pub upkeep: Upkeep,
}

/// How a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeReport {
    /// Which.
    pub volume: VolumeId,
    /// Its label, for people.
    pub label: String,
    /// What it may hold, in bytes.
    pub capacity_bytes: u64,
    /// What its packs hold, in bytes.
    pub used_bytes: u64,
    /// What it can still take, in bytes.
    pub free_bytes: u64,
    /// Chunks it holds.
    pub chunks: u64,
    /// Damaged records it found since it started.
    pub damaged: u64,
    /// Why it takes no more, if it does not.
    pub fault: Option<String>,
}

/// The cluster in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Membership, with all nodes.
    pub membership: Membership,
    /// What each chunkserver last said, and how long ago, in milliseconds.
    pub heartbeats: BTreeMap<NodeId, (u64, Heartbeat)>,
    /// All buckets together.
    pub usage: Usage,
    /// How many buckets.
    pub buckets: u64,
    /// References to chunks that no version needs and that wait in the release queue: manifests.
    pub releasing: u64,
    /// Chunks known to lie off their owners.
    pub misplaced: u64,
    /// Stamp of the newest applied command.
    pub stamp: Stamp,
    /// Raft: term, index of the last applied entry, id of the leader.
    pub term: u64,
    /// Index of the last applied log entry.
    pub applied: u64,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Lines about what needs attention.
    pub alarms: Vec<String>,
    /// Whether collection is paused, when it was last told to go on whatever it frees, and how long references of what left its
    /// place are kept, in milliseconds.
    pub collect: (bool, Stamp, u64),
    /// How chunks move.
    pub rebalance: Rebalance,
    /// Log entries and log fsyncs since this master started.
    pub entries: u64,
    /// Commands applied since this master started.
    pub commands: u64,
}

/// The masters' group, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MastersStatus {
    /// Who leads.
    pub leader: NodeId,
    /// In which term.
    pub term: u64,
    /// How many are to vote, where there are so many.
    pub voters_wanted: u8,
    /// Index of the last entry of its log.
    pub last: u64,
    /// Whether the group is what the membership asks for.
    pub settled: bool,
    /// By node. Nodes that are to become members, and those that are to leave, are here as well.
    pub members: Vec<MasterMember>,
}

/// A member of the masters' group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterMember {
    /// Which node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// What it does in the group.
    pub role: MasterRole,
    /// Index of the last entry that it is known to have on disk.
    pub matched: u64,
    /// Whether the leader heard from it lately.
    pub active: bool,
}

/// What a master does in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MasterRole {
    /// It leads.
    Leader,
    /// It votes.
    Voter,
    /// It follows without a vote.
    Learner,
    /// It is to become a member.
    Waiting,
}
