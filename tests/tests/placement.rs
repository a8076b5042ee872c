//! Zones, rings that change, and quorums.

use cairn_tests::settings::seed;
use cairn_tests::suites::{epochs, quorum};

#[test]
fn three_copies_in_three_zones_while_the_ring_moves() {
    epochs::six_in_three_zones(None, 3, seed()).unwrap();
}

#[test]
fn two_copies_in_three_zones_while_the_ring_moves() {
    epochs::six_in_three_zones(None, 2, seed()).unwrap();
}

#[test]
fn files_from_before_the_ring_moved_are_found() {
    epochs::readers_look_at_earlier_rings(None).unwrap();
}

#[test]
fn fewer_chunkservers_than_the_quorum_refuse_writes_and_serve_reads() {
    quorum::one_of_three_left(None).unwrap();
}
