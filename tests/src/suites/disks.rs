//! One disk of a chunkserver fails under load, in each of the ways in which disks fail. Its node goes on with the other one, no
//! client notices, and what lay on it is made again. And: every disk of the cluster is full.

use super::healing::{PATIENCE, audited, node};
use super::kills::Counted;
use super::{block_on, client_with_bucket, eventually};
use crate::cluster::{Cluster, Plan, Shape, new_folder};
use crate::content::Body;
use crate::faults::{LoopDisk, Resource, SmallMemory, drop_caches};
use crate::oracle::{Oracle, Seen};
use crate::workload::{BUCKET, Load, LoadOptions, check_everything, look, path};
use anyhow::{Context as _, Result, bail, ensure};
use cairn_client::{Client, PutOptions};
use cairn_common::error::ErrorKind;
use cairn_common::name::{BucketName, Key};
use cairn_common::wire::master::VolumeReport;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Reads give EIO.
    Unreadable,
    /// Writes are taken, and an fsync fails.
    FailingSync,
    /// The kernel finds an error in the file system and takes no more writes.
    ReadOnly,
    /// There is no room.
    Full,
    /// There are no inodes.
    NoInodes,
}

const NAME: &str = "chunkserver-1";
const LABEL: &str = "disk-2";
/// All disks the same, whatever they lie on; everything read back all the time.
const CONFIG: &str = "repair-pause = 1\nscrub-pause = 1\nscrub-rate = 256\ndisk-capacity = 838860800\n";
const IMAGE_BYTES: u64 = 1 << 30;
/// Bytes that the store of a disk with failing syncs has, in MiB.
const STORE_MIB: u32 = 64;
/// Space that came back must be in use again after this time.
const RECOVERY: Duration = Duration::from_secs(10);
/// A disk with more than this free takes every chunk.
const ROOM_BYTES: u64 = 8 << 20;

struct Scene {
    // In the order in which they have to go.
    cluster: Cluster,
    disk: LoopDisk,
    store: Option<SmallMemory>,
    images: PathBuf,
    client: Client,
    oracle: Arc<Oracle>,
}

impl Scene {
    async fn start(fault: Fault) -> Result<Scene> {
        let (folder, images) = (new_folder()?, new_folder()?);
        let dry = fault == Fault::FailingSync;
        let store = if dry { Some(SmallMemory::make(images.join("store"), STORE_MIB)?) } else { None };
        let image = store.as_ref().map_or(images.clone(), |store| store.path().to_owned()).join("image");
        let disk = LoopDisk::make(image, folder.join(NAME).join(LABEL), IMAGE_BYTES)?;
        let shape = Shape::Split { masters: 1, chunkservers: 3, gateways: 0 };
        let plan = Plan { replicas: Some(3), disks: 2, config: CONFIG, ..Plan::new(shape) };
        let cluster = Cluster::start_in(folder, plan)?;
        let client = client_with_bucket(&cluster).await?;
        Ok(Scene { cluster, disk, store, images, client, oracle: Arc::default() })
    }

    /// Files of 1 MiB, each of which must be taken.
    async fn write(&self, name: &str, files: u64) -> Result<()> {
        for number in 0..files {
            let (key, body) = (format!("{name}/{number}"), Body { seed: 7_000 + number, length: 1 << 20 });
            self.oracle.begin(&key, Some(body));
            let put = self.client.put(&path(&key)?, body.source(), PutOptions::default()).await;
            put.with_context(|| format!("{key} was refused because one disk fails"))?;
            self.oracle.acknowledge(&key);
        }
        Ok(())
    }

    async fn report(&self) -> Result<VolumeReport> {
        let status = self.client.status().await?;
        let id = node(&status, NAME)?.id;
        let reports = status.heartbeats.get(&id).map(|(_, heartbeat)| heartbeat.volumes.clone());
        let report = reports.unwrap_or_default().into_iter().find(|report| report.label == LABEL);
        report.context("the disk is not reported")
    }

