//! Nodes, volumes, starts and rings.

use super::*;
use cairn_common::ids::Epoch;
use cairn_common::limits::{EPOCHS_KEPT_MAX, VOLUMES_MAX};
use cairn_common::membership::{Membership, NodeState, VolumeState};
use cairn_common::ring::RingSpec;

fn membership(world: &World) -> Membership {
    world.view().row(&crate::store::key::MembershipKey).unwrap().unwrap()
}

fn epochs(world: &World) -> Vec<u64> {
    membership(world).rings.iter().map(|ring| ring.epoch.0).collect()
}

fn weigh(world: &mut World, node: NodeId, weight: u32) -> Outcome {
    world.bare(Command::SetNode { node, weight: Some(weight), zone: None })
}

/// A world with something stored, so that earlier rings are kept.
fn in_use(zones: &[&str]) -> World {
    let mut world = World::with(Box::new(MemoryStore::new()), zones, 1);
    world.bucket("one");
    world.put_chunks("k", &[1]);
    world
}

#[test]
fn nothing_is_executed_before_the_cluster_is_made_and_it_is_made_once() {
    let store = MemoryStore::new();
    let apply = |command| super::super::apply(&store, Stamp(1), &Envelope { session: None, command }).unwrap().0;
    assert_eq!(apply(Command::Release), Err(Refusal::AlreadyInitialised));
    let init = |replicas| Command::Init { cluster: ClusterId([1; 16]), replicas, rise: true };
    assert!(matches!(apply(init(0)), Err(Refusal::Invalid(_))));
    assert_eq!(apply(init(1)), Ok(Done::Nothing));
    let mut world = World::new();
    assert_eq!(world.bare(init(1)), Err(Refusal::AlreadyInitialised));
}

#[test]
fn node_ids_are_numbers_in_order_and_names_are_taken_once() {
    let mut world = World::new();
    let nodes: Vec<u32> = world.servers.iter().map(|server| server.node.0).collect();
    assert_eq!(nodes, [1, 2, 3]);
    assert_eq!(world.add_node("node-1", "a"), Err(Refusal::NodeExists("node-1".to_owned())));
    assert_eq!(world.add_node("node-4", "a"), Ok(Done::Node(NodeId(4))));
    assert!(matches!(world.add_node("", "a"), Err(Refusal::Invalid(_))));
}

#[test]
fn a_join_token_admits_one_node_until_it_expires() {
    let mut world = World::new();
    let add = |name: &str, token: Option<&str>| Command::AddNode {
        name: name.to_owned(),
        zone: "a".to_owned(),
        weight: 1,
        address: "http://node".to_owned(),
        roles: Roles::default(),
        join_token: token.map(str::to_owned),
    };
    let expires = world.now.plus_ms(1000);
    for id in ["t1", "t2"] {
        world.run(Command::CreateJoinToken { id: id.to_owned(), secret_hash: [0; 32], expires }).unwrap();
    }
    assert_eq!(world.bare(add("n4", None)), Err(Refusal::BadJoinToken));
    assert_eq!(world.bare(add("n4", Some("unknown"))), Err(Refusal::BadJoinToken));
    assert_eq!(world.bare(add("n4", Some("t1"))), Ok(Done::Node(NodeId(4))));
    assert_eq!(world.bare(add("n4", Some("t1"))), Ok(Done::Node(NodeId(4))), "its answer was lost");
    assert_eq!(world.bare(add("n5", Some("t1"))), Err(Refusal::BadJoinToken));
    world.boot(NodeId(4), "a", &[], &[]).unwrap();
    assert_eq!(world.bare(add("n4", Some("t1"))), Err(Refusal::BadJoinToken), "it has started since");
    world.wait_ms(1001);
    assert_eq!(world.bare(add("n5", Some("t2"))), Err(Refusal::BadJoinToken));
}

#[test]
fn a_start_raises_the_boot_count_and_gives_new_disks_identities_of_their_own() {
    let mut world = World::new();
    let server = world.servers[0];
    let node = server.node;
    let Ok(Done::Boot { boot, new_volumes, .. }) = world.boot(node, "a", &[(server.volume, server.boot)], &["x", "y"])
    else {
        panic!()
    };
    assert_eq!(boot, BootCount(2));
    let again = world.boot(world.servers[1].node, "b", &[(world.servers[1].volume, BootCount(1))], &["z"]);
    let Ok(Done::Boot { new_volumes: others, .. }) = again else { panic!() };
    let all: std::collections::BTreeSet<_> = new_volumes.iter().chain(&others).collect();
    assert_eq!(all.len(), 3);
    let members = membership(&world);
    assert_eq!(members.nodes[&node].volumes[&new_volumes[1]].label, "y");
    assert_eq!((members.nodes[&node].boot, members.nodes[&node].served_boot), (BootCount(2), BootCount(1)));
    assert_eq!(
        world.bare(Command::Serve { node, boot: BootCount(1) }),
        Err(Refusal::StaleBoot { node, boot: BootCount(1) })
    );
    assert_eq!(world.bare(Command::Serve { node, boot }), Ok(Done::Nothing));
    assert_eq!(membership(&world).nodes[&node].served_boot, BootCount(2));
}

