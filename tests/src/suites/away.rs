//! Chunkservers that are away for a while: restarted, stopped and continued, cut off from the network, put back to an earlier
//! day. No client notices, nothing is lost, nothing comes back that was removed, and each ends in a deep audit.

use super::healing::{PATIENCE, audited, node};
use super::kills::{Counted, wait};
use super::{block_on, client_with_bucket, eventually};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::{Body, Dice};
use crate::oracle::{Oracle, Seen};
use crate::workload::{BUCKET, Load, LoadOptions, check_everything, look, path};
use anyhow::{Context as _, Result, ensure};
use cairn_client::PutOptions;
use cairn_common::name::{BucketName, Key};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// How a chunkserver is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Its process is stopped, and goes on later as if nothing had been.
    Stopped,
    /// The network loses everything to and from it.
    CutOff,
    /// It is ended in order, and started again.
    Restarted,
    /// It hears everyone, and nobody hears it.
    Unheard,
}

fn plan(netns: bool) -> Plan {
    let config = "repair-pause = 1\ndead-after = 600\n";
    let shape = Shape::Split { masters: 1, chunkservers: 4, gateways: 0 };
    Plan { replicas: Some(3), config, netns, ..Plan::new(shape) }
}

fn leave(cluster: &Cluster, name: &str, absence: Absence) -> Result<()> {
    match absence {
        Absence::Stopped => cluster.kill(name, "STOP"),
        Absence::Restarted => cluster.kill(name, "TERM"),
        Absence::CutOff => cluster.cut_off(name),
        Absence::Unheard => cluster.lose(name, "master-1"),
    }
}

fn come_back(cluster: &Cluster, name: &str, absence: Absence) -> Result<()> {
    match absence {
        Absence::Stopped => cluster.kill(name, "CONT"),
        Absence::Restarted => cluster.start_process(name),
        Absence::CutOff => cluster.reconnect(name),
        Absence::Unheard => cluster.mend(name, "master-1"),
    }
}

