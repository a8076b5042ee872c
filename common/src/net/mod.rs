//! Framed connections: many small calls in flight over one kept stream, between parties that have proved who they are.
//!
//! [`FrameClient`] keeps one connection to one address and makes a new one when it breaks; [`serve`] answers on the other
//! side; the [handshake](handshake) comes first on both. [`RemoteMaster`] and [`RemoteChunkserver`] are the masters and a
//! chunkserver seen through such connections.

mod client;
pub mod handshake;
mod pipe;
mod remote_chunk;
mod remote_master;
mod server;
#[cfg(test)]
mod testing;

pub use client::FrameClient;
pub use remote_chunk::{RemoteChunkserver, token_from_header, token_to_header};
pub use remote_master::RemoteMaster;
pub use server::{FrameHandler, serve};
