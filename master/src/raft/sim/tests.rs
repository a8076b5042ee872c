use super::run;
use cairn_common::seam::with_seeded_bug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds in an ordinary run of the tests; `CAIRN_SIM_SEEDS` asks for another number.
const SEEDS: u64 = 300;
/// Seeds after which a seeded bug must have been found. Most are found by the first.
const SEEDS_FOR_BUGS: u64 = 3000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn a_group_keeps_its_promises_under_every_seed() {
    let first = number("CAIRN_SIM_FIRST").unwrap_or(0);
    let (mut writes, mut reads, mut crashes, mut elections, mut states, mut changes) = (0, 0, 0, 0, 0, 0);
    for seed in first..first + number("CAIRN_SIM_SEEDS").unwrap_or(SEEDS) {
        let report = match catch_unwind(|| run(seed)) {
            Ok(Ok(report)) => report,
            Ok(Err(broken)) => panic!("CAIRN_SIM_FIRST={seed} CAIRN_SIM_SEEDS=1: {broken}"),
            Err(_) => panic!("CAIRN_SIM_FIRST={seed} CAIRN_SIM_SEEDS=1: a broken invariant; see above"),
        };
        if seed.is_multiple_of(100) {
            assert_eq!(run(seed).as_ref(), Ok(&report), "seed {seed} does not repeat itself");
        }
        writes += report.writes;
        reads += report.reads;
        crashes += report.crashes;
        elections += report.elections;
        states += report.states_sent;
        changes += report.changes;
    }
    println!(
        "{writes} writes, {reads} reads, {crashes} crashes, {elections} elections, {states} states, {changes} changes"
    );
    assert!(writes > 1000 && reads > 1000 && crashes > 0 && states > 0 && changes > 0, "too little happened");
}

/// Runs seeds with a bug until one breaks a rule.
fn must_be_found(bug: &'static str) {
    for seed in 0..SEEDS_FOR_BUGS {
        let broken = match catch_unwind(AssertUnwindSafe(|| with_seeded_bug(bug, || run(seed)))) {
            Ok(Ok(_)) => continue,
            Ok(Err(broken)) => broken,
            Err(_) => "an invariant of the code itself is broken".to_owned(),
        };
        return println!("{bug}: found by seed {seed}: {broken}");
    }
    panic!("{bug} was not found by {SEEDS_FOR_BUGS} seeds");
}

#[test]
fn a_log_that_is_not_synced_is_found() {
    must_be_found("skip-log-sync");
}

#[test]
fn a_vote_that_is_not_synced_is_found() {
    must_be_found("skip-vote-sync");
}

#[test]
fn an_answer_before_the_commit_is_found() {
    must_be_found("reply-before-commit");
}

#[test]
fn a_log_that_is_purged_below_what_was_flushed_is_found() {
    must_be_found("purge-below-unflushed");
}

#[test]
fn a_read_that_a_leader_answers_without_asking_is_found() {
    must_be_found("stale-leader-read");
}
