//! Answers that are lost after what they tell of was done: the leading master hears its clients, and they do not hear it.
//!
//! Every write is made on the condition that nothing is there yet, under a name that nobody else uses. Executed a second time
//! it would be refused, and its client told that it failed, though it is there: so a retry must get the first answer.

use super::healing::audited;
use super::kills::{Counted, wait};
use super::masters::leader_first;
use super::{block_on, client_with_bucket};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::{Body, Dice};
use crate::workload::{BUCKET, list, path};
use anyhow::{Context as _, Result, ensure};
use cairn_client::{Client, PutOptions};
use cairn_common::file::{Condition, TagCondition};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Clients at once, each with one write on its way at any time.
const CLIENTS: u64 = 8;
/// Bodies of every other write: kept in a chunk, not in the masters.
const CHUNK_BYTES: u64 = 40_000;

/// Loses the answers of three masters' leader for a while, under load, `rounds` times. No write fails, and each is there once.
pub fn of_the_leader(bug: Option<&'static str>, seed: u64, rounds: u64) -> Result<Counted> {
    block_on(async {
        let shape = Shape::Split { masters: 3, chunkservers: 1, gateways: 0 };
        let cluster = Cluster::start(Plan { replicas: Some(1), netns: true, bug, ..Plan::new(shape) })?;
        let client = client_with_bucket(&cluster).await?;
        let mut dice = Dice::new(seed, "lost answers");
        let (stop, mut writers) = (CancellationToken::new(), JoinSet::new());
        for number in 0..CLIENTS {
            writers.spawn(write_new(client.clone(), number, stop.clone()));
        }
        for _ in 0..rounds {
            wait(&mut dice, 200, 600).await;
            let leader = leader_first(&cluster)?.swap_remove(0);
            cluster.hide_from_clients(&leader)?;
            wait(&mut dice, 300, 1200).await;
            cluster.show_to_clients(&leader)?;
        }
        wait(&mut dice, 300, 600).await;
        stop.cancel();
        let mut acknowledged = 0;
        while let Some(writer) = writers.join_next().await {
            acknowledged += writer.context("a writer panicked")??;
        }
        let listed = list(&client, "").await?.len() as u64;
        ensure!(listed == acknowledged, "{acknowledged} writes were acknowledged in {BUCKET}, and {listed} are there");
        // Counts of references are recomputed.
        audited(&cluster).await?;
        client.close().await;
        cluster.wipe()?;
        Ok(Counted { rounds, acknowledged, reads: listed })
    })
}

/// Writes new files until it is told to stop; how many.
async fn write_new(client: Client, writer: u64, stop: CancellationToken) -> Result<u64> {
    let mut written = 0;
    while !stop.is_cancelled() {
        let length = if written % 2 == 0 { 100 } else { CHUNK_BYTES };
        let body = Body { seed: writer << 32 | written, length };
        let condition = Condition { if_none_match: Some(TagCondition::Any), ..Condition::default() };
        let options = PutOptions { condition, ..PutOptions::default() };
        let key = format!("w{writer}/{written}");
        let put = client.put(&path(&key)?, body.source(), options).await;
        put.with_context(|| format!("{key}: a write that nothing stood in the way of was refused"))?;
        written += 1;
    }
    Ok(written)
}
