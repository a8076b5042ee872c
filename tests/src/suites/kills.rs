//! `kill -9`: of one chunkserver, which no client that retries may notice; and of everything, which loses nothing.

use super::{block_on, client_with_bucket};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::Dice;
use crate::oracle::Oracle;
use crate::workload::{Load, LoadOptions, check_everything};
use anyhow::{Context as _, Result};
use std::sync::Arc;
use std::time::Duration;

/// What a suite counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Faults.
    pub rounds: u64,
    /// Operations that were acknowledged.
    pub acknowledged: u64,
    /// Reads that were compared.
    pub reads: u64,
}

impl Counted {
    pub(super) fn of(rounds: u64, oracle: &Oracle) -> Counted {
        let counts = oracle.counts();
        Counted { rounds, acknowledged: counts.acknowledged, reads: counts.reads }
    }
}

/// Kills each of three chunkservers in turn under load and starts it again, `rounds` times: no read fails, and no write that
/// the client repeats.
pub fn one_chunkserver(seed: u64, rounds: u64) -> Result<Counted> {
    block_on(async {
        let plan = Plan { replicas: Some(3), ..Plan::new(Shape::Split { masters: 1, chunkservers: 3, gateways: 0 }) };
        let cluster = Cluster::start(plan)?;
        let (client, oracle) = (client_with_bucket(&cluster).await?, Arc::new(Oracle::default()));
        let options = LoadOptions { workers: 6, seed, name: "one".to_owned(), strict: true };
        let load = Load::start(&client, &oracle, &options);
        let mut dice = Dice::new(seed, "one chunkserver");
        for round in 0..rounds {
            for name in cluster.plan().chunk_nodes() {
                wait(&mut dice, 500, 1500).await;
                cluster.kill(&name, "KILL")?;
                wait(&mut dice, 1000, 3000).await;
                cluster.start_process(&name).with_context(|| format!("round {round}: {name} does not start again"))?;
            }
        }
        wait(&mut dice, 500, 1500).await;
        load.finish().await?;
        check_everything(&client, &oracle, "").await?;
        client.close().await;
        cluster.wipe()?;
        Ok(Counted::of(rounds * 3, &oracle))
    })
}

/// Kills every process at a random moment under load, starts all again and reads everything back, `rounds` times.
pub fn everything(plan: Plan, seed: u64, rounds: u64) -> Result<Counted> {
    block_on(async {
        let mut cluster = Cluster::start(plan)?;
        let oracle = Arc::new(Oracle::default());
        let mut client = client_with_bucket(&cluster).await?;
        let mut dice = Dice::new(seed, "everything");
        for round in 0..rounds {
            let options = LoadOptions { workers: 6, seed, name: format!("r{round}"), strict: false };
            let load = Load::start(&client, &oracle, &options);
            wait(&mut dice, 200, 1500).await;
            let processes = cluster.processes()?;
            cluster.kill_all(&processes)?;
            load.abort().await?;
            drop(client);
            cluster.up().with_context(|| format!("round {round}: the cluster does not start again"))?;
            client = cluster.client().await?;
            check_everything(&client, &oracle, "").await.with_context(|| format!("after kill {round}"))?;
        }
        client.close().await;
        cluster.wipe()?;
        Ok(Counted::of(rounds, &oracle))
    })
}

/// Waits for a random time between two bounds, in milliseconds: a moment that nothing in the servers knows.
pub(super) async fn wait(dice: &mut Dice, from_ms: u64, to_ms: u64) {
    tokio::time::sleep(Duration::from_millis(from_ms + dice.below(to_ms - from_ms))).await;
}
