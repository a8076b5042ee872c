//! Bringing a state back from a backup, when every master is lost: a new generation of the cluster, with one master.
//!
//! The world has moved on since the backup was made. So everything that only grows goes on far above where it was: stamps,
//! the revision of the membership, the ring's epoch, the runs of nodes, and the numbers of nodes. Whatever was given out in
//! between and is lost with the masters is never given out again for something else. Nothing that chunkservers hold is removed
//! until a person has looked: collection is paused.

use crate::machine::{FIRST, members_of_one};
use crate::peers::batch_of_page;
use crate::state::Members;
use crate::store::key::{
    ClockKey, CollectionKey, MembershipKey, MembershipStampKey, RaftMembersKey, Record, RowKey, TotalsKey,
};
use crate::store::{MetaStore, MetaView, Position, RocksMemory, StoreError, WriteBatch};
use crate::stores;
use cairn_common::backup::{BackupError, Header, Reader};
use cairn_common::ids::{BootCount, Epoch, Generation, NodeId, Stamp, VolumeId};
use cairn_common::limits::EPOCHS_KEPT_MAX;
use cairn_common::membership::{Membership, Node, NodeState, Roles};
use cairn_common::seam::{Disk, seeded_bug};
use cairn_common::wire::DecodeError;
use std::collections::BTreeMap;
use std::path::Path;

/// How much later stamps go on.
const STAMPS: u64 = 1 << 40;
/// How much higher the membership's revision and the ring's epoch go on.
const CHANGES: u64 = 1 << 20;
/// How much higher the runs of nodes and their numbers go on.
const RUNS: u32 = 1 << 16;
const NODES: u32 = 1 << 12;

const CACHE_BYTES: usize = 16 << 20;
const BUFFER_BYTES: usize = 16 << 20;

/// A state could not be brought back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A page of it cannot be read.
    #[error("a page of the backup cannot be read: {0}")]
    Page(#[from] DecodeError),
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is something already.
    #[error("{0} holds a master\'s state already; restore into an empty folder, or move that one away")]
    NotEmpty(String),
    /// The node joined after the backup was made.
    #[error("the backup does not know node {0}, whose identity this folder holds: restore into an empty folder")]
    UnknownNode(NodeId),
    /// It lacks what every state has.
    #[error("the backup holds no cluster")]
    NoCluster,
}

/// The master that a state is brought back for.
#[derive(Clone, Debug)]
pub enum RestoredMaster {
    /// A node of the cluster, with the disks and the identity that it had.
    Known(NodeId),
    /// A new node.
    New {
        /// Its name.
        name: String,
        /// Where it is reached; it says so itself when it starts.
        address: String,
    },
}

/// What was brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The node that is the master now.
    pub node: NodeId,
    /// The generation that has begun.
    pub generation: Generation,
    /// No command that is in the state has a later stamp.
    pub stamp: Stamp,
}

/// Makes a master's folder from a backup. Durable on return; a folder that was only begun has no state that counts. Blocks.
pub fn restore(
    folder: &Path,
    disk: &dyn Disk,
    backup: &Reader,
    master: &RestoredMaster,
) -> Result<Restored, RestoreError> {
    let memory = RocksMemory::new(CACHE_BYTES, BUFFER_BYTES);
    let made = stores::make_first(folder, disk, &memory, |store| {
        let nowhere = Position::default();
        backup.pages::<RestoreError>(|page| Ok(store.write(&batch_of_page(page)?, &nowhere)?))?;
        let (batch, restored) = begin_generation(store, &backup.header, master)?;
        store.write(&batch, &nowhere.after(FIRST.0, FIRST.1, restored.stamp, &batch))?;
        Ok::<Restored, RestoreError>(restored)
    })?;
    made.ok_or_else(|| RestoreError::NotEmpty(folder.display().to_string()))
}

