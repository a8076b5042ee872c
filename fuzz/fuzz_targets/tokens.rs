//! Tokens, receipts and tickets: as bytes, and as the texts that people copy.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    cairn_common::fuzzing::tokens(data);
});
