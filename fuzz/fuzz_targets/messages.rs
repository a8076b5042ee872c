//! What frames carry: commands, questions and answers of masters, and what a command log keeps.

#![no_main]

use cairn_common::wire::command::Envelope;
use cairn_common::wire::master::{MasterReply, MasterRequest};
use cairn_common::wire::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = decode::<Envelope>(data).map(|found| encode(&found));
    let _ = decode::<MasterRequest>(data).map(|found| encode(&found));
    let _ = decode::<MasterReply>(data).map(|found| encode(&found));
});
