//! Clusters in which something is wrong, and what is done about it.

use super::*;
use cairn_common::ids::{BootCount, ClusterId, Generation, VolumeId};
use cairn_common::membership::{Roles, Volume};
use cairn_common::ring::{Member, RingSpec};
use cairn_common::wire::heal::{Amount, Upkeep};
use cairn_common::wire::master::VolumeReport;

const LIMITS: Limits = Limits { down_after: Duration::from_secs(10), dead_after: Duration::from_secs(600) };

/// Nodes by silence in seconds and how far their upkeep is, all in the newest of `rings` rings.
struct Scene {
    membership: Membership,
    heartbeats: BTreeMap<NodeId, (u64, Heartbeat)>,
}

impl Scene {
    fn new(silences: &[u64], replicas: u8, rings: u64) -> Scene {
        let ids = || (1..=silences.len() as u32).map(NodeId);
        let node = |id: NodeId| Node {
            id,
            name: format!("node-{}", id.0),
            zone: format!("z{}", id.0),
            weight: 1,
            address: String::new(),
            roles: Roles { chunkserver: true, ..Roles::default() },
            state: NodeState::Live,
            boot: BootCount(1),
            served_boot: BootCount(1),
            volumes: [(VolumeId(7), Volume { state: VolumeState::Live, label: "disk-1".to_owned() })].into(),
        };
        let member = |node: NodeId| Member { node, zone: format!("z{}", node.0), weight: 1 };
        let ring = |epoch| RingSpec::new(Epoch(epoch), ids().map(member).collect());
        let membership = Membership {
            cluster: ClusterId([1; 16]),
            generation: Generation(1),
            revision: 1,
            nodes: ids().map(|id| (id, node(id))).collect(),
            rings: (1..=rings).map(ring).collect(),
            replicas,
            replicas_rise: false,
            voters: cairn_common::limits::VOTERS_DEFAULT,
        };
        let volume = VolumeReport {
            volume: VolumeId(7),
            label: "disk-1".to_owned(),
            capacity_bytes: 100,
            used_bytes: 40,
            free_bytes: 60,
            chunks: 4,
            damaged: 0,
            fault: None,
        };
        let heartbeat = |silence: u64| {
            let upkeep = Upkeep { complete: Epoch(rings), emptied: Epoch(rings), ..Upkeep::default() };
            (silence, Heartbeat { boot: BootCount(1), volumes: vec![volume.clone()], upkeep })
        };
        let heartbeats = ids().zip(silences).map(|(id, silence)| (id, heartbeat(*silence))).collect();
        Scene { membership, heartbeats }
    }

    fn upkeep(&mut self, node: u32) -> &mut Upkeep {
        &mut self.heartbeats.get_mut(&NodeId(node)).unwrap().1.upkeep
    }

    fn decide(&self) -> Decision {
        let heard = self.heartbeats.iter().map(|(node, (silence, heartbeat))| {
            (*node, Heard { silent_for: Duration::from_secs(*silence), heartbeat })
        });
        let facts = Facts { heard: heard.collect(), leading_for: Duration::from_secs(10_000) };
        decide(&self.membership, &facts, LIMITS)
    }

    fn alarm(&self) -> String {
        self.decide().alarms.join("\n")
    }
}

#[test]
fn a_node_that_is_silent_for_long_leaves_the_ring_if_the_others_can_do_without_it() {
    assert_eq!(Scene::new(&[0, 0, 0, 599], 3, 1).decide(), Decision::default());
    assert_eq!(Scene::new(&[0, 0, 0, 600], 3, 1).decide().drain, Some(NodeId(4)));
    let mut unheard = Scene::new(&[0, 0, 0, 0], 3, 1);
    unheard.heartbeats.remove(&NodeId(4));
    assert_eq!(unheard.decide().drain, Some(NodeId(4)), "never heard of since this leader leads");
}

