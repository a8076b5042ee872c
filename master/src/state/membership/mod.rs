//! Who is in the cluster. Starting nodes are in [`boot`], rings in [`ring`](super::ring).
//!
//! Every change writes the whole membership with a higher revision: it is small and changes seldom, and whoever has a revision
//! has all of it.

mod boot;
mod leave;

pub(super) use boot::{Booting, boot, serve};
pub(super) use leave::{drain, remove_node};

use super::tx::{Step, Tx};
use super::{Members, bucket, ring};
use crate::store::StoreError;
use crate::store::key::{JoinTokenKey, JoinTokenRow, MembershipKey, MembershipStampKey};
use cairn_common::ids::{BootCount, ClusterId, Epoch, Generation, NodeId, VolumeId};
use cairn_common::limits::{NODES_MAX, TEXT_MAX_BYTES, VOTERS_DEFAULT};
use cairn_common::membership::{Membership, Node, NodeState, Roles, VolumeState};
use cairn_common::wire::command::{Done, Refusal};
use std::collections::BTreeMap;

/// The first command of a cluster.
pub(super) fn init(tx: &mut Tx<'_>, cluster: ClusterId, replicas: u8, rise: bool) -> Step<Done> {
    if tx.members_if_any().is_some() {
        return Err(Refusal::AlreadyInitialised.into());
    }
    bucket::check_replicas(replicas)?;
    let membership = Membership {
        cluster,
        generation: Generation(1),
        revision: 0,
        nodes: BTreeMap::new(),
        rings: Vec::new(),
        replicas,
        replicas_rise: rise,
        voters: VOTERS_DEFAULT,
    };
    write(tx, membership)?;
    Ok(Done::Nothing)
}

/// Makes a changed membership the current one.
pub(super) fn write(tx: &mut Tx<'_>, mut membership: Membership) -> Result<(), StoreError> {
    membership.revision += 1;
    tx.put(&MembershipKey, &membership);
    tx.put(&MembershipStampKey, &tx.stamp());
    let known = tx.members_if_any();
    let members = Members::new(membership, tx.stamp(), known.as_deref())?;
    tx.set_members(members);
    Ok(())
}

/// A node to be admitted.
pub(super) struct NewNode<'a> {
    pub(super) name: &'a str,
    pub(super) zone: &'a str,
    pub(super) weight: u32,
    pub(super) address: &'a str,
    pub(super) roles: Roles,
}

pub(super) fn add_node(tx: &mut Tx<'_>, new: &NewNode<'_>, join_token: Option<&str>) -> Step<Done> {
    for text in [new.name, new.zone] {
        check_text(text)?;
    }
    check_address(new.roles, new.address)?;
    let mut membership = tx.members().membership.clone();
    let taken = membership.nodes.values().find(|node| node.name == new.name && node.state != NodeState::Removed);
    let token = join_token.map(|id| JoinTokenKey(id.to_owned()));
    let token = match token {
        Some(key) => Some((tx.get(&key)?.filter(|row| row.expires >= tx.stamp()).ok_or(Refusal::BadJoinToken)?, key)),
        None if membership.nodes.is_empty() => None,
        None => return Err(Refusal::BadJoinToken.into()),
    };
    if let Some((JoinTokenRow { used_by: Some(user), .. }, _)) = token {
        // The answer was lost and the same process asks again: it has not started, so nothing else can be meant.
        return match taken {
            Some(node) if node.id == user && node.boot == BootCount(0) => Ok(Done::Node(user)),
            _ => Err(Refusal::BadJoinToken.into()),
        };
    }
    if taken.is_some() {
        return Err(Refusal::NodeExists(new.name.to_owned()).into());
    }
    if membership.nodes.values().filter(|node| node.state != NodeState::Removed).count() >= NODES_MAX {
        return Err(Refusal::Invalid(format!("a cluster has at most {NODES_MAX} nodes")).into());
    }
    // Removed nodes stay in the map, so no id is ever given twice.
    let id = NodeId(membership.nodes.last_key_value().map_or(1, |(last, _)| last.0 + 1));
    if let Some((row, key)) = token {
        tx.put(&key, &JoinTokenRow { used_by: Some(id), ..row });
    }
    let node = Node {
        id,
        name: new.name.to_owned(),
        zone: new.zone.to_owned(),
        weight: new.weight,
        address: new.address.to_owned(),
        roles: new.roles,
        state: NodeState::Joining,
        boot: BootCount(0),
        served_boot: BootCount(0),
        volumes: BTreeMap::new(),
    };
    membership.nodes.insert(id, node);
    write(tx, membership)?;
    Ok(Done::Node(id))
}

