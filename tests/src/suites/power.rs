//! Power cuts under load: of a whole cluster, every file system of every node in the same instant; and of some of its nodes,
//! while the others go on.

use super::kills::{Counted, wait};
use super::masters::leader_first;
use super::{block_on, chaos, client_with_bucket, eventually};
use crate::cluster::{Cluster, Plan, Shape, new_folder};
use crate::content::Dice;
use crate::faults::LoopDisk;
use crate::oracle::Oracle;
use crate::votes::Votes;
use crate::workload::{Load, LoadOptions, check_everything, check_keys};
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Size of each disk image; sparse.
const DISK_BYTES: u64 = 8 << 30;

/// Which nodes of three masters and a chunkserver lose their power at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    /// The master that leads.
    Leader,
    /// A master that follows.
    Follower,
    /// All masters; the chunkserver goes on.
    Masters,
    /// The chunkserver; the masters go on.
    Chunkserver,
}

/// In turn: mostly one master.
const VICTIMS: [Victims; 6] =
    [Victims::Leader, Victims::Follower, Victims::Masters, Victims::Leader, Victims::Chunkserver, Victims::Follower];

/// Rounds between two times that everything that was ever written is read back.
const LOOK_BACK: u64 = 10;

/// Cuts the power of some nodes of three masters and a chunkserver at a random moment under load, starts them again and reads back
/// what that load wrote, `rounds` times. No master comes back with an older vote than one it had stored, and in the end the
/// group comes to rest.
pub fn some_nodes(bug: Option<&'static str>, seed: u64, rounds: u64) -> Result<Counted> {
    let plan = Plan { replicas: Some(1), bug, ..Plan::new(Shape::Split { masters: 3, chunkservers: 1, gateways: 0 }) };
    let (folder, images) = (new_folder()?, new_folder()?);
    let result = block_on(async {
        let mut disks = mount_all(&plan, &folder, &images)?;
        let mut cluster = Cluster::start_in(folder.clone(), plan)?;
        let oracle = Arc::new(Oracle::default());
        let client = client_with_bucket(&cluster).await?;
        let (mut dice, mut votes) = (Dice::new(seed, "some nodes"), Votes::default());
        for round in 0..rounds {
            let victims = VICTIMS[(round % VICTIMS.len() as u64) as usize];
            let named = || format!("cut {round}, of {victims:?}");
            let options = LoadOptions { workers: 6, seed, name: format!("r{round}"), strict: false };
            let load = Load::start(&client, &oracle, &options);
            wait(&mut dice, 200, 1000).await;
            let names = victims.names(leader_first(&cluster)?);
            votes.remember(&cluster)?;
            cut(&cluster, &oracle, &mut disks, &names).await.with_context(named)?;
            load.abort().await?;
            for disk in disks.iter_mut().filter(|disk| disk.is_of(&folder, &names)) {
                disk.mount()?;
            }
            cluster.up().with_context(named).context("it does not start again")?;
            votes.check(&cluster, &names).with_context(named)?;
            let keys = oracle.keys().into_iter().filter(|key| key.starts_with(&format!("r{round}/"))).collect();
            check_keys(&client, &oracle, keys).await.with_context(|| format!("after {}", named()))?;
            if (round + 1).is_multiple_of(LOOK_BACK) {
                check_everything(&client, &oracle, "").await.with_context(|| format!("after {}", named()))?;
            }
        }
        check_everything(&client, &oracle, "").await?;
        chaos::converge(&cluster, 3).await?;
        client.close().await;
        cluster.down()?;
        for disk in disks.iter_mut().rev() {
            disk.unmount()?;
        }
        cluster.wipe()?;
        Ok(Counted::of(rounds, &oracle))
    });
    std::fs::remove_dir_all(&images)?;
    result
}

impl Victims {
    fn names(self, masters: Vec<String>) -> Vec<String> {
        match self {
            Victims::Leader => masters[..1].to_vec(),
            Victims::Follower => masters[1..2].to_vec(),
            Victims::Masters => masters,
            Victims::Chunkserver => vec!["chunkserver-1".to_owned()],
        }
    }
}

