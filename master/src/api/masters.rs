//! The masters' group, for those who look after the cluster. Only its leader knows how far the others are.

use crate::members;
use crate::server::MasterServer;
use cairn_common::ids::NodeId;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::{MasterError, MasterMember, MasterReply, MasterRole, MastersStatus};
use std::collections::BTreeSet;

impl MasterServer {
    /// The group as this master sees it, which must lead.
    pub(super) fn masters(&self) -> Result<MasterReply, MasterError> {
        self.must_lead()?;
        let (members, group, status) = (self.members()?, self.group_members(), self.status());
        let nodes = &members.membership.nodes;
        let in_group = group.progress.iter().map(|member| member.node);
        let wanted = nodes.values().filter(|node| node.roles.master).map(|node| node.id);
        let all: BTreeSet<NodeId> = in_group.chain(wanted).collect();
        let member = |node: NodeId| {
            let progress = group.progress.iter().find(|member| member.node == node);
            let known = nodes.get(&node);
            let votes = group.conf.voters.contains(&u64::from(node.0));
            MasterMember {
                node,
                name: known.map(|node| node.name.clone()).unwrap_or_default(),
                address: known.map(|node| node.address.clone()).unwrap_or_default(),
                role: match progress {
                    None => MasterRole::Waiting,
                    Some(_) if node == self.node => MasterRole::Leader,
                    Some(_) if votes => MasterRole::Voter,
                    Some(_) => MasterRole::Learner,
                },
                matched: progress.map_or(0, |progress| progress.matched),
                active: progress.is_some_and(|progress| progress.active),
            }
        };
        let is_removed = |node: &NodeId| {
            let state = nodes.get(node).map(|node| node.state);
            let is_member = group.progress.iter().any(|member| member.node == *node);
            state == Some(cairn_common::membership::NodeState::Removed) && !is_member
        };
        Ok(MasterReply::Masters(Box::new(MastersStatus {
            leader: self.node,
            term: status.term,
            voters_wanted: members.membership.voters,
            last: group.last,
            settled: members::is_settled(&members.membership, &group.conf, self.node),
            members: all.into_iter().filter(|node| !is_removed(node)).map(member).collect(),
        })))
    }

    /// What needs a person, one line each.
    pub(super) fn alarms(&self) -> Vec<String> {
        let divergence = self.divergence().map(|found| found.as_ref().clone());
        self.watch.alarms().into_iter().chain(divergence).chain(self.time.alarm()).collect()
    }

    /// Asks a member that votes to lead.
    pub(super) fn hand_over(&self, to: NodeId) -> Result<MasterReply, MasterError> {
        let before = self.masters()?;
        if !self.group_members().conf.voters.contains(&u64::from(to.0)) {
            return Err(Refusal::Invalid(format!("node {to} does not vote in the masters' group")).into());
        }
        if to != self.node {
            self.transfer_leader(to)?;
        }
        Ok(before)
    }

    pub(super) fn must_lead(&self) -> Result<(), MasterError> {
        let status = self.status();
        if status.leading {
            return Ok(());
        }
        let members = self.members()?;
        let leader = status.leader.and_then(|leader| members.membership.nodes.get(&leader));
        Err(MasterError::NotLeader { leader: leader.map(|node| node.address.clone()) })
    }
}
