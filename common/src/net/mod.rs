//! Framed connections: many small calls in flight over one kept stream, between parties that have proved who they are.
//!
//! [`FrameClient`] keeps one connection to one address and makes a new one when it breaks; [`serve`] answers on the other
//! side; the [handshake](handshake) comes first on both.

mod client;
pub mod handshake;
mod pipe;
mod server;

pub use client::FrameClient;
pub use server::{FrameHandler, serve};
