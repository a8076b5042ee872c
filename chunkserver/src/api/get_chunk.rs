//! `GET /v1/chunks/ADDRESS?start=&end=`: the outboard of a chunk, then the groups that cover the range.
//!
//! The body is read from disk piece by piece, one piece ahead of the socket. A reader that takes none for a while is given up, so
//! that it holds neither memory nor a place for long. Should the disk fail in the middle, the connection breaks: the length was
//! announced, so nobody takes the rest for the whole.

use super::Api;
use super::error::ApiError;
use crate::service::Service;
use crate::store::volume::ChunkReader;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use cairn_common::chunk::{ChunkAddress, GroupRange};
use cairn_common::limits::{CHUNK_STALL_MS, OUTGOING_PIECE_BYTES};
use cairn_common::net::token_from_header;
use cairn_common::seam::Clock;
use cairn_common::wire::chunk::{ChunkError, GetChunk, header};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, header as standard};
use serde::Deserialize;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

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
    let body_length = outboard.len() as u64 + u64::from(groups.bytes());
    let mut outgoing = Outgoing { service: Arc::clone(&api.service), address, reader, left: groups };
    // The first piece is read before the answer begins, so that a disk that fails at once is an error with a name.
    let first = outgoing.next().await.map_err(|error| api.service.failed(address, error.into()))?;
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(outgoing.send(sender, Arc::clone(&api.clock), permit));
    let begin = stream::iter([Ok(outboard), Ok(first)]);
    let rest = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    let headers = [
        (standard::CONTENT_LENGTH, body_length.to_string()),
        (http::HeaderName::from_static(header::CHUNK_LENGTH), chunk_length.to_string()),
        (http::HeaderName::from_static(header::SLICE_START), groups.start.to_string()),
    ];
    metrics::counter!("cairn_chunks_read_total").increment(1);
    metrics::counter!("cairn_chunk_bytes_read_total").increment(u64::from(groups.bytes()));
    Ok((headers, Body::from_stream(begin.chain(rest))).into_response())
}

fn bad_request(reason: &str) -> ChunkError {
    ChunkError::BadRequest(reason.to_owned())
}

/// A body that is on its way out.
struct Outgoing {
    service: Arc<Service>,
    address: ChunkAddress,
    reader: ChunkReader,
    left: GroupRange,
}

impl Outgoing {
    /// Reads the next piece. At the end it is empty.
    async fn next(&mut self) -> io::Result<Bytes> {
        let (reader, start) = (self.reader.clone(), self.left.start);
        let end = self.left.end.min(start.saturating_add(OUTGOING_PIECE_BYTES));
        let piece = self.service.store().run(move || reader.read(start, end)).await?;
        self.left.start = end;
        Ok(piece)
    }

    /// Reads on as pieces are taken. Ends when all is sent, the reader is gone, the reader takes nothing for too long, or the disk
    /// fails; in the last two cases the body ends early and the connection with it.
    async fn send(
        mut self,
        pieces: mpsc::Sender<io::Result<Bytes>>,
        clock: Arc<dyn Clock>,
        permit: OwnedSemaphorePermit,
    ) {
        while self.left.start < self.left.end {
            let piece = self.next().await;
            let failed = piece.as_ref().err().map(io::Error::kind);
            tokio::select! {
                biased;
                sent = pieces.send(piece) => if sent.is_err() { break },
                () = clock.sleep(Duration::from_millis(CHUNK_STALL_MS)) => {
                    tracing::debug!(address = %self.address, "a reader takes nothing and is given up");
                    break;
                }
            }
            if let Some(kind) = failed {
                self.service.failed(self.address, io::Error::from(kind).into());
                break;
            }
        }
        drop(permit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestMaster, TestNode, chunk, get_request, put_request};
    use cairn_common::wire::chunk::ChunkService as _;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_given_up_and_its_place_is_free() {
        let node = TestNode::new(&["/disk-1"]);
        let server = node.start(&TestMaster::new()).await.unwrap();
        let chunk = chunk(1, 1 << 20);
        server.service().put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
        let (reader, left) = server.service().open(&get_request(&chunk)).await.unwrap();
        let outgoing = Outgoing { service: Arc::clone(server.service()), address: chunk.address(), reader, left };
        let places = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&places).try_acquire_owned().unwrap();
        let (sender, mut pieces) = mpsc::channel(1);
        let sending = tokio::spawn(outgoing.send(sender, Arc::new(node.clock.clone()), permit));
        while !sending.is_finished() {
            node.clock.advance(CHUNK_STALL_MS);
            tokio::task::yield_now().await;
        }
        assert_eq!(places.available_permits(), 1);
        let taken = std::iter::from_fn(|| pieces.try_recv().ok()).count();
        assert!(taken <= 1, "one piece waits, the others were never read");
    }
}
