use super::{Report, run};
use cairn_common::seam::with_seeded_bug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds in an ordinary run of the tests; `CAIRN_SIM_SEEDS` asks for another number.
const SEEDS: u64 = 200;
/// Seeds after which a seeded bug must have been found.
const SEEDS_FOR_BUGS: u64 = 100;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn chunks_outlast_whatever_happens_under_every_seed() {
    let first = number("CAIRN_SIM_FIRST").unwrap_or(0);
    let mut sum = [0; 6];
    for seed in first..first + number("CAIRN_SIM_SEEDS").unwrap_or(SEEDS) {
        let report = match catch_unwind(|| run(seed)) {
            Ok(Ok(report)) => report,
            Ok(Err(broken)) => panic!("CAIRN_SIM_FIRST={seed} CAIRN_SIM_SEEDS=1: {broken}"),
            Err(_) => panic!("CAIRN_SIM_FIRST={seed} CAIRN_SIM_SEEDS=1: a broken invariant; see above"),
        };
        if seed.is_multiple_of(100) {
            assert_eq!(run(seed).as_ref(), Ok(&report), "seed {seed} does not repeat itself");
        }
        let Report { commits, reads, crashes, rings, strikes, collected, .. } = report;
        let added = [commits, reads, crashes, rings, strikes, collected];
        sum.iter_mut().zip(added).for_each(|(sum, more)| *sum += more);
    }
    let [commits, reads, crashes, rings, strikes, collected] = sum;
    println!(
        "{commits} commits, {reads} reads, {crashes} crashes, {rings} rings, {strikes} disks struck, {collected} copies collected"
    );
    let happened = commits > 1000 && reads > 1000 && crashes > 0 && rings > 0 && strikes > 0 && collected > 0;
    assert!(happened || number("CAIRN_SIM_SEEDS").is_some(), "too little happened");
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
fn a_pack_that_is_not_synced_is_found() {
    must_be_found("skip-pack-sync");
}

#[test]
fn a_failed_sync_that_is_tried_again_is_found() {
    must_be_found("fsync-error-retried");
}

#[test]
fn a_commit_below_the_quorum_is_found() {
    must_be_found("commit-below-quorum");
}

#[test]
fn a_receipt_for_a_copy_that_was_not_read_back_is_found() {
    must_be_found("receipt-without-rehash");
}

#[test]
fn collection_that_forgets_open_windows_is_found() {
    must_be_found("collect-without-horizon");
}

#[test]
fn a_drop_without_asking_the_owners_is_found() {
    must_be_found("drop-without-confirmation");
}

#[test]
fn a_drop_of_what_an_open_window_counts_on_is_found() {
    must_be_found("drop-under-window");
}

#[test]
fn bytes_that_are_not_checked_are_found() {
    must_be_found("skip-verification");
}
