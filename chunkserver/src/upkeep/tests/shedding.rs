//! The drop rule: chunks of others go when these have them, and never on anything less.

use super::masters::{Interlude, keys};
use super::world::World;
use crate::testing::{NOW_MS, chunk};
use crate::upkeep::round::RoundError;
use cairn_common::ids::{Epoch, NodeId, Stamp};
use cairn_common::wire::chunk::{ChunkError, ChunkService as _, ConfirmChunk};
use cairn_common::wire::heal::Referenced;
use std::sync::Arc;

#[tokio::test]
pub(super) async fn a_chunk_of_others_goes_when_all_of_them_have_it() {
    let world = World::new(3, &[1, 2]).await;
    let chunk = chunk(1, 1_000);
    world.put(3, &chunk, 5).await;
    world.refer(&chunk, 2);
    world.round(3).await;
    assert!(world.has(3, &chunk).await, "neither owner has it");
    world.round(1).await;
    world.round(3).await;
    assert!(world.has(3, &chunk).await, "one owner has it");
    assert_eq!((world.upkeep(3).foreign.chunks, world.upkeep(3).emptied), (1, Epoch(0)));
    world.round(2).await;
    world.round(3).await;
    assert!(!world.has(3, &chunk).await);
    assert_eq!((world.upkeep(3).dropped.chunks, world.upkeep(3).emptied), (1, Epoch(1)));
    assert!(world.has(1, &chunk).await && world.has(2, &chunk).await);
}

#[tokio::test]
pub(super) async fn a_copy_that_an_open_window_counts_on_is_not_dropped() {
    let world = World::new(3, &[1, 2]).await;
    let chunk = chunk(1, 1_000);
    world.put(3, &chunk, 900).await;
    world.refer(&chunk, 2);
    for node in [1, 2, 3] {
        world.round(node).await;
    }
    assert!(world.has(3, &chunk).await, "the window that began at 900 is open");
    world.state().horizon = Stamp(901);
    world.round(3).await;
    assert!(!world.has(3, &chunk).await);
}

/// The owner has decided to remove a copy that nothing refers to. Before it does, an upload is committed on the word of another
/// node, its window is closed, and that node asks the owner whether it may drop its copy.
#[tokio::test]
pub(super) async fn a_copy_that_was_confirmed_is_not_removed_on_an_older_decision() {
    let world = World::new(2, &[1]).await;
    world.furnish(1).await;
    let chunk = chunk(100, 1_000);
    world.put(1, &chunk, 5).await;
    let (masters, other) = (Arc::clone(&world.masters), Arc::clone(&world.nodes[&NodeId(2)].1));
    let (again, address, length) = (chunk.clone(), chunk.address(), chunk.length());
    let meanwhile: Interlude = Box::pin(async move {
        other.store.put(again, Stamp(1_001)).await.unwrap();
        {
            let mut state = masters.state.lock().unwrap();
            state.chunks.insert((address.slot(), address), Referenced { address, length, copies: 1 });
            (state.stamp, state.horizon) = (Stamp(1_010), Stamp(1_010));
        }
        other.round().await.unwrap();
    });
    *world.masters.after_placement.lock().unwrap() = Some(meanwhile);
    world.round(1).await;
    assert!(world.has(1, &chunk).await || world.has(2, &chunk).await, "what is referred to is nowhere");
    for node in [1, 2] {
        world.round(node).await;
    }
    assert!(world.has(1, &chunk).await && !world.has(2, &chunk).await);
}

#[tokio::test]
async fn a_copy_that_rotted_at_an_owner_confirms_nothing() {
    let world = World::new(3, &[1, 2]).await;
    let chunk = chunk(1, 300_000);
    for node in [1, 2, 3] {
        world.put(node, &chunk, 5).await;
    }
    world.refer(&chunk, 2);
    world.rot(2, &chunk);
    world.round(3).await;
    assert!(world.has(3, &chunk).await);
    world.round(2).await;
    world.round(3).await;
    assert!(!world.has(3, &chunk).await && world.has(2, &chunk).await);
}

#[tokio::test]
pub(super) async fn an_answer_of_another_ring_is_none() {
    let world = World::new(2, &[1, 2]).await;
    let chunk = chunk(1, 1_000);
    world.put(1, &chunk, 5).await;
    let confirm = |epoch, token| ConfirmChunk { address: chunk.address(), token, epoch: Epoch(epoch), stamp: Stamp(1) };
    let service = world.nodes[&NodeId(1)].0.service();
    let token = keys(NodeId(1)).confirm_token(&chunk.address(), Stamp(1), NOW_MS + 1);
    assert_eq!(service.confirm(confirm(1, token.clone())).await, Ok(1_000));
    assert_eq!(service.confirm(confirm(2, token.clone())).await, Err(ChunkError::OtherEpoch(Epoch(1))));
    world.change_ring(&[2]);
    world.learn(NodeId(1));
    assert_eq!(service.confirm(confirm(1, token)).await, Err(ChunkError::OtherEpoch(Epoch(2))));
    let read = keys(NodeId(1)).read_token(&chunk.address(), NOW_MS + 1);
    assert!(matches!(service.confirm(confirm(2, read)).await, Err(ChunkError::Token(_))));
}

/// A owns a chunk, then B, then A again: neither may drop on what the other said in between.
#[tokio::test]
async fn two_changes_that_give_and_take_an_owner_lose_nothing() {
    for late in [1, 2] {
        let world = World::new(2, &[1]).await;
        let chunk = chunk(1, 1_000);
        world.put(1, &chunk, 5).await;
        world.refer(&chunk, 1);
        world.change_ring(&[2]);
        for node in [1, 2] {
            world.learn(NodeId(node));
        }
        world.round(2).await;
        assert!(world.has(1, &chunk).await && world.has(2, &chunk).await);
        world.change_ring(&[1]);
        // One of them has not heard of it.
        world.learn(NodeId(3 - late));
        for node in [late, 3 - late, late] {
            match world.context(NodeId(node)).round().await {
                Ok(_) | Err(RoundError::Epoch) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(world.has(1, &chunk).await || world.has(2, &chunk).await, "node {late} was late");
        world.learn(NodeId(late));
        for node in [1, 2] {
            world.round(node).await;
        }
        assert!(world.has(1, &chunk).await && !world.has(2, &chunk).await);
    }
}
