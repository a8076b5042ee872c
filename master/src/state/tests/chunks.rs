//! Receipts, quorum, references, and chunks off their owners.

use super::*;
use crate::store::key::MisplacedKey;
use cairn_common::limits::WINDOW_MAX_MS;
use cairn_common::manifest::{Extent, ManifestError, PlacementProfile};
use cairn_common::seam::must_fail_without;

/// A commit of `k` with chunk 1 on the word of `servers`.
fn commit_on(world: &World, servers: &[Server]) -> CommitFile {
    let entries = [entry(1)];
    let receipts = world.receipts_of(servers, &entries);
    of_chunks("k", NewChunks { staging: None, chunking: Chunking::FIXED, tail: entries.to_vec(), receipts })
}

fn short(n: &[u64]) -> Refusal {
    Refusal::ShortOfQuorum { chunks: n.iter().map(|n| address(*n)).collect() }
}

/// Changes the receipts of a commit.
fn with_receipts(mut commit: CommitFile, change: impl Fn(&mut Receipt)) -> CommitFile {
    if let NewContent::Chunks(chunks) = &mut commit.content {
        chunks.receipts.iter_mut().flat_map(|chunk| &mut chunk.receipts).for_each(change);
    }
    commit
}

#[test]
fn commit_is_refused_when_one_chunk_lacks_quorum() {
    let mut world = World::new();
    let mut new = world.chunks(None, &[entry(1), entry(2), entry(3)]);
    new.receipts[1].receipts.truncate(1);
    new.receipts[2].receipts.clear();
    assert_eq!(world.put(of_chunks("k", new.clone())), Err(short(&[2, 3])));
    new.receipts.truncate(1);
    assert_eq!(world.put(of_chunks("k", new)), Err(short(&[2, 3])));
    assert_eq!((world.references(1), world.usage().files), (0, 0), "all or nothing");
}

#[test]
fn quorum_is_of_the_configured_copies_and_not_of_the_nodes_alive() {
    let mut world = World::with(Box::new(MemoryStore::new()), &["a", "b"], 5);
    world.bucket("one");
    let commit = commit_on(&world, &world.servers);
    assert_eq!(world.put(commit), Err(short(&[1])), "two of five are no quorum, whoever else is there");
    let (tenant, replicas) = (TenantId::FIRST, Some(3));
    world.run(Command::CreateBucket { name: name("three"), tenant, replicas, lock: false }).unwrap();
    let mut commit = commit_on(&world, &world.servers);
    commit.path.bucket = name("three");
    assert_eq!(world.put(commit).unwrap().replicas_durable, 2);
}

#[test]
fn each_node_counts_once() {
    // In one zone, so that nothing but the rule about nodes stands against it.
    let mut world = World::with(Box::new(MemoryStore::new()), &["a", "a", "a"], 3);
    world.bucket("one");
    let first = world.servers[0];
    let twice = commit_on(&world, &[first, first]);
    assert_eq!(world.put(twice), Err(short(&[1])));
}

#[test]
fn receipts_of_a_dead_volume_do_not_count() {
    let mut world = World::new();
    let two = [world.servers[0], world.servers[1]];
    let (node, volume) = (two[0].node, two[0].volume);
    world.run(Command::RetireVolume { node, volume, reason: "EIO".to_owned() }).unwrap();
    let commit = commit_on(&world, &two);
    assert_eq!(world.put(commit), Err(short(&[1])));
    let commit = commit_on(&world, &world.servers);
    assert_eq!(world.put(commit).unwrap().replicas_durable, 2);
}

#[test]
fn receipts_of_an_earlier_run_do_not_count() {
    let mut world = World::new();
    let two = [world.servers[0], world.servers[1]];
    world.boot(two[0].node, "a", &[(two[0].volume, two[0].boot)], &[]).unwrap();
    let commit = commit_on(&world, &two);
    assert_eq!(world.put(commit), Err(short(&[1])));
}

#[test]
fn receipts_of_another_nodes_volume_or_of_another_length_do_not_count() {
    let mut world = World::new();
    let (first, second) = (world.servers[0], world.servers[1]);
    let swapped = commit_on(&world, &[Server { volume: second.volume, ..first }, second]);
    assert_eq!(world.put(swapped), Err(short(&[1])));
    let longer = with_receipts(commit_on(&world, &world.servers), |receipt| receipt.length += 1);
    assert_eq!(world.put(longer), Err(short(&[1])));
}

