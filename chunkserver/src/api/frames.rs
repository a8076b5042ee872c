//! Small calls, in frames. Tokens say what anyone may ask about chunks; only nodes of the cluster may ask for inventories.

use crate::service::Service;
use async_trait::async_trait;
use bytes::Bytes;
use cairn_common::net::FrameHandler;
use cairn_common::wire::chunk::{ChunkError, ChunkReply, ChunkRequest, ChunkService as _};
use cairn_common::wire::frame::Service as FrameService;
use cairn_common::wire::master::Caller;
use cairn_common::wire::{decode, encode};
use std::sync::Arc;

/// Answers [`ChunkRequest`]s.
pub struct ChunkFrames {
    service: Arc<Service>,
}

impl ChunkFrames {
    /// Answers for `service`.
    pub fn new(service: Arc<Service>) -> ChunkFrames {
        ChunkFrames { service }
    }

    async fn answer(&self, caller: &Caller, request: ChunkRequest) -> Result<ChunkReply, ChunkError> {
        let for_nodes = matches!(request, ChunkRequest::Digests(..) | ChunkRequest::Inventory(..));
        if for_nodes && !matches!(caller, Caller::Node(_)) {
            return Err(ChunkError::Denied);
        }
        Ok(match request {
            ChunkRequest::Touch(request) => ChunkReply::Receipt(self.service.touch(request).await?),
            ChunkRequest::Stat(request) => ChunkReply::Stat(self.service.stat(request).await?),
            ChunkRequest::ReportBad(request) => {
                self.service.report_bad(request).await?;
                ChunkReply::Noted
            }
            ChunkRequest::Confirm(request) => ChunkReply::Confirmed(self.service.confirm(request).await?),
            ChunkRequest::Digests(first, count) => ChunkReply::Digests(self.service.digests(first, count).await?),
            ChunkRequest::Inventory(slot, after) => ChunkReply::Inventory(self.service.inventory(slot, after).await?),
            ChunkRequest::Whoami => {
                let (node, boot) = self.service.whoami().await?;
                ChunkReply::Node(node, boot)
            }
        })
    }
}

#[async_trait]
impl FrameHandler for ChunkFrames {
    async fn request(&self, caller: &Caller, service: FrameService, body: Bytes) -> Option<Bytes> {
        if service != FrameService::Chunk {
            return None;
        }
        let answer = match decode::<ChunkRequest>(&body) {
            Ok(request) => self.answer(caller, request).await,
            Err(error) => Err(ChunkError::BadRequest(error.to_string())),
        };
        Some(encode(&answer).into())
    }

    async fn message(&self, _: &Caller, _: FrameService, _: Bytes) -> Option<()> {
        // A chunkserver expects none.
        None
    }
}
