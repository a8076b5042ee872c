//! Entries of manifests, and the root over them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    cairn_common::fuzzing::manifests(data);
});
