//! Rot: flipped bits, cut packs and misplaced writes, on one copy, on two, on all. Right bytes or an explicit error, never
//! wrong ones, and the damage is counted.

use super::{block_on, client_with_bucket, eventually};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::Body;
use crate::faults::{Place, drop_caches, find_one};
use crate::oracle::Seen;
use crate::workload::{BUCKET, look, path};
use anyhow::{Context as _, Result, bail, ensure};
use cairn_client::{Client, PutOptions};
use cairn_common::error::ErrorKind;
use cairn_common::file::Condition;
use cairn_common::wire::master::{Found, WhereEntry};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long a server may take to notice and count what a reader told it.
const COUNTED_WITHIN: Duration = Duration::from_secs(30);

/// A way in which stored bytes go bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit turns over.
    Flip,
    /// The pack ends in the middle of the record.
    Cut,
    /// The body of another record lies in its place.
    Swap,
}

/// A cluster of three chunkservers with three copies, and a file on it.
pub struct Scene {
    cluster: Cluster,
    client: Client,
    body: Body,
    /// The file's chunks.
    chunks: Vec<WhereEntry>,
}

const KEY: &str = "file";

impl Scene {
    /// Starts it; two further files share the packs, one written before and one after.
    pub async fn start(bug: Option<&'static str>) -> Result<Scene> {
        let plan =
            Plan { replicas: Some(3), bug, ..Plan::new(Shape::Split { masters: 1, chunkservers: 3, gateways: 1 }) };
        let cluster = Cluster::start(plan)?;
        let client = client_with_bucket(&cluster).await?;
        let body = Body { seed: 2, length: 12 << 20 };
        for (key, body) in [("before", other(1)), (KEY, body), ("after", other(3))] {
            client.put(&path(key)?, body.source(), PutOptions::default()).await?;
        }
        let chunks = client.locate(&path(KEY)?, 0).await?.entries;
        ensure!(chunks.len() > 2, "{} chunks are too few to damage one in the middle", chunks.len());
        let scene = Scene { cluster, client, body, chunks };
        // A write is acknowledged at two copies; the test wants the third as well.
        let whole = || async {
            for entry in &scene.chunks {
                if scene.client.copies(entry).await.iter().filter(|(_, copy)| copy.is_ok()).count() < 3 {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        ensure!(eventually(COUNTED_WITHIN, async || whole().await).await?, "the third copies were never written");
        Ok(scene)
    }

    /// The chunk in the middle.
    fn middle(&self) -> &WhereEntry {
        &self.chunks[self.chunks.len() / 2]
    }

    /// Disk of the `n`th node that a reader of the middle chunk asks.
    fn disk(&self, n: usize) -> Result<PathBuf> {
        let node = self.middle().owners.get(n).context("three owners")?;
        let view = self.client.view();
        let name = &view.membership().nodes.get(node).context("a known node")?.name;
        Ok(self.cluster.disks(name).remove(0))
    }

    /// Damages the middle chunk on its first `copies` owners.
    fn damage(&self, damage: Damage, copies: usize) -> Result<()> {
        let entry = self.middle();
        let bytes = self.body.bytes();
        let (start, end) = (entry.offset as usize, (entry.offset + entry.entry.length) as usize);
        let middle = (start + end) / 2;
        for n in 0..copies {
            let place = find_one(&self.disk(n)?, &bytes[middle..middle + 64])?;
            match damage {
                Damage::Flip => place.flip_bit()?,
                Damage::Cut => place.cut()?,
                Damage::Swap => {
                    let first = Place { offset: place.offset - (middle - start) as u64, file: place.file };
                    // Whatever belongs to the file before it: whole records of another chunk.
                    let foreign = Body { seed: 99, length: entry.entry.length }.bytes();
                    first.overwrite(&foreign)?;
                }
            }
        }
        drop_caches()
    }

    /// Damaged records that the chunkservers have counted, by the masters' status.
    async fn counted(&self) -> Result<u64> {
        let status = self.client.status().await?;
        let reports = status.heartbeats.values().flat_map(|(_, heartbeat)| &heartbeat.volumes);
        Ok(reports.map(|report| report.damaged).sum())
    }

    /// The HTTP API gives the whole file, or something that no client takes for it.
    fn http(&self) -> Result<Http> {
        let out = self.cluster.folder().join("http.out");
        let user = format!("{}:{}", self.cluster.key.0, self.cluster.key.1);
        let url = format!("{}/v1/objects/{BUCKET}/{KEY}", self.cluster.api);
        let mut command = Command::new("curl");
        command.args(["-q", "-sS", "-u", &user, "-w", "%{http_code}", "-o"]).arg(&out).arg(&url);
        let output = command.output().context("running curl")?;
        let status: u16 = String::from_utf8_lossy(&output.stdout).trim().parse().context("curl tells the status")?;
        let bytes = std::fs::read(&out).unwrap_or_default();
        let _ = std::fs::remove_file(&out);
        if output.status.success() && status == 200 {
            return Ok(Http::Whole(bytes));
        }
        if output.status.success() {
            return Ok(Http::Refused(status));
        }
        let whole = self.body.bytes();
        ensure!(status != 200 || whole.starts_with(&bytes), "the HTTP API sent wrong bytes before it gave up");
        Ok(Http::Broken(output.status.code()))
    }
}

/// What a download by HTTP came to.
#[derive(Debug)]
enum Http {
    /// 200 and a body of the announced length.
    Whole(Vec<u8>),
    /// Another status.
    Refused(u16),
    /// The connection broke before the announced length, as curl's exit code tells.
    Broken(Option<i32>),
}

fn other(seed: u64) -> Body {
    Body { seed, length: 5 << 20 }
}

/// Damage on some copies of one chunk: every read is right, and the damage is counted.
pub fn some_copies(bug: Option<&'static str>, damage: Damage, copies: usize) -> Result<()> {
    block_on(async {
        let scene = Scene::start(bug).await?;
        scene.damage(damage, copies)?;
        for _ in 0..2 {
            let seen = look(&scene.client, KEY).await?;
            ensure!(seen == Seen::File(scene.body.length, scene.body.hash()), "P3: {seen:?} was read");
            match scene.http()? {
                Http::Whole(bytes) => ensure!(bytes == scene.body.bytes(), "P3: the HTTP API sent wrong bytes"),
                http => bail!("{damage:?} on {copies} copies of three: {http:?}"),
            }
            ensure!(scene.cluster.fetch(KEY)? == scene.body.bytes(), "P3: the command line client fetched wrong bytes");
        }
        let counted = async || Ok(scene.counted().await? >= copies as u64);
        ensure!(
            eventually(COUNTED_WITHIN, counted).await?,
            "{damage:?} on {copies} copies: only {} damaged records were counted",
            scene.counted().await?
        );
        scene.client.close().await;
        scene.cluster.wipe()
    })
}

/// Damage on all copies of one chunk: an explicit error that names the file, by every way; its metadata and the other files
/// stay.
pub fn all_copies(bug: Option<&'static str>, damage: Damage) -> Result<()> {
    block_on(async {
        let scene = Scene::start(bug).await?;
        scene.damage(damage, 3)?;
        // A server first, before any reader has reported the copies: it may have the bug.
        match scene.http()? {
            Http::Whole(_) => bail!("the HTTP API answered 200 with a whole body though all copies are damaged"),
            Http::Refused(status) => ensure!(status >= 500, "status {status}"),
            Http::Broken(code) => ensure!(code == Some(18), "curl saw {code:?}, not a transfer that ended early"),
        }
        match look(&scene.client, KEY).await {
            Ok(seen) => bail!("P3: {seen:?} was read though all copies are damaged"),
            Err(error) => {
                ensure!(
                    error.to_string().contains(&format!("{BUCKET}/{KEY}")),
                    "the error does not name the file: {error}"
                );
                ensure!(
                    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unavailable),
                    "{:?}: {error}",
                    error.kind()
                );
            }
        }
        let target = scene.cluster.folder().join("fetched");
        let fetched = scene.cluster.cli(&["get", &format!("cairn://{BUCKET}/{KEY}"), &target.to_string_lossy()])?;
        let told = String::from_utf8_lossy(&fetched.stderr);
        ensure!(matches!(fetched.status.code(), Some(9 | 3)), "cairn get: {} {told}", fetched.status);
        ensure!(told.contains(KEY) && !target.exists(), "cairn get left a file, or did not name it: {told}");
        let found = scene.client.stat(&path(KEY)?, Condition::default()).await?;
        ensure!(matches!(found, Found::Here(info) if info.length == scene.body.length), "its metadata is gone");
        if damage != Damage::Cut {
            // A cut takes what lies behind it in the pack along.
            for (key, seed) in [("before", 1), ("after", 3)] {
                let body = other(seed);
                ensure!(
                    look(&scene.client, key).await? == Seen::File(body.length, body.hash()),
                    "{key} is damaged too"
                );
            }
        }
        ensure!(
            eventually(COUNTED_WITHIN, async || Ok(scene.counted().await? >= 3)).await?,
            "the damage was not counted on all nodes"
        );
        scene.client.close().await;
        scene.cluster.wipe()
    })
}

/// One node, one copy: a record rots, the node starts again. The records behind it must still be there, and the bad one be
/// counted at start.
pub fn restart_after_rot(bug: Option<&'static str>) -> Result<()> {
    block_on(async {
        let plan = Plan { replicas: Some(1), bug, ..Plan::new(Shape::Nodes(1)) };
        let mut cluster = Cluster::start(plan)?;
        let client = client_with_bucket(&cluster).await?;
        let bodies: Vec<Body> = (0..8).map(|seed| Body { seed: 100 + seed, length: 200 << 10 }).collect();
        for (n, body) in bodies.iter().enumerate() {
            client.put(&path(&n.to_string())?, body.source(), PutOptions::default()).await?;
        }
        drop(client);
        cluster.kill("node-1", "KILL")?;
        let rotten = bodies[2].bytes();
        find_one(&cluster.disks("node-1")[0], &rotten[100_000..100_064])?.flip_bit()?;
        drop_caches()?;
        cluster.up()?;
        let client = cluster.client().await?;
        let status = client.status().await?;
        let counted: u64 =
            status.heartbeats.values().flat_map(|(_, heartbeat)| &heartbeat.volumes).map(|report| report.damaged).sum();
        for (n, body) in bodies.iter().enumerate() {
            let seen = look(&client, &n.to_string()).await;
            match (n, seen) {
                (2, Ok(seen)) => bail!("P3: {seen:?} was read from a damaged record"),
                (2, Err(_)) => {}
                (_, seen) => {
                    let seen = seen.with_context(|| format!("file {n}, behind the damaged record"))?;
                    ensure!(seen == Seen::File(body.length, body.hash()), "file {n}: {seen:?}");
                }
            }
        }
        ensure!(counted >= 1, "the damaged record was not noticed at start");
        client.close().await;
        cluster.wipe()
    })
}

/// One node, one copy: a chunk rots, the user uploads the same bytes again, perhaps because of it. They must be good then.
pub fn upload_heals(bug: Option<&'static str>) -> Result<()> {
    block_on(async {
        let plan = Plan { replicas: Some(1), bug, ..Plan::new(Shape::Nodes(1)) };
        let cluster = Cluster::start(plan)?;
        let client = client_with_bucket(&cluster).await?;
        let body = Body { seed: 5, length: 300 << 10 };
        client.put(&path("first")?, body.source(), PutOptions::default()).await?;
        find_one(&cluster.disks("node-1")[0], &body.bytes()[150_000..150_064])?.flip_bit()?;
        drop_caches()?;
        client.put(&path("again")?, body.source(), PutOptions::default()).await?;
        for key in ["again", "first"] {
            let seen =
                look(&client, key).await.with_context(|| format!("{key}, after the same bytes were stored again"))?;
            ensure!(seen == Seen::File(body.length, body.hash()), "{key}: {seen:?}");
        }
        client.close().await;
        cluster.wipe()
    })
}
