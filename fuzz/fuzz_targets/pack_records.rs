//! Packs as a damaged or hostile disk gives them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    cairn_chunkserver::store::pack::fuzzing::pack_records(data);
});
