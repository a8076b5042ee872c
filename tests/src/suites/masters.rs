//! Masters that are lost: the one that leads, again and again, under load; and most of them.

use super::kills::{Counted, wait};
use super::{block_on, client_with_bucket};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::{Body, Dice};
use crate::oracle::{Oracle, Seen};
use crate::workload::{Load, LoadOptions, check_everything, look, path};
use anyhow::{Context as _, Result, bail, ensure};
use cairn_client::{Client, PutOptions};
use cairn_common::error::ErrorKind;
use cairn_common::seam::{Clock as _, SystemClock};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How the leader is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its process is killed, and started again later.
    Kill,
    /// It is stopped for longer than an election takes, and goes on later as if nothing had been.
    Stop,
    /// It hands over.
    Transfer,
    /// It is taken out of the group, and put in again.
    Remove,
}

/// What a suite saw.
#[derive(Clone, Debug)]
pub struct Failovers {
    /// Rounds, operations, reads.
    pub counted: Counted,
    /// For each round, the longest time between two acknowledged writes of one writer, in milliseconds, sorted.
    pub gaps_ms: Vec<u64>,
}

fn three_masters(bug: Option<&'static str>) -> Plan {
    Plan { replicas: Some(1), bug, ..Plan::new(Shape::Split { masters: 3, chunkservers: 1, gateways: 0 }) }
}

/// Names of the members: the leader first, then those that vote.
pub(super) fn leader_first(cluster: &Cluster) -> Result<Vec<String>> {
    let mut members = cluster.cli_json(&["admin", "master", "ls"])?;
    members.retain(|member| member["type"] == "master");
    members.sort_by_key(|member| (member["role"] != "leader", member["role"] != "voter"));
    let names = members.iter().map(|member| member["name"].as_str().unwrap_or_default().to_owned());
    Ok(names.collect())
}

/// Loses the leader of three masters under load, `rounds` times. No operation of a client fails.
pub fn leader_lost(loss: Loss, seed: u64, rounds: u64) -> Result<Failovers> {
    block_on(async {
        let cluster = Cluster::start(three_masters(None))?;
        let (client, oracle) = (client_with_bucket(&cluster).await?, Arc::new(Oracle::default()));
        let options = LoadOptions { workers: 4, seed, name: "load".to_owned(), strict: true };
        let load = Load::start(&client, &oracle, &options);
        let mut dice = Dice::new(seed, "masters");
        let mut gaps_ms = Vec::new();
        for round in 0..rounds {
            wait(&mut dice, 300, 1000).await;
            let leader = leader_first(&cluster)?.swap_remove(0);
            let stop = CancellationToken::new();
            let writer = tokio::spawn(longest_gap(client.clone(), format!("gap-{round}"), stop.clone()));
            wait(&mut dice, 200, 400).await;
            lose(&cluster, &leader, loss).with_context(|| format!("round {round}"))?;
            tokio::time::sleep(Duration::from_secs(5)).await;
            stop.cancel();
            gaps_ms.push(writer.await?.with_context(|| format!("round {round}: {leader} is lost"))?);
            bring_back(&cluster, &leader, loss).with_context(|| format!("round {round}: {leader} comes back"))?;
        }
        load.finish().await?;
        check_everything(&client, &oracle, "load").await?;
        client.close().await;
        cluster.wipe()?;
        gaps_ms.sort_unstable();
        Ok(Failovers { counted: Counted::of(rounds, &oracle), gaps_ms })
    })
}

fn lose(cluster: &Cluster, leader: &str, loss: Loss) -> Result<()> {
    match loss {
        Loss::Kill => cluster.kill(leader, "KILL"),
        Loss::Stop => cluster.kill(leader, "STOP"),
        Loss::Transfer => {
            let to = leader_first(cluster)?.swap_remove(1);
            cluster.cli_json(&["admin", "master", "transfer", &to]).map(drop)
        }
        Loss::Remove => cluster.cli_json(&["admin", "master", "remove", leader]).map(drop),
    }
}

fn bring_back(cluster: &Cluster, leader: &str, loss: Loss) -> Result<()> {
    match loss {
        Loss::Kill => cluster.start_process(leader),
        Loss::Stop => cluster.kill(leader, "CONT"),
        Loss::Transfer => Ok(()),
        Loss::Remove => cluster.cli_json(&["admin", "master", "add", leader]).map(drop),
    }
}