/// A node that is not removed.
fn find_node(membership: &mut Membership, id: NodeId) -> Result<&mut Node, Refusal> {
    let node = membership.nodes.get_mut(&id).filter(|node| node.state != NodeState::Removed);
    node.ok_or(Refusal::NoSuchNode(id))
}

fn check_text(text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > TEXT_MAX_BYTES {
        return Err(Refusal::Invalid(format!("names, zones and addresses have 1 to {TEXT_MAX_BYTES} bytes")));
    }
    Ok(())
}

/// Nobody calls a gateway by frames, so it need not say where it is.
fn check_address(roles: Roles, address: &str) -> Result<(), Refusal> {
    if address.is_empty() && !roles.master && !roles.chunkserver { Ok(()) } else { check_text(address) }
}

/// Takes a volume out for ever: its receipts count no more, whatever the disk says later (P6).
pub(super) fn retire_volume(tx: &mut Tx<'_>, node: NodeId, volume: VolumeId) -> Step<Done> {
    let mut membership = tx.members().membership.clone();
    let volumes = &mut find_node(&mut membership, node)?.volumes;
    let found = volumes.get_mut(&volume).ok_or(Refusal::NoSuchVolume { node, volume })?;
    if found.state != VolumeState::Retired {
        found.state = VolumeState::Retired;
        write(tx, membership)?;
    }
    Ok(Done::Nothing)
}

pub(super) fn set_node(tx: &mut Tx<'_>, node: NodeId, weight: Option<u32>, zone: Option<&str>) -> Step<Done> {
    if let Some(zone) = zone {
        check_text(zone)?;
    }
    let mut membership = tx.members().membership.clone();
    let found = find_node(&mut membership, node)?;
    found.weight = weight.unwrap_or(found.weight);
    found.zone = zone.map_or_else(|| found.zone.clone(), str::to_owned);
    if !ring::renew(tx, &mut membership)? {
        return Err(Refusal::TooManyEpochs.into());
    }
    let epoch = membership.epoch();
    if membership != tx.members().membership {
        write(tx, membership)?;
    }
    Ok(Done::Epoch(epoch))
}

/// Forgets rings whose moves are finished, and makes the ring that waited for room, if one did.
pub(super) fn retire_epochs(tx: &mut Tx<'_>, before: Epoch) -> Step<Done> {
    let mut membership = tx.members().membership.clone();
    let newest = membership.epoch();
    membership.rings.retain(|ring| ring.epoch >= before || ring.epoch == newest);
    ring::renew(tx, &mut membership)?;
    if membership != tx.members().membership {
        write(tx, membership)?;
    }
    Ok(Done::Nothing)
}

/// Puts a node into the masters' group, or takes it out. The group follows by itself.
pub(super) fn set_master(tx: &mut Tx<'_>, node: NodeId, master: bool) -> Step<Done> {
    let mut membership = tx.members().membership.clone();
    let found = find_node(&mut membership, node)?;
    if master && found.address.is_empty() {
        return Err(Refusal::Invalid(format!("node {node} has no address under which masters could reach it")).into());
    }
    found.roles.master = master;
    let masters = membership.nodes.values().filter(|node| node.roles.master && node.state != NodeState::Removed);
    if masters.count() == 0 {
        return Err(Refusal::Invalid(format!("node {node} is the last master")).into());
    }
    if membership != tx.members().membership {
        write(tx, membership)?;
    }
    Ok(Done::Nothing)
}

/// Sets how many masters vote.
pub(super) fn set_voters(tx: &mut Tx<'_>, voters: u8) -> Step<Done> {
    if ![1, 3, 5].contains(&voters) {
        return Err(Refusal::Invalid(format!("{voters} voters: 1, 3 or 5 are allowed")).into());
    }
    let mut membership = tx.members().membership.clone();
    membership.voters = voters;
    if membership != tx.members().membership {
        write(tx, membership)?;
    }
    Ok(Done::Nothing)
}

pub(super) fn set_replicas(tx: &mut Tx<'_>, replicas: u8, rise: bool) -> Step<Done> {
    bucket::check_replicas(replicas)?;
    let mut membership = tx.members().membership.clone();
    (membership.replicas, membership.replicas_rise) = (replicas, rise);
    ring::raise_replicas(&mut membership);
    if membership != tx.members().membership {
        write(tx, membership)?;
    }
    Ok(Done::Nothing)
}
