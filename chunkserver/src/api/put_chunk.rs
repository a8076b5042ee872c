//! `PUT /v1/chunks/ADDRESS`: a chunk body comes in.
//!
//! In this order: who asks and for what, room for the body, the body, its hash, the store. A body that is refused is still
//! read to its end (and thrown away), so that the answer arrives instead of a broken connection.

use super::Api;
use super::error::ApiError;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Path, State};
use bytes::BytesMut;
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::Epoch;
use cairn_common::limits::{CHUNK_MAX_BYTES, CHUNK_STALL_MS, INCOMING_BODY_MS, INCOMING_WAIT_MS};
use cairn_common::net::token_from_header;
use cairn_common::wire::chunk::{ChunkError, ChunkService as _, PutChunk, header};
use cairn_common::wire::encode;
use http::HeaderMap;
use http_body::SizeHint;
use http_body_util::BodyExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

const BODY_MAX: u64 = CHUNK_MAX_BYTES as u64;

pub(super) async fn put_chunk(
    State(api): State<Api>,
    Path(address): Path<String>,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Vec<u8>, ApiError> {
    let stored = match admit(&api, &address, &headers, body.size_hint()).await {
        Ok((request, room)) => store(&api, request, room, &mut body).await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(receipt) => Ok(receipt),
        Err(error) => {
            discard(&api, body).await;
            Err(error.into())
        }
    }
}

/// Checks the request's head and waits for room for its body.
async fn admit(
    api: &Api,
    address: &str,
    headers: &HeaderMap,
    size: SizeHint,
) -> Result<(PutChunk, OwnedSemaphorePermit), ChunkError> {
    let address: ChunkAddress = address.parse().map_err(|error| bad_request(&error))?;
    let epoch = headers.get(header::EPOCH).and_then(|value| value.to_str().ok()?.parse().ok());
    let epoch = Epoch(epoch.ok_or_else(|| bad_request(&"no readable epoch"))?);
    let request = PutChunk { address, token: token_from_header(headers)?, epoch };
    api.service.authorise_put(&request)?;
    if size.lower() > BODY_MAX {
        return Err(bad_request(&"the body is longer than a chunk may be"));
    }
    let kibibytes = size.upper().unwrap_or(BODY_MAX).min(BODY_MAX).div_ceil(1024).max(1) as u32;
    let room = Arc::clone(&api.incoming).acquire_many_owned(kibibytes);
    tokio::select! {
        biased;
        room = room => Ok((request, room.expect("the semaphore is never closed"))),
        () = api.clock.sleep(Duration::from_millis(INCOMING_WAIT_MS)) => {
            Err(ChunkError::Unavailable("too many bodies are coming in".to_owned()))
        }
    }
}

/// Takes the body in, hashes it, and stores it.
async fn store(
    api: &Api,
    request: PutChunk,
    room: OwnedSemaphorePermit,
    body: &mut Body,
) -> Result<Vec<u8>, ChunkError> {
    let data = collect(api, body).await?;
    let address = request.address;
    let chunk = api.computing.run(move || VerifiedChunk::check(address, data)).await;
    let chunk = chunk.map_err(|_| ChunkError::HashMismatch)?;
    let receipt = api.service.put(request, chunk).await?;
    drop(room);
    Ok(encode(&receipt))
}

async fn collect(api: &Api, body: &mut Body) -> Result<Bytes, ChunkError> {
    let mut collected = BytesMut::with_capacity(body.size_hint().lower().min(BODY_MAX) as usize);
    let deadline = api.clock.monotonic() + Duration::from_millis(INCOMING_BODY_MS);
    while let Some(piece) = next(api, body, deadline).await? {
        if collected.len() as u64 + piece.len() as u64 > BODY_MAX {
            return Err(bad_request(&"the body is longer than a chunk may be"));
        }
        if collected.is_empty() && collected.capacity() < piece.len() {
            collected.reserve(CHUNK_MAX_BYTES as usize);
        }
        collected.extend_from_slice(&piece);
    }
    Ok(collected.freeze())
}

/// Reads what is left of a refused body: as much as a body may have, for a short while.
async fn discard(api: &Api, mut body: Body) {
    let mut discarded = 0;
    let deadline = api.clock.monotonic() + Duration::from_millis(CHUNK_STALL_MS);
    while let Ok(Some(piece)) = next(api, &mut body, deadline).await {
        discarded += piece.len() as u64;
        if discarded > BODY_MAX {
            return;
        }
    }
}

/// The next piece of a body; `None` at its end. A body that makes no progress, or is not done by `deadline`, is given up: it
/// holds memory.
async fn next(api: &Api, body: &mut Body, deadline: Duration) -> Result<Option<Bytes>, ChunkError> {
    loop {
        let left = deadline.saturating_sub(api.clock.monotonic()).min(Duration::from_millis(CHUNK_STALL_MS));
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = api.clock.sleep(left) => return Err(bad_request(&"the body came too slowly")),
        };
        if left.is_zero() {
            return Err(bad_request(&"the body came too slowly"));
        }
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(bad_request(&error)),
            // Trailers say nothing to us.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn bad_request(reason: &dyn std::fmt::Display) -> ChunkError {
    ChunkError::BadRequest(reason.to_string())
}
