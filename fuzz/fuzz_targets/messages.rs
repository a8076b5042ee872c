//! What frames carry: commands, questions and answers, and what a command log keeps.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    cairn_common::fuzzing::messages(data);
});
