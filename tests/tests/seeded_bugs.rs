//! The test of the tests: a program in which one rule is left out must fail the suite that guards the rule.

use anyhow::Result;
use cairn_tests::cluster::{Plan, Shape};
use cairn_tests::settings::seed;
use cairn_tests::suites::rot::{Damage, all_copies, restart_after_rot, upload_heals};
use cairn_tests::suites::{dry_disk, epochs, kills, lost_answers, masters, power, quorum};

/// The suite must fail, with an error that is about the promise and not about the suite itself.
fn must_be_caught<T>(bug: &str, signs: &[&str], result: Result<T>) {
    let error = match result {
        Ok(_) => panic!("the bug {bug} was not caught"),
        Err(error) => format!("{error:#}"),
    };
    println!("{bug}: caught: {error}");
    assert!(signs.iter().any(|sign| error.contains(sign)), "{bug}: the suite failed for another reason: {error}");
}

const LOST: &[&str] = &["was read; acknowledged was", "reading ", "the listing", "does not start again", "had stored"];

fn three_nodes(bug: &'static str) -> Plan {
    Plan { replicas: Some(3), bug: Some(bug), ..Plan::new(Shape::Nodes(3)) }
}

#[test]
fn chunks_that_are_not_synced_are_missed_after_a_power_cut() {
    let bug = "skip-pack-sync";
    must_be_caught(bug, LOST, power::whole_cluster(three_nodes(bug), seed(), 10));
}

#[test]
fn log_entries_that_are_not_synced_are_missed_after_a_power_cut() {
    let bug = "skip-log-sync";
    must_be_caught(bug, LOST, power::whole_cluster(three_nodes(bug), seed(), 10));
}

#[test]
fn a_log_that_is_purged_too_early_is_missed_after_a_kill() {
    let bug = "purge-below-unflushed";
    must_be_caught(bug, LOST, kills::everything(three_nodes(bug), seed(), 10));
}

#[test]
fn records_behind_a_bad_one_are_missed_after_a_start() {
    let bug = "cut-at-first-bad-record";
    must_be_caught(bug, &["behind the damaged record"], restart_after_rot(Some(bug)));
}

#[test]
fn a_tail_that_was_not_verified_is_noticed_after_a_start() {
    let bug = "index-tail-unverified";
    must_be_caught(bug, &["was not noticed at start"], restart_after_rot(Some(bug)));
}

#[test]
fn a_receipt_without_a_second_look_is_noticed_when_bytes_are_stored_again() {
    let bug = "receipt-without-rehash";
    must_be_caught(bug, &["after the same bytes were stored again"], upload_heals(Some(bug)));
}

#[test]
fn an_fsync_that_is_tried_again_is_noticed_on_a_disk_that_runs_dry() {
    let bug = "fsync-error-retried";
    must_be_caught(bug, &["was acknowledged", "P6"], dry_disk::acknowledged_means_stored(Some(bug)));
}

#[test]
fn a_commit_below_the_quorum_is_noticed() {
    let bug = "commit-below-quorum";
    must_be_caught(bug, &["P1"], quorum::one_of_three_left(Some(bug)));
}

#[test]
fn readers_that_forget_earlier_rings_are_noticed() {
    let bug = "read-only-newest-epoch";
    must_be_caught(bug, &["cairn get"], epochs::readers_look_at_earlier_rings(Some(bug)));
}

#[test]
fn bytes_that_are_not_verified_are_noticed() {
    let bug = "skip-verification";
    must_be_caught(bug, &["answered 200 with a whole body"], all_copies(Some(bug), Damage::Flip));
}

#[test]
fn a_master_whose_state_is_another_is_noticed() {
    let bug = "diverge-as-third";
    must_be_caught(bug, &["is not that of the others", "a master has ended"], masters::states_agree(Some(bug)));
}

#[test]
fn a_retry_that_is_executed_again_is_noticed_when_answers_are_lost() {
    let bug = "retry-executed-twice";
    must_be_caught(bug, &["was refused"], lost_answers::of_the_leader(Some(bug), seed(), 10));
}

#[test]
fn votes_and_entries_that_are_not_synced_are_missed_when_single_masters_lose_power() {
    let bug = "skip-log-sync";
    must_be_caught(bug, LOST, power::some_nodes(Some(bug), seed(), 12));
}
