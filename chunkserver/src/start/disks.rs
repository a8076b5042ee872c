//! Looking at the disks before anyone is asked anything.

use super::{Config, DiskConfig, Identity, Seams, StartError};
use crate::store::volume::{FolderError, FolderState, VolumeFolder, VolumeIdentity};
use cairn_common::ids::VolumeId;
use cairn_common::seam::Doubt;
use std::path::PathBuf;
use std::sync::Arc;

/// A disk that is out of service, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its folder.
    pub path: PathBuf,
    /// Its incarnation, if that is known.
    pub volume: Option<VolumeId>,
    /// Why, for people.
    pub reason: String,
    /// Whether the incarnation must never serve again.
    pub(crate) retire: bool,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// A disk that may serve.
pub(super) struct Candidate {
    pub(super) config: DiskConfig,
    pub(super) folder: VolumeFolder,
    /// Who it is; `None`: it is empty and becomes a new volume.
    pub(super) identity: Option<VolumeIdentity>,
}

/// Locks every disk and reads who it is.
pub(super) async fn survey(
    identity: &Identity,
    config: &Config,
    seams: &Seams,
) -> Result<(Vec<Candidate>, Vec<Fault>), StartError> {
    let (mut candidates, mut faults): (Vec<Candidate>, Vec<Fault>) = (Vec::new(), Vec::new());
    for disk in &config.disks {
        let (seam, path) = (Arc::clone(&seams.disk), disk.path.clone());
        let looked = seams.reading.run(move || look(seam, path)).await;
        let out = |volume, reason| Fault { path: disk.path.clone(), volume, reason, retire: false };
        match looked {
            Ok((folder, FolderState::Empty)) => {
                candidates.push(Candidate { config: disk.clone(), folder, identity: None });
            }
            Ok((_, FolderState::Retired(volume, reason))) => {
                faults.push(Fault { retire: true, ..out(Some(volume.volume), format!("retired: {reason}")) });
            }
            Ok((folder, FolderState::Volume(volume))) => {
                check_belonging(identity, disk, &volume)?;
                let same = |other: &&Candidate| other.identity.as_ref().is_some_and(|it| it.volume == volume.volume);
                if let Some(other) = candidates.iter().find(same) {
                    return Err(StartError::Twice { first: other.config.path.clone(), second: disk.path.clone() });
                }
                candidates.push(Candidate { config: disk.clone(), folder, identity: Some(volume) });
            }
            // Another process serves it, most likely this node's: nothing good can come of going on.
            Err(error @ FolderError::Locked(_)) => return Err(error.into()),
            Err(error) => faults.push(out(None, error.to_string())),
        }
    }
    if candidates.is_empty() {
        return Err(StartError::NoDisk(faults));
    }
    Ok((candidates, faults))
}

fn look(disk: Arc<dyn cairn_common::seam::Disk>, path: PathBuf) -> Result<(VolumeFolder, FolderState), FolderError> {
    let folder = VolumeFolder::lock(Arc::clone(&disk), &path)?;
    match disk.doubt(&path) {
        Ok(None) | Err(_) => {}
        Ok(Some(doubt @ Doubt::Memory(_))) => tracing::info!(disk = %path.display(), "{doubt}"),
        Ok(Some(doubt)) => tracing::warn!(disk = %path.display(), "{doubt}"),
    }
    let state = folder.state()?;
    Ok((folder, state))
}

fn check_belonging(identity: &Identity, disk: &DiskConfig, volume: &VolumeIdentity) -> Result<(), StartError> {
    let path = disk.path.clone();
    if volume.cluster != identity.cluster {
        return Err(StartError::OtherCluster { path, found: volume.cluster, ours: identity.cluster });
    }
    if volume.node != identity.node {
        return Err(StartError::OtherNode { path, found: volume.node, ours: identity.node });
    }
    if volume.generation > identity.generation {
        return Err(StartError::LaterGeneration { path, found: volume.generation, ours: identity.generation });
    }
    Ok(())
}