#[test]
fn copies_in_one_zone_are_no_quorum_where_the_ring_has_two() {
    let mut world = World::with(Box::new(MemoryStore::new()), &["a", "a", "b"], 3);
    world.bucket("one");
    let one_zone = commit_on(&world, &world.servers[..2]);
    assert_eq!(world.put(one_zone), Err(short(&[1])));
    let two_zones = commit_on(&world, &world.servers[1..]);
    assert!(world.put(two_zones).is_ok());
    let mut world = World::with(Box::new(MemoryStore::new()), &["a", "a", "a"], 3);
    world.bucket("one");
    let only_zone = commit_on(&world, &world.servers[..2]);
    assert!(world.put(only_zone).is_ok());
}

#[test]
fn one_copy_needs_one_zone() {
    let mut world = World::with(Box::new(MemoryStore::new()), &["a", "b"], 1);
    world.bucket("one");
    let commit = commit_on(&world, &world.servers[..1]);
    assert_eq!(world.put(commit).unwrap().replicas_durable, 1);
}

#[test]
fn receipts_count_only_under_an_open_window_of_the_same_session() {
    let mut world = World::new();
    let closed = commit_on(&world, &world.servers);
    let window = world.window;
    world.run(Command::CloseWindow { window }).unwrap();
    assert_eq!(world.put(closed), Err(Refusal::WindowEnded));

    world.open_window();
    let foreign = commit_on(&world, &world.servers);
    world.open_session();
    assert_eq!(world.put(foreign.clone()), Err(Refusal::WindowEnded));
    let outside = world.bare(Command::CommitFile(Box::new(foreign)));
    assert_eq!(outside, Err(Refusal::WindowEnded));

    let old = commit_on(&world, &world.servers);
    world.wait_ms(WINDOW_MAX_MS + 1);
    assert_eq!(world.put(old), Err(Refusal::WindowEnded), "an hour ends a window without any command");
}

#[test]
fn receipts_of_two_windows_count_together() {
    let mut world = World::new();
    let first = world.receipt(world.servers[0], 1001);
    world.open_window();
    let second = world.receipt(world.servers[1], 1001);
    let receipts = vec![ChunkReceipts { address: address(1), receipts: vec![first, second] }];
    let new = NewChunks { staging: None, chunking: Chunking::FIXED, tail: vec![entry(1)], receipts };
    assert_eq!(world.put(of_chunks("k", new)).unwrap().replicas_durable, 2);
}

#[test]
fn chunks_of_another_domain_are_refused() {
    let mut world = World::new();
    let foreign = Entry::chunk(address_in(Domain(2), 1), 1001);
    let new = world.chunks(None, &[foreign]);
    assert_eq!(world.put(of_chunks("k", new)), Err(Refusal::WrongDomain));
}

/// S29 of docs/faults.md: neither a file nor the knowledge that somebody has it is got by naming its hashes.
#[test]
fn what_another_tenant_has_is_to_a_commit_as_what_nobody_has() {
    let mut world = World::new();
    world.put_chunks("k", &[1]);
    let (two, tenant) = (name("two"), TenantId(2));
    world.bare(Command::CreateBucket { name: two.clone(), tenant, replicas: None, lock: false }).unwrap();
    let receipts = world.receipts_of(&world.servers, &[entry(1)]);
    let answers = |world: &mut World, n: u64| {
        let theirs = Entry::chunk(address(n), 1000 + n as u32);
        let own = Entry::chunk(address_in(tenant.domain(), n), 1000 + n as u32);
        let mut answers = Vec::new();
        for (entry, receipts) in [(&own, Vec::new()), (&own, receipts.clone()), (&theirs, receipts.clone())] {
            let tail = vec![entry.clone()];
            let new = NewChunks { staging: None, chunking: Chunking::FIXED, tail, receipts };
            let commit = CommitFile {
                path: FilePath { bucket: two.clone(), key: Key::new("stolen").unwrap() },
                ..of_chunks("k", new)
            };
            let answer = world.put(commit);
            // What is short of a quorum is named as the client named it.
            let named = Refusal::ShortOfQuorum { chunks: vec![address_in(tenant.domain(), n)] };
            answers.push(if answer == Err(named) { "short of a quorum".to_owned() } else { format!("{answer:?}") });
        }
        answers
    };
    let (known, unknown) = (answers(&mut world, 1), answers(&mut world, 2));
    assert_eq!(known, unknown);
    assert_eq!(known, ["short of a quorum", "short of a quorum", "Err(WrongDomain)"]);
    assert_eq!(world.references(1), 1);
}

