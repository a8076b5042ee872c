//! Who should be in the masters' group, from who is in the cluster: pure, one step at a time.
//!
//! Every node with the master role follows. Votes come in odd numbers: a group of two would be worse than one, since either's loss
//! stops it. So two members get their votes together, or lose them together, by joint consensus (Raft dissertation, 4.3). A
//! leader is never taken out: it hands over first, so that the group does not wait for an election.

use crate::raft::GroupMembers;
use cairn_common::ids::NodeId;
use cairn_common::membership::{Membership, NodeState};
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};
use std::collections::BTreeSet;

/// A change of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These follow from now on, without a vote.
    Follow(Vec<NodeId>),
    /// These vote from now on.
    Vote(Vec<NodeId>),
    /// These go on following and vote no more.
    Unvote(Vec<NodeId>),
    /// These are no members any more.
    Remove(Vec<NodeId>),
}

impl Change {
    pub(crate) fn to_raft(&self) -> ConfChangeV2 {
        let (kind, nodes) = match self {
            Change::Follow(nodes) | Change::Unvote(nodes) => (ConfChangeType::AddLearnerNode, nodes),
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

/// What the leader does next to bring the group to what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It proposes this change.
    Change(Change),
    /// It is to go itself, and hands over to this member.
    HandOver(NodeId),
}

/// A group as the one who looks sees it.
pub(crate) struct Group<'a> {
    pub(crate) conf: &'a ConfState,
    /// Members without a vote that have all but the last entries.
    pub(crate) caught_up: &'a [NodeId],
    /// Members that were heard from lately.
    pub(crate) active: &'a BTreeSet<NodeId>,
    /// Who looks, if it leads.
    pub(crate) leader: Option<NodeId>,
}

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().filter_map(|id| u32::try_from(*id).map(NodeId).ok()).collect()
}

/// The nodes that should be in the group.
fn masters(membership: &Membership) -> BTreeSet<NodeId> {
    let masters = membership.nodes.values().filter(|node| node.roles.master && node.state != NodeState::Removed);
    masters.map(|node| node.id).collect()
}

/// The next step, if one is needed and can be taken.
pub(crate) fn next_step(membership: &Membership, group: &Group<'_>) -> Option<Step> {
    if !group.conf.voters_outgoing.is_empty() {
        // A change is under way.
        return None;
    }
    let (voters, learners) = (ids(&group.conf.voters), ids(&group.conf.learners));
    let wanted = masters(membership);
    let gone: Vec<NodeId> = voters.union(&learners).filter(|node| !wanted.contains(node)).copied().collect();
    // A change may take the vote of who became the leader meanwhile, or take it out. All it should do is hand over.
    if group.leader.is_some_and(|leader| !voters.contains(&leader)) {
        return voters.iter().find(|node| group.active.contains(node)).map(|heir| Step::HandOver(*heir));
    }
    // All at once, but the leader last.
    let others: Vec<NodeId> = gone.iter().filter(|node| group.leader != Some(**node)).copied().collect();
    if !others.is_empty() {
        return Some(Step::Change(Change::Remove(others)));
    }
    let new = wanted.iter().find(|node| !voters.contains(node) && !learners.contains(node));
    if let Some(new) = new {
        return Some(Step::Change(Change::Follow(vec![*new])));
    }
    if !gone.is_empty() {
        return leave(&gone, &voters, group);
    }
    let votes = usize::from(membership.voters);
    // From an odd number to the next: two at once. From an even one, as a removal may leave it: one.
    let step = if voters.len() % 2 == 1 { 2 } else { 1 };
    if voters.len() > votes {
        return Some(Step::Change(Change::Unvote(least_needed(&voters, group, step))));
    }
    if votes - voters.len() < step || group.caught_up.len() < step {
        return None;
    }
    Some(Step::Change(Change::Vote(group.caught_up[..step].to_vec())))
}

