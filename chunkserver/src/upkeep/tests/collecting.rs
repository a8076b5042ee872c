//! What nothing refers to goes, once nobody can refer to it any more, and not too much of it at once.

use super::world::{World, chunks};
use crate::testing::chunk;
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::wire::heal::{Orders, Referenced};
use std::sync::Arc;

#[tokio::test]
async fn what_nothing_refers_to_goes_once_no_open_window_is_older() {
    let world = World::new(1, &[1]).await;
    let kept = world.furnish(1).await;
    let (old, young) = (chunk(100, 1_000), chunk(101, 1_000));
    world.put(1, &old, 899).await;
    world.put(1, &young, 900).await;
    world.round(1).await;
    assert!(!world.has(1, &old).await, "nobody can refer to it any more");
    assert!(world.has(1, &young).await, "the window that wrote it is open");
    for chunk in &kept {
        assert!(world.has(1, chunk).await);
    }
    assert_eq!((world.upkeep(1).collected.chunks, world.upkeep(1).unreferenced.chunks), (1, 0));
    world.forget(&kept[0]);
    world.state().horizon = Stamp(901);
    world.round(1).await;
    assert!(!world.has(1, &young).await && !world.has(1, &kept[0]).await && world.has(1, &kept[1]).await);
}

#[tokio::test]
pub(super) async fn a_reference_or_a_touch_that_comes_between_the_phases_keeps_the_chunk() {
    let world = World::new(1, &[1]).await;
    world.furnish(1).await;
    let chunk = chunk(100, 1_000);
    world.put(1, &chunk, 5).await;
    let (address, length) = (chunk.address(), chunk.length());
    let masters = Arc::clone(&world.masters);
    world.between_the_phases(async move {
        let referenced = Referenced { address, length, copies: 1 };
        masters.state.lock().unwrap().chunks.insert((address.slot(), address), referenced);
    });
    world.round(1).await;
    assert!(world.has(1, &chunk).await, "something refers to it now");
    world.forget(&chunk);
    let (store, again) = (Arc::clone(&world.context(NodeId(1)).store), chunk.clone());
    world.between_the_phases(async move {
        store.put(again, Stamp(950)).await.unwrap();
    });
    world.round(1).await;
    assert!(world.has(1, &chunk).await, "an open window has touched it");
    world.round(1).await;
    assert!(world.has(1, &chunk).await, "and is still open");
    world.state().horizon = Stamp(951);
    world.round(1).await;
    assert!(!world.has(1, &chunk).await, "nothing keeps it any more");
}

#[tokio::test]
pub(super) async fn a_pass_that_would_free_more_than_a_tenth_stops_and_asks() {
    let world = World::new(1, &[1]).await;
    let all = chunks(20);
    for chunk in &all {
        world.put(1, chunk, 5).await;
    }
    for chunk in &all[10..] {
        world.refer(chunk, 1);
    }
    let approve = |stamp| {
        let orders = Orders { collect_approved: Stamp(stamp), ..Orders::default() };
        world.context(NodeId(1)).view.set_orders(orders);
    };
    approve(999);
    world.round(1).await;
    assert!(world.has(1, &all[0]).await, "it was approved before it was known");
    assert_eq!((world.upkeep(1).fused, world.upkeep(1).unreferenced.chunks), (Stamp(1_000), 10));
    world.state().stamp = Stamp(2_000);
    approve(1_500);
    world.round(1).await;
    assert!(!world.has(1, &all[0]).await && world.has(1, &all[10]).await);
    assert_eq!(world.upkeep(1).fused, Stamp::ZERO);
    for chunk in &all[10..15] {
        world.forget(chunk);
    }
    world.round(1).await;
    assert!(world.has(1, &all[10]).await, "each time is asked about anew");
    world.context(NodeId(1)).view.set_orders(Orders {
        collect_paused: true,
        collect_approved: Stamp(3_000),
        ..Orders::default()
    });
    world.round(1).await;
    assert!(world.has(1, &all[10]).await, "paused");
    approve(3_000);
    world.round(1).await;
    assert!(!world.has(1, &all[10]).await);
}

#[tokio::test]
async fn a_node_that_was_away_brings_nothing_back_that_was_collected() {
    let world = World::new(2, &[1, 2]).await;
    for chunk in &chunks(40) {
        for node in [1, 2] {
            world.put(node, chunk, 5).await;
        }
        world.refer(chunk, 2);
    }
    let collected = chunk(100, 1_000);
    world.put(2, &collected, 5).await;
    for node in [1, 2] {
        world.round(node).await;
    }
    assert!(!world.has(1, &collected).await && !world.has(2, &collected).await);
}