/// Cuts the power of these nodes, and takes their file systems off.
async fn cut(cluster: &Cluster, oracle: &Oracle, disks: &mut [LoopDisk], names: &[String]) -> Result<()> {
    let all = cluster.processes()?;
    let victims: Vec<_> = all.into_iter().filter(|process| names.contains(&process.name)).collect();
    let is_of = |disk: &LoopDisk| disk.is_of(cluster.folder(), names);
    oracle.power(false);
    disks.iter().filter(|disk| is_of(disk)).try_for_each(LoopDisk::cut_power)?;
    cluster.kill_all(&victims)?;
    let gone = async || {
        let left = cluster.processes()?;
        Ok(left.iter().all(|process| process.pid.is_none() || !names.contains(&process.name)))
    };
    ensure!(eventually(Duration::from_secs(10), gone).await?, "a killed process is still there");
    oracle.power(true);
    // The data folders hold the mount points of the disks.
    disks.iter_mut().rev().filter(|disk| is_of(disk)).try_for_each(LoopDisk::unmount)
}

/// Cuts the power of all nodes of `plan` at a random moment under load, starts them again and reads everything back, `rounds`
/// times. No master comes back with an older vote. Each disk is a file system of its own, and so is each node's data folder: the syncs of one must not help another.
pub fn whole_cluster(plan: Plan, seed: u64, rounds: u64) -> Result<Counted> {
    let folder = new_folder()?;
    let images = new_folder()?;
    let result = block_on(async {
        let mut disks = mount_all(&plan, &folder, &images)?;
        let mut cluster = Cluster::start_in(folder.clone(), plan)?;
        let oracle = Arc::new(Oracle::default());
        let mut client = client_with_bucket(&cluster).await?;
        let (mut dice, mut votes) = (Dice::new(seed, "power"), Votes::default());
        for round in 0..rounds {
            let options = LoadOptions { workers: 6, seed, name: format!("r{round}"), strict: false };
            let load = Load::start(&client, &oracle, &options);
            wait(&mut dice, 200, 1500).await;
            let processes = cluster.processes()?;
            votes.remember(&cluster)?;
            oracle.power(false);
            for disk in &disks {
                disk.cut_power()?;
            }
            cluster.kill_all(&processes)?;
            load.abort().await?;
            oracle.power(true);
            drop(client);
            cluster.down()?;
            // The data folders hold the mount points of the disks: those come off first and on last.
            for disk in disks.iter_mut().rev() {
                disk.unmount()?;
            }
            for disk in &mut disks {
                disk.mount()?;
            }
            cluster.up().with_context(|| format!("cut {round}: the cluster does not start again"))?;
            votes.check(&cluster, &cluster.plan().names())?;
            client = cluster.client().await?;
            check_everything(&client, &oracle, "").await.with_context(|| format!("after cut {round}"))?;
        }
        client.close().await;
        cluster.down()?;
        for disk in disks.iter_mut().rev() {
            disk.unmount()?;
        }
        cluster.wipe()?;
        Ok(Counted::of(rounds, &oracle))
    });
    std::fs::remove_dir_all(&images)?;
    result
}

/// A file system for each data folder, and then one for each disk.
fn mount_all(plan: &Plan, folder: &Path, images: &Path) -> Result<Vec<LoopDisk>> {
    let mut disks = Vec::new();
    for name in plan.names() {
        disks.push(LoopDisk::make(images.join(&name), folder.join(&name), DISK_BYTES)?);
    }
    for name in plan.chunk_nodes() {
        for disk in 1..=plan.disks {
            let label = format!("disk-{disk}");
            disks.push(LoopDisk::make(
                images.join(format!("{name}-{label}")),
                folder.join(&name).join(label),
                DISK_BYTES,
            )?);
        }
    }
    Ok(disks)
}
