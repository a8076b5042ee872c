//! Who is in the cluster: nodes, their volumes, and the rings that place chunks on them. Changed by log entries only.

use crate::ids::{BootCount, ClusterId, Epoch, Generation, NodeId, VolumeId};
use crate::ring::RingSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Roles {
    /// Votes or learns in the masters' group.
    pub master: bool,
    /// Holds chunks.
    pub chunkserver: bool,
    /// Serves S3 and the HTTP API.
    pub gateway: bool,
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeState {
    /// Admitted, has not served yet; in no ring.
    Joining,
    /// In the ring.
    Live,
    /// Out of the newest ring; its chunks are being offered to others.
    Draining,
    /// Gone. Its id is never used again.
    Removed,
}

/// Where a volume stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VolumeState {
    /// In service; its receipts count.
    Live,
    /// Taken out for ever, for instance after an fsync error (P6).
    Retired,
}

/// One disk of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Whether it counts.
    pub state: VolumeState,
    /// How its node calls it (the last part of its path), for people.
    pub label: String,
}

/// A process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its name, for people; unique among nodes that are not removed.
    pub name: String,
    /// Its failure domain.
    pub zone: String,
    /// Configured capacity, in GiB, which is its weight in the ring.
    pub weight: u32,
    /// Base URL under which other nodes and clients reach it.
    pub address: String,
    /// What it does.
    pub roles: Roles,
    /// Where it stands.
    pub state: NodeState,
    /// Its current run: receipts of earlier runs do not count. Granted by `Boot`.
    pub boot: BootCount,
    /// The last run that began to serve, confirmed by `Serve` after the count was stored on every disk.
    pub served_boot: BootCount,
    /// Its disks.
    pub volumes: BTreeMap<VolumeId, Volume>,
}

/// The cluster as its nodes and clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Which generation of it.
    pub generation: Generation,
    /// Grows with every change of anything here, also where no ring changes.
    pub revision: u64,
    /// Nodes that were ever admitted.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Rings that readers use, oldest first; writers use the last. Never empty once a chunkserver serves.
    pub rings: Vec<RingSpec>,
    /// Copies of buckets that ask for no number of their own.
    pub replicas: u8,
    /// Whether `replicas` rises by itself to 3 when three chunkservers are there.
    pub replicas_rise: bool,
    /// Masters that vote, where there are so many: 1, 3 or 5.
    pub voters: u8,
}

impl Membership {
    /// The ring that writers use.
    pub fn ring(&self) -> Option<&RingSpec> {
        self.rings.last()
    }

    /// The number of the newest ring.
    pub fn epoch(&self) -> Epoch {
        self.ring().map_or(Epoch(0), |ring| ring.epoch)
    }

    /// Whether a volume's receipts of run `boot` count.
    pub fn volume_is_live(&self, node: NodeId, volume: VolumeId, boot: BootCount) -> bool {
        self.nodes.get(&node).is_some_and(|node| {
            node.boot == boot
                && node.state != NodeState::Removed
                && node.volumes.get(&volume).is_some_and(|volume| volume.state == VolumeState::Live)
        })
    }
}
