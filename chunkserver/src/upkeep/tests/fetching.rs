//! Owners fetch what they lack: repair, moves, and what they cost.

use super::masters::ring_of;
use super::world::{World, chunks};
use crate::testing::chunk;
use cairn_common::ids::{Epoch, NodeId};
use cairn_common::wire::heal::{Orders, Rebalance};
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn an_owner_fetches_what_it_lacks_and_says_when_it_has_all() {
    let world = World::new(3, &[1, 2, 3]).await;
    let chunks = chunks(20);
    for chunk in &chunks {
        world.put(1, chunk, 5).await;
        world.refer(chunk, 3);
    }
    assert_eq!(world.upkeep(2).complete, Epoch(0));
    for node in [1, 2, 3] {
        world.round(node).await;
        assert_eq!((world.upkeep(node).complete, world.upkeep(node).missing.chunks), (Epoch(1), 0));
        for chunk in &chunks {
            assert!(world.has(node, chunk).await);
        }
    }
    assert_eq!((world.upkeep(1).fetched.chunks, world.upkeep(2).fetched.chunks), (0, 20));
}

#[tokio::test]
async fn a_copy_that_is_bad_is_passed_over_and_its_node_looks_for_itself() {
    let world = World::new(3, &[1, 2, 3]).await;
    let chunk = chunk(1, 300_000);
    world.put(1, &chunk, 5).await;
    world.put(2, &chunk, 5).await;
    world.refer(&chunk, 3);
    world.rot(1, &chunk);
    world.round(3).await;
    assert!(world.has(3, &chunk).await);
    assert!(!world.has(1, &chunk).await, "node 1 was told");
    world.round(1).await;
    assert!(world.has(1, &chunk).await, "and has fetched a good copy");
}

#[tokio::test]
async fn a_chunk_that_no_node_has_is_named_and_one_whose_holder_is_down_is_waited_for() {
    let world = World::new(3, &[1, 2]).await;
    let (gone, away) = (chunk(1, 1_000), chunk(2, 1_000));
    world.put(3, &away, 5).await;
    world.refer(&gone, 2);
    world.refer(&away, 2);
    world.near.0.lock().unwrap().remove(&NodeId(3));
    world.round(1).await;
    let upkeep = world.upkeep(1);
    assert_eq!((upkeep.complete, upkeep.missing.chunks, upkeep.lost.len()), (Epoch(0), 2, 0), "node 3 may have both");
    let back = Arc::clone(world.nodes[&NodeId(3)].0.service());
    world.near.0.lock().unwrap().insert(NodeId(3), back);
    world.round(1).await;
    let upkeep = world.upkeep(1);
    assert_eq!((upkeep.complete, upkeep.lost), (Epoch(1), vec![gone.address()]));
    assert!(world.has(1, &away).await);
}

#[tokio::test]
async fn what_only_moves_waits_while_moves_are_paused_and_what_was_lost_is_made_again() {
    let world = World::new(3, &[1, 2]).await;
    let chunks = chunks(20);
    for chunk in &chunks {
        for node in [1, 2] {
            world.put(node, chunk, 5).await;
        }
        world.refer(chunk, 2);
    }
    world.change_ring(&[1, 3]);
    {
        // The earlier ring is kept until everything has moved.
        let mut state = world.state();
        state.membership.rings.insert(0, ring_of(1, &[1, 2]));
    }
    world.learn(NodeId(3));
    let rebalance = |paused| Rebalance { paused, bytes_per_second: 0 };
    let view = &world.context(NodeId(3)).view;
    view.set_orders(Orders { rebalance: rebalance(true), ..Orders::default() });
    world.round(3).await;
    assert_eq!((world.upkeep(3).missing.chunks, world.upkeep(3).complete), (20, Epoch(0)), "nothing moves");
    view.set_orders(Orders { rebalance: rebalance(true), down: vec![NodeId(2)], ..Orders::default() });
    world.round(3).await;
    assert_eq!((world.upkeep(3).missing.chunks, world.upkeep(3).complete), (0, Epoch(2)), "an owner is gone");
}

/// What one comparison costs on the network; the figure is in docs/decisions/0010-upkeep.md.
#[tokio::test]
async fn comparing_many_chunks_with_few_differences_moves_little() {
    const CHUNKS: u32 = 100_000;
    let world = World::new(2, &[1, 2]).await;
    let mut missing = Vec::new();
    for number in 0..CHUNKS {
        let chunk = chunk(number, 16);
        world.refer(&chunk, 2);
        let lacks = number % (CHUNKS / 10) == 0;
        world.put(if lacks { 1 } else { 2 }, &chunk, 5).await;
        missing.extend(lacks.then_some(chunk));
    }
    world.masters.bytes.store(0, Ordering::SeqCst);
    world.round(2).await;
    let bytes = world.masters.bytes.load(Ordering::SeqCst);
    assert_eq!((world.upkeep(2).fetched.chunks, missing.len()), (10, 10));
    println!("{CHUNKS} chunks, 10 differences: {bytes} bytes to and from the masters");
    assert!(bytes < 1 << 20, "{bytes}");
}
