//! `GET /v1/chunks/ADDRESS?start=&end=`: the outboard of a chunk, then the groups that cover the range.
//!
//! The body is read from disk piece by piece as it is taken, so that a slow reader holds one piece and no more. Should the disk
//! fail in the middle, the connection breaks: the length was announced, so nobody takes the rest for the whole.

use super::Api;
use super::error::ApiError;
use crate::store::Store;
use crate::store::volume::ChunkReader;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use cairn_common::chunk::ChunkAddress;
use cairn_common::limits::OUTGOING_PIECE_BYTES;
use cairn_common::net::token_from_header;
use cairn_common::wire::chunk::{ChunkError, GetChunk, header};
use futures::stream;
use http::{HeaderMap, header as standard};
use serde::Deserialize;
use std::io;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// The range that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    start: u32,
    end: u32,
}

pub(super) async fn get_chunk(
    State(api): State<Api>,
    Path(address): Path<String>,
    range: Result<Query<Range>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let address: ChunkAddress = address.parse().map_err(|_| bad_request("not a chunk address"))?;
    let Query(Range { start, end }) = range.map_err(|_| bad_request("no readable range"))?;
    let request = GetChunk { address, token: token_from_header(&headers)?, start, end };
    let permit = Arc::clone(&api.outgoing).try_acquire_owned();
    let permit = permit.map_err(|_| ChunkError::Unavailable("too many bodies are going out".to_owned()))?;
    let (reader, groups) = api.service.open(&request).await?;
    let (chunk_length, outboard) = (reader.length(), reader.outboard().clone());
    let length = outboard.len() as u64 + u64::from(groups.bytes());
    let store = Arc::clone(api.service.store());
    let outgoing = Outgoing { store, reader, next: groups.start, end: groups.end, outboard, _permit: permit };
    // The first bytes are read before the answer begins, so that a disk that fails at once is an error with a name.
    let (first, outgoing) = outgoing.begin().await?;
    let pieces = stream::unfold(outgoing, Outgoing::piece);
    let body = Body::from_stream(stream::StreamExt::chain(stream::iter([Ok(first)]), pieces));
    let headers = [
        (standard::CONTENT_LENGTH, length.to_string()),
        (http::HeaderName::from_static(header::CHUNK_LENGTH), chunk_length.to_string()),
        (http::HeaderName::from_static(header::SLICE_START), groups.start.to_string()),
    ];
    metrics::counter!("cairn_chunks_read_total").increment(1);
    metrics::counter!("cairn_chunk_bytes_read_total").increment(u64::from(groups.bytes()));
    Ok((headers, body).into_response())
}

fn bad_request(reason: &str) -> ChunkError {
    ChunkError::BadRequest(reason.to_owned())
}

/// A body that is on its way out.
struct Outgoing {
    store: Arc<Store>,
    reader: ChunkReader,
    outboard: Bytes,
    next: u32,
    end: u32,
    _permit: OwnedSemaphorePermit,
}

impl Outgoing {
    /// The outboard, or the first piece of a chunk that has none.
    async fn begin(mut self) -> Result<(Bytes, Outgoing), ChunkError> {
        if !self.outboard.is_empty() {
            return Ok((std::mem::take(&mut self.outboard), self));
        }
        let piece = self.read().await;
        Ok((piece.map_err(|error| crate::service::read_error(error.into()))?, self))
    }

    /// The next piece; `None` at the end.
    async fn piece(mut self) -> Option<(io::Result<Bytes>, Outgoing)> {
        if self.next == self.end {
            return None;
        }
        Some((self.read().await, self))
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        let (reader, start) = (self.reader.clone(), self.next);
        let end = self.end.min(start.saturating_add(OUTGOING_PIECE_BYTES));
        let piece = self.store.run(move || reader.read(start, end)).await;
        // After an error the stream ends: whoever reads it is told once.
        self.next = if piece.is_ok() { end } else { self.end };
        piece
    }
}