#[test]
fn volume_ids_differ_also_within_one_entry() {
    let mut world = World::new();
    let boot = |node: NodeId| Command::Boot {
        node,
        address: "http://node".to_owned(),
        weight: 1,
        zone: "a".to_owned(),
        volumes: Vec::new(),
        new_disks: ["p", "q", "r"].map(str::to_owned).to_vec(),
    };
    let envelope = |node| Envelope { session: None, command: boot(node) };
    let outcomes = world.entry(&[envelope(NodeId(1)), envelope(NodeId(2)), envelope(NodeId(3))]);
    let volumes = |outcome| match outcome {
        Ok(Done::Boot { new_volumes, .. }) => new_volumes,
        other => panic!("{other:?}"),
    };
    let all: std::collections::BTreeSet<_> = outcomes.into_iter().flat_map(volumes).collect();
    assert_eq!(all.len(), 9);
}

#[test]
fn a_disk_that_missed_a_run_is_refused_and_one_that_saw_it_is_not() {
    let mut world = World::new();
    let Server { node, volume, .. } = world.servers[0];
    let mut boot = |stored| world.boot(node, "a", &[(volume, BootCount(stored))], &[]);
    // Granted 2, 3, 4 without ever serving: the disk may hold any of them, or the last one that served.
    for stored in [1, 2, 1] {
        assert!(boot(stored).is_ok(), "{stored}");
    }
    let stale =
        |stored, current| Err(Refusal::StaleVolume { volume, stored: BootCount(stored), current: BootCount(current) });
    assert_eq!(boot(5), stale(5, 1), "nobody granted that");
    assert_eq!(boot(0), stale(0, 1));
    world.bare(Command::Serve { node, boot: BootCount(4) }).unwrap();
    let mut boot = |stored| world.boot(node, "a", &[(volume, BootCount(stored))], &[]);
    assert_eq!(boot(3), stale(3, 4), "an image of before that run");
    assert!(boot(4).is_ok());
}

#[test]
fn only_disks_in_service_on_that_node_may_start() {
    let mut world = World::new();
    let [first, second, _] = world.servers[..] else { panic!() };
    let no_such = |node, volume| Err(Refusal::NoSuchVolume { node, volume });
    let foreign = world.boot(first.node, "a", &[(second.volume, BootCount(1))], &[]);
    assert_eq!(foreign, no_such(first.node, second.volume));
    let retire = |node, volume| Command::RetireVolume { node, volume, reason: "EIO".to_owned() };
    assert_eq!(world.bare(retire(first.node, first.volume)), Ok(Done::Nothing));
    assert_eq!(world.bare(retire(first.node, first.volume)), Ok(Done::Nothing), "once is enough");
    let retired = world.boot(first.node, "a", &[(first.volume, BootCount(1))], &[]);
    assert_eq!(retired, no_such(first.node, first.volume));
    assert_eq!(world.bare(retire(first.node, second.volume)), no_such(first.node, second.volume));
    assert_eq!(world.boot(NodeId(9), "a", &[], &[]), Err(Refusal::NoSuchNode(NodeId(9))));
    assert_eq!(membership(&world).nodes[&first.node].volumes[&first.volume].state, VolumeState::Retired);
}

#[test]
fn identities_that_a_node_never_stored_are_taken_back() {
    let mut world = World::new();
    let Server { node, volume, boot } = world.servers[0];
    let new = |outcome| match outcome {
        Ok(Done::Boot { new_volumes, boot, .. }) => (new_volumes, boot),
        other => panic!("{other:?}"),
    };
    let (given, _) = new(world.boot(node, "a", &[(volume, boot)], &["x", "y"]));
    // It died; the first new disk has its identity, the second has none.
    let (again, last) = new(world.boot(node, "a", &[(volume, boot), (given[0], BootCount(2))], &["y"]));
    let volumes: Vec<VolumeId> = membership(&world).nodes[&node].volumes.keys().copied().collect();
    assert_eq!(volumes, [volume, given[0], again[0]]);
    world.bare(Command::Serve { node, boot: last }).unwrap();
    // Served: from now on a disk that stays away keeps its identity.
    world.boot(node, "a", &[(volume, last)], &[]).unwrap();
    assert_eq!(membership(&world).nodes[&node].volumes.len(), 3);
    let many: Vec<String> = (0..VOLUMES_MAX).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(matches!(world.boot(node, "a", &[(volume, last)], &many), Err(Refusal::Invalid(_))));
}

