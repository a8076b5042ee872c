//! Calls that come in frames.

use crate::peers::{PeerReply, PeerRequest, decode_messages};
use crate::server::MasterServer;
use async_trait::async_trait;
use bytes::Bytes;
use cairn_common::ids::NodeId;
use cairn_common::net::FrameHandler;
use cairn_common::wire::frame::Service;
use cairn_common::wire::master::{Caller, Master as _, MasterCall, MasterError, MasterReply};
use cairn_common::wire::{decode, encode};
use std::sync::Arc;

/// Answers calls to a master, and takes messages of the Raft group from other masters.
pub struct MasterFrames(pub Arc<MasterServer>);

#[async_trait]
impl FrameHandler for MasterFrames {
    async fn request(&self, caller: &Caller, service: Service, body: Bytes) -> Option<Bytes> {
        match service {
            Service::Master => {
                let result: Result<MasterReply, MasterError> = match decode::<MasterCall>(&body) {
                    Ok(call) => self.0.call(caller, call).await,
                    Err(error) => Err(MasterError::BadRequest(error.to_string())),
                };
                Some(encode(&result).into())
            }
            Service::Raft => {
                let from = self.master(caller)?;
                let reply = match decode(&body).ok()? {
                    PeerRequest::SnapshotPage { id, page } => self.0.snapshot_page(id, page).await,
                    PeerRequest::Matched => self.0.matched(from).map_or(PeerReply::Gone, PeerReply::Matched),
                    PeerRequest::Checkpoints => PeerReply::Checkpoints(self.0.checkpoints(), self.0.own_ms()),
                };
                Some(encode(&reply).into())
            }
            Service::Chunk | Service::Connection => None,
        }
    }

    async fn message(&self, caller: &Caller, service: Service, body: Bytes) -> Option<()> {
        if service != Service::Raft {
            return None;
        }
        let from = self.master(caller)?;
        self.0.hear(from, decode_messages(&body).ok()?);
        Some(())
    }
}

impl MasterFrames {
    /// The caller, if it is another master. Raft's service is for nobody else.
    fn master(&self, caller: &Caller) -> Option<NodeId> {
        match caller {
            Caller::Node(node) if self.0.may_speak(*node) => Some(*node),
            _ => None,
        }
    }
}
