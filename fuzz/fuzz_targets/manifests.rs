//! Entries of manifests, and the root over them.

#![no_main]

use cairn_common::manifest::{Entry, RootHasher};
use cairn_common::wire::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entries) = decode::<Vec<Entry>>(data)
        && entries.iter().all(|entry| entry.check().is_ok())
    {
        let root = RootHasher::of(&entries);
        let again: Vec<Entry> = decode(&encode(&entries)).expect("what was encoded is decoded");
        assert!(again == entries && RootHasher::of(&again) == root);
    }
});
