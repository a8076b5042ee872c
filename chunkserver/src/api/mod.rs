//! The chunkserver on the network: bodies over HTTP, small calls in frames, and who may open frame connections.

mod error;
mod frames;
mod get_chunk;
mod put_chunk;
mod verifier;

pub use frames::ChunkFrames;
pub use verifier::NodeVerifier;

use crate::service::Service;
use axum::Router;
use axum::routing::get;
use cairn_common::limits::{INCOMING_BYTES_MAX, OUTGOING_MAX};
use cairn_common::seam::{Clock, Pool};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the HTTP routes share.
#[derive(Clone)]
struct Api {
    service: Arc<Service>,
    clock: Arc<dyn Clock>,
    computing: Pool,
    /// KiB of bodies that are coming in.
    incoming: Arc<Semaphore>,
    /// Bodies that are going out.
    outgoing: Arc<Semaphore>,
}

/// `PUT` and `GET /v1/chunks/ADDRESS`. Bodies are hashed on `computing`; memory for them is bounded.
pub fn chunk_routes(service: Arc<Service>, clock: Arc<dyn Clock>, computing: Pool) -> Router {
    let incoming = Arc::new(Semaphore::new(INCOMING_BYTES_MAX >> 10));
    let outgoing = Arc::new(Semaphore::new(OUTGOING_MAX));
    let chunk = get(get_chunk::get_chunk).put(put_chunk::put_chunk);
    Router::new().route("/v1/chunks/{address}", chunk).with_state(Api { service, clock, computing, incoming, outgoing })
}

#[cfg(test)]
mod tests;