#[test]
fn only_whole_chunks_of_one_length_are_taken() {
    let mut world = World::new();
    let part = |offset, length| Entry {
        extent: Extent::Chunk { address: address(1), chunk_length: 1001, offset },
        length,
        profile: PlacementProfile::REPLICATED,
    };
    for (bad, length) in [(part(1, 1000), 1000), (part(0, 1000), 1000), (part(0, 0), 0)] {
        let new = world.chunks(None, &[bad]);
        let refused = Err(Refusal::BadManifest(ManifestError::Entry { length }));
        assert_eq!(world.put(of_chunks("k", new)), refused);
    }
    let hole = Entry { extent: Extent::Hole, length: 5, profile: PlacementProfile::REPLICATED };
    let new = world.chunks(None, &[hole]);
    assert!(matches!(world.put(of_chunks("k", new)), Err(Refusal::BadManifest(_))));
    // The same chunk with two lengths, side by side and against what is known of it.
    let other = Entry::chunk(address(1), 7);
    let new = world.chunks(None, &[entry(1), other.clone()]);
    assert!(matches!(world.put(of_chunks("k", new)), Err(Refusal::BadManifest(_))));
    world.put_chunks("k", &[1]);
    let new = world.chunks(None, &[other]);
    assert!(matches!(world.put(of_chunks("l", new)), Err(Refusal::BadManifest(_))));
}

#[test]
fn root_and_length_are_checked() {
    let mut world = World::new();
    let good = commit_on(&world, &world.servers);
    let wrong_root = CommitFile { root: RootHasher::of(&[entry(2)]), ..good.clone() };
    assert_eq!(world.put(wrong_root), Err(Refusal::RootMismatch));
    let wrong_length = CommitFile { length: 1000, ..good.clone() };
    assert_eq!(world.put(wrong_length), Err(Refusal::RootMismatch));
    assert_eq!(world.references(1), 0);
    world.put(good).unwrap();
}

#[test]
fn a_run_of_one_chunk_is_one_reference() {
    let mut world = World::new();
    world.put_chunks("k", &[1, 1, 1, 2, 1]);
    assert_eq!((world.references(1), world.references(2)), (2, 1));
    world.put_chunks("l", &[1]);
    assert_eq!(world.references(1), 3);
}

#[test]
fn a_commit_off_the_owners_says_where_the_chunk_is() {
    let mut world = World::with(Box::new(MemoryStore::new()), &["a", "b", "c", "d", "e"], 3);
    world.bucket("one");
    let ring = world.machine.members().unwrap().ring().unwrap().clone();
    let owners: Vec<NodeId> = ring.owners(address(1).slot(), 3).collect();
    let (on, off): (Vec<Server>, Vec<Server>) =
        world.servers.iter().copied().partition(|server| owners.contains(&server.node));
    let row = |world: &World| world.view().row(&MisplacedKey(ReferenceKey::of(address(1)))).unwrap();

    let on_owners = commit_on(&world, &on);
    world.put(on_owners).unwrap();
    assert_eq!(row(&world), None);
    let handed_off = commit_on(&world, &[on[0], off[1]]);
    world.put(handed_off).unwrap();
    assert_eq!(row(&world), Some(vec![off[1].node]));
    let all = commit_on(&world, &[on[0], off[0], off[1]]);
    world.put(all).unwrap();
    assert_eq!(row(&world), Some(vec![off[0].node, off[1].node]));
    // It goes with the chunk's last reference.
    world.delete("k").unwrap();
    world.wait_ms(cairn_common::limits::READ_GRACE_MS);
    world.release();
    assert_eq!((row(&world), world.references(1)), (None, 0));
}

#[test]
fn rules_about_receipts_are_missed_when_they_are_left_out() {
    must_fail_without("count-receipts-of-dead-volumes", receipts_of_a_dead_volume_do_not_count);
    must_fail_without("commit-below-quorum", quorum_is_of_the_configured_copies_and_not_of_the_nodes_alive);
}
