//! The suites as functions: what they counted, or the promise that was broken.

pub mod away;
pub mod backup;
pub mod chaos;
pub mod disks;
pub mod dry_disk;
pub mod epochs;
pub mod full_master;
pub mod healing;
pub mod kills;
pub mod lost_answers;
pub mod masters;
pub mod memory;
pub mod power;
pub mod quorum;
pub mod rot;

use crate::cluster::Cluster;
use crate::workload::BUCKET;
use anyhow::{Context as _, Result};
use cairn_client::Client;
use cairn_common::name::BucketName;
use std::future::Future;
use std::time::Duration;

/// Runs a suite's future.
pub fn block_on<T>(suite: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("a runtime")?;
    runtime.block_on(suite)
}

/// A client, and the bucket of the load.
pub async fn client_with_bucket(cluster: &Cluster) -> Result<Client> {
    let client = cluster.client().await?;
    client.create_bucket(&BucketName::new(BUCKET)?, None).await?;
    Ok(client)
}

/// Asks until something is so; `false` after `patience`. For what a server does in its own time.
pub async fn eventually(patience: Duration, mut is_so: impl AsyncFnMut() -> Result<bool>) -> Result<bool> {
    const PAUSE: Duration = Duration::from_millis(100);
    let mut left = patience;
    loop {
        if is_so().await? {
            return Ok(true);
        }
        if left < PAUSE {
            return Ok(false);
        }
        left -= PAUSE;
        tokio::time::sleep(PAUSE).await;
    }
}
