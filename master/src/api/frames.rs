//! Calls that come in frames.

use super::MasterServer;
use async_trait::async_trait;
use bytes::Bytes;
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
        if service != Service::Master {
            return None;
        }
        let result: Result<MasterReply, MasterError> = match decode::<MasterCall>(&body) {
            Ok(call) => self.0.call(caller, call).await,
            Err(error) => Err(MasterError::BadRequest(error.to_string())),
        };
        Some(encode(&result).into())
    }

    async fn message(&self, _caller: &Caller, _service: Service, _body: Bytes) -> Option<()> {
        // A group of one hears no messages.
        None
    }
}
