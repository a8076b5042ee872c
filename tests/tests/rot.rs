//! Stored bytes that go bad.

use cairn_tests::settings::report;
use cairn_tests::suites::dry_disk;
use cairn_tests::suites::rot::{Damage, all_copies, restart_after_rot, some_copies, upload_heals};

#[test]
fn a_flipped_bit_on_one_copy_is_read_around_and_counted() {
    some_copies(None, Damage::Flip, 1).unwrap();
    report(1, 1).unwrap();
}

#[test]
fn flipped_bits_on_two_copies_are_read_around_and_counted() {
    some_copies(None, Damage::Flip, 2).unwrap();
}

#[test]
fn a_cut_pack_is_read_around_and_counted() {
    some_copies(None, Damage::Cut, 1).unwrap();
}

#[test]
fn a_write_that_went_to_the_wrong_place_is_read_around_and_counted() {
    some_copies(None, Damage::Swap, 2).unwrap();
}

#[test]
fn damage_on_every_copy_is_an_error_that_names_the_file() {
    all_copies(None, Damage::Flip).unwrap();
}

#[test]
fn swapped_records_on_every_copy_are_an_error_that_names_the_file() {
    all_copies(None, Damage::Swap).unwrap();
}

/// FAULTS D13: a GET of a damaged object must not answer 200 with a short body.
#[test]
fn d13_a_body_that_cannot_be_read_to_its_end_never_looks_complete() {
    all_copies(None, Damage::Cut).unwrap();
}

#[test]
fn a_rotten_record_takes_no_others_along_when_its_node_starts() {
    restart_after_rot(None).unwrap();
}

#[test]
fn storing_the_same_bytes_again_heals_a_rotten_copy() {
    upload_heals(None).unwrap();
}

#[test]
fn what_a_failing_disk_acknowledged_can_be_read() {
    let acknowledged = dry_disk::acknowledged_means_stored(None).unwrap();
    assert!(acknowledged > 0, "the disk took nothing at all");
}
