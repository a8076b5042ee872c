//! Calls to a chunkserver.
//!
//! Small ones travel in frames, chunk bodies over HTTP (`PUT` and `GET /v1/chunks/ADDRESS`); inside one process both are plain
//! calls of this trait, and a chunk passes by reference.

use crate::auth::{ReadToken, Receipt, TokenError, WriteToken};
use crate::chunk::{ChunkAddress, Outboard, VerifiedChunk};
use crate::error::ErrorKind;
use crate::ids::{BootCount, Epoch, NodeId, Slot, Stamp, VolumeId};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A chunkserver, in this process or elsewhere.
#[async_trait]
pub trait ChunkService: Send + Sync {
    /// Stores a chunk. `Ok`: it is on disk on one volume, fsynced, and the receipt says so (P1). A chunk that is there
    /// already is read back and hashed first, and replaced if it is bad. Dropping the future leaves it open whether the
    /// chunk was stored; that is harmless, an unreferenced chunk is collected.
    async fn put(&self, request: PutChunk, chunk: VerifiedChunk) -> Result<Receipt, ChunkError>;

    /// Reads part of a chunk: the groups that cover `range`, with the outboard that proves them. The *reader* checks them;
    /// this side does not.
    async fn get(&self, request: GetChunk) -> Result<ChunkSlice, ChunkError>;

    /// Gives a new receipt for a chunk that is there, after reading it back from disk and hashing it.
    async fn touch(&self, request: PutChunk) -> Result<Receipt, ChunkError>;

    /// Whether the chunk is there, without reading its body.
    async fn stat(&self, request: StatChunk) -> Result<ChunkStat, ChunkError>;

    /// Tells that a reader got bad bytes for the chunk. Only makes the node look itself.
    async fn report_bad(&self, request: StatChunk) -> Result<(), ChunkError>;

    /// Reads the node's copy from disk and hashes it, and answers its length if it is good, lies on a volume in service, and the
    /// node is at ring `epoch`: who holds a chunk that this node owns asks this before it drops its own copy.
    async fn confirm(&self, request: ConfirmChunk) -> Result<u32, ChunkError>;

    /// Digests of what the node holds, by slot. For nodes of the cluster only: the caller has checked that.
    async fn digests(&self, first: Slot, count: u32) -> Result<Vec<SlotDigest>, ChunkError>;

    /// What the node holds in a slot, by address, after `after`, at most 1,000. For nodes of the cluster only.
    async fn inventory(&self, slot: Slot, after: Option<ChunkAddress>) -> Result<Vec<Held>, ChunkError>;

    /// Which run of which node this is: a master asks before it admits a second process under the same name.
    async fn whoami(&self) -> Result<(NodeId, BootCount), ChunkError>;
}

/// Head of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutChunk {
    /// Which chunk.
    pub address: ChunkAddress,
    /// The right to write it here.
    pub token: WriteToken,
    /// The ring the writer used.
    pub epoch: Epoch,
}

/// Head of a read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetChunk {
    /// Which chunk.
    pub address: ChunkAddress,
    /// The right to read it here.
    pub token: ReadToken,
    /// First byte wanted and one past the last; the answer covers whole groups around it.
    pub start: u32,
    /// One past the last byte wanted.
    pub end: u32,
}

/// Question about a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatChunk {
    /// Which chunk.
    pub address: ChunkAddress,
    /// The right to read it here: without it, nothing is said about what exists (P5).
    pub token: ReadToken,
}

/// Question to an owner of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmChunk {
    /// Which chunk.
    pub address: ChunkAddress,
    /// The right to have it confirmed here; no right to read it.
    pub token: ReadToken,
    /// The ring that the answer must be given at.
    pub epoch: Epoch,
    /// A moment at which something referred to the chunk: the copy counts as touched then, so that no removal that was decided on
    /// before takes it away after the answer. Zero: nothing will be dropped on the answer.
    pub stamp: Stamp,
}

/// Whole groups of a chunk, and what proves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkSlice {
    /// Length of the whole chunk, in bytes.
    pub chunk_length: u32,
    /// Chaining values of all groups (empty for a chunk of one group); not checked yet.
    pub outboard: Bytes,
    /// Where in the chunk `data` starts; a group boundary.
    pub start: u32,
    /// The bytes of the groups; not checked yet.
    pub data: Bytes,
}

impl ChunkSlice {
    /// Checks everything against the chunk's address: the outboard, and every byte (P3).
    pub fn verify(&self, address: &ChunkAddress) -> Result<(), ChunkError> {
        let damaged = |_| ChunkError::Damaged;
        let outboard = Outboard::parse(address.id, self.chunk_length, self.outboard.clone()).map_err(damaged)?;
        outboard.check(self.start, &self.data).map_err(damaged)
    }
}

/// What is known about a chunk without reading its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkStat {
    /// Its length, in bytes.
    pub length: u32,
    /// On which volume.
    pub volume: VolumeId,
    /// When its bytes were last read from disk and hashed, in milliseconds since 1970; 0: not since it was written.
    pub verified_ms: u64,
}

/// Digest of the chunks of one slot on one node: equal digests, equal sets (but for a chance of 2⁻¹²⁸).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotDigest {
    /// Which slot.
    pub slot: Slot,
    /// How many chunks.
    pub chunks: u32,
    /// XOR over the chunks of the first 16 bytes of BLAKE3(address).
    pub digest: [u8; 16],
}

