//! Losing masters.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_tests::settings::{by_effort, report, seed};
use cairn_tests::suites::masters::{self, Failovers, Loss};
use cairn_tests::suites::{backup, full_master, lost_answers};

/// Writes go on within this time, whatever was lost, on a busy machine with two cores that runs everything.
const PATIENCE_MS: u64 = 3_500;

fn lost(loss: Loss, rounds: u64) {
    let Failovers { counted, gaps_ms } = masters::leader_lost(loss, seed(), rounds).unwrap();
    let (median, worst) = (gaps_ms[gaps_ms.len() / 2], gaps_ms[gaps_ms.len() - 1]);
    println!("{loss:?}: {counted:?}; longest gap between writes: median {median} ms, worst {worst} ms");
    assert!(counted.acknowledged > 20 * counted.rounds, "too little load to mean anything");
    assert!(worst < PATIENCE_MS, "{gaps_ms:?}");
    report(counted.rounds, counted.acknowledged + counted.reads).unwrap();
}

#[test]
fn a_killed_leader_fails_no_operation() {
    lost(Loss::Kill, by_effort(1, 2, 10));
}

#[test]
fn a_minority_refuses_and_serves_again_when_there_is_a_majority() {
    masters::one_of_three_left().unwrap();
}

#[test]
fn a_stopped_leader_fails_no_operation() {
    lost(Loss::Stop, by_effort(1, 2, 10));
}

#[test]
fn a_leader_that_hands_over_fails_no_operation() {
    lost(Loss::Transfer, by_effort(1, 1, 10));
}

#[test]
fn a_leader_that_is_taken_out_and_put_in_again_fails_no_operation() {
    lost(Loss::Remove, by_effort(1, 1, 10));
}

#[test]
fn a_group_grows_to_five_and_shrinks_to_one_under_load() {
    let counted = masters::growing_and_shrinking(seed()).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 100, "too little load to mean anything");
}

#[test]
fn a_backup_brings_every_file_back_when_all_masters_are_wiped() {
    let restored = backup::all_masters_wiped(seed()).unwrap();
    println!("{restored:?}");
    assert!(restored.files > 20, "too few files to mean anything");
}

#[test]
fn masters_that_applied_the_same_do_not_complain() {
    masters::states_agree(None).unwrap();
}

#[test]
fn a_leader_whose_disk_is_full_steps_aside_and_comes_back() {
    let counted = full_master::the_leaders_disk_runs_full(seed()).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 50, "too little load to mean anything");
}

#[test]
fn a_master_with_an_old_copy_of_its_folder_is_refused() {
    masters::an_old_copy_is_refused().unwrap();
}

#[test]
fn an_answer_that_is_lost_after_the_commit_is_given_again() {
    let counted = lost_answers::of_the_leader(None, seed(), by_effort(2, 4, 30)).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 20 * counted.rounds, "too little load to mean anything");
    report(counted.rounds, counted.acknowledged).unwrap();
}
