//! What can be asked of a volume's appender, and what it answers.

use super::super::index::BadRow;
use super::super::pack::{PackNumber, Position};
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::Stamp;
use cairn_common::limits::CHUNK_MAX_BYTES;
use tokio::sync::oneshot;

/// Why a change was not made durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The volume has no room. Nothing is broken.
    #[error("the volume is full")]
    Full,
    /// The volume has failed and takes no changes any more.
    #[error("the volume has failed: {0}")]
    Failed(String),
    /// The index does not take the change. The bytes are durable, and will be found; nobody was told so.
    #[error("{0}")]
    Index(String),
}

/// Where an answer goes. Whoever asked may be gone.
pub(super) type Answer<T> = oneshot::Sender<Result<T, AppendError>>;

/// A chunk that is durable on this volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) position: Position,
    pub(crate) length: u32,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The chunk is gone, durably.
    Removed,
    /// It was not there.
    Absent,
    /// The condition did not hold any more.
    Kept,
}

/// What a removal may look at before it removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Start of the last window that wrote or found the chunk here.
    pub touched: Stamp,
    /// When it was last read from the disk and hashed, in milliseconds since 1970; 0: not since it was written.
    pub verified_ms: u64,
}

/// The last look before a removal, while nothing else can happen to the chunk.
pub type RemoveIf = Box<dyn FnOnce(Holding) -> bool + Send>;

/// A change to a volume. All changes of a volume go through one thread, so that "the chunk's lock" of the protocols is the
/// order of that thread.
pub(super) enum Job {
    /// Make the chunk durable. A copy at `trusted_from` or behind is known to be good: it was read back and hashed, or was
    /// appended after the caller looked. Then nothing is written, and the answer waits for the same sync.
    Put { chunk: VerifiedChunk, touched: Stamp, verified_ms: u64, trusted_from: Position, answer: Answer<Placed> },
    /// The same without the bytes. `None`: it is not there any more.
    Touch {
        address: ChunkAddress,
        touched: Stamp,
        verified_ms: u64,
        position: Position,
        answer: Answer<Option<Placed>>,
    },
    /// Remove the chunk if the condition still holds.
    Remove { address: ChunkAddress, remove_if: RemoveIf, answer: Answer<Removal> },
    /// Compaction: append a copy of the chunk that lies at `from`, if it still lies there.
    Move { chunk: VerifiedChunk, from: Position, verified_ms: u64, answer: Answer<()> },
    /// Compaction: keep a removal that an older pack may need.
    KeepTombstone { address: ChunkAddress, answer: Answer<()> },
    /// The chunk at `position` was read back and is good.
    Verified { address: ChunkAddress, position: Position, verified_ms: u64 },
    /// The record at `position` is bad.
    SetAside { address: ChunkAddress, position: Position, bad: BadRow, answer: Answer<()> },
    /// Compaction: delete a pack in which nothing lives. `false`: something does.
    DropPack { pack: PackNumber, answer: Answer<bool> },
    /// Make the index durable, leave the mark of a clean stop, and end.
    Stop { answer: Answer<()> },
}

impl Job {
    /// The chunk that it is about, if it is about one.
    pub(super) fn address(&self) -> Option<ChunkAddress> {
        match self {
            Job::Put { chunk, .. } | Job::Move { chunk, .. } => Some(chunk.address()),
            Job::Touch { address, .. }
            | Job::Remove { address, .. }
            | Job::KeepTombstone { address, .. }
            | Job::Verified { address, .. }
            | Job::SetAside { address, .. } => Some(*address),
            Job::DropPack { .. } | Job::Stop { .. } => None,
        }
    }

    /// Bytes that the job may add to a group.
    pub(super) fn weight(&self) -> usize {
        match self {
            Job::Put { chunk, .. } | Job::Move { chunk, .. } => chunk.length() as usize,
            _ => 0,
        }
    }

    /// Refuses the job.
    pub(super) fn refuse(self, error: AppendError) {
        // Whoever asked may be gone.
        let _ = match self {
            Job::Put { answer, .. } => answer.send(Err(error)).is_ok(),
            Job::Touch { answer, .. } => answer.send(Err(error)).is_ok(),
            Job::Remove { answer, .. } => answer.send(Err(error)).is_ok(),
            Job::Move { answer, .. }
            | Job::KeepTombstone { answer, .. }
            | Job::SetAside { answer, .. }
            | Job::Stop { answer } => answer.send(Err(error)).is_ok(),
            Job::DropPack { answer, .. } => answer.send(Err(error)).is_ok(),
            Job::Verified { .. } => true,
        };
    }
}

const _: () = assert!(CHUNK_MAX_BYTES as usize <= cairn_common::limits::APPEND_GROUP_BYTES);