    async fn reported(&self, what: &str, is_so: impl Fn(&VolumeReport) -> bool) -> Result<()> {
        let there = async || Ok(is_so(&self.report().await?));
        ensure!(eventually(PATIENCE, there).await?, "{what} is not reported: {:?}", self.report().await?);
        Ok(())
    }

    async fn strike(&self, fault: Fault) -> Result<()> {
        let at = self.cluster.disks(NAME).remove(1);
        match fault {
            Fault::Unreadable => {
                let packs = std::fs::read_dir(at.join("packs"))?.map(|entry| Ok(entry?.path()));
                self.disk.make_unreadable(&packs.collect::<Result<Vec<_>>>()?)?;
                self.write("unreadable", 8).await
            }
            Fault::FailingSync => self.write("dry", 150).await,
            Fault::ReadOnly => {
                self.disk.turn_read_only()?;
                self.write("read-only", 8).await
            }
            Fault::Full => self.use_up(Resource::Room).await,
            Fault::NoInodes => self.use_up(Resource::Inodes).await,
        }
    }

    /// Whether the masters are told of it.
    async fn is_told(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Unreadable => {
                self.reported("a damaged copy", |report| report.damaged > 0 || report.fault.is_some()).await
            }
            Fault::FailingSync => {
                self.reported("an error", |report| report.fault.is_some() || report.free_bytes == 0).await
            }
            Fault::ReadOnly => self.reported("an error", |report| report.fault.is_some()).await,
            Fault::Full | Fault::NoInodes => Ok(()),
        }
    }

    /// Nothing is broken then: the disk takes no chunks, removals work, and when there is room again it goes on.
    async fn use_up(&self, what: Resource) -> Result<()> {
        let used_up = self.disk.use_up(what)?;
        // More than what was allocated in advance takes.
        self.write("full", 120).await?;
        // Inodes are not bytes: without them a disk has room that it cannot use.
        let is_full = |report: &VolumeReport| what == Resource::Inodes || report.free_bytes < 8 << 20;
        self.reported("a full disk", |report| report.fault.is_none() && is_full(report)).await?;
        used_up.give_back()?;
        let room = async || Ok(self.report().await?.free_bytes > 100 << 20);
        ensure!(eventually(RECOVERY, room).await?, "room that came back is not used: {:?}", self.report().await?);
        Ok(())
    }
}

/// One of a node's two disks fails.
pub fn one_disk(fault: Fault, seed: u64) -> Result<Counted> {
    block_on(async {
        let scene = Scene::start(fault).await?;
        scene.write("before", 24).await?;
        audited(&scene.cluster).await?;
        let options = LoadOptions { workers: 1, seed, name: "load".to_owned(), strict: true };
        let load = Load::start(&scene.client, &scene.oracle, &options);
        scene.strike(fault).await?;
        load.finish().await?;
        scene.is_told(fault).await?;
        let processes = scene.cluster.processes()?;
        ensure!(processes.iter().all(|process| process.pid.is_some()), "a node died of one disk: {processes:?}");
        audited(&scene.cluster).await?;
        drop_caches()?;
        check_everything(&scene.client, &scene.oracle, "").await?;
        let Scene { cluster, mut disk, store, images, client, oracle } = scene;
        client.close().await;
        cluster.down()?;
        disk.unmount()?;
        cluster.wipe()?;
        drop((disk, store));
        std::fs::remove_dir_all(&images)?;
        Ok(Counted::of(1, &oracle))
    })
}

