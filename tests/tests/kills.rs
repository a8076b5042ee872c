//! `kill -9` under load.

use cairn_tests::cluster::{Plan, Shape};
use cairn_tests::settings::{by_effort, report, seed};
use cairn_tests::suites::kills;

#[test]
fn a_killed_chunkserver_fails_no_read_and_no_repeated_write() {
    let counted = kills::one_chunkserver(seed(), by_effort(1, 1, 5)).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 100, "too little load to mean anything");
}

#[test]
fn killing_every_process_loses_nothing_acknowledged() {
    let plan = Plan { replicas: Some(3), ..Plan::new(Shape::Nodes(3)) };
    let counted = kills::everything(plan, seed(), by_effort(5, 20, 100)).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 20 * counted.rounds, "too little load to mean anything");
    report(counted.rounds, counted.acknowledged + counted.reads).unwrap();
}
