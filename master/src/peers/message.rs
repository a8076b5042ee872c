//! What masters say to each other in frames of the Raft service.

use crate::digests::Checkpoint;
use crate::store::{Position, Table, WriteBatch};
use bytes::Bytes;
use cairn_common::wire::{self, DecodeError};
use protobuf::Message as _;
use raft::eraftpb::Message;
use serde::{Deserialize, Serialize};

/// Messages of raft-rs, each encoded by it. Only masters of the cluster may send them: its decoder is not made for strangers.
#[derive(Serialize, Deserialize)]
struct Messages {
    messages: Vec<Bytes>,
}

/// Encodes messages for one frame.
pub(super) fn encode_messages(messages: &[Message]) -> Bytes {
    let bytes = messages.iter().map(|message| message.write_to_bytes().expect("messages have all their fields"));
    wire::encode(&Messages { messages: bytes.map(Bytes::from).collect() }).into()
}

/// Decodes what [`encode_messages`] made.
pub(crate) fn decode_messages(body: &[u8]) -> Result<Vec<Message>, DecodeError> {
    let Messages { messages } = wire::decode(body)?;
    messages.iter().map(|bytes| Message::parse_from_bytes(bytes).map_err(|_| DecodeError::Malformed)).collect()
}

/// Which snapshot, and of what: travels in the data of a snapshot message, while the state itself is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotTag {
    /// Number that the giver knows it by.
    pub(crate) id: u64,
    /// Where in the log it was taken.
    pub(crate) position: Position,
}

/// What a master asks another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PeerRequest {
    /// Page `page` of a snapshot, from 0 on, in order; the last one may be asked for again.
    SnapshotPage { id: u64, page: u64 },
    /// The digests of its state at some places of the log.
    Checkpoints,
    /// What the leader knows the asker to have.
    Matched,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PeerReply {
    /// Rows.
    Page { rows: Vec<(Table, Bytes, Bytes)> },
    /// BLAKE3 over all pages, in place of a page after the last.
    End { digest: [u8; 32] },
    /// The snapshot is not kept (any more).
    Gone,
    /// Oldest first, and what the member's own clock says, in milliseconds since 1970.
    Checkpoints(Vec<Checkpoint>, u64),
    /// Index of the last entry that the asker is known to have had on disk.
    Matched(u64),
}

/// Rows of a batch that sets rows only.
pub(super) fn rows_of(batch: &WriteBatch) -> Vec<(Table, Bytes, Bytes)> {
    let set =
        batch.changes().filter_map(|(table, key, value)| Some((table, Bytes::copy_from_slice(key), value?.clone())));
    set.collect()
}

/// Reverse of [`rows_of`].
pub(super) fn batch_of(rows: Vec<(Table, Bytes, Bytes)>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (table, key, value) in rows {
        batch.put(table, key, value);
    }
    batch
}

/// Rows as they stand in a page of a backup.
pub(crate) fn rows_of_page(rows: &[(Table, Bytes, Bytes)]) -> Vec<u8> {
    wire::encode(&rows)
}

/// Reverse of [`rows_of_page`].
pub(crate) fn batch_of_page(page: &[u8]) -> Result<WriteBatch, DecodeError> {
    Ok(batch_of(wire::decode(page)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_a_frame() {
        let message = Message { from: 1, to: 2, term: 3, index: 4, ..Message::default() };
        let body = encode_messages(&[message.clone(), Message::default()]);
        assert_eq!(decode_messages(&body).unwrap(), [message, Message::default()]);
        assert!(decode_messages(&body[1..]).is_err());
        let garbage = wire::encode(&Messages { messages: vec![Bytes::from_static(b"\xff\xff\xff")] });
        assert!(decode_messages(&garbage).is_err());
    }
}
