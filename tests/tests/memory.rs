//! Bounds of memory.

use cairn_tests::settings::by_effort;
use cairn_tests::suites::memory;

#[test]
fn every_server_process_stays_small_while_gigabytes_go_in_and_out() {
    let peaks = memory::in_and_out(by_effort(1 << 30, 4 << 30, 16 << 30)).unwrap();
    for (name, peak) in &peaks {
        println!("{name}: peak {} MiB", peak >> 20);
    }
    assert!(!peaks.is_empty());
    for (name, peak) in peaks {
        assert!(peak <= memory::PEAK_MAX_BYTES, "{name} held {} MiB", peak >> 20);
    }
}
