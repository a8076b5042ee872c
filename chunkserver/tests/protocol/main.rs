//! The protocol of windows, receipts, references, collection, drops and rings, searched exhaustively within bounds, complete and
//! with each rule left out. What code keeps each rule is in docs/decisions/0010-upkeep.md.
//!
//! `CAIRN_CAMPAIGN=1` searches further.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

mod canonical;
mod model;
mod rest;
mod rules;
mod state;

use model::{NOTHING_LEAKED, NOTHING_LOST, Protocol};
use rules::{Bounds, Rule};
use stateright::{Checker, HasDiscoveries, Model, UniformChooser};

/// Small, and enough for most rules to matter.
const SMALL: Bounds =
    Bounds { clients: 1, windows: 2, chunks: 1, copies: 1, changes: 1, crashes: 0, removals: true, rots: 0 };

fn is_campaign() -> bool {
    std::env::var_os("CAIRN_CAMPAIGN").is_some_and(|value| !value.is_empty())
}

/// Searches all that can happen, with some rules left out that others make up for; the number of states.
fn is_well_without(without: &'static [Rule], bounds: Bounds) -> usize {
    let checker = Protocol { bounds, without }.checker().threads(2).spawn_bfs().join();
    if let Some((broken, path)) = checker.discoveries().into_iter().next() {
        panic!("without {without:?}: {broken}: {:#?}", path.into_actions());
    }
    println!("{bounds:?} without {without:?}: {} states, {} deep", checker.unique_state_count(), checker.max_depth());
    checker.unique_state_count()
}

/// Searches all that can happen; more than `at_least` states, or it means little.
fn all_is_well(bounds: Bounds, at_least: usize) {
    let states = is_well_without(&[], bounds);
    assert!(states > at_least, "{states} states are too few to mean anything");
}

/// With rules left out, the search finds how a promise is broken, and says so in steps.
fn is_noticed(without: &'static [Rule], broken: &'static str, bounds: Bounds) {
    let checker = Protocol { bounds, without }.checker().finish_when(HasDiscoveries::Any).spawn_bfs().join();
    let path = checker.discovery(broken).unwrap_or_else(|| panic!("without {without:?}: not noticed: {bounds:?}"));
    println!("without {without:?}: {broken}: broken in {} steps", path.into_actions().len());
}

fn changes(changes: u8) -> Bounds {
    Bounds { changes, ..SMALL }
}

#[test]
fn two_clients_and_two_changes_of_the_ring_lose_and_leak_nothing() {
    all_is_well(Bounds { clients: 2, windows: 1, changes: 2, ..SMALL }, 1_000_000);
}

#[test]
fn a_crash_loses_and_leaks_nothing() {
    all_is_well(Bounds { crashes: 1, ..changes(1) }, 100_000);
}

#[test]
fn rot_before_an_upload_loses_and_leaks_nothing() {
    all_is_well(Bounds { rots: 1, ..changes(1) }, 100_000);
}

#[test]
fn two_chunks_do_not_disturb_each_other() {
    all_is_well(Bounds { chunks: 2, windows: 1, ..changes(1) }, 500_000);
}

#[test]
fn a_quorum_of_two_is_kept() {
    all_is_well(Bounds { copies: 2, ..changes(1) }, 10_000);
}

/// Too much to be exhausted: random histories in which everything happens.
#[test]
fn everything_at_once_loses_and_leaks_nothing_on_random_paths() {
    let bounds =
        Bounds { clients: 2, windows: 2, chunks: 2, copies: 1, changes: 2, crashes: 1, removals: true, rots: 1 };
    let states = if is_campaign() { 200_000_000 } else { 1_000_000 };
    let checker = Protocol { bounds, without: &[] }.checker().target_state_count(states);
    let checker = checker.target_max_depth(200).spawn_simulation(20_261_123, UniformChooser).join();
    if let Some((broken, path)) = checker.discoveries().into_iter().next() {
        panic!("{broken}: {:#?}", path.into_actions());
    }
    println!("{} states", checker.state_count());
}

#[test]
fn every_rule_that_is_left_out_is_noticed() {
    is_noticed(&[Rule::Horizon], NOTHING_LOST, changes(0));
    is_noticed(&[Rule::OldestWindow], NOTHING_LOST, Bounds { clients: 2, ..changes(0) });
    is_noticed(&[Rule::Quorum], NOTHING_LOST, Bounds { copies: 2, ..changes(0) });
    is_noticed(&[Rule::OpenWindow], NOTHING_LOST, changes(0));
    is_noticed(&[Rule::Confirmation], NOTHING_LOST, changes(1));
    is_noticed(&[Rule::WindowAtDrop], NOTHING_LOST, changes(1));
    is_noticed(&[Rule::TouchAtConfirmation], NOTHING_LOST, changes(0));
    is_noticed(&[Rule::RehashAtReceipt], NOTHING_LOST, Bounds { rots: 1, ..changes(0) });
    is_noticed(&[Rule::RehashAtConfirmation], NOTHING_LOST, Bounds { rots: 1, ..changes(0) });
    is_noticed(&[Rule::CollectionEverywhere], NOTHING_LEAKED, changes(0));
}

/// After a crash, receipts of the run before are void and everything counts as touched. Either would do; neither will not.
#[test]
fn one_of_runs_and_floor_may_go_but_not_both() {
    let bounds = Bounds { crashes: 1, ..changes(0) };
    is_well_without(&[Rule::Runs], bounds);
    is_well_without(&[Rule::Floor], bounds);
    is_noticed(&[Rule::Runs, Rule::Floor], NOTHING_LOST, bounds);
}

/// Two changes that give and take an owner: since a confirmation touches the copy that it is about, the rings' numbers are a
/// second line. Without the touch both are needed, the owner's and one's own, even if nothing is ever removed.
#[test]
fn two_nodes_never_drop_on_each_others_word() {
    let bounds = Bounds { windows: 1, removals: false, ..changes(2) };
    is_well_without(&[Rule::OwnersEpoch, Rule::OwnEpoch], bounds);
    is_well_without(&[Rule::TouchAtConfirmation], bounds);
    is_noticed(&[Rule::TouchAtConfirmation, Rule::OwnersEpoch], NOTHING_LOST, bounds);
    is_noticed(&[Rule::TouchAtConfirmation, Rule::OwnEpoch], NOTHING_LOST, bounds);
}

#[test]
fn a_campaign_searches_further() {
    if is_campaign() {
        all_is_well(Bounds { clients: 2, windows: 1, crashes: 1, ..changes(2) }, 5_000_000);
        all_is_well(Bounds { clients: 2, windows: 1, rots: 1, ..changes(2) }, 5_000_000);
    }
}
