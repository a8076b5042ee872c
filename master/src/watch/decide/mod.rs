//! What is to be done about chunkservers, from who they are and what was heard from them. Pure.

use cairn_common::ids::{Epoch, NodeId, Stamp};
use cairn_common::limits::EPOCHS_KEPT_MAX;
use cairn_common::membership::{Membership, Node, NodeState, VolumeState};
use cairn_common::wire::master::Heartbeat;
use std::collections::BTreeMap;
use std::time::Duration;

/// From how long a silence means something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Counted as down.
    pub(super) down_after: Duration,
    /// Taken out of the ring.
    pub(super) dead_after: Duration,
}

/// What was heard from a node.
pub(super) struct Heard<'a> {
    pub(super) silent_for: Duration,
    pub(super) heartbeat: &'a Heartbeat,
}

/// What is known.
pub(super) struct Facts<'a> {
    pub(super) heard: BTreeMap<NodeId, Heard<'a>>,
    /// A node that was never heard of is silent for as long.
    pub(super) leading_for: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Decision {
    /// This node leaves the ring.
    pub(super) drain: Option<NodeId>,
    /// Rings before this one are finished.
    pub(super) retire_before: Option<Epoch>,
    /// What needs a person.
    pub(super) alarms: Vec<String>,
}

/// Whether a node holds chunks, or may come back with some.
pub(super) fn may_hold_chunks(node: &Node) -> bool {
    node.roles.chunkserver && matches!(node.state, NodeState::Live | NodeState::Draining)
}

pub(super) fn decide(membership: &Membership, facts: &Facts<'_>, limits: Limits) -> Decision {
    let mut decision = Decision::default();
    dead(membership, facts, limits, &mut decision);
    decision.retire_before = finished(membership, facts, limits);
    troubles(membership, facts, &mut decision.alarms);
    decision
}

impl Facts<'_> {
    fn silence(&self, node: NodeId) -> Duration {
        self.heard.get(&node).map_or(self.leading_for, |heard| heard.silent_for)
    }

    /// Bytes a node holds and could still take, as it last said.
    fn space(&self, node: NodeId) -> (u64, u64) {
        let volumes = self.heard.get(&node).map_or(&[][..], |heard| &heard.heartbeat.volumes);
        let sum = |of: fn(&cairn_common::wire::master::VolumeReport) -> u64| volumes.iter().map(of).sum();
        (sum(|volume| volume.used_bytes), sum(|volume| volume.free_bytes))
    }
}

/// Takes out one node that is gone, as long as the others can do without it: with enough of them, most of them there, and room
/// for what it held. Otherwise taking it out would move data for nothing, or make a partition look like a shrunken cluster.
fn dead(membership: &Membership, facts: &Facts<'_>, limits: Limits, decision: &mut Decision) {
    let live: Vec<&Node> =
        membership.nodes.values().filter(|node| node.roles.chunkserver && node.state == NodeState::Live).collect();
    let up = |node: &&&Node| facts.silence(node.id) < limits.down_after;
    let others: Vec<&&Node> = live.iter().filter(up).collect();
    let gone = live.iter().filter(|node| facts.silence(node.id) >= limits.dead_after);
    // The one before must be made up for first.
    let moving = membership.rings.len() > 1
        && membership.nodes.values().any(|node| {
            node.state == NodeState::Draining && facts.silence(node.id) >= limits.down_after && node.roles.chunkserver
        });
    for node in gone {
        let (held, _) = facts.space(node.id);
        let room: u64 = others.iter().map(|node| facts.space(node.id).1).sum();
        let obstacle = if others.len() < usize::from(membership.replicas) {
            Some(format!("{} copies are wanted and only {} nodes are up", membership.replicas, others.len()))
        } else if others.len() * 3 < live.len() * 2 {
            Some(format!("only {} of {} nodes are up", others.len(), live.len()))
        } else if room < held {
            Some("the other nodes have no room for what it held".to_owned())
        } else if moving || decision.drain.is_some() {
            Some("another node is being made up for first".to_owned())
        } else if membership.rings.len() > EPOCHS_KEPT_MAX {
            Some("too many earlier changes of the ring are unfinished".to_owned())
        } else {
            None
        };
        match obstacle {
            None => decision.drain = Some(node.id),
            Some(reason) => decision.alarms.push(format!(
                "node {} is silent and stays in the ring: {reason}. Its chunks have a copy less; start it, or add a node",
                node.name
            )),
        }
    }
}

/// The newest ring, if every node in it says that it has all that it owns there, and an earlier one is still kept.
fn finished(membership: &Membership, facts: &Facts<'_>, limits: Limits) -> Option<Epoch> {
    let newest = membership.ring().filter(|_| membership.rings.len() > 1)?;
    let complete = |node: NodeId| {
        let heard = facts.heard.get(&node);
        heard.is_some_and(|heard| {
            heard.silent_for < limits.down_after && heard.heartbeat.upkeep.complete >= newest.epoch
        })
    };
    newest.members.iter().all(|member| complete(member.node)).then_some(newest.epoch)
}

fn troubles(membership: &Membership, facts: &Facts<'_>, alarms: &mut Vec<String>) {
    for node in membership.nodes.values().filter(|node| may_hold_chunks(node)) {
        let name = &node.name;
        if node.state == NodeState::Draining {
            alarms.push(draining(membership, facts, node));
        }
        let Some(Heard { heartbeat, .. }) = facts.heard.get(&node.id) else { continue };
        let upkeep = &heartbeat.upkeep;
        if let Some(first) = upkeep.lost.first() {
            let count = upkeep.lost.len();
            alarms.push(format!(
                "damaged: {count} chunks that {name} should have are good on no node, the first is {first}; uploading their files \
                 again heals them"
            ));
        }
        if upkeep.fused > Stamp::ZERO {
            alarms.push(format!(
                "collection on {name} stopped: it would free {} of its chunks ({} bytes) at once. If that is right, run `cairn \
                 admin collect run`",
                upkeep.unreferenced.chunks, upkeep.unreferenced.bytes
            ));
        }
        for volume in &heartbeat.volumes {
            let in_service = node.volumes.get(&volume.volume).is_some_and(|it| it.state == VolumeState::Live);
            if let Some(fault) = volume.fault.as_ref().filter(|_| in_service) {
                alarms.push(format!("disk {} of {name} is out of service: {fault}", volume.label));
            }
        }
    }
}

fn draining(membership: &Membership, facts: &Facts<'_>, node: &Node) -> String {
    let name = &node.name;
    let Some(heard) = facts.heard.get(&node.id) else {
        return format!(
            "node {name} is out of the ring and silent; take it back with `cairn admin node drain {name} --undo`"
        );
    };
    let upkeep = &heard.heartbeat.upkeep;
    if upkeep.emptied >= membership.epoch() && membership.rings.len() == 1 {
        return format!("node {name} is drained: it can be unplugged, and forgotten with `cairn admin node rm {name}`");
    }
    format!("node {name} is draining: {} chunks ({} bytes) to go", upkeep.foreign.chunks, upkeep.foreign.bytes)
}

#[cfg(test)]
mod tests;