/// Writes small files one after the other, and measures the longest time between two acknowledgements.
async fn longest_gap(client: Client, key: String, stop: CancellationToken) -> Result<u64> {
    let clock = SystemClock::new();
    let (mut last, mut longest) = (clock.monotonic(), Duration::ZERO);
    while !stop.is_cancelled() {
        let body = Body { seed: 1, length: 100 };
        client.put(&path(&key)?, body.source(), PutOptions::default()).await.context("a write failed")?;
        let now = clock.monotonic();
        longest = longest.max(now.saturating_sub(last));
        last = now;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(u64::try_from(longest.as_millis())?)
}

/// With one of three masters left, nothing is acknowledged and nothing is read; with two again, everything is.
pub fn one_of_three_left() -> Result<()> {
    block_on(async {
        let cluster = Cluster::start(three_masters(None))?;
        let client = client_with_bucket(&cluster).await?;
        let body = Body { seed: 7, length: 1000 };
        client.put(&path("before")?, body.source(), PutOptions::default()).await?;
        let names = leader_first(&cluster)?;
        cluster.kill(&names[1], "KILL")?;
        cluster.kill(&names[2], "KILL")?;
        match client.put(&path("during")?, body.source(), PutOptions::default()).await {
            Ok(committed) => bail!("P1: acknowledged with one master of three: {committed:?}"),
            Err(error) => {
                let kind = error.kind();
                ensure!(matches!(kind, ErrorKind::Unavailable | ErrorKind::Unknown), "{error}");
            }
        }
        match look(&client, "before").await {
            Ok(seen) => bail!("P2: {seen:?} was read with one master of three"),
            Err(error) => ensure!(error.kind() == ErrorKind::Unavailable, "{error}"),
        }
        cluster.start_process(&names[1])?;
        ensure!(look(&client, "before").await? == Seen::File(body.length, body.hash()), "the wrong bytes");
        client.put(&path("during")?, body.source(), PutOptions::default()).await?;
        client.close().await;
        cluster.wipe()
    })
}

/// The folder of a master is put back as it was before: it does not start, says why, and starts with the right one.
pub fn an_old_copy_is_refused() -> Result<()> {
    block_on(async {
        let cluster = Cluster::start(three_masters(None))?;
        let client = client_with_bucket(&cluster).await?;
        let name = leader_first(&cluster)?.swap_remove(2);
        let (folder, copy) = (cluster.folder().join(&name), cluster.folder().join("copy"));
        let copy_to = |from: &std::path::Path, to: &std::path::Path| -> Result<()> {
            let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status()?.success();
            ensure!(done, "cp -a {} {}", from.display(), to.display());
            Ok(())
        };
        cluster.kill(&name, "TERM")?;
        copy_to(&folder, &copy)?;
        cluster.start_process(&name)?;
        for number in 0..20 {
            let body = Body { seed: number, length: 100 };
            client.put(&path(&format!("later/{number}"))?, body.source(), PutOptions::default()).await?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.kill(&name, "TERM")?;
        let right = cluster.folder().join("right");
        std::fs::rename(&folder, &right)?;
        copy_to(&copy, &folder)?;
        ensure!(cluster.start_process(&name).is_err(), "a master with an old copy of its folder started");
        let log = std::fs::read_to_string(folder.join("log"))?;
        ensure!(log.contains("an old copy was put in its place"), "it does not say why: {log}");
        std::fs::remove_dir_all(&folder)?;
        std::fs::rename(&right, &folder)?;
        cluster.start_process(&name).context("with the right folder")?;
        client.close().await;
        cluster.wipe()
    })
}

/// Three masters apply the same entries for a while, and compare what they came to: none complains, none ends.
pub fn states_agree(bug: Option<&'static str>) -> Result<()> {
    block_on(async {
        let cluster = Cluster::start(three_masters(bug))?;
        let client = client_with_bucket(&cluster).await?;
        // One entry each, more than lie between two places at which states are compared.
        for number in 0..150 {
            let body = Body { seed: number, length: 100 };
            client.put(&path(&format!("same/{number}"))?, body.source(), PutOptions::default()).await?;
        }
        // Long enough to compare twice.
        tokio::time::sleep(Duration::from_secs(11)).await;
        let complaints = cluster.complaints()?;
        ensure!(complaints.is_empty(), "{complaints:?}");
        let down = cluster.processes()?.into_iter().find(|process| process.pid.is_none());
        ensure!(down.is_none(), "a master has ended: {down:?}");
        client.close().await;
        cluster.wipe()
    })
}

/// From one master to three, to five, and back to one, under load. No operation of a client fails.
pub fn growing_and_shrinking(seed: u64) -> Result<Counted> {
    block_on(async {
        let plan = Plan::new(Shape::Split { masters: 1, chunkservers: 1, gateways: 0 });
        let cluster = Cluster::start(plan)?;
        let (client, oracle) = (client_with_bucket(&cluster).await?, Arc::new(Oracle::default()));
        let options = LoadOptions { workers: 4, seed, name: "load".to_owned(), strict: true };
        let load = Load::start(&client, &oracle, &options);
        let voters = |expected: usize| -> Result<()> {
            let members = cluster.cli_json(&["admin", "master", "ls"])?;
            let votes = members.iter().filter(|member| member["role"] == "leader" || member["role"] == "voter").count();
            ensure!(votes == expected, "{votes} masters vote, not {expected}: {members:?}");
            Ok(())
        };
        for _ in 2..=5 {
            cluster.add("master", &[])?;
        }
        voters(3)?;
        cluster.cli_json(&["admin", "master", "voters", "5"])?;
        voters(5)?;
        cluster.cli_json(&["admin", "master", "voters", "3"])?;
        voters(3)?;
        let leader = leader_first(&cluster)?.swap_remove(0);
        cluster.cli_json(&["admin", "master", "remove", &leader])?;
        voters(3)?;
        cluster.cli_json(&["admin", "master", "voters", "1"])?;
        voters(1)?;
        load.finish().await?;
        check_everything(&client, &oracle, "load").await?;
        client.close().await;
        cluster.wipe()?;
        Ok(Counted::of(4, &oracle))
    })
}
