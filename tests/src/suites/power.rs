//! Power cuts of a whole cluster: every file system of every node stops in the same instant, under load.

use super::kills::{Counted, wait};
use super::{block_on, client_with_bucket};
use crate::cluster::{Cluster, Plan, new_folder};
use crate::content::Dice;
use crate::faults::LoopDisk;
use crate::oracle::Oracle;
use crate::workload::{Load, LoadOptions, check_everything};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::sync::Arc;

/// Size of each disk image; sparse.
const DISK_BYTES: u64 = 8 << 30;

/// Cuts the power of all nodes of `plan` at a random moment under load, starts them again and reads everything back, `rounds`
/// times. Each disk is a file system of its own, and so is each node's data folder: the syncs of one must not help another.
pub fn whole_cluster(plan: Plan, seed: u64, rounds: u64) -> Result<Counted> {
    let folder = new_folder()?;
    let images = new_folder()?;
    let result = block_on(async {
        let mut disks = mount_all(&plan, &folder, &images)?;
        let mut cluster = Cluster::start_in(folder.clone(), plan)?;
        let oracle = Arc::new(Oracle::default());
        let mut client = client_with_bucket(&cluster).await?;
        let mut dice = Dice::new(seed, "power");
        for round in 0..rounds {
            let options = LoadOptions { workers: 6, seed, name: format!("r{round}"), strict: false };
            let load = Load::start(&client, &oracle, &options);
            wait(&mut dice, 200, 1500).await;
            let processes = cluster.processes()?;
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
