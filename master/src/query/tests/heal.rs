//! What chunkservers ask so that every chunk lies where it belongs.

use super::members;
use crate::query::{compare, misplaced, place_chunks, references};
use crate::state::tests::{World, address, entry, of_chunks};
use crate::store::MemoryStore;
use cairn_common::ids::{Epoch, NodeId, Slot, Stamp};
use cairn_common::limits::READ_GRACE_MS;
use cairn_common::ring::SLOTS;
use cairn_common::wire::chunk::SlotDigest;
use cairn_common::wire::command::{Command, Done};
use cairn_common::wire::heal::{Compare, Compared};
use std::collections::BTreeMap;

/// Five nodes, three copies, forty chunks.
fn world() -> World {
    let mut world = World::with(Box::new(MemoryStore::new()), &["a", "b", "c", "d", "e"], 3);
    world.bucket("one");
    for n in 0..40 {
        world.put_chunks(&n.to_string(), &[n]);
    }
    world
}

fn compare_all(world: &World, node: NodeId, digest: [u8; 16]) -> Compared {
    let members = members(world);
    let epoch = members.membership.epoch();
    let asked = Compare { epoch, first: Slot(0), count: SLOTS as u16, digest };
    compare(world.view(), &members, node, &asked).unwrap()
}

fn wanted(world: &World, node: NodeId) -> BTreeMap<Slot, SlotDigest> {
    // Nothing hashes to this.
    match compare_all(world, node, [9; 16]) {
        Compared::Differs(digests) => digests.into_iter().map(|digest| (digest.slot, digest)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_should_hold_what_it_owns_and_nothing_else() {
    let world = world();
    let members = members(&world);
    for node in members.membership.nodes.keys() {
        let mut expected: BTreeMap<Slot, SlotDigest> = BTreeMap::new();
        let mut all = [0; 16];
        for chunk in (0..40).map(address) {
            let slot = chunk.slot();
            if members.owners(slot, 3).contains(node) {
                let none = SlotDigest { slot, chunks: 0, digest: [0; 16] };
                expected.entry(slot).or_insert(none).add(&chunk);
            }
        }
        for digest in expected.values() {
            all.iter_mut().zip(digest.digest).for_each(|(sum, byte)| *sum ^= byte);
        }
        assert_eq!(wanted(&world, *node), expected);
        assert_eq!(compare_all(&world, *node, all), Compared::Same);
    }
    assert_eq!(compare_all(&world, NodeId(99), [0; 16]), Compared::Same, "a node off the ring owns nothing");
    let asked = Compare { epoch: Epoch(4), first: Slot(0), count: 1, digest: [0; 16] };
    let other = compare(world.view(), &members, NodeId(1), &asked).unwrap();
    assert_eq!(other, Compared::OtherEpoch(members.membership.epoch()));
}

#[test]
fn a_bucket_that_asks_for_more_copies_gets_them_and_the_number_does_not_fall_while_the_chunk_is_needed() {
    let mut world = world();
    let (tenant, two) = (cairn_common::ids::TenantId::FIRST, crate::state::tests::name("two"));
    let copies = |world: &World| place_chunks(world.view(), &members(world), &[address(1)]).unwrap().1[0].clone();
    assert_eq!(copies(&world).unwrap().copies, 3);
    world.bare(Command::CreateBucket { name: two.clone(), tenant, replicas: Some(5), lock: false }).unwrap();
    let new = world.chunks(None, &[entry(1)]);
    let mut commit = of_chunks("five", new);
    commit.path.bucket = two;
    world.put(commit).unwrap();
    let five = copies(&world).unwrap();
    assert_eq!((five.copies, five.owners.len()), (5, 5));
    world.bare(Command::SetReplicas { replicas: 4, rise: false }).unwrap();
    assert_eq!(copies(&world).unwrap().copies, 5);
    let other = place_chunks(world.view(), &members(&world), &[address(2)]).unwrap().1[0].clone();
    assert_eq!(other.unwrap().copies, 4, "follows the cluster");
}

#[test]
fn placement_is_of_one_moment_and_its_horizon_is_the_oldest_open_window() {
    let mut world = world();
    let window = world.window;
    let place = |world: &World| place_chunks(world.view(), &members(world), &[address(1), address(99)]).unwrap();
    let (moment, placed) = place(&world);
    assert_eq!((moment.stamp, moment.horizon), (world.now, Stamp(window.0)));
    assert!(placed[0].is_some() && placed[1].is_none());
    assert_eq!(placed[0].as_ref().unwrap().nodes.len(), 5, "every node may have it");
    world.run(Command::CloseWindow { window }).unwrap();
    let (moment, _) = place(&world);
    assert_eq!(moment.horizon, world.now, "a window that opens later has a later stamp");
    world.delete("1").unwrap();
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert!(place(&world).1[0].is_none());
}

#[test]
fn references_come_in_pages_by_slot() {
    let world = world();
    let mut found = Vec::new();
    for slot in (0..SLOTS as u16).map(Slot) {
        let mut after = None;
        loop {
            let page = references(world.view(), &members(&world), slot, after, 1).unwrap();
            after = page.references.last().map(|chunk| chunk.address);
            found.extend(page.references.iter().map(|chunk| (chunk.address, chunk.length, chunk.copies)));
            if !page.more {
                break;
            }
        }
    }
    let mut expected: Vec<_> = (0..40).map(|n| (address(n), 1000 + n as u32, 3)).collect();
    expected.sort_by_key(|(address, ..)| (address.slot(), *address));
    assert_eq!(found, expected);
}

#[test]
fn a_misplaced_chunk_is_forgotten_at_the_ring_that_has_it_home_and_at_no_other() {
    let mut world = world();
    let owners = members(&world).owners(address(50).slot(), 3);
    let off = *world.servers.iter().find(|server| !owners.contains(&server.node)).unwrap();
    let on = *world.servers.iter().find(|server| server.node == owners[0]).unwrap();
    let receipts = world.receipts_of(&[on, off], &[entry(50)]);
    let new = cairn_common::wire::command::NewChunks { receipts, ..world.chunks(None, &[entry(50)]) };
    world.put(of_chunks("off", new)).unwrap();
    // The others have receipts of all five nodes.
    let found = |world: &World| misplaced(world.view(), &members(world), None, 100).unwrap();
    let (epoch, chunks) = found(&world);
    let all = chunks.len();
    assert!(chunks.contains(&address(50)) && chunks.contains(&address(1)));
    let behind = misplaced(world.view(), &members(&world), Some(chunks[1]), 3).unwrap().1;
    assert_eq!(behind, chunks[2..5]);
    let forget = |epoch| Command::ForgetMisplaced { epoch, chunks: vec![address(50), address(1)] };
    assert_eq!(world.bare(forget(Epoch(epoch.0 + 1))), Ok(Done::Nothing));
    assert_eq!(found(&world).1.len(), all);
    assert_eq!(world.bare(forget(epoch)), Ok(Done::Nothing));
    assert_eq!(world.bare(forget(epoch)), Ok(Done::Nothing), "once is enough");
    let left = found(&world).1;
    assert!(left.len() == all - 2 && !left.contains(&address(50)) && !left.contains(&address(1)));
}
