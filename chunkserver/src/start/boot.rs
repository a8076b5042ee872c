//! The conversation with the masters at a start, and the volumes that come up between its two halves.

use super::disks::{Candidate, Fault};
use super::{Config, Identity, Seams, StartError};
use crate::store::volume::{Admission, Volume, VolumeSeams, VolumeSettings};
use crate::tasks::Signals;
use cairn_common::error::ErrorKind;
use cairn_common::ids::{BootCount, NodeId, Stamp, VolumeId};
use cairn_common::wire::command::{Command, Done, Refusal};
use cairn_common::wire::master::{Caller, Master, MasterCall, MasterError, MasterReply, MasterRequest};
use std::sync::Arc;
use std::time::Duration;

/// Pause before the masters are asked again.
const RETRY: Duration = Duration::from_millis(500);

/// What the masters admitted.
pub(super) struct Booted {
    pub(super) boot: BootCount,
    pub(super) admitted: Vec<(Candidate, VolumeId, Stamp)>,
}

/// Asks for a new run with these disks. A disk that the masters do not want is taken out, and they are asked again.
pub(super) async fn boot(
    identity: &Identity,
    config: &Config,
    seams: &Seams,
    master: &dyn Master,
    mut disks: Vec<Candidate>,
    faults: &mut Vec<Fault>,
) -> Result<Booted, StartError> {
    loop {
        let known = disks.iter().filter_map(|disk| disk.identity.as_ref());
        let command = Command::Boot {
            node: identity.node,
            address: config.address.clone(),
            weight: config.weight,
            zone: config.zone.clone(),
            volumes: known.map(|volume| (volume.volume, volume.boot)).collect(),
            new_disks: disks.iter().filter(|disk| disk.identity.is_none()).map(|disk| disk.folder.label()).collect(),
        };
        match command_until_answered(seams, master, identity.node, command).await {
            Ok(Done::Boot { boot, new_volumes, stamp }) => return admit(disks, boot, new_volumes, stamp),
            Ok(other) => {
                return Err(StartError::Refused(MasterError::Bug(format!("Boot was answered with {other:?}"))));
            }
            Err(MasterError::Refused(
                ref refusal @ (Refusal::StaleVolume { volume, .. } | Refusal::NoSuchVolume { volume, .. }),
            )) => {
                let unwanted = |disk: &Candidate| disk.identity.as_ref().is_some_and(|it| it.volume == volume);
                let Some(index) = disks.iter().position(unwanted) else {
                    return Err(StartError::Refused(MasterError::Refused(refusal.clone())));
                };
                let path = disks.remove(index).config.path;
                let reason = format!("{refusal}; empty the folder to make it a new volume");
                faults.push(Fault { path, volume: Some(volume), reason, retire: false });
                if disks.is_empty() {
                    return Err(StartError::NoDisk(std::mem::take(faults)));
                }
            }
            Err(error) => return Err(StartError::Refused(error)),
        }
    }
}

fn admit(
    disks: Vec<Candidate>,
    boot: BootCount,
    new_volumes: Vec<VolumeId>,
    stamp: Stamp,
) -> Result<Booted, StartError> {
    let mut new_volumes = new_volumes.into_iter();
    let mut admitted = Vec::new();
    for disk in disks {
        let volume = match &disk.identity {
            Some(identity) => identity.volume,
            None => new_volumes
                .next()
                .ok_or_else(|| StartError::Refused(MasterError::Bug("a new disk got no identity".to_owned())))?,
        };
        admitted.push((disk, volume, stamp));
    }
    Ok(Booted { boot, admitted })
}

/// Starts the volumes, each on a thread of the pool. One that fails is a fault; when this returns, the boot count is on every
/// other.
pub(super) async fn bring_up(
    identity: &Identity,
    config: &Config,
    seams: &Seams,
    signals: &Signals,
    booted: Booted,
    faults: &mut Vec<Fault>,
) -> Vec<Volume> {
    let Booted { boot, admitted } = booted;
    let starting = admitted.into_iter().map(|(disk, volume, stamp)| {
        let (cluster, generation, node) = (identity.cluster, identity.generation, identity.node);
        let admission = Admission { cluster, generation, node, volume, boot, stamp };
        let settings = VolumeSettings {
            capacity_bytes: disk.config.capacity_bytes,
            pack_bytes: config.pack_bytes,
            index_lag_bytes: config.index_lag_bytes,
        };
        let (clock, random, indexes) =
            (Arc::clone(&seams.clock), Arc::clone(&seams.random), Arc::clone(&seams.indexes));
        let (failed, threads) = (signals.failed(), seams.reading.threads());
        let path = disk.config.path;
        let start = move || {
            let seams = VolumeSeams { clock, random: &*random, indexes: &*indexes, failed, threads };
            Volume::start(disk.folder, admission, &seams, settings)
        };
        async move { (path, volume, seams.reading.run(start).await) }
    });
    let mut volumes = Vec::new();
    for (path, volume, started) in futures::future::join_all(starting).await {
        match started {
            Ok(volume) => volumes.push(volume),
            Err(error) => {
                let retire = error.is_broken();
                faults.push(Fault { path, volume: Some(volume), reason: error.to_string(), retire });
            }
        }
    }
    volumes
}

/// Tells the masters that the boot count is on every disk and the node serves.
pub(super) async fn serve(
    identity: &Identity,
    seams: &Seams,
    master: &dyn Master,
    boot: BootCount,
) -> Result<(), StartError> {
    let command = Command::Serve { node: identity.node, boot };
    command_until_answered(seams, master, identity.node, command).await.map(|_| ()).map_err(StartError::Refused)
}

/// Sends a command until it is answered by a master that leads. The commands of a start may be executed twice.
async fn command_until_answered(
    seams: &Seams,
    master: &dyn Master,
    node: NodeId,
    command: Command,
) -> Result<Done, MasterError> {
    loop {
        match call(master, node, command.clone()).await {
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown) => {
                tracing::info!(%error, "waiting for the masters");
                seams.clock.sleep(RETRY).await;
            }
            answer => return answer,
        }
    }
}

/// Sends a command once, in the node's own name.
pub(crate) async fn call(master: &dyn Master, node: NodeId, command: Command) -> Result<Done, MasterError> {
    let request = MasterRequest::Write { session: None, command };
    match master.call(&Caller::Node(node), MasterCall { actor: None, request }).await? {
        MasterReply::Done(done) => Ok(done),
        other => Err(MasterError::Bug(format!("a command was answered with {other:?}"))),
    }
}
