//! Packs as a damaged or hostile disk gives them.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../chunkserver/src/store/pack/mod.rs"]
mod pack;

fuzz_target!(|data: &[u8]| {
    pack::fuzzing::pack_records(data);
});
