//! Who this process is: kept in its data folder, got from a join, or made with a new cluster.

use anyhow::{Context as _, bail};
use cairn_common::auth::{NodeKey, Secret};
use cairn_common::ids::{ClusterId, Generation, NodeId};
use cairn_common::seam::{Disk, OpenMode};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Identity of a node.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) cluster: ClusterId,
    pub(super) generation: Generation,
    pub(super) node: NodeId,
    pub(super) key: NodeKey,
}

/// The identity as it is stored, in `node.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u8,
    cluster: String,
    generation: u32,
    node: u32,
    key: String,
}

const FORMAT: u8 = 1;

/// The data folder of a process, held against every other process while this lives.
pub(super) struct DataFolder {
    path: PathBuf,
    _lock: Box<dyn cairn_common::seam::DiskFile>,
}

impl DataFolder {
    /// Makes the folder if it is not there, and takes it.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> anyhow::Result<DataFolder> {
        let shown = path.display();
        disk.create_dir_all(path).with_context(|| format!("cannot make {shown}"))?;
        let lock = path.join("lock");
        let mode = if disk.exists(&lock)? { OpenMode::Write } else { OpenMode::CreateNew };
        let lock = disk.open(&lock, mode).with_context(|| format!("cannot open {}", lock.display()))?;
        if lock.lock().is_err() {
            bail!("{shown} is in use by another cairn process; stop that one first, or use another folder");
        }
        Ok(DataFolder { path: path.to_owned(), _lock: lock })
    }

    /// Where something of this folder is.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The identity that is stored here, if there is one.
    pub(super) fn identity(&self, disk: &dyn Disk) -> anyhow::Result<Option<Identity>> {
        let path = self.file("node.json");
        if !disk.exists(&path)? {
            return Ok(None);
        }
        let help = || format!("{} cannot be read; restore it from a copy, or let this node join anew", path.display());
        let stored: Stored = serde_json::from_slice(&disk.read(&path).with_context(help)?).with_context(help)?;
        if stored.format != FORMAT {
            bail!("{} has format {}; this release knows {FORMAT}", path.display(), stored.format);
        }
        let mut key = [0; 32];
        hex::decode_to_slice(&stored.key, &mut key).with_context(help)?;
        Ok(Some(Identity {
            cluster: stored.cluster.parse().with_context(help)?,
            generation: Generation(stored.generation),
            node: NodeId(stored.node),
            key: NodeKey::new(Secret::new(key)),
        }))
    }

    /// Stores an identity. Durable on return.
    pub(super) fn store_identity(&self, disk: &dyn Disk, identity: &Identity) -> anyhow::Result<()> {
        let stored = Stored {
            format: FORMAT,
            cluster: identity.cluster.to_string(),
            generation: identity.generation.0,
            node: identity.node.0,
            key: hex::encode(identity.key.expose()),
        };
        let path = self.file("node.json");
        disk.replace(&path, &serde_json::to_vec_pretty(&stored)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::seam::RealDisk;

    #[test]
    fn an_identity_survives_and_its_folder_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(&RealDisk, folder.path()).unwrap();
        assert!(data.identity(&RealDisk).unwrap().is_none());
        let identity = Identity {
            cluster: ClusterId([3; 16]),
            generation: Generation(1),
            node: NodeId(7),
            key: NodeKey::new(Secret::new([9; 32])),
        };
        data.store_identity(&RealDisk, &identity).unwrap();
        let read = data.identity(&RealDisk).unwrap().unwrap();
        assert_eq!((read.cluster, read.node), (identity.cluster, identity.node));
        assert_eq!(read.key.expose(), identity.key.expose());
        assert!(DataFolder::open(&RealDisk, folder.path()).err().unwrap().to_string().contains("in use"));
        drop(data);
        DataFolder::open(&RealDisk, folder.path()).unwrap();
    }

    #[test]
    fn a_damaged_identity_is_an_error_and_not_a_new_node() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(&RealDisk, folder.path()).unwrap();
        RealDisk.replace(&data.file("node.json"), b"{\"format\":1").unwrap();
        assert!(data.identity(&RealDisk).is_err());
    }
}
