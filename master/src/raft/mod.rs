//! The replicated log: raft-rs decides, one thread drives it, another applies what is committed.
//!
//! A command is answered after its entry was fsynced on a majority of masters and applied here. An entry is a batch of all
//! commands that waited while the last one was being synced, so that the cost of a sync is shared by those who wait for it.
//!
//! - [`log`](EngineLog): where entries and votes are kept (raft-engine), fsynced before any message that relies on them.
//! - `core`: raft-rs and all that waits for it, without threads or time. [`node`](Group) is the thread that drives it.
//! - [`applier`](StateMachine): applies committed entries in order and answers those who wait.
//!
//! A group of one is the same code: it commits as soon as its own log is synced.

mod applier;
mod batch;
mod core;
mod log;
mod logger;
mod node;
mod reads;
#[cfg(test)]
mod sim;

pub use batch::{Batch, BatchError, encode_command};
pub use log::{EngineLog, LogError, LogStore, MemoryLog, SnapshotSource, TakenSnapshot};
pub use node::{Group, GroupConfig, GroupError, GroupMembers, GroupStatus, MemberProgress, Outbox};

pub use ::raft::eraftpb::ConfState;
use cairn_common::ids::Stamp;
use cairn_common::wire::command::{Envelope, Outcome};

/// What committed entries are applied to. Used by one thread at a time.
pub trait StateMachine: Send + 'static {
    /// Index of the last entry that was applied, and the last stamp in the state.
    fn applied(&self) -> (u64, Stamp);

    /// Applies the commands of the entry at `index`, the one after the last, which was written in `term`; command `i` has
    /// stamp `base + i`. On return readers see them. An empty list only moves the index.
    ///
    /// # Errors
    /// Storage that failed. The process must end: applying again would begin from a state nobody knows.
    fn apply(&mut self, index: u64, term: u64, base: Stamp, commands: &[Envelope]) -> Result<Vec<Outcome>, ApplyError>;

    /// Members of the group at the applied position.
    fn conf(&self) -> ConfState;

    /// Moves to `index` and remembers the members that the change there left.
    fn apply_conf(&mut self, index: u64, term: u64, conf: &ConfState) -> Result<(), ApplyError>;

    /// Replaces the state by the fetched one of this position. Durable on return.
    fn install(&mut self, index: u64, term: u64) -> Result<(), ApplyError>;

    /// Makes everything applied so far durable without the log, and returns the index up to which it is.
    fn flush(&mut self) -> Result<u64, ApplyError>;
}

/// The state could not be changed.
#[derive(Debug, thiserror::Error)]
#[error("the metadata store failed: {0}")]
pub struct ApplyError(pub String);
