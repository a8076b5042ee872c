//! A node starts: what makes a clone, an old image, and a disk of another life harmless.
//!
//! In two steps. `Boot` raises the count of the node's runs, before anything else: from then on no receipt of an earlier run
//! counts. The node stores the count on every disk. `Serve` confirms that, and only then the ring may name the node. A disk
//! whose count is behind the last run that served missed a run: it is a copy taken before, or was away meanwhile, and is refused
//! under its identity. Counts between the two are fine: a node may die between them any number of times.

use super::{check_address, check_text, find_node, write};
use crate::state::ring;
use crate::state::tx::{Step, Tx};
use crate::store::StoreError;
use crate::store::key::{FreshVolumesKey, TotalsKey};
use cairn_common::ids::{BootCount, NodeId, VolumeId};
use cairn_common::limits::VOLUMES_MAX;
use cairn_common::membership::{Node, NodeState, Volume, VolumeState};
use cairn_common::wire::command::{Done, Refusal};

/// A node that starts.
pub(in crate::state) struct Booting<'a> {
    pub(in crate::state) node: NodeId,
    pub(in crate::state) address: &'a str,
    pub(in crate::state) weight: u32,
    pub(in crate::state) zone: &'a str,
    pub(in crate::state) volumes: &'a [(VolumeId, BootCount)],
    pub(in crate::state) new_disks: &'a [String],
}

pub(in crate::state) fn boot(tx: &mut Tx<'_>, booting: &Booting<'_>) -> Step<Done> {
    check_text(booting.zone)?;
    for label in booting.new_disks {
        check_text(label)?;
    }
    let mut membership = tx.members().membership.clone();
    let node = find_node(&mut membership, booting.node)?;
    check_address(node.roles, booting.address)?;
    for (volume, stored) in booting.volumes {
        check_volume(node, *volume, *stored)?;
    }
    forget_unused(tx, node, booting)?;
    let live = node.volumes.values().filter(|volume| volume.state == VolumeState::Live).count();
    if live + booting.new_disks.len() > VOLUMES_MAX {
        return Err(Refusal::Invalid(format!("a node has at most {VOLUMES_MAX} disks")).into());
    }
    let new_volumes = admit_disks(tx, node, booting.new_disks)?;
    node.boot = BootCount(node.boot.0 + 1);
    node.address = booting.address.to_owned();
    node.weight = booting.weight;
    node.zone = booting.zone.to_owned();
    let boot = node.boot;
    write(tx, membership)?;
    Ok(Done::Boot { boot, new_volumes, stamp: tx.stamp() })
}

/// Whether a disk is in service and its last run is one that it can have seen.
fn check_volume(node: &Node, volume: VolumeId, stored: BootCount) -> Result<(), Refusal> {
    if node.volumes.get(&volume).is_none_or(|found| found.state != VolumeState::Live) {
        return Err(Refusal::NoSuchVolume { node: node.id, volume });
    }
    if (node.served_boot..=node.boot).contains(&stored) {
        Ok(())
    } else {
        Err(Refusal::StaleVolume { volume, stored, current: node.served_boot })
    }
}

/// Takes back identities that the node was given in a start that never served, and does not come with: it died before it
/// stored them. Nothing was ever written under them.
fn forget_unused(tx: &mut Tx<'_>, node: &mut Node, booting: &Booting<'_>) -> Result<(), StoreError> {
    let key = FreshVolumesKey(node.id);
    let Some(fresh) = tx.get(&key)? else { return Ok(()) };
    let (kept, unused): (Vec<VolumeId>, Vec<VolumeId>) =
        fresh.into_iter().partition(|fresh| booting.volumes.iter().any(|(volume, _)| volume == fresh));
    for volume in unused {
        node.volumes.remove(&volume);
    }
    tx.put(&key, &kept);
    Ok(())
}

/// Gives new disks their identities.
fn admit_disks(tx: &mut Tx<'_>, node: &mut Node, labels: &[String]) -> Result<Vec<VolumeId>, StoreError> {
    let last = tx.get(&TotalsKey)?.unwrap_or_default().last_volume;
    // The stamp, or the next number where several are given out at one stamp: never one that was given out before.
    let first = tx.stamp().0.max(last.0 + 1);
    let new: Vec<VolumeId> = (first..).map(VolumeId).take(labels.len()).collect();
    let Some(newest) = new.last().copied() else { return Ok(new) };
    for (volume, label) in new.iter().zip(labels) {
        node.volumes.insert(*volume, Volume { state: VolumeState::Live, label: label.clone() });
    }
    let key = FreshVolumesKey(node.id);
    let mut fresh = tx.get(&key)?.unwrap_or_default();
    fresh.extend(&new);
    tx.put(&key, &fresh);
    tx.totals(|totals| totals.last_volume = newest)?;
    Ok(new)
}

/// The node stored its count on every disk: it is in the cluster from here on.
pub(in crate::state) fn serve(tx: &mut Tx<'_>, id: NodeId, boot: BootCount) -> Step<Done> {
    let mut membership = tx.members().membership.clone();
    let node = find_node(&mut membership, id)?;
    if node.boot != boot || boot == BootCount(0) {
        return Err(Refusal::StaleBoot { node: id, boot }.into());
    }
    node.served_boot = boot;
    if node.state == NodeState::Joining {
        node.state = NodeState::Live;
    }
    tx.delete(&FreshVolumesKey(id));
    // Without room for another ring the node serves all the same; its ring is made when an older one is retired.
    ring::renew(tx, &mut membership)?;
    ring::raise_replicas(&mut membership);
    if membership != tx.members().membership {
        write(tx, membership)?;
    }
    Ok(Done::Nothing)
}
