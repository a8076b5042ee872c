//! What a cluster does by itself: it heals, grows, shrinks, and gives space back.

use cairn_tests::settings::{report, seed};
use cairn_tests::suites::healing;

#[test]
fn a_chunkserver_that_lost_its_disk_under_load_has_everything_again() {
    let counted = healing::a_wiped_disk(None, seed()).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 50, "too little load to mean anything");
    report(counted.rounds, counted.acknowledged + counted.reads).unwrap();
}

#[test]
fn a_node_joins_and_another_is_drained_and_unplugged_under_load() {
    let counted = healing::one_comes_and_one_goes(None, seed()).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 50, "too little load to mean anything");
}

#[test]
fn a_node_that_is_gone_is_made_up_for_and_taken_in_again() {
    let counted = healing::a_dead_node(None, seed()).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 50, "too little load to mean anything");
}

#[test]
fn a_copy_that_rots_is_found_and_replaced() {
    healing::a_rotten_copy(None).unwrap();
}

#[test]
fn space_of_removed_files_comes_back_when_someone_says_so() {
    healing::removed_files(None).unwrap();
}
