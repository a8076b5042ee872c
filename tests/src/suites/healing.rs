//! What heals by itself: a lost disk, a node that is gone, one that comes, one that leaves, a copy that rots, bytes of removed
//! files. Always under load or with files to compare, always ending in an audit that reads every copy back.

use super::kills::{Counted, wait};
use super::{block_on, client_with_bucket, eventually};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::{Body, Dice};
use crate::faults::{drop_caches, find_one};
use crate::oracle::{Oracle, Seen};
use crate::workload::{Load, LoadOptions, check_everything, look, path};
use anyhow::{Context as _, Result, ensure};
use cairn_client::{Client, PutOptions};
use cairn_common::membership::{Node, NodeState};
use cairn_common::name::Key;
use cairn_common::wire::heal::Upkeep;
use cairn_common::wire::master::Status;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long healing of what a test writes may take, on a machine that does other things as well.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// How often all copies are read back, a second apart, until they are all there.
const READS_BACK: u32 = 20;

/// Rounds in quick succession, and a silence that soon means death.
const SWIFT: &str = "repair-pause = 1\ndead-after = 4\nscrub-pause = 86400\n";

fn plan(chunkservers: u32, replicas: u32, bug: Option<&'static str>) -> Plan {
    Plan {
        replicas: Some(replicas),
        bug,
        config: SWIFT,
        ..Plan::new(Shape::Split { masters: 1, chunkservers, gateways: 0 })
    }
}

pub(super) fn node<'a>(status: &'a Status, name: &str) -> Result<&'a Node> {
    let mut nodes = status.membership.nodes.values();
    nodes.find(|node| node.name == name).with_context(|| format!("no node {name}"))
}

pub(super) fn upkeep(status: &Status, name: &str) -> Result<Upkeep> {
    let heard = status.heartbeats.get(&node(status, name)?.id);
    Ok(heard.map(|(_, heartbeat)| heartbeat.upkeep.clone()).unwrap_or_default())
}

