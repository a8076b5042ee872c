//! Between masters: Raft's messages, and whole states for members that have missed too much.
//!
//! - [`Links`] takes messages to other members, one kept connection each, and never blocks the thread that drives Raft.
//! - [`SnapshotServer`] gives the state away page by page; [`Staging`] takes one into a database of its own, checks it, and keeps it
//!   until the log has it installed.

mod fetch;
mod links;
mod message;
mod serve;

pub(crate) use fetch::Staging;
pub(crate) use links::Links;
pub(crate) use message::{PeerReply, PeerRequest, SnapshotTag, batch_of_page, decode_messages, rows_of_page};
pub(crate) use serve::SnapshotServer;
