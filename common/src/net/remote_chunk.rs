//! A chunkserver, reached over the network: bodies by HTTP, everything else in frames.

use super::FrameClient;
use super::handshake::Credential;
use crate::auth::Receipt;
use crate::chunk::{ChunkAddress, VerifiedChunk};
use crate::ids::{BootCount, ClusterId, NodeId, Slot};
use crate::limits::{CHUNK_MAX_BYTES, CHUNK_STALL_MS, GROUP_BYTES};
use crate::seam::{BodyStream, CallError, Clock, Random, Transport};
use crate::wire::chunk::{
    ChunkError, ChunkReply, ChunkRequest, ChunkService, ChunkSlice, ChunkStat, ConfirmChunk, GetChunk, Held, PutChunk,
    SlotDigest, StatChunk, header,
};
use crate::wire::frame::Service;
use crate::wire::{decode, encode};
use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Longest body of an error answer.
const ERROR_MAX_BYTES: usize = 16 << 10;

/// A chunkserver elsewhere.
pub struct RemoteChunkserver {
    frames: FrameClient,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl RemoteChunkserver {
    /// The chunkserver at this base URL. Nothing is connected yet. Clients are anonymous here: tokens say what they may do.
    pub fn new(
        address: String,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        credential: Credential,
        cluster: Option<ClusterId>,
    ) -> RemoteChunkserver {
        let (transport_, clock_) = (Arc::clone(&transport), Arc::clone(&clock));
        let frames = FrameClient::new(address, transport_, clock_, random, credential, cluster);
        RemoteChunkserver { frames, transport, clock }
    }

    /// Its base URL.
    pub fn address(&self) -> &str {
        self.frames.address()
    }

    async fn frame(&self, request: ChunkRequest) -> Result<ChunkReply, ChunkError> {
        let answer = self.frames.call(Service::Chunk, encode(&request).into()).await.map_err(call_error)?;
        decode::<Result<ChunkReply, ChunkError>>(&answer).map_err(|error| ChunkError::Unknown(error.to_string()))?
    }

    /// Waits for `step` of an exchange, at most the stall limit.
    async fn unless_stalled<T>(&self, step: impl Future<Output = T>) -> Result<T, ChunkError> {
        tokio::select! {
            biased;
            result = step => Ok(result),
            () = self.clock.sleep(Duration::from_millis(CHUNK_STALL_MS)) => {
                Err(ChunkError::Unknown(format!("{} made no progress", self.frames.address())))
            }
        }
    }

    async fn http(&self, request: Request<Bytes>) -> Result<http::Response<BodyStream>, ChunkError> {
        let answer =
            self.unless_stalled(self.transport.http(self.frames.address(), request)).await?.map_err(call_error)?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let status = answer.status();
        let body = self.collect(answer.into_body(), ERROR_MAX_BYTES).await?;
        Err(decode(&body).unwrap_or_else(|_| ChunkError::Unavailable(format!("status {status}"))))
    }

    async fn collect(&self, mut body: BodyStream, at_most: usize) -> Result<Bytes, ChunkError> {
        let mut collected = BytesMut::new();
        while let Some(piece) = self.unless_stalled(body.next()).await? {
            let piece = piece.map_err(call_error)?;
            if collected.len() + piece.len() > at_most {
                return Err(ChunkError::Unknown("the answer is longer than it may be".to_owned()));
            }
            if collected.is_empty() {
                collected.reserve(at_most);
            }
            collected.extend_from_slice(&piece);
        }
        Ok(collected.freeze())
    }
}

fn call_error(error: CallError) -> ChunkError {
    if error.nothing_was_sent() {
        ChunkError::Unavailable(error.to_string())
    } else {
        ChunkError::Unknown(error.to_string())
    }
}

fn wrong_reply<T>() -> Result<T, ChunkError> {
    Err(ChunkError::Unknown("the answer is to another question".to_owned()))
}

/// A token as a header value.
pub fn token_to_header<T: Serialize>(token: &T) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(encode(token))
}

/// Reverse of [`token_to_header`].
pub fn token_from_header<T: DeserializeOwned>(headers: &HeaderMap) -> Result<T, ChunkError> {
    let value = headers.get(header::TOKEN).and_then(|value| BASE64_URL_SAFE_NO_PAD.decode(value.as_bytes()).ok());
    value.and_then(|bytes| decode(&bytes).ok()).ok_or_else(|| ChunkError::BadRequest("no readable token".to_owned()))
}