/// Every disk of the cluster fills up: writes are refused as what they are, nothing half written is visible, reads and removals
/// work, and when space has come back writes are taken again.
pub fn all_full() -> Result<()> {
    block_on(async {
        let shape = Shape::Split { masters: 1, chunkservers: 3, gateways: 1 };
        let config = "repair-pause = 1\ndisk-capacity = 100663296\n";
        let cluster = Cluster::start(Plan { replicas: Some(3), config, ..Plan::new(shape) })?;
        let client = client_with_bucket(&cluster).await?;
        ensure!(cluster.cli(&["admin", "collect", "set", "--read-grace", "1"])?.status.success(), "read-grace");
        let mut stored: Vec<(String, Body)> = Vec::new();
        let refused = loop {
            ensure!(stored.len() < 400, "96 MiB took 400 MiB");
            let (key, body) = (stored.len().to_string(), Body { seed: 9_000 + stored.len() as u64, length: 1 << 20 });
            match client.put(&path(&key)?, body.source(), PutOptions::default()).await {
                Ok(_) => stored.push((key, body)),
                Err(error) => break error,
            }
        };
        ensure!(refused.kind() == ErrorKind::NoSpace, "a full cluster says {refused}");
        ensure!(http_put(&cluster)? == 507, "by HTTP a full cluster is no 507");
        ensure!(look(&client, &stored.len().to_string()).await? == Seen::Absent, "a refused file is visible");
        for (key, body) in &stored {
            ensure!(look(&client, key).await? == Seen::File(body.length, body.hash()), "file {key} on full disks");
        }
        let (gone, kept) = stored.split_at(stored.len() / 2);
        let keys: Vec<_> = gone.iter().map(|(key, _)| Key::new(key.clone())).collect::<Result<_, _>>()?;
        client
            .delete(&BucketName::new(BUCKET)?, keys.into_iter().map(|key| (key, Default::default())).collect())
            .await?;
        // Its window protects what it wrote.
        client.close().await;
        let client = cluster.client().await?;
        let free = async || -> Result<Vec<u64>> {
            let status = client.status().await?;
            let volumes = status.heartbeats.values().flat_map(|(_, heartbeat)| &heartbeat.volumes);
            Ok(volumes.map(|volume| volume.free_bytes).collect())
        };
        // What was heard last may be of a time at which there was room.
        let heard = async || Ok(free().await?.iter().filter(|free| **free < ROOM_BYTES).count() >= 3);
        ensure!(eventually(PATIENCE, heard).await?, "the disks are full, and the masters do not hear of it");
        let collected = async || {
            // Half of everything is more than collection frees unasked, whenever it comes to see it.
            ensure!(cluster.cli(&["admin", "collect", "run"])?.status.success(), "admin collect run");
            Ok(free().await?.iter().all(|free| *free > ROOM_BYTES))
        };
        ensure!(eventually(PATIENCE, collected).await?, "space of removed files does not come back on full disks");
        let body = Body { seed: 1, length: 4 << 20 };
        let taken = async || Ok(client.put(&path("after")?, body.source(), PutOptions::default()).await.is_ok());
        ensure!(eventually(RECOVERY, taken).await?, "writes are still refused {RECOVERY:?} after there is space");
        for (key, body) in kept {
            ensure!(look(&client, key).await? == Seen::File(body.length, body.hash()), "file {key} afterwards");
        }
        audited(&cluster).await?;
        client.close().await;
        cluster.wipe()
    })
}

/// Status of an upload by HTTP.
fn http_put(cluster: &Cluster) -> Result<u16> {
    let file = cluster.folder().join("upload");
    std::fs::write(&file, Body { seed: 77, length: 3 << 20 }.bytes())?;
    let user = format!("{}:{}", cluster.key.0, cluster.key.1);
    let url = format!("{}/v1/objects/{BUCKET}/by-http", cluster.api);
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "-u", &user, "-o", "/dev/null", "-w", "%{http_code}", "-T"]).arg(&file).arg(&url);
    let output = command.output().context("running curl")?;
    match String::from_utf8_lossy(&output.stdout).trim().parse() {
        Ok(status) => Ok(status),
        Err(_) => bail!("curl: {}", String::from_utf8_lossy(&output.stderr)),
    }
}
