use super::*;
use crate::store::MemoryStore;
use cairn_common::ids::ClusterId;
use cairn_common::ring::{Member, RingSpec};
use cairn_common::seam::must_fail_without;

const STAMP: Stamp = Stamp(5 << 30);

fn node(id: u32, roles: Roles) -> Node {
    Node {
        id: NodeId(id),
        name: format!("n{id}"),
        zone: "z".to_owned(),
        weight: 1,
        address: format!("http://n{id}"),
        roles,
        state: NodeState::Live,
        boot: BootCount(7),
        served_boot: BootCount(7),
        volumes: BTreeMap::new(),
    }
}

/// A state with a combined node, a master and a chunkserver, and what a restore of it for `master` changes.
fn restored(master: &RestoredMaster) -> (Membership, MemoryStore, Restored) {
    let (only_master, only_chunks) = (
        Roles { master: true, chunkserver: false, gateway: false },
        Roles { master: false, chunkserver: true, gateway: false },
    );
    let all = Roles { master: true, chunkserver: true, gateway: true };
    let members = [1, 3].map(|id| Member { node: NodeId(id), zone: "z".to_owned(), weight: 1 });
    let before = Membership {
        cluster: ClusterId([1; 16]),
        generation: Generation(1),
        revision: 9,
        nodes: [node(1, all), node(2, only_master), node(3, only_chunks)].map(|node| (node.id, node)).into(),
        rings: vec![RingSpec::new(Epoch(4), members.to_vec())],
        replicas: 2,
        replicas_rise: false,
        voters: 3,
    };
    let store = MemoryStore::default();
    let mut batch = WriteBatch::new();
    put(&mut batch, &MembershipKey, &before);
    put(&mut batch, &MembershipStampKey, &STAMP);
    put(&mut batch, &ClockKey, &STAMP);
    store.write(&batch, &Position::default()).unwrap();
    let header = Header::new(before.cluster, (Generation(1), Generation(1)), STAMP, 0, [0; 32]);
    let (batch, restored) = begin_generation(&store, &header, master).unwrap();
    store.write(&batch, &Position::default()).unwrap();
    (before, store, restored)
}

fn new() -> RestoredMaster {
    RestoredMaster::New { name: "new".to_owned(), address: String::new() }
}

#[test]
fn a_new_generation_goes_on_above_all_that_was_given_out() {
    let (before, store, restored) = restored(&new());
    let view: &dyn MetaView = &store;
    let after = view.row(&MembershipKey).unwrap().unwrap();
    assert!(restored.stamp.0 >= STAMP.0 + STAMPS, "{:?} follows {STAMP:?}", restored.stamp);
    assert_eq!(view.row(&ClockKey).unwrap(), Some(restored.stamp));
    assert_eq!((restored.generation, after.generation), (Generation(2), Generation(2)));
    assert!(after.revision > before.revision + 1000 && after.epoch().0 > before.epoch().0 + 1000);
    assert_eq!(after.rings[0], before.rings[0], "readers still find what lies where it was");
    for old in before.nodes.values() {
        let now = &after.nodes[&old.id];
        assert!(now.boot.0 > old.boot.0 + 1000, "no receipt of a run before counts");
        assert_eq!(now.served_boot, old.served_boot, "every disk that served since is known");
    }
    assert!(restored.node.0 > 1000, "numbers of nodes that joined since are not given out again");
    assert!(view.row(&CollectionKey).unwrap().unwrap().paused, "nothing is removed before somebody looked");
}

#[test]
fn a_restore_that_does_not_go_on_above_is_noticed() {
    must_fail_without("restore-without-gap", a_new_generation_goes_on_above_all_that_was_given_out);
}

#[test]
fn the_new_master_is_alone_and_the_lost_ones_are_gone() {
    let (_, store, made) = restored(&new());
    let view: &dyn MetaView = &store;
    let after = view.row(&MembershipKey).unwrap().unwrap();
    let masters: Vec<NodeId> = after.nodes.values().filter(|node| node.roles.master).map(|node| node.id).collect();
    assert_eq!(masters, [made.node]);
    assert_eq!(view.row(&RaftMembersKey).unwrap(), Some(members_of_one(made.node)));
    assert_eq!(after.nodes[&NodeId(2)].state, NodeState::Removed, "it was nothing but a master");
    assert_eq!(after.nodes[&NodeId(1)].state, NodeState::Live, "it still has its chunks");
    let (_, store, made) = restored(&RestoredMaster::Known(NodeId(1)));
    let view: &dyn MetaView = &store;
    let after = view.row(&MembershipKey).unwrap().unwrap();
    assert_eq!(made.node, NodeId(1));
    assert!(after.nodes[&NodeId(1)].roles.master && after.nodes[&NodeId(1)].roles.chunkserver);
}
