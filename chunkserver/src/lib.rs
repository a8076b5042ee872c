//! The chunkserver: keeps chunks on any number of disks, and attests what is durable.
//!
//! Read from the bottom up: [`store`] (packs, index, volumes), [`Service`] (the calls, with their tokens), [`api`] (the calls
//! on the network), [`Chunkserver`] (a start against the masters, and what goes on from there).
//!
//! A write: `api/put_chunk.rs` → `service` → `store/node` → `store/volume/append.rs` → `store/volume/group.rs` →
//! `store/volume/active.rs`, where the one fdatasync is. A read: `api/get_chunk.rs` → `service` → `store/volume/read.rs`.

pub mod api;
mod service;
mod start;
pub mod store;
mod tasks;
#[cfg(test)]
mod testing;
mod upkeep;
mod windows;

pub use service::Service;
pub use start::{Chunkserver, Config, DiskConfig, Fault, Identity, Seams, StartError};
pub use upkeep::UpkeepSettings;
