//! The disk of a master runs full, under load. It may step aside; it may lose nothing, and when there is room again it takes part
//! again.

use super::kills::Counted;
use super::{block_on, client_with_bucket, eventually};
use crate::cluster::{Cluster, Plan, Shape, new_folder};
use crate::faults::LoopDisk;
use crate::oracle::Oracle;
use crate::workload::{Load, LoadOptions, check_everything};
use anyhow::{Context as _, Result, ensure};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Size of the master's disk.
const DISK_BYTES: u64 = 512 << 20;
/// How long the group has to be whole again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fills the disk of the master that leads. No operation of a client fails; with room again, the group is whole and everything
/// that was acknowledged is there.
pub fn the_leaders_disk_runs_full(seed: u64) -> Result<Counted> {
    let (folder, images) = (new_folder()?, new_folder()?);
    let result = block_on(async {
        let master = "master-1";
        let mut disk = LoopDisk::make(images.join("master"), folder.join(master), DISK_BYTES)?;
        let shape = Shape::Split { masters: 3, chunkservers: 1, gateways: 0 };
        let cluster = Cluster::start_in(folder.clone(), Plan { replicas: Some(1), ..Plan::new(shape) })?;
        // Whoever led so far, it is this one whose disk is small.
        cluster.cli(&["admin", "master", "transfer", master])?;
        let (client, oracle) = (client_with_bucket(&cluster).await?, Arc::new(Oracle::default()));
        let options = LoadOptions { workers: 4, seed, name: "full".to_owned(), strict: true };
        let load = Load::start(&client, &oracle, &options);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let filler = folder.join(master).join("filler");
        fill(&filler)?;
        tokio::time::sleep(Duration::from_secs(6)).await;
        std::fs::remove_file(&filler)?;
        if cluster.processes()?.iter().any(|process| process.name == master && process.pid.is_none()) {
            cluster.start_process(master).context("the master does not start with room on its disk")?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        load.finish().await?;
        let is_whole = async || -> Result<bool> {
            let mut members = cluster.cli_json(&["admin", "master", "ls"])?;
            members.retain(|member| member["type"] == "master");
            Ok(members.len() == 3 && members.iter().all(|member| member["active"] == true && member["lag"] == 0))
        };
        ensure!(eventually(PATIENCE, is_whole).await?, "the group is not whole again");
        check_everything(&client, &oracle, "full").await?;
        client.close().await;
        cluster.down()?;
        disk.unmount()?;
        cluster.wipe()?;
        Ok(Counted::of(1, &oracle))
    });
    std::fs::remove_dir_all(&images)?;
    result
}

/// Takes all the room there is, whoever else takes some at the same time.
fn fill(path: &Path) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    for bytes in [1 << 20, 4096] {
        let piece = vec![1; bytes];
        while file.write_all(&piece).is_ok() {}
    }
    // An error of the sync is what is wanted as well.
    let _ = file.sync_all();
    Ok(())
}