/// Waits until an audit finds nothing, then has every copy read back, until all of them are there and right.
///
/// Reading everything back can be what finds out that a disk is bad: copies that it just gave up are then missing, and made
/// again like any others. A finding of another kind is a failure at once, and so is a copy that stays away.
pub(super) async fn audited(cluster: &Cluster) -> Result<()> {
    let clean = async || Ok(cluster.cli(&["admin", "audit"])?.status.success());
    if !eventually(PATIENCE, clean).await? {
        let last = cluster.cli(&["admin", "audit"])?;
        anyhow::bail!("not healed: {}", String::from_utf8_lossy(&last.stdout));
    }
    for _ in 0..READS_BACK {
        let deep = cluster.cli(&["--json", "admin", "audit", "--deep"])?;
        let told = String::from_utf8_lossy(&[deep.stdout, deep.stderr].concat()).into_owned();
        if deep.status.success() && told.contains("\"findings\":0") {
            return Ok(());
        }
        println!("a deep audit: {} {}", deep.status, told.lines().last().unwrap_or_default());
        // Exit code 3: somebody took too long, on a machine that does other things as well.
        let is_healing = deep.status.code() == Some(9) && is_only_short(&told);
        ensure!(is_healing || deep.status.code() == Some(3), "a deep audit: {} {told}", deep.status);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    anyhow::bail!("{READS_BACK} times, not all copies could be read back")
}

/// Whether all that an audit found is copies that have to be made.
fn is_only_short(told: &str) -> bool {
    let mut findings = told.lines().filter(|line| line.contains("\"type\":\"finding\""));
    findings.all(|finding| finding.contains("\"finding\":\"short\""))
}

/// Waits until all moves are finished: one ring is left.
async fn settled(client: &Client) -> Result<()> {
    let one_ring = async || Ok(client.status().await?.membership.rings.len() == 1);
    ensure!(eventually(PATIENCE, one_ring).await?, "earlier rings are never retired");
    Ok(())
}

fn empty(disk: &Path) -> Result<()> {
    std::fs::remove_dir_all(disk).with_context(|| format!("emptying {}", disk.display()))?;
    std::fs::create_dir(disk)?;
    Ok(())
}

/// Kills a chunkserver under load, empties its disk and starts it: no client notices, and it has all that it owns again.
pub fn a_wiped_disk(bug: Option<&'static str>, seed: u64) -> Result<Counted> {
    block_on(async {
        let cluster = Cluster::start(plan(3, 3, bug))?;
        let (client, oracle) = (client_with_bucket(&cluster).await?, Arc::new(Oracle::default()));
        let options = LoadOptions { workers: 4, seed, name: "wiped".to_owned(), strict: true };
        let load = Load::start(&client, &oracle, &options);
        let mut dice = Dice::new(seed, "a wiped disk");
        wait(&mut dice, 2000, 3000).await;
        cluster.kill("chunkserver-2", "KILL")?;
        empty(&cluster.disks("chunkserver-2")[0])?;
        wait(&mut dice, 500, 1000).await;
        cluster.start_process("chunkserver-2")?;
        wait(&mut dice, 2000, 3000).await;
        load.finish().await?;
        audited(&cluster).await?;
        ensure!(upkeep(&client.status().await?, "chunkserver-2")?.fetched.chunks > 0, "it had nothing to fetch");
        check_everything(&client, &oracle, "").await?;
        client.close().await;
        cluster.wipe()?;
        Ok(Counted::of(1, &oracle))
    })
}

/// Under load a chunkserver joins and another is drained; when the masters say that it can be unplugged, it is, for ever.
pub fn one_comes_and_one_goes(bug: Option<&'static str>, seed: u64) -> Result<Counted> {
    block_on(async {
        let cluster = Cluster::start(plan(3, 2, bug))?;
        let (client, oracle) = (client_with_bucket(&cluster).await?, Arc::new(Oracle::default()));
        let options = LoadOptions { workers: 4, seed, name: "moving".to_owned(), strict: true };
        let load = Load::start(&client, &oracle, &options);
        let mut dice = Dice::new(seed, "one comes and one goes");
        wait(&mut dice, 1500, 2500).await;
        let what_if = cluster.cli(&["admin", "node", "drain", "chunkserver-1", "--what-if"])?;
        ensure!(what_if.status.success(), "--what-if: {}", String::from_utf8_lossy(&what_if.stderr));
        cluster.add("chunkserver", &[])?;
        let early = cluster.cli(&["admin", "node", "rm", "chunkserver-1"])?;
        ensure!(!early.status.success(), "a node in the ring was forgotten");
        let drained = cluster.cli(&["admin", "node", "drain", "chunkserver-1"])?;
        ensure!(drained.status.success(), "draining: {}", String::from_utf8_lossy(&drained.stderr));
        wait(&mut dice, 1000, 1500).await;
        load.finish().await?;
        // A window that is open protects copies where they are, also on the node that is to go.
        client.close().await;
        let client = cluster.client().await?;
        settled(&client).await?;
        let emptied = async || {
            let alarms = client.status().await?.alarms;
            Ok(alarms.iter().any(|alarm| alarm.contains("chunkserver-1 is drained: it can be unplugged")))
        };
        ensure!(eventually(PATIENCE, emptied).await?, "never drained: {:?}", client.status().await?.alarms);
        cluster.kill("chunkserver-1", "KILL")?;
        empty(&cluster.disks("chunkserver-1")[0])?;
        let removed = cluster.cli(&["admin", "node", "rm", "chunkserver-1"])?;
        ensure!(removed.status.success(), "removing: {}", String::from_utf8_lossy(&removed.stderr));
        ensure!(node(&client.status().await?, "chunkserver-1")?.state == NodeState::Removed, "it is still there");
        check_everything(&client, &oracle, "").await?;
        audited(&cluster).await?;
        client.close().await;
        cluster.wipe()?;
        Ok(Counted::of(2, &oracle))
    })
}

/// A chunkserver dies and stays away: it leaves the ring, and the others make up for it. It comes back with what it had, brings
/// nothing back that was removed, and is taken in again.
pub fn a_dead_node(bug: Option<&'static str>, seed: u64) -> Result<Counted> {
    block_on(async {
        let cluster = Cluster::start(plan(4, 2, bug))?;
        let (client, oracle) = (client_with_bucket(&cluster).await?, Arc::new(Oracle::default()));
        let options = LoadOptions { workers: 4, seed, name: "dead".to_owned(), strict: true };
        let load = Load::start(&client, &oracle, &options);
        let mut dice = Dice::new(seed, "a dead node");
        wait(&mut dice, 1500, 2500).await;
        cluster.kill("chunkserver-3", "KILL")?;
        let out = async || Ok(node(&client.status().await?, "chunkserver-3")?.state == NodeState::Draining);
        ensure!(eventually(PATIENCE, out).await?, "a dead node stays in the ring: {:?}", client.status().await?.alarms);
        load.finish().await?;
        settled(&client).await?;
        // What it had is with two others now, so its disk may go.
        check_everything(&client, &oracle, "").await?;
        audited_without_silent(&cluster).await?;
        cluster.start_process("chunkserver-3")?;
        let undone = cluster.cli(&["admin", "node", "drain", "--undo", "chunkserver-3"])?;
        ensure!(undone.status.success(), "taking it back: {}", String::from_utf8_lossy(&undone.stderr));
        settled(&client).await?;
        check_everything(&client, &oracle, "").await?;
        audited(&cluster).await?;
        client.close().await;
        cluster.wipe()?;
        Ok(Counted::of(2, &oracle))
    })
}

/// An audit in which the only finding is that a node does not answer.
async fn audited_without_silent(cluster: &Cluster) -> Result<()> {
    let silent_only = async || {
        let audit = cluster.cli(&["--json", "admin", "audit"])?;
        let told = String::from_utf8(audit.stdout)?;
        let findings: Vec<&str> = told.lines().filter(|line| line.contains("\"type\":\"finding\"")).collect();
        Ok(findings.len() == 1 && findings[0].contains("\"finding\":\"silent\""))
    };
    ensure!(eventually(PATIENCE, silent_only).await?, "not made up for");
    Ok(())
}

/// One of three copies rots. Nobody reads the file; the scrub finds it, and the copy is good again.
pub fn a_rotten_copy(bug: Option<&'static str>) -> Result<()> {
    block_on(async {
        let config = "repair-pause = 1\nscrub-pause = 1\nscrub-rate = 256\n";
        let cluster = Cluster::start(Plan { config, ..plan(3, 3, bug) })?;
        let client = client_with_bucket(&cluster).await?;
        let body = Body { seed: 21, length: 6 << 20 };
        client.put(&path("file")?, body.source(), PutOptions::default()).await?;
        audited(&cluster).await?;
        let bytes = body.bytes();
        let place = find_one(&cluster.disks("chunkserver-2")[0], &bytes[3_000_000..3_000_064])?;
        place.flip_bit()?;
        drop_caches()?;
        let healed = async || {
            let upkeep = upkeep(&client.status().await?, "chunkserver-2")?;
            Ok(upkeep.scrub.bad == 1 && upkeep.fetched.chunks >= 1 && upkeep.scrub.ended_ms > 0)
        };
        ensure!(eventually(PATIENCE, healed).await?, "a rotten copy was not found, or not replaced");
        audited(&cluster).await?;
        ensure!(look(&client, "file").await? == Seen::File(body.length, body.hash()), "the wrong bytes");
        client.close().await;
        cluster.wipe()
    })
}

/// Files are removed: their space comes back once their grace is over and no upload is open that is older, never before someone
/// has said so if it is more than a tenth of a node; what is left is untouched.
pub fn removed_files(bug: Option<&'static str>) -> Result<()> {
    block_on(async {
        let cluster = Cluster::start(plan(3, 2, bug))?;
        let client = client_with_bucket(&cluster).await?;
        let bodies: Vec<Body> = (0..24).map(|seed| Body { seed: 500 + seed, length: 1 << 20 }).collect();
        for (n, body) in bodies.iter().enumerate() {
            client.put(&path(&n.to_string())?, body.source(), PutOptions::default()).await?;
        }
        // Its window is older than what is to be collected, and protects it.
        client.close().await;
        let client = cluster.client().await?;
        let set = cluster.cli(&["admin", "collect", "set", "--read-grace", "1"])?;
        ensure!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
        let bucket = cairn_common::name::BucketName::new(crate::workload::BUCKET)?;
        let gone: Vec<_> = (8..24).map(|n| Key::new(n.to_string())).collect::<Result<Vec<_>, _>>()?;
        client.delete(&bucket, gone.into_iter().map(|key| (key, Default::default())).collect()).await?;
        let stopped = async || {
            let status = client.status().await?;
            Ok(status.alarms.iter().any(|alarm| alarm.contains("cairn admin collect run")))
        };
        ensure!(eventually(PATIENCE, stopped).await?, "P7: two thirds of each node were to go and nobody was asked");
        let collected = async |status: &Status| {
            let all = status.heartbeats.values().map(|(_, heartbeat)| heartbeat.upkeep.collected.bytes);
            all.sum::<u64>()
        };
        let before = collected(&client.status().await?).await;
        ensure!(before == 0, "P7: {before} bytes were removed before anyone was asked");
        let back = async || {
            // Of what a node comes to see after this, it asks again.
            ensure!(cluster.cli(&["admin", "collect", "run"])?.status.success(), "admin collect run");
            Ok(collected(&client.status().await?).await == 2 * (16 << 20))
        };
        ensure!(eventually(PATIENCE, back).await?, "{} bytes came back", collected(&client.status().await?).await);
        for (n, body) in bodies[..8].iter().enumerate() {
            ensure!(look(&client, &n.to_string()).await? == Seen::File(body.length, body.hash()), "file {n}");
        }
        audited(&cluster).await?;
        client.close().await;
        cluster.wipe()
    })
}
