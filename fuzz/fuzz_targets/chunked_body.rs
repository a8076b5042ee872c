//! An `aws-chunked` body of S3: its framing, signatures and trailers, cut anywhere.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    cairn_gateway::fuzzing::chunked_body(data);
});
