//! Chunkservers that are away for a while, or come back as they were; and moves that wait.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_tests::settings::{by_effort, report, seed};
use cairn_tests::suites::away::{Absence, moves_wait_while_they_are_paused, one_after_the_other, put_back, twin};

fn away(absence: Absence, rounds: usize) {
    let counted = one_after_the_other(absence, seed(), by_effort(1, rounds, 8)).unwrap();
    println!("{absence:?}: {counted:?}");
    assert!(counted.acknowledged > 50, "too little load to mean anything");
    report(counted.rounds, counted.acknowledged + counted.reads).unwrap();
}

#[test]
fn chunkservers_that_are_restarted_in_turn_fail_no_operation() {
    away(Absence::Restarted, 4);
}

#[test]
fn stopped_chunkservers_fail_no_operation() {
    away(Absence::Stopped, 2);
}

#[test]
fn chunkservers_that_are_cut_off_fail_no_operation() {
    away(Absence::CutOff, 2);
}

#[test]
fn chunkservers_that_masters_do_not_hear_fail_no_operation() {
    away(Absence::Unheard, 1);
}

#[test]
fn a_disk_of_an_earlier_day_is_refused_and_brings_nothing_back() {
    put_back().unwrap();
}

#[test]
fn a_copy_of_a_running_chunkserver_is_turned_away() {
    let counted = twin(seed()).unwrap();
    println!("{counted:?}");
}

#[test]
fn moves_wait_while_they_are_paused_and_are_few() {
    moves_wait_while_they_are_paused().unwrap();
}