impl SlotDigest {
    /// Counts a chunk in.
    pub fn add(&mut self, address: &ChunkAddress) {
        self.chunks += 1;
        let hash = blake3::hash(&address.to_bytes());
        self.digest.iter_mut().zip(hash.as_bytes()).for_each(|(sum, byte)| *sum ^= byte);
    }
}

/// A chunk in an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub address: ChunkAddress,
    /// Its length, in bytes.
    pub length: u32,
    /// On which volume.
    pub volume: VolumeId,
    /// Start of the last window that wrote or found it there.
    pub touched: Stamp,
}

/// Why a chunkserver did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ChunkError {
    /// The token is not good for this.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The chunk is not here.
    #[error("the chunk is not on this node")]
    Absent,
    /// The copy here does not match its hash; it has been put aside.
    #[error("the copy on this node is damaged")]
    Damaged,
    /// The bytes sent do not hash to the address.
    #[error("the bytes sent are not that chunk")]
    HashMismatch,
    /// The range does not lie in the chunk.
    #[error("the range does not lie in the chunk")]
    BadRange,
    /// No volume has room.
    #[error("no volume of this node has room")]
    Full,
    /// The byte limit of the window is used up on this node.
    #[error("the write limit of the window is used up")]
    LimitReached,
    /// A volume failed; the chunk is not durable here.
    #[error("a volume of this node failed: {0}")]
    Volume(String),
    /// Not now.
    #[error("the node cannot serve now: {0}")]
    Unavailable(String),
    /// The caller may not ask this.
    #[error("access denied")]
    Denied,
    /// The request could not be understood.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// No answer came; the chunk may or may not have been stored.
    #[error("no answer came: {0}")]
    Unknown(String),
    /// The node is at another ring than the question.
    #[error("the node is at ring {0}")]
    OtherEpoch(Epoch),
}

impl ChunkError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ChunkError::Token(_) | ChunkError::Denied => ErrorKind::Denied,
            ChunkError::Absent => ErrorKind::NotFound,
            ChunkError::Damaged => ErrorKind::Corrupt,
            ChunkError::HashMismatch | ChunkError::BadRange | ChunkError::BadRequest(_) => ErrorKind::Invalid,
            ChunkError::Full | ChunkError::LimitReached => ErrorKind::NoSpace,
            ChunkError::Volume(_) | ChunkError::Unavailable(_) | ChunkError::OtherEpoch(_) => ErrorKind::Unavailable,
            ChunkError::Unknown(_) => ErrorKind::Unknown,
        }
    }
}

/// The calls that travel in frames. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkRequest {
    /// [`ChunkService::touch`].
    Touch(PutChunk),
    /// [`ChunkService::stat`].
    Stat(StatChunk),
    /// [`ChunkService::report_bad`].
    ReportBad(StatChunk),
    /// [`ChunkService::digests`].
    Digests(Slot, u32),
    /// [`ChunkService::inventory`].
    Inventory(Slot, Option<ChunkAddress>),
    /// [`ChunkService::whoami`].
    Whoami,
    /// [`ChunkService::confirm`].
    Confirm(ConfirmChunk),
}

/// Their answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkReply {
    /// To `Touch`.
    Receipt(Receipt),
    /// To `Stat`.
    Stat(ChunkStat),
    /// To `ReportBad`.
    Noted,
    /// To `Digests`.
    Digests(Vec<SlotDigest>),
    /// To `Inventory`.
    Inventory(Vec<Held>),
    /// To `Whoami`.
    Node(NodeId, BootCount),
    /// To `Confirm`: the chunk's length, in bytes.
    Confirmed(u32),
}

/// Names of the HTTP headers of chunk bodies.
pub mod header {
    /// The token: base64url of its encoding.
    pub const TOKEN: &str = "cairn-token";
    /// The ring the writer used.
    pub const EPOCH: &str = "cairn-epoch";
    /// On an answer with a slice: length of the whole chunk, in bytes.
    pub const CHUNK_LENGTH: &str = "cairn-chunk-length";
    /// On an answer with a slice: where in the chunk its data starts, in bytes.
    pub const SLICE_START: &str = "cairn-slice-start";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Domain;
    use crate::limits::GROUP_BYTES;

    #[test]
    fn a_slice_is_checked_against_the_address_alone() {
        let data: Bytes = (0..3 * GROUP_BYTES).map(|n| (n >> 12) as u8).collect::<Vec<u8>>().into();
        let chunk = VerifiedChunk::hash(Domain(1), data.clone(), |_| ());
        let slice = ChunkSlice {
            chunk_length: chunk.length(),
            outboard: chunk.outboard().values().clone(),
            start: GROUP_BYTES,
            data: data.slice(GROUP_BYTES as usize..2 * GROUP_BYTES as usize),
        };
        assert_eq!(slice.verify(&chunk.address()), Ok(()));
        let shifted = ChunkSlice { start: 0, ..slice.clone() };
        assert_eq!(shifted.verify(&chunk.address()), Err(ChunkError::Damaged));
        let other = ChunkAddress::of(Domain(1), b"other");
        assert_eq!(slice.verify(&other), Err(ChunkError::Damaged));
        let short = ChunkSlice { data: slice.data.slice(1..), ..slice };
        assert_eq!(short.verify(&chunk.address()), Err(ChunkError::Damaged));
    }
}
