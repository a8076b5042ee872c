//! What a chunkserver does by itself, beside answering.

mod heartbeat;
mod signals;

pub(crate) use heartbeat::Heartbeats;
pub(crate) use signals::Signals;
