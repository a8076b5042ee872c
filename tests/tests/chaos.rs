//! Faults of masters that overlap, and a check of every single thing that clients saw. `scripts/chaos` runs it at length.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_tests::settings::{by_effort, report, seed};
use cairn_tests::suites::chaos;

#[test]
fn what_clients_see_of_masters_under_chaos_is_linearizable() {
    let asked = std::env::var("CAIRN_CHAOS_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds = asked.unwrap_or(by_effort(6, 20, 120));
    let told = chaos::run(None, seed(), rounds).unwrap();
    let chaos::Report { rounds, known, unknown, faults, again_ms, terms } = told;
    let at = |percent: usize| again_ms.get((again_ms.len() * percent / 100).min(again_ms.len() - 1));
    println!("{rounds} rounds, {known} operations, {unknown} of unknown outcome, 0 violations, {terms} terms");
    println!("faults: {faults:?}");
    println!("time to write again, ms: p50 {:?}, p99 {:?}", at(50).unwrap(), at(99).unwrap());
    assert!(known > 50 * rounds, "too little load to mean anything");
    report(rounds, known).unwrap();
}