/// The leader is to go: somebody else who votes takes over.
fn leave(gone: &[NodeId], voters: &BTreeSet<NodeId>, group: &Group<'_>) -> Option<Step> {
    let stays = |node: &&NodeId| !gone.contains(node);
    match voters.iter().filter(stays).find(|node| group.active.contains(node)) {
        Some(heir) => Some(Step::HandOver(*heir)),
        // Nobody else may vote yet: one gets a vote first.
        None if !voters.iter().any(|node| !gone.contains(node)) => {
            group.caught_up.first().map(|heir| Step::Change(Change::Vote(vec![*heir])))
        }
        None => None,
    }
}

/// Voters that are needed least: those that do not answer, then the newest; never the leader.
fn least_needed(voters: &BTreeSet<NodeId>, group: &Group<'_>, count: usize) -> Vec<NodeId> {
    let mut candidates: Vec<NodeId> = voters.iter().filter(|node| group.leader != Some(**node)).copied().collect();
    candidates.sort_by_key(|node| (group.active.contains(node), std::cmp::Reverse(*node)));
    candidates.truncate(count);
    candidates
}

/// The next step of the member that leads, from what it knows.
pub(crate) fn next_step_of_leader(membership: &Membership, members: &GroupMembers, own: NodeId) -> Option<Step> {
    let caught_up = members.caught_up();
    let active = members.progress.iter().filter(|member| member.active).map(|member| member.node).collect();
    next_step(membership, &Group { conf: &members.conf, caught_up: &caught_up, active: &active, leader: Some(own) })
}

