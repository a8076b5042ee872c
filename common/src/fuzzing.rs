//! What comes off a connection or a disk first, open to the fuzzers in `fuzz/`. Not part of the program (feature `fuzzing`).
//!
//! Each function takes any bytes, must not panic, and asserts what must hold of what it accepted. The tests below hold every
//! input of the committed corpus to the same, so that neither rots.

use crate::auth::{JoinToken, OpenTicket, ReadToken, Receipt, WriteToken};
use crate::chunk::ChunkAddress;
use crate::limits::FRAME_MAX_BYTES;
use crate::manifest::{Entry, RootHasher};
use crate::wire::chunk::{ChunkReply, ChunkRequest};
use crate::wire::command::Envelope;
use crate::wire::frame::{Frame, HEADER_BYTES};
use crate::wire::master::{MasterReply, MasterRequest};
use crate::wire::{decode, encode};
use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Frames between nodes, as they come off a connection.
pub fn frames(data: &[u8]) {
    whole_frames(BytesMut::from(data));
    // The same with length and checksum put right, which no fuzzer finds by itself.
    if data.len() >= HEADER_BYTES && data.len() - HEADER_BYTES <= FRAME_MAX_BYTES {
        let mut forged = BytesMut::from(data);
        let length = (data.len() - HEADER_BYTES) as u32;
        forged[..4].copy_from_slice(&length.to_be_bytes());
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&forged[..16]);
        checksum.update(&forged[HEADER_BYTES..]);
        forged[16..HEADER_BYTES].copy_from_slice(&checksum.finalize().to_be_bytes());
        whole_frames(forged);
    }
}

fn whole_frames(mut input: BytesMut) {
    while let Ok(Some(frame)) = Frame::decode(&mut input) {
        let mut again = BytesMut::new();
        frame.encode(&mut again);
        assert_eq!(Frame::decode(&mut again), Ok(Some(frame)));
        assert!(again.is_empty(), "a frame encodes to itself and nothing behind");
    }
}

/// What frames carry: commands, questions and answers, and what a command log keeps.
pub fn messages(data: &[u8]) {
    survives::<Envelope>(data);
    survives::<MasterRequest>(data);
    survives::<MasterReply>(data);
    survives::<ChunkRequest>(data);
    survives::<ChunkReply>(data);
}

/// Entries of manifests, and the root over them.
pub fn manifests(data: &[u8]) {
    let Ok(entries) = decode::<Vec<Entry>>(data) else { return };
    if entries.iter().all(|entry| entry.check().is_ok()) {
        let root = RootHasher::of(&entries);
        let again: Vec<Entry> = decode(&encode(&entries)).expect("what was encoded is decoded");
        assert!(again == entries && RootHasher::of(&again) == root);
    }
}

/// Tokens, receipts and tickets: as bytes, and as the texts that people copy.
pub fn tokens(data: &[u8]) {
    survives::<WriteToken>(data);
    survives::<ReadToken>(data);
    survives::<Receipt>(data);
    survives::<OpenTicket>(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(token) = text.parse::<JoinToken>() {
        assert!(token.expose().parse::<JoinToken>().is_ok());
    }
    if let Ok(address) = text.parse::<ChunkAddress>() {
        assert_eq!(address.to_string().parse::<ChunkAddress>().ok(), Some(address));
    }
}

/// What was accepted encodes to something that is accepted, and encodes to the same again.
fn survives<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(found) = decode::<T>(data) else { return };
    let bytes = encode(&found);
    let again: T = decode(&bytes).unwrap_or_else(|error| panic!("what was encoded is decoded: {error}"));
    assert_eq!(encode(&again), bytes);
}

/// Gives each input of the committed corpus of `target` to `run`. For tests.
pub fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let inputs = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut ran = 0;
    for input in inputs {
        let path = input.expect("the folder can be listed").path();
        run(&std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        ran += 1;
    }
    assert!(ran > 0, "the corpus of {target} is empty");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_of_the_fuzzers_passes() {
        for (target, run) in [("frames", frames as fn(&[u8])), ("messages", messages), ("manifests", manifests)] {
            replay(target, run);
        }
        replay("tokens", tokens);
    }
}
