//! All masters are lost, and a backup brings the namespace back.

use super::{block_on, client_with_bucket};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::Body;
use crate::oracle::{Oracle, Seen};
use crate::workload::{Load, LoadOptions, check_everything, look, path};
use anyhow::{Context as _, Result, ensure};
use cairn_client::PutOptions;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// What the suite saw.
#[derive(Clone, Copy, Debug)]
pub struct Restored {
    /// Files that were acknowledged before the backup was begun, all of which were read back.
    pub files: u64,
    /// Bytes of the backup.
    pub bytes: u64,
}

/// Wipes the folders of all masters after a backup was made under load, restores it, and reads back every file from before it.
pub fn all_masters_wiped(seed: u64) -> Result<Restored> {
    block_on(async {
        let shape = Shape::Split { masters: 3, chunkservers: 2, gateways: 0 };
        let cluster = Cluster::start(Plan { replicas: Some(2), ..Plan::new(shape) })?;
        let client = client_with_bucket(&cluster).await?;
        let oracle = Arc::new(Oracle::default());
        let load = |name: &str| LoadOptions { workers: 4, seed, name: name.to_owned(), strict: true };
        let before = Load::start(&client, &oracle, &load("before"));
        tokio::time::sleep(Duration::from_secs(3)).await;
        before.finish().await?;
        // Written while the backup is made and after it: may be lost, must not be in the way.
        let during = Load::start(&client, &Arc::default(), &load("during"));
        let file = cluster.folder().join("backup");
        let told = cluster.cli_json(&["admin", "backup", &file.to_string_lossy()])?;
        let bytes = told.iter().find_map(|record| record["bytes"].as_u64()).context("admin backup tells no size")?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        during.finish().await?;
        drop(client);

        lose_all_masters(&cluster)?;
        damaged_is_refused(&cluster, &file)?;
        restore(&cluster, &file)?;
        for name in ["master-1", "chunkserver-1", "chunkserver-2"] {
            cluster.start_process(name).with_context(|| format!("{name} does not start after the restore"))?;
        }
        let client = cluster.client().await?;
        let files = check_everything(&client, &oracle, "before").await.context("after the restore")?;
        let body = Body { seed: 99, length: 3 << 20 };
        client.put(&path("new")?, body.source(), PutOptions::default()).await.context("a write after the restore")?;
        ensure!(look(&client, "new").await? == Seen::File(body.length, body.hash()), "the wrong bytes");
        collection_waits(&cluster)?;
        nothing_is_missing(&cluster)?;
        client.close().await;
        cluster.wipe()?;
        Ok(Restored { files, bytes })
    })
}

/// Kills everything, and removes all that the masters had.
fn lose_all_masters(cluster: &Cluster) -> Result<()> {
    cluster.kill_all(&cluster.processes()?)?;
    cluster.down()?;
    for name in ["master-1", "master-2", "master-3"] {
        let folder = cluster.folder().join(name);
        // The administrator still has the key.
        let key = std::fs::read(folder.join("admin.key")).ok();
        std::fs::remove_dir_all(&folder)?;
        if let Some(key) = key {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join("admin.key"), key)?;
        }
    }
    Ok(())
}

fn command(cluster: &Cluster, file: &Path) -> Command {
    let mut command = Command::new(cluster.program());
    command.args(["master", "restore"]).arg(file).arg("--data").arg(cluster.folder().join("master-1"));
    command.args(["--name", "restored"]);
    command
}

fn restore(cluster: &Cluster, file: &Path) -> Result<()> {
    let output = command(cluster, file).output()?;
    ensure!(output.status.success(), "cairn master restore: {}", String::from_utf8_lossy(&output.stderr));
    let again = command(cluster, file).output()?;
    ensure!(!again.status.success(), "a second restore over the first was not refused");
    Ok(())
}

/// A backup with one bit flipped brings nothing back.
fn damaged_is_refused(cluster: &Cluster, file: &Path) -> Result<()> {
    let mut bytes = std::fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = cluster.folder().join("damaged");
    std::fs::write(&damaged, bytes)?;
    let output = command(cluster, &damaged).output()?;
    ensure!(!output.status.success(), "a damaged backup was restored");
    ensure!(!cluster.folder().join("master-1/master/state.current").exists(), "a damaged backup left a state");
    Ok(())
}

/// Nothing is collected in the new generation until somebody says so.
fn collection_waits(cluster: &Cluster) -> Result<()> {
    let paused = || -> Result<bool> {
        let told = cluster.cli_json(&["admin", "collect", "status"])?;
        told.iter().find_map(|record| record["paused"].as_bool()).context("admin collect status tells nothing")
    };
    ensure!(paused()?, "P7: collection goes on after a restore before anybody said so");
    cluster.cli_json(&["admin", "collect", "resume"])?;
    ensure!(!paused()?, "collection does not go on after `admin collect resume`");
    Ok(())
}

/// The audit finds every chunk of every file.
fn nothing_is_missing(cluster: &Cluster) -> Result<()> {
    let output = cluster.cli(&["--json", "admin", "audit", "--deep"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "the audit after the restore: {text}");
    Ok(())
}
