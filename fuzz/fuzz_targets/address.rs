//! Path and query of a request, with links and signatures in them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    cairn_gateway::fuzzing::address(data);
});