fn number(headers: &HeaderMap, name: &str) -> Result<u32, ChunkError> {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
    value.ok_or_else(|| ChunkError::Unknown(format!("the answer has no {name}")))
}

#[async_trait]
impl ChunkService for RemoteChunkserver {
    async fn put(&self, request: PutChunk, chunk: VerifiedChunk) -> Result<Receipt, ChunkError> {
        let head = Request::builder()
            .method(Method::PUT)
            .uri(format!("/v1/chunks/{}", request.address))
            .header(header::TOKEN, token_to_header(&request.token))
            .header(header::EPOCH, request.epoch.0);
        let request = head.body(chunk.data().clone()).expect("all parts are printable");
        let answer = self.http(request).await?;
        let body = self.collect(answer.into_body(), ERROR_MAX_BYTES).await?;
        decode(&body).map_err(|error| ChunkError::Unknown(error.to_string()))
    }

    async fn get(&self, request: GetChunk) -> Result<ChunkSlice, ChunkError> {
        let head = Request::builder()
            .method(Method::GET)
            .uri(format!("/v1/chunks/{}?start={}&end={}", request.address, request.start, request.end))
            .header(header::TOKEN, token_to_header(&request.token));
        let answer = self.http(head.body(Bytes::new()).expect("all parts are printable")).await?;
        let chunk_length = number(answer.headers(), header::CHUNK_LENGTH)?;
        let start = number(answer.headers(), header::SLICE_START)?;
        if chunk_length > CHUNK_MAX_BYTES || start > request.start {
            return Err(ChunkError::Unknown("the answer is not about that range".to_owned()));
        }
        let outboard_length = crate::chunk::Outboard::encoded_len(chunk_length);
        let wanted =
            request.end.saturating_sub(start).saturating_add(GROUP_BYTES).min(chunk_length - start.min(chunk_length));
        let mut body = self.collect(answer.into_body(), outboard_length + wanted as usize).await?;
        if body.len() < outboard_length {
            return Err(ChunkError::Unknown("the answer ended early".to_owned()));
        }
        let outboard = body.split_to(outboard_length);
        Ok(ChunkSlice { chunk_length, outboard, start, data: body })
    }

    async fn touch(&self, request: PutChunk) -> Result<Receipt, ChunkError> {
        match self.frame(ChunkRequest::Touch(request)).await? {
            ChunkReply::Receipt(receipt) => Ok(receipt),
            _ => wrong_reply(),
        }
    }

    async fn stat(&self, request: StatChunk) -> Result<ChunkStat, ChunkError> {
        match self.frame(ChunkRequest::Stat(request)).await? {
            ChunkReply::Stat(stat) => Ok(stat),
            _ => wrong_reply(),
        }
    }

    async fn report_bad(&self, request: StatChunk) -> Result<(), ChunkError> {
        match self.frame(ChunkRequest::ReportBad(request)).await? {
            ChunkReply::Noted => Ok(()),
            _ => wrong_reply(),
        }
    }

    async fn confirm(&self, request: ConfirmChunk) -> Result<u32, ChunkError> {
        match self.frame(ChunkRequest::Confirm(request)).await? {
            ChunkReply::Confirmed(length) => Ok(length),
            _ => wrong_reply(),
        }
    }

    async fn digests(&self, first: Slot, count: u32) -> Result<Vec<SlotDigest>, ChunkError> {
        match self.frame(ChunkRequest::Digests(first, count)).await? {
            ChunkReply::Digests(digests) => Ok(digests),
            _ => wrong_reply(),
        }
    }

    async fn inventory(&self, slot: Slot, after: Option<ChunkAddress>) -> Result<Vec<Held>, ChunkError> {
        match self.frame(ChunkRequest::Inventory(slot, after)).await? {
            ChunkReply::Inventory(held) => Ok(held),
            _ => wrong_reply(),
        }
    }

    async fn whoami(&self) -> Result<(NodeId, BootCount), ChunkError> {
        match self.frame(ChunkRequest::Whoami).await? {
            ChunkReply::Node(node, boot) => Ok((node, boot)),
            _ => wrong_reply(),
        }
    }
}
