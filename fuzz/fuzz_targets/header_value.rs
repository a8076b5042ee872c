//! A header value, taken for every header that is parsed: ranges, conditions, copy sources, digests, signatures, tus.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    cairn_gateway::fuzzing::header_value(data);
});
