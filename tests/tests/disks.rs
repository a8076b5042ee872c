//! Disks that fail while their node goes on, and disks that are full.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_tests::settings::{report, seed};
use cairn_tests::suites::disks::{Fault, all_full, one_disk};

fn fails(fault: Fault) {
    let counted = one_disk(fault, seed()).unwrap();
    println!("{fault:?}: {counted:?}");
    assert!(counted.acknowledged > 30, "too little load to mean anything");
    report(counted.rounds, counted.acknowledged + counted.reads).unwrap();
}

#[test]
fn a_disk_that_cannot_be_read_is_made_up_for_and_nobody_notices() {
    fails(Fault::Unreadable);
}

#[test]
fn a_disk_whose_syncs_fail_is_taken_out_and_its_node_goes_on() {
    fails(Fault::FailingSync);
}

#[test]
fn a_disk_that_turns_read_only_is_taken_out_and_its_node_goes_on() {
    fails(Fault::ReadOnly);
}

#[test]
fn a_full_disk_leaves_chunks_to_the_other_and_goes_on_when_there_is_room() {
    fails(Fault::Full);
}

#[test]
fn a_disk_without_inodes_leaves_chunks_to_the_other_and_goes_on_when_there_are_some() {
    fails(Fault::NoInodes);
}

#[test]
fn a_full_cluster_refuses_writes_serves_reads_and_recovers() {
    all_full().unwrap();
}
