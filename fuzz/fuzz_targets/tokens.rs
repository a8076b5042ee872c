//! Tokens, receipts and tickets: as bytes, and as the texts that people copy.

#![no_main]

use cairn_common::auth::{JoinToken, OpenTicket, ReadToken, Receipt, WriteToken};
use cairn_common::chunk::ChunkAddress;
use cairn_common::wire::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = decode::<WriteToken>(data).map(|found| encode(&found));
    let _ = decode::<ReadToken>(data).map(|found| encode(&found));
    let _ = decode::<Receipt>(data).map(|found| encode(&found));
    let _ = decode::<OpenTicket>(data).map(|found| encode(&found));
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(token) = text.parse::<JoinToken>() {
            assert!(token.expose().parse::<JoinToken>().is_ok());
        }
        let _ = text.parse::<ChunkAddress>();
    }
});
