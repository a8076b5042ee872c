//! Power cuts of the whole cluster under load.

use cairn_tests::cluster::{Plan, Shape};
use cairn_tests::settings::{by_effort, report, seed};
use cairn_tests::suites::power;

#[test]
fn power_cuts_of_all_nodes_lose_nothing_acknowledged() {
    let plan = Plan { replicas: Some(3), ..Plan::new(Shape::Nodes(3)) };
    let counted = power::whole_cluster(plan, seed(), by_effort(5, 20, 100)).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 20 * counted.rounds, "too little load to mean anything");
    report(counted.rounds, counted.acknowledged + counted.reads).unwrap();
}
