//! What chunkservers and masters tell each other so that every chunk lies where it belongs, and nothing else lies anywhere.
//!
//! A chunkserver *compares* what it holds with what the masters refer to, group of slots by group, and is told only about
//! groups that differ; *lists* the references of slots that do; and asks for the *placement* of the chunks in question, one by
//! one, before it fetches, drops or removes any. Nothing is decided on a list: only on a placement, which is of one moment.

use crate::auth::ReadToken;
use crate::chunk::ChunkAddress;
use crate::ids::{Epoch, NodeId, Slot, Stamp};
use crate::wire::chunk::SlotDigest;
use serde::{Deserialize, Serialize};

/// A group of slots, and what the node holds in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The ring that the node goes by.
    pub epoch: Epoch,
    /// The first slot.
    pub first: Slot,
    /// How many; at most [`COMPARED_SLOTS_MAX`](crate::limits::COMPARED_SLOTS_MAX).
    pub count: u16,
    /// XOR of the digests of its slots, as [`SlotDigest`] has them.
    pub digest: [u8; 16],
}

/// How what a node holds differs from what it should hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compared {
    /// The masters are at another ring: fetch the membership first.
    OtherEpoch(Epoch),
    /// Not at all (but for a chance of 2⁻¹²⁸).
    Same,
    /// What the node should hold in each slot of the group in which it should hold something.
    Differs(Vec<SlotDigest>),
}

/// A chunk that something refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referenced {
    /// Which.
    pub address: ChunkAddress,
    /// Its length, in bytes.
    pub length: u32,
    /// Copies that are wanted of it.
    pub copies: u8,
}

/// Some of the references of a slot, by address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferencePage {
    /// At most [`INVENTORY_PAGE_MAX`](crate::limits::INVENTORY_PAGE_MAX).
    pub references: Vec<Referenced>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// Where chunks belong, all as of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The ring that owners are named by.
    pub epoch: Epoch,
    /// The moment: the stamp of the newest command in the state.
    pub stamp: Stamp,
    /// Start of the oldest window that was open then, or the moment itself. What was touched at or after it may yet be
    /// referred to; what was not, and is not referred to, never will be on the word of a copy that is there now (P4).
    pub horizon: Stamp,
    /// For each chunk asked about, in order; `None`: nothing refers to it.
    pub chunks: Vec<Option<ChunkPlace>>,
}

/// Where a chunk belongs and can be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkPlace {
    /// Copies that are wanted of it.
    pub copies: u8,
    /// Whether the node that asks is an owner.
    pub owner: bool,
    /// To an owner: every other node, in the order in which to ask them, with the right to read the chunk there. To any other
    /// node: the owners, with the right to have them [confirm](crate::wire::chunk::ChunkService::confirm) their copies.
    pub nodes: Vec<(NodeId, ReadToken)>,
}

/// A number of chunks and their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub chunks: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl Amount {
    /// Counts one chunk of `length` bytes more.
    pub fn add(&mut self, length: u32) {
        self.chunks += 1;
        self.bytes += u64::from(length);
    }
}

/// How far a node is with its upkeep. Part of its heartbeat; of its last whole round where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Upkeep {
    /// The ring, if at its end the node held every chunk that it owns and that any node has; else zero.
    pub complete: Epoch,
    /// The ring, if at its end the node held nothing that belongs to others; else zero.
    pub emptied: Epoch,
    /// When the last whole round ended, in milliseconds since 1970; 0: none has.
    pub round_ms: u64,
    /// Chunks that the node owns and does not hold: to be fetched.
    pub missing: Amount,
    /// Chunks that it holds for others until they have them.
    pub foreign: Amount,
    /// Chunks that it holds and nothing refers to, old enough to be removed.
    pub unreferenced: Amount,
    /// Chunks that every node denies or has damaged.
    pub lost: Vec<ChunkAddress>,
    /// Fetched, since the node started.
    pub fetched: Amount,
    /// Dropped because their owners have them, since the node started.
    pub dropped: Amount,
    /// Removed because nothing refers to them, since the node started.
    pub collected: Amount,
    /// Bytes that compaction gave back, since the node started.
    pub compacted_bytes: u64,
    /// A pass of collection stopped since then, because it would free too much at once; zero: none did.
    pub fused: Stamp,
    /// How the scrub is.
    pub scrub: Scrub,
}

/// How far a node is with reading everything back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scrub {
    /// When the last whole pass ended, in milliseconds since 1970; 0: none has since the node started.
    pub ended_ms: u64,
    /// The slot that the current pass is at.
    pub slot: Slot,
    /// Read back and found good, since the node started.
    pub good: Amount,
    /// Found bad, since the node started.
    pub bad: u64,
}

/// What the leader wants chunkservers to know, with every answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Orders {
    /// Chunkservers that were not heard from for a while: chunks that these own are the most endangered.
    pub down: Vec<NodeId>,
    /// Nothing is removed for want of a reference while this is so.
    pub collect_paused: bool,
    /// When an administrator last said that collection shall go on, whatever it frees. Good for what stopped before.
    pub collect_approved: Stamp,
    /// How chunks move.
    pub rebalance: Rebalance,
}

/// How chunks move to their new owners when the ring has changed, as an administrator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rebalance {
    /// Nothing moves while this is so. What was lost is made up for all the same.
    pub paused: bool,
    /// Bytes a second that each node fetches, to move or to repair; zero: as the node is configured.
    pub bytes_per_second: u64,
}