/// Whether a group with these members is what the membership asks for, but for members that are catching up.
pub(crate) fn is_settled(membership: &Membership, conf: &ConfState, own: NodeId) -> bool {
    let (voters, learners) = (ids(&conf.voters), ids(&conf.learners));
    let caught_up: Vec<NodeId> = learners.iter().copied().collect();
    let group = Group { conf, caught_up: &caught_up, active: &voters, leader: None };
    let is_member = voters.contains(&own) || learners.contains(&own);
    is_member && conf.voters_outgoing.is_empty() && next_step(membership, &group).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::ids::{BootCount, ClusterId, Generation};
    use cairn_common::membership::{Node, Roles};
    use std::collections::BTreeMap;

    fn membership(voters: u8, masters: &[(u32, NodeState)]) -> Membership {
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
            voters,
        }
    }

    fn live(voters: u8, masters: &[u32]) -> Membership {
        membership(voters, &masters.iter().map(|id| (*id, NodeState::Live)).collect::<Vec<_>>())
    }

    fn conf(voters: &[u64], learners: &[u64]) -> ConfState {
        ConfState { voters: voters.to_vec(), learners: learners.to_vec(), ..ConfState::default() }
    }

    fn nodes(nodes: &[u32]) -> Vec<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    /// The step of leader 1, who hears all voters.
    fn next(membership: &Membership, conf: &ConfState, caught_up: &[u32]) -> Option<Step> {
        let active = ids(&conf.voters);
        next_step(membership, &Group { conf, caught_up: &nodes(caught_up), active: &active, leader: Some(NodeId(1)) })
    }

    fn change(change: fn(Vec<NodeId>) -> Change, of: &[u32]) -> Option<Step> {
        Some(Step::Change(change(nodes(of))))
    }

    #[test]
    fn masters_follow_one_by_one_and_vote_in_pairs() {
        let live = NodeState::Live;
        let three = membership(3, &[(1, live), (2, live), (3, NodeState::Joining), (100, live)]);
        assert_eq!(next(&three, &conf(&[1], &[]), &[]), change(Change::Follow, &[2]));
        assert_eq!(next(&three, &conf(&[1], &[2]), &[2]), change(Change::Follow, &[3]));
        assert_eq!(next(&three, &conf(&[1], &[2, 3]), &[2]), None);
        assert_eq!(next(&three, &conf(&[1], &[2, 3]), &[2, 3]), change(Change::Vote, &[2, 3]));
        assert_eq!(next(&three, &conf(&[1, 2, 3], &[]), &[]), None);
    }

    #[test]
    fn no_more_vote_than_are_wanted() {
        let five = live(3, &[1, 2, 3, 4, 5]);
        assert_eq!(next(&five, &conf(&[1, 2, 3], &[4, 5]), &[4, 5]), None);
        assert_eq!(next(&five, &conf(&[1, 2], &[3, 4, 5]), &[4, 5]), change(Change::Vote, &[4]));
    }

    #[test]
    fn votes_are_given_and_taken_when_another_number_is_wanted() {
        let all = [1, 2, 3, 4, 5];
        assert_eq!(next(&live(5, &all), &conf(&[1, 2, 3], &[4, 5]), &[4, 5]), change(Change::Vote, &[4, 5]));
        assert_eq!(next(&live(3, &all), &conf(&[1, 2, 3, 4, 5], &[]), &[]), change(Change::Unvote, &[5, 4]));
        assert_eq!(next(&live(1, &all[..3]), &conf(&[1, 2, 3], &[]), &[]), change(Change::Unvote, &[3, 2]));
        let (one, group) = (live(1, &all[..3]), conf(&[1, 2, 3], &[]));
        let silent = Group { conf: &group, caught_up: &[], active: &ids(&[3]), leader: Some(NodeId(3)) };
        assert_eq!(next_step(&one, &silent), change(Change::Unvote, &[2, 1]), "the leader keeps its vote");
    }

    #[test]
    fn removed_masters_leave_the_group_and_a_change_under_way_is_waited_for() {
        let two = membership(3, &[(1, NodeState::Live), (2, NodeState::Removed)]);
        assert_eq!(next(&two, &conf(&[1, 2], &[]), &[]), change(Change::Remove, &[2]));
        let joint = ConfState { voters_outgoing: vec![1], ..conf(&[1, 2, 3], &[]) };
        assert_eq!(next(&two, &joint, &[]), None);
    }

    #[test]
    fn a_leader_that_is_to_go_goes_last_and_hands_over() {
        let without_one = live(3, &[2, 3]);
        assert_eq!(next(&without_one, &conf(&[1, 2, 3, 4], &[]), &[]), change(Change::Remove, &[4]));
        assert_eq!(next(&without_one, &conf(&[1, 2, 3], &[]), &[]), Some(Step::HandOver(NodeId(2))));
        assert_eq!(next(&without_one, &conf(&[1], &[]), &[]), change(Change::Follow, &[2]));
        assert_eq!(next(&without_one, &conf(&[1], &[2, 3]), &[3]), change(Change::Vote, &[3]));
        assert_eq!(next(&without_one, &conf(&[2, 3], &[]), &[]), Some(Step::HandOver(NodeId(2))), "it is out already");
        assert_eq!(next(&without_one, &conf(&[4], &[1, 2]), &[]), Some(Step::HandOver(NodeId(4))), "it has no vote");
        let group = conf(&[1, 2], &[]);
        let deaf = Group { conf: &group, caught_up: &[], active: &BTreeSet::new(), leader: Some(NodeId(1)) };
        assert_eq!(next_step(&live(3, &[2]), &deaf), None, "nobody is there to take over");
    }

    #[test]
    fn a_group_is_settled_when_nothing_but_catching_up_is_left() {
        let three = live(3, &[1, 2, 3]);
        assert!(is_settled(&three, &conf(&[1, 2, 3], &[]), NodeId(2)));
        assert!(!is_settled(&three, &conf(&[1], &[2, 3]), NodeId(2)), "votes are due");
        assert!(!is_settled(&three, &conf(&[1], &[2]), NodeId(2)), "one is missing");
        assert!(!is_settled(&three, &conf(&[1, 2], &[]), NodeId(3)), "it is not in yet");
        assert!(is_settled(&live(3, &[1, 2]), &conf(&[1], &[2]), NodeId(2)), "two cannot both vote");
        let joint = ConfState { voters_outgoing: vec![1], ..conf(&[1, 2, 3], &[]) };
        assert!(!is_settled(&three, &joint, NodeId(2)));
    }

    #[test]
    fn two_changes_at_once_go_through_joint_consensus() {
        let both = Change::Vote(nodes(&[2, 3])).to_raft();
        assert_eq!((both.changes.len(), both.get_transition()), (2, ConfChangeTransition::Implicit));
        assert_eq!(Change::Follow(nodes(&[2])).to_raft().get_transition(), ConfChangeTransition::Auto);
    }
}
