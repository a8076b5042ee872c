//! What a chunkserver is told and given.

use crate::store::index::Indexes;
use crate::upkeep::UpkeepSettings;
use cairn_common::auth::NodeKey;
use cairn_common::ids::{ClusterId, Generation, KeyId, NodeId};
use cairn_common::seam::{Clock, Disk, Pool, Random, Transport};
use std::path::PathBuf;
use std::sync::Arc;

/// Who the node is, from when it joined.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The generation of it.
    pub generation: Generation,
    /// Its id.
    pub node: NodeId,
    /// Its key.
    pub key: NodeKey,
    /// Which generation of keys that is.
    pub key_id: KeyId,
}

/// Settings of a chunkserver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its disks.
    pub disks: Vec<DiskConfig>,
    /// Base URL under which other nodes and clients reach it.
    pub address: String,
    /// Its failure domain.
    pub zone: String,
    /// Its capacity in GiB: its weight in the ring.
    pub weight: u32,
    /// Size of packs; `None`: as the volume's size suggests.
    pub pack_bytes: Option<u32>,
    /// Bytes of packs that a start may have to read again; `None`: the default.
    pub index_lag_bytes: Option<u64>,
    /// How upkeep goes.
    pub upkeep: UpkeepSettings,
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// Its folder.
    pub path: PathBuf,
    /// Bytes that may be used; `None`: all of the file system.
    pub capacity_bytes: Option<u64>,
}

/// The real world, or a simulated one.
#[derive(Clone)]
pub struct Seams {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// The network, on which other chunkservers are reached.
    pub transport: Arc<dyn Transport>,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// Opens the indexes of volumes.
    pub indexes: Arc<dyn Indexes>,
    /// For work that blocks on disks.
    pub reading: Pool,
    /// For hashing.
    pub computing: Pool,
}
