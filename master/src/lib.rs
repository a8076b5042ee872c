//! The masters: which files there are, what they consist of, and who is in the cluster.
//!
//! Read in this order: [`store`] keeps rows; [`state`] decides what a command does to them, and nothing else does; [`query`]
//! answers questions from them. These three are pure: no clock, no network, no order of hashing. [`raft`] brings commands into
//! one order on all masters and has them applied.

pub mod query;
pub mod raft;
pub mod state;
pub mod store;

mod api;
mod digests;
mod lifecycle;
mod machine;
mod members;
mod old_copy;
mod peers;
mod restore;
mod server;
mod stores;
mod tasks;
mod time;
mod watch;

pub use api::MasterFrames;
pub use restore::{RestoreError, Restored, RestoredMaster, restore};
pub use server::{Bootstrap, MasterConfig, MasterSeams, MasterServer, StartError};