#[test]
fn a_node_is_in_the_ring_once_it_serves() {
    let mut world = in_use(&["a", "b"]);
    let Ok(Done::Node(node)) = world.add_node("third", "c") else { panic!() };
    let Ok(Done::Boot { boot, .. }) = world.boot(node, "c", &[], &["disk"]) else { panic!() };
    assert_eq!(membership(&world).nodes[&node].state, NodeState::Joining);
    let before = membership(&world).epoch();
    world.bare(Command::Serve { node, boot }).unwrap();
    let members = membership(&world);
    assert_eq!(members.nodes[&node].state, NodeState::Live);
    assert_eq!(members.epoch(), Epoch(before.0 + 1));
    assert_eq!(members.ring(), Some(&RingSpec::new(members.epoch(), members.ring().unwrap().members.clone())));
    assert!(members.ring().unwrap().zone_of(node).is_some());
    // Serving again, or in another run, changes no ring.
    world.bare(Command::Serve { node, boot }).unwrap();
    assert_eq!(membership(&world), members);
}

#[test]
fn every_change_of_the_membership_raises_its_revision() {
    let mut world = World::new();
    let before = membership(&world).revision;
    let node = world.servers[0].node;
    weigh(&mut world, node, 7).unwrap();
    assert_eq!(membership(&world).revision, before + 1);
    weigh(&mut world, node, 7).unwrap();
    assert_eq!(membership(&world).revision, before + 1, "nothing changed");
}

#[test]
fn while_nothing_is_stored_a_new_ring_replaces_the_old_ones() {
    let world = World::with(Box::new(MemoryStore::new()), &["a"; 12], 3);
    assert_eq!(epochs(&world), [12], "twelve nodes joined, and there was nothing to move");
}

#[test]
fn earlier_rings_are_kept_up_to_a_bound_and_further_changes_wait() {
    let mut world = in_use(&["a", "b"]);
    let node = world.servers[0].node;
    assert_eq!(epochs(&world), [2]);
    for weight in 1..=EPOCHS_KEPT_MAX as u32 {
        assert_eq!(weigh(&mut world, node, weight), Ok(Done::Epoch(Epoch(u64::from(weight) + 2))));
    }
    assert_eq!(epochs(&world), (2..=10).collect::<Vec<_>>());
    assert_eq!(weigh(&mut world, node, 99), Err(Refusal::TooManyEpochs));
    assert_eq!(membership(&world).nodes[&node].weight, 8, "refused means nothing changed");
    // A node that joins serves all the same; its ring comes when there is room.
    let third = world.add_server("c");
    let members = membership(&world);
    assert_eq!((members.nodes[&third.node].state, members.epoch()), (NodeState::Live, Epoch(10)));
    world.bare(Command::RetireEpochs { before: Epoch(4) }).unwrap();
    assert_eq!(epochs(&world), (4..=11).collect::<Vec<_>>());
    assert!(membership(&world).ring().unwrap().zone_of(third.node).is_some());
    // The newest ring is never forgotten.
    world.bare(Command::RetireEpochs { before: Epoch(99) }).unwrap();
    assert_eq!(epochs(&world), [11]);
}

#[test]
fn setting_a_node_changes_its_place_in_the_ring() {
    let mut world = in_use(&["a", "b"]);
    let node = world.servers[1].node;
    let zone = Some("z".to_owned());
    assert_eq!(world.bare(Command::SetNode { node, weight: None, zone }), Ok(Done::Epoch(Epoch(3))));
    assert_eq!(membership(&world).ring().unwrap().zone_of(node), Some("z"));
    assert_eq!(weigh(&mut world, NodeId(9), 1), Err(Refusal::NoSuchNode(NodeId(9))));
    let Ok(Done::Node(joining)) = world.add_node("third", "c") else { panic!() };
    assert_eq!(weigh(&mut world, joining, 1), Ok(Done::Epoch(Epoch(3))), "it is in no ring yet");
}

#[test]
fn copies_rise_to_three_when_three_nodes_serve_and_never_fall_by_themselves() {
    let mut world = World::with(Box::new(MemoryStore::new()), &["a", "b"], 1);
    world.bare(Command::SetReplicas { replicas: 1, rise: true }).unwrap();
    assert_eq!(membership(&world).replicas, 1);
    world.add_server("c");
    assert_eq!(membership(&world).replicas, 3);
    world.bare(Command::SetReplicas { replicas: 2, rise: false }).unwrap();
    assert_eq!(membership(&world).replicas, 2, "a person decides");
    world.add_server("d");
    assert_eq!(membership(&world).replicas, 2, "pinned");
    assert!(matches!(world.bare(Command::SetReplicas { replicas: 0, rise: false }), Err(Refusal::Invalid(_))));
}