/// What the new generation changes in the rows of the old one.
fn begin_generation(
    view: &dyn MetaView,
    header: &Header,
    master: &RestoredMaster,
) -> Result<(WriteBatch, Restored), RestoreError> {
    let mut membership = view.row(&MembershipKey)?.ok_or(RestoreError::NoCluster)?;
    let clock = view.row(&ClockKey)?.unwrap_or(Stamp::ZERO).max(header.stamp);
    let gap = if seeded_bug("restore-without-gap") { 0 } else { STAMPS };
    let stamp = Stamp(clock.0.saturating_add(gap)).max(Stamp::from_ms(header.made_ms));
    membership.generation = Generation(membership.generation.0 + 1);
    membership.revision += CHANGES;
    let node = take_over(&mut membership, master)?;
    move_on(&mut membership);
    let mut collection = view.row(&CollectionKey)?.unwrap_or_default();
    collection.paused = true;
    let mut totals = view.row(&TotalsKey)?.unwrap_or_default();
    totals.last_volume = VolumeId(totals.last_volume.0.max(stamp.0));
    // Must be readable as a whole, or the master would not start.
    let restored = Restored { node, generation: membership.generation, stamp };
    Members::new(membership.clone(), stamp, None)?;
    let mut batch = WriteBatch::new();
    put(&mut batch, &ClockKey, &stamp);
    put(&mut batch, &MembershipKey, &membership);
    put(&mut batch, &MembershipStampKey, &stamp);
    put(&mut batch, &CollectionKey, &collection);
    put(&mut batch, &TotalsKey, &totals);
    put(&mut batch, &RaftMembersKey, &members_of_one(node));
    Ok((batch, restored))
}

fn put<K: RowKey>(batch: &mut WriteBatch, key: &K, row: &K::Row) {
    batch.put(K::TABLE, key.encode(), row.to_bytes(&mut Vec::new()));
}

/// Makes one node the only master. The others are lost: those that were nothing else are removed.
fn take_over(membership: &mut Membership, master: &RestoredMaster) -> Result<NodeId, RestoreError> {
    for node in membership.nodes.values_mut().filter(|node| node.roles.master) {
        node.roles.master = false;
        if !node.roles.chunkserver && !node.roles.gateway {
            node.state = NodeState::Removed;
        }
    }
    // Nodes may have joined since: their numbers are not given out again.
    let next = NodeId(membership.nodes.last_key_value().map_or(1, |(last, _)| last.0) + NODES);
    let only_master = Roles { master: true, chunkserver: false, gateway: false };
    let blank = |name: &str, address: &str, state| Node {
        id: next,
        name: name.to_owned(),
        zone: name.to_owned(),
        weight: 0,
        address: address.to_owned(),
        roles: only_master,
        state,
        boot: BootCount(0),
        served_boot: BootCount(0),
        volumes: BTreeMap::new(),
    };
    match master {
        RestoredMaster::New { name, address } => {
            membership.nodes.insert(next, blank(name, address, NodeState::Joining));
            Ok(next)
        }
        RestoredMaster::Known(id) => {
            let node = membership.nodes.get_mut(id).ok_or(RestoreError::UnknownNode(*id))?;
            node.roles.master = true;
            if node.state == NodeState::Removed {
                node.state = NodeState::Live;
            }
            membership.nodes.insert(next, blank("restored", "", NodeState::Removed));
            Ok(*id)
        }
    }
}

/// Raises what only grows.
fn move_on(membership: &mut Membership) {
    for node in membership.nodes.values_mut() {
        // Disks may have served in runs that the backup does not know: those between the two are taken for known.
        node.boot = BootCount(node.boot.0 + RUNS);
    }
    if let Some(newest) = membership.rings.last() {
        let next = newest.followed_by(Epoch(newest.epoch.0 + CHANGES), newest.members.clone());
        membership.rings.push(next);
        let over = membership.rings.len().saturating_sub(EPOCHS_KEPT_MAX + 1);
        membership.rings.drain(..over);
    }
}

#[cfg(test)]
mod tests;
