//! Messages to other members.
//!
//! Raft's messages may be lost: a queue that is full loses them, and the loss is told to raft-rs, which sends again at its own pace.

use super::message::encode_messages;
use cairn_common::ids::NodeId;
use cairn_common::net::FrameClient;
use cairn_common::wire::frame::Service;
use protobuf::Message as _;
use raft::eraftpb::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Messages that wait for one member.
const QUEUED_MAX: usize = 256;
/// Bytes of messages in one frame, but for a single larger message.
const FRAME_BYTES: usize = 2 << 20;

/// Makes a connection to a member, if it is known where it is.
pub(crate) type Connect = Box<dyn Fn(NodeId) -> Option<Arc<FrameClient>> + Send + Sync>;
/// Told that a member could not be reached.
pub(crate) type Unreachable = Box<dyn Fn(NodeId) + Send + Sync>;

/// The ways to all other members.
pub(crate) struct Links {
    runtime: Handle,
    inner: Arc<Inner>,
    queues: Mutex<BTreeMap<NodeId, mpsc::Sender<Message>>>,
}

struct Inner {
    connect: Connect,
    unreachable: Unreachable,
}

impl Links {
    /// Links that connect when there is something to send.
    pub(crate) fn new(runtime: Handle, connect: Connect, unreachable: Unreachable) -> Links {
        Links { runtime, inner: Arc::new(Inner { connect, unreachable }), queues: Mutex::default() }
    }

    /// Queues messages. Never blocks; called by the thread that drives Raft.
    pub(crate) fn send(&self, messages: Vec<Message>) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for message in messages {
            let Ok(node) = u32::try_from(message.to).map(NodeId) else { continue };
            let queue = queues.entry(node).or_insert_with(|| {
                let (sender, receiver) = mpsc::channel(QUEUED_MAX);
                self.runtime.spawn(carry(node, receiver, Arc::clone(&self.inner)));
                sender
            });
            if queue.try_send(message).is_err() {
                (self.inner.unreachable)(node);
            }
        }
    }
}

/// Carries messages to one member, in order, for as long as the links exist.
async fn carry(node: NodeId, mut queue: mpsc::Receiver<Message>, inner: Arc<Inner>) {
    while let Some(first) = queue.recv().await {
        let mut bytes = first.compute_size() as usize;
        let mut messages = vec![first];
        while bytes < FRAME_BYTES
            && let Ok(next) = queue.try_recv()
        {
            bytes += next.compute_size() as usize;
            messages.push(next);
        }
        let sent = match (inner.connect)(node) {
            Some(link) => link.send(Service::Raft, encode_messages(&messages)).await.is_ok(),
            None => false,
        };
        if !sent {
            (inner.unreachable)(node);
            // What waited meanwhile is as stale as what was lost.
            while queue.try_recv().is_ok() {}
        }
    }
}