/// One chunkserver after the other is away for longer than anybody waits for an answer, under load.
pub fn one_after_the_other(absence: Absence, seed: u64, rounds: usize) -> Result<Counted> {
    block_on(async {
        let cluster = Cluster::start(plan(matches!(absence, Absence::CutOff | Absence::Unheard)))?;
        let (client, oracle) = (client_with_bucket(&cluster).await?, Arc::new(Oracle::default()));
        let options = LoadOptions { workers: 4, seed, name: "away".to_owned(), strict: true };
        let load = Load::start(&client, &oracle, &options);
        let mut dice = Dice::new(seed, "away");
        for name in cluster.plan().chunk_nodes().iter().cycle().take(rounds) {
            wait(&mut dice, 500, 1500).await;
            leave(&cluster, name, absence)?;
            let (from_ms, to_ms) = if absence == Absence::Restarted { (100, 1000) } else { (12_000, 14_000) };
            wait(&mut dice, from_ms, to_ms).await;
            come_back(&cluster, name, absence)?;
        }
        wait(&mut dice, 500, 1500).await;
        load.finish().await?;
        audited(&cluster).await?;
        check_everything(&client, &oracle, "").await?;
        client.close().await;
        cluster.wipe()?;
        Ok(Counted::of(rounds as u64, &oracle))
    })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let output = Command::new("cp").arg("-a").arg(from).arg(to).output().context("running cp")?;
    ensure!(output.status.success(), "cp: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A chunkserver's disk is put back to what it was before files were written and removed. It is refused under its name; once it
/// was emptied it is welcome as a new one. What was removed stays removed.
pub fn put_back() -> Result<()> {
    block_on(async {
        let cluster = Cluster::start(Plan { replicas: Some(2), ..plan(false) })?;
        let client = client_with_bucket(&cluster).await?;
        let bodies: Vec<Body> = (0..16).map(|seed| Body { seed: 300 + seed, length: 1 << 20 }).collect();
        for (n, body) in bodies[..12].iter().enumerate() {
            client.put(&path(&n.to_string())?, body.source(), PutOptions::default()).await?;
        }
        audited(&cluster).await?;
        let (name, disk) = ("chunkserver-2", cluster.disks("chunkserver-2").remove(0));
        let old = cluster.folder().join("old");
        cluster.kill(name, "TERM")?;
        copy(&disk, &old)?;
        cluster.start_process(name)?;
        for (n, body) in bodies.iter().enumerate().skip(12) {
            client.put(&path(&n.to_string())?, body.source(), PutOptions::default()).await?;
        }
        let gone: Vec<_> = (0..2).map(|n| Key::new(n.to_string())).collect::<Result<_, _>>()?;
        client
            .delete(&BucketName::new(BUCKET)?, gone.into_iter().map(|key| (key, Default::default())).collect())
            .await?;
        cluster.kill(name, "KILL")?;
        std::fs::remove_dir_all(&disk)?;
        copy(&old, &disk)?;
        ensure!(!cluster.comes_up_within(name, 20)?, "a disk of an earlier day was taken for today's");
        let log = std::fs::read_to_string(cluster.folder().join(name).join("log"))?;
        ensure!(log.contains("empty the folder to make it a new volume"), "nobody is told what to do");
        std::fs::remove_dir_all(&disk)?;
        std::fs::create_dir(&disk)?;
        cluster.start_process(name)?;
        audited(&cluster).await?;
        for (n, body) in bodies.iter().enumerate() {
            let expected = if n < 2 { Seen::Absent } else { Seen::File(body.length, body.hash()) };
            ensure!(look(&client, &n.to_string()).await? == expected, "file {n}");
        }
        client.close().await;
        cluster.wipe()
    })
}

/// A copy of a chunkserver's folder is started while the original serves. It is turned away, and the original goes on. Once the
/// original has begun another run, the copy is refused for good.
pub fn twin(seed: u64) -> Result<Counted> {
    block_on(async {
        let cluster = Cluster::start(plan(false))?;
        let (client, oracle) = (client_with_bucket(&cluster).await?, Arc::new(Oracle::default()));
        let options = LoadOptions { workers: 3, seed, name: "twin".to_owned(), strict: true };
        let load = Load::start(&client, &oracle, &options);
        let mut dice = Dice::new(seed, "twin");
        wait(&mut dice, 1000, 2000).await;
        let name = "chunkserver-2";
        copy(&cluster.folder().join(name), &cluster.folder().join("twin"))?;
        let saved = std::fs::read_to_string(cluster.folder().join("nodes").join(format!("{name}.env")))?;
        let other = saved.lines().filter(|line| !line.starts_with("PID"));
        let other: Vec<String> = other
            .map(|line| match line.split_once('=') {
                Some(("NAME", _)) => "NAME=twin".to_owned(),
                Some(("NODE_PORT", port)) => format!("NODE_PORT={}", port.parse::<u16>().map_or(0, |port| port + 1000)),
                _ => line.to_owned(),
            })
            .collect();
        std::fs::write(cluster.folder().join("nodes/twin.env"), other.join("\n") + "\nPID=''\nPID_START=''\n")?;
        std::fs::copy(
            cluster.folder().join("nodes").join(format!("{name}.token")),
            cluster.folder().join("nodes/twin.token"),
        )?;
        ensure!(!cluster.comes_up_within("twin", 8)?, "a node runs twice");
        wait(&mut dice, 1000, 2000).await;
        load.finish().await?;
        let processes = cluster.processes()?;
        let running = |wanted| processes.iter().any(|process| process.name == wanted && process.pid.is_some());
        ensure!(running(name), "the original was turned away");
        if running("twin") {
            // It waits for the other one to go.
            cluster.kill("twin", "KILL")?;
        }
        // The original has done a run that the copy has not seen.
        cluster.kill(name, "KILL")?;
        cluster.start_process(name)?;
        cluster.kill(name, "KILL")?;
        ensure!(!cluster.comes_up_within("twin", 8)?, "a copy from before the last run was taken for the node");
        cluster.start_process(name)?;
        audited(&cluster).await?;
        check_everything(&client, &oracle, "").await?;
        client.close().await;
        cluster.wipe()?;
        Ok(Counted::of(2, &oracle))
    })
}

/// While moves are paused none is made, also when a node has joined; what is lost is made up for all the same. The share of the
/// data that has moved in the end is little more than the ring says it must be.
pub fn moves_wait_while_they_are_paused() -> Result<()> {
    block_on(async {
        let shape = Shape::Split { masters: 1, chunkservers: 3, gateways: 0 };
        let cluster = Cluster::start(Plan { replicas: Some(2), ..Plan { shape, ..plan(false) } })?;
        let client = client_with_bucket(&cluster).await?;
        let body = Body { seed: 3, length: 96 << 20 };
        client.put(&path("file")?, body.source(), PutOptions::default()).await?;
        audited(&cluster).await?;
        // Its window would keep copies where they are.
        client.close().await;
        let client = cluster.client().await?;
        ensure!(cluster.cli(&["admin", "rebalance", "pause"])?.status.success(), "admin rebalance pause");
        let before = fetched(&client.status().await?);
        let new = cluster.add("chunkserver", &[])?;
        let waiting = async || {
            let status = client.status().await?;
            let id = node(&status, &new)?.id;
            Ok(status.heartbeats.get(&id).is_some_and(|(_, heartbeat)| heartbeat.upkeep.missing.chunks > 0))
        };
        ensure!(eventually(PATIENCE, waiting).await?, "the new node lacks nothing");
        ensure!(fetched(&client.status().await?) == before, "chunks move although moves are paused");
        let told = cluster.cli_json(&["admin", "rebalance", "status"])?;
        ensure!(told.iter().any(|line| line["paused"] == true && line["missing"].as_u64() > Some(0)), "{told:?}");
        ensure!(cluster.cli(&["admin", "rebalance", "limit", "64"])?.status.success(), "admin rebalance limit");
        ensure!(cluster.cli(&["admin", "rebalance", "resume"])?.status.success(), "admin rebalance resume");
        audited(&cluster).await?;
        let moved = fetched(&client.status().await?) - before;
        let share = moved as f64 / (2.0 * body.length as f64);
        println!("{moved} bytes moved, {:.1} % of all copies", 100.0 * share);
        // A quarter of all copies is the least; some hundred chunks make it a matter of chance as well.
        ensure!((0.15..=0.40).contains(&share), "a node that is a quarter of the cluster moved {share}");
        let lost = cluster.cli_json(&["where", "cairn://load/file", "--what-if", &format!("lose:{new}")])?;
        let left = lost.iter().find(|line| line["type"] == "what_if").context("no answer to --what-if")?;
        ensure!(left["readable"] == true && left["short"].as_u64() > Some(0) && left["gone"] == 0, "{left}");
        client.close().await;
        cluster.wipe()
    })
}

fn fetched(status: &cairn_common::wire::master::Status) -> u64 {
    status.heartbeats.values().map(|(_, heartbeat)| heartbeat.upkeep.fetched.bytes).sum()
}
