//! Frames between nodes, as they come off a connection.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    cairn_common::fuzzing::frames(data);
});