#[test]
fn with_too_few_nodes_left_it_stays_and_someone_is_told() {
    let three = Scene::new(&[0, 0, 600], 3, 1);
    assert_eq!(three.decide().drain, None);
    assert!(three.alarm().contains("node-3") && three.alarm().contains("3 copies are wanted"), "{}", three.alarm());
    let half = Scene::new(&[0, 0, 0, 600, 600, 20], 2, 1);
    assert_eq!(half.decide().drain, None);
    assert!(half.alarm().contains("only 3 of 6 nodes are up"), "{}", half.alarm());
    let mut full = Scene::new(&[0, 0, 0, 600], 3, 1);
    full.heartbeats.values_mut().for_each(|(_, heartbeat)| heartbeat.volumes[0].free_bytes = 13);
    assert_eq!(full.decide().drain, None);
    assert!(full.alarm().contains("no room"), "{}", full.alarm());
}

#[test]
fn nodes_leave_one_at_a_time() {
    let mut scene = Scene::new(&[0, 0, 0, 0, 0, 0, 700, 650], 3, 1);
    assert_eq!(scene.decide().drain, Some(NodeId(7)), "one of them");
    scene.membership.nodes.get_mut(&NodeId(7)).unwrap().state = NodeState::Draining;
    let members = scene.membership.rings[0].members.clone();
    scene.membership.rings.push(RingSpec::new(Epoch(2), members));
    assert_eq!(scene.decide().drain, None, "the first is being made up for");
    scene.membership.rings.remove(0);
    assert_eq!(scene.decide().drain, Some(NodeId(8)));
}

#[test]
fn earlier_rings_go_when_every_node_of_the_newest_has_said_that_it_is_complete() {
    let mut scene = Scene::new(&[0, 0, 0], 3, 2);
    assert_eq!(scene.decide().retire_before, Some(Epoch(2)));
    scene.upkeep(2).complete = Epoch(1);
    assert_eq!(scene.decide().retire_before, None);
    scene.upkeep(2).complete = Epoch(2);
    scene.heartbeats.get_mut(&NodeId(3)).unwrap().0 = 10;
    assert_eq!(scene.decide().retire_before, None, "what a silent node said may not be so any more");
    assert_eq!(Scene::new(&[0, 0, 0], 3, 1).decide().retire_before, None);
}

#[test]
fn whatever_needs_a_person_is_a_line_that_says_what_to_do() {
    let mut scene = Scene::new(&[0, 0, 0, 0], 3, 1);
    assert_eq!(scene.alarm(), "");
    scene.upkeep(1).fused = Stamp(5);
    assert!(scene.alarm().contains("cairn admin collect run"), "{}", scene.alarm());
    scene.upkeep(1).fused = Stamp::ZERO;
    scene.upkeep(2).lost = vec![cairn_common::chunk::ChunkAddress::of(cairn_common::ids::Domain(1), b"x")];
    assert!(scene.alarm().contains("damaged: 1 chunks"), "{}", scene.alarm());
    scene.upkeep(2).lost.clear();
    scene.heartbeats.get_mut(&NodeId(3)).unwrap().1.volumes[0].fault = Some("EIO".to_owned());
    assert!(scene.alarm().contains("disk disk-1 of node-3 is out of service: EIO"), "{}", scene.alarm());
    scene.heartbeats.get_mut(&NodeId(3)).unwrap().1.volumes[0].fault = None;
    scene.membership.nodes.get_mut(&NodeId(4)).unwrap().state = NodeState::Draining;
    assert!(scene.alarm().contains("node-4 is drained: it can be unplugged"), "{}", scene.alarm());
    scene.upkeep(4).emptied = Epoch(0);
    scene.upkeep(4).foreign = Amount { chunks: 3, bytes: 30 };
    assert!(scene.alarm().contains("node-4 is draining: 3 chunks (30 bytes) to go"), "{}", scene.alarm());
}