#[test]
fn a_decoded_membership_is_used_only_for_the_rows_it_was_decoded_from() {
    let mut world = World::new();
    world.put_chunks("k", &[1]);
    let mut twin = World::with(Box::new(MemoryStore::new()), &["a"], 1);
    // A machine that knows another state's membership applies to this one as a new machine does.
    std::mem::swap(&mut world.machine, &mut twin.machine);
    assert_eq!(world.put_chunks("k", &[2]).replicas_durable, 3);
}

#[test]
fn a_node_that_drains_leaves_the_ring_and_can_come_back() {
    let mut world = in_use(&["a", "b"]);
    let node = world.servers[1].node;
    let drain = |undo| Command::DrainNode { node, undo };
    assert_eq!(world.bare(drain(false)), Ok(Done::Epoch(Epoch(3))));
    let members = membership(&world);
    assert_eq!(members.nodes[&node].state, NodeState::Draining);
    assert!(members.ring().unwrap().zone_of(node).is_none());
    assert_eq!(world.bare(drain(false)), Ok(Done::Epoch(Epoch(3))), "once is enough");
    // A start does not bring it back by itself.
    let Server { volume, boot, .. } = world.servers[1];
    let Ok(Done::Boot { boot, .. }) = world.boot(node, "b", &[(volume, boot)], &[]) else { panic!() };
    world.bare(Command::Serve { node, boot }).unwrap();
    assert_eq!((membership(&world).nodes[&node].state, membership(&world).epoch()), (NodeState::Draining, Epoch(3)));
    assert_eq!(world.bare(drain(true)), Ok(Done::Epoch(Epoch(4))));
    assert!(membership(&world).ring().unwrap().zone_of(node).is_some());
}

#[test]
fn a_ring_never_becomes_smaller_than_the_copies_that_are_wanted() {
    let mut world = World::new();
    world.put_chunks("k", &[1]);
    let before = membership(&world);
    let node = world.servers[0].node;
    let refused = world.bare(Command::DrainNode { node, undo: false });
    assert_eq!(refused, Err(Refusal::TooFewNodes { left: 2, needed: 3 }));
    assert_eq!(membership(&world), before);
    assert_eq!(world.bare(Command::DrainNode { node: NodeId(9), undo: false }), Err(Refusal::NoSuchNode(NodeId(9))));
}

#[test]
fn only_a_node_out_of_the_ring_is_forgotten_and_then_for_ever() {
    let mut world = in_use(&["a", "b"]);
    let Server { node, volume, boot } = world.servers[1];
    let remove = Command::RemoveNode { node };
    assert_eq!(world.bare(remove.clone()), Err(Refusal::NodeInRing(node)));
    world.bare(Command::DrainNode { node, undo: false }).unwrap();
    assert_eq!(world.bare(remove.clone()), Ok(Done::Nothing));
    assert_eq!(membership(&world).nodes[&node].state, NodeState::Removed);
    assert!(!membership(&world).volume_is_live(node, volume, boot), "its receipts count no more");
    assert_eq!(world.bare(remove), Err(Refusal::NoSuchNode(node)));
    assert_eq!(world.bare(Command::DrainNode { node, undo: true }), Err(Refusal::NoSuchNode(node)));
    assert_eq!(world.boot(node, "b", &[(volume, boot)], &[]), Err(Refusal::NoSuchNode(node)));
}

#[test]
fn collection_is_paused_approved_and_given_its_grace_by_command() {
    use crate::store::key::{Collection, CollectionKey};
    let mut world = in_use(&["a"]);
    let row = |world: &World| world.view().row(&CollectionKey).unwrap().unwrap_or_default();
    let set = |paused, approve, read_grace_ms| Command::SetCollection { paused, approve, read_grace_ms };
    assert_eq!(row(&world), Collection::default());
    world.bare(set(Some(true), false, None)).unwrap();
    world.bare(set(None, true, Some(5_000))).unwrap();
    assert_eq!(row(&world), Collection { paused: true, approved: world.now, read_grace_ms: 5_000 });
    assert!(matches!(world.bare(set(None, false, Some(u64::MAX))), Err(Refusal::Invalid(_))));
    world.delete("k").unwrap();
    world.wait_ms(4_000);
    world.release();
    assert_eq!(world.references(1), 1);
    world.wait_ms(1_000);
    world.release();
    assert_eq!(world.references(1), 0);
}
