//! Who should be in the masters' group, from who is in the cluster: pure, one step at a time.
//!
//! Every node with the master role follows. Votes come in odd numbers: a group of two would be worse than one, since either's loss
//! stops it. So two members get their votes together, by joint consensus (Raft dissertation, 4.3), once both have caught up.

use cairn_common::ids::NodeId;
use cairn_common::membership::{Membership, NodeState};
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};
use std::collections::BTreeSet;

/// Members that vote, where there are so many masters.
const VOTERS_WANTED: usize = 3;

/// A change of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These follow from now on, without a vote.
    Follow(Vec<NodeId>),
    /// These vote from now on.
    Vote(Vec<NodeId>),
    /// These are no members any more.
    Remove(Vec<NodeId>),
}

impl Change {
    pub(crate) fn to_raft(&self) -> ConfChangeV2 {
        let (kind, nodes) = match self {
            Change::Follow(nodes) => (ConfChangeType::AddLearnerNode, nodes),
            Change::Vote(nodes) => (ConfChangeType::AddNode, nodes),
            Change::Remove(nodes) => (ConfChangeType::RemoveNode, nodes),
        };
        let single = |node: &NodeId| {
            let mut single = ConfChangeSingle { node_id: u64::from(node.0), ..ConfChangeSingle::default() };
            single.set_change_type(kind);
            single
        };
        let mut change = ConfChangeV2::default();
        change.set_changes(nodes.iter().map(single).collect::<Vec<_>>().into());
        if nodes.len() > 1 {
            change.set_transition(ConfChangeTransition::Implicit);
        }
        change
    }
}

/// The next change, if one is needed. `caught_up`: members without a vote that have all but the last entries.
pub(crate) fn next_change(membership: &Membership, conf: &ConfState, caught_up: &[NodeId]) -> Option<Change> {
    if !conf.voters_outgoing.is_empty() {
        // One is under way.
        return None;
    }
    let id = |node: &u64| u32::try_from(*node).map(NodeId).ok();
    let voters: BTreeSet<NodeId> = conf.voters.iter().filter_map(id).collect();
    let learners: BTreeSet<NodeId> = conf.learners.iter().filter_map(id).collect();
    let masters = membership.nodes.values().filter(|node| node.roles.master && node.state != NodeState::Removed);
    let wanted: BTreeSet<NodeId> = masters.map(|node| node.id).collect();
    let gone: Vec<NodeId> = voters.union(&learners).filter(|node| !wanted.contains(node)).copied().collect();
    if !gone.is_empty() {
        return Some(Change::Remove(gone));
    }
    let new = wanted.iter().find(|node| !voters.contains(node) && !learners.contains(node));
    if let Some(new) = new {
        return Some(Change::Follow(vec![*new]));
    }
    let missing = VOTERS_WANTED.saturating_sub(voters.len());
    // From an odd number to the next: two at once. From an even one, as a removal may leave it: one.
    let step = if voters.len() % 2 == 1 { 2 } else { 1 };
    if missing < step || caught_up.len() < step {
        return None;
    }
    Some(Change::Vote(caught_up[..step].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::ids::{BootCount, ClusterId, Generation};
    use cairn_common::membership::{Node, Roles};
    use std::collections::BTreeMap;

    fn membership(masters: &[(u32, NodeState)]) -> Membership {
        let node = |(id, state): &(u32, NodeState)| Node {
            id: NodeId(*id),
            name: format!("n{id}"),
            zone: "z".to_owned(),
            weight: 1,
            address: String::new(),
            roles: Roles { master: *id < 100, chunkserver: true, gateway: true },
            state: *state,
            boot: BootCount(1),
            served_boot: BootCount(1),
            volumes: BTreeMap::new(),
        };
        Membership {
            cluster: ClusterId([0; 16]),
            generation: Generation(1),
            revision: 1,
            nodes: masters.iter().map(|master| (NodeId(master.0), node(master))).collect(),
            rings: Vec::new(),
            replicas: 1,
            replicas_rise: false,
        }
    }

    fn conf(voters: &[u64], learners: &[u64]) -> ConfState {
        ConfState { voters: voters.to_vec(), learners: learners.to_vec(), ..ConfState::default() }
    }

    const LIVE: NodeState = NodeState::Live;

    #[test]
    fn masters_follow_one_by_one_and_vote_in_pairs() {
        let three = membership(&[(1, LIVE), (2, LIVE), (3, NodeState::Joining), (100, LIVE)]);
        let next = |voters: &[u64], learners: &[u64], caught_up: &[u32]| {
            next_change(&three, &conf(voters, learners), &caught_up.iter().copied().map(NodeId).collect::<Vec<_>>())
        };
        assert_eq!(next(&[1], &[], &[]), Some(Change::Follow(vec![NodeId(2)])));
        assert_eq!(next(&[1], &[2], &[2]), Some(Change::Follow(vec![NodeId(3)])));
        assert_eq!(next(&[1], &[2, 3], &[2]), None);
        assert_eq!(next(&[1], &[2, 3], &[2, 3]), Some(Change::Vote(vec![NodeId(2), NodeId(3)])));
        assert_eq!(next(&[1, 2, 3], &[], &[]), None);
    }

    #[test]
    fn no_more_vote_than_are_wanted() {
        let five = membership(&[(1, LIVE), (2, LIVE), (3, LIVE), (4, LIVE), (5, LIVE)]);
        let caught_up = [NodeId(4), NodeId(5)];
        assert_eq!(next_change(&five, &conf(&[1, 2, 3], &[4, 5]), &caught_up), None);
        assert_eq!(next_change(&five, &conf(&[1, 2], &[3, 4, 5]), &caught_up), Some(Change::Vote(vec![NodeId(4)])));
    }

    #[test]
    fn removed_masters_leave_the_group_and_a_change_under_way_is_waited_for() {
        let two = membership(&[(1, LIVE), (2, NodeState::Removed)]);
        assert_eq!(next_change(&two, &conf(&[1, 2], &[]), &[]), Some(Change::Remove(vec![NodeId(2)])));
        let joint = ConfState { voters_outgoing: vec![1], ..conf(&[1, 2, 3], &[]) };
        assert_eq!(next_change(&two, &joint, &[]), None);
    }

    #[test]
    fn two_changes_at_once_go_through_joint_consensus() {
        let both = Change::Vote(vec![NodeId(2), NodeId(3)]).to_raft();
        assert_eq!((both.changes.len(), both.get_transition()), (2, ConfChangeTransition::Implicit));
        assert_eq!(Change::Follow(vec![NodeId(2)]).to_raft().get_transition(), ConfChangeTransition::Auto);
    }
}
