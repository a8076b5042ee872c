//! Too few chunkservers: writes are refused, reads go on; never an acknowledgement for fewer copies than the quorum.

use super::{block_on, client_with_bucket};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::Body;
use crate::oracle::Seen;
use crate::workload::{BUCKET, look, path};
use anyhow::{Result, ensure};
use cairn_client::PutOptions;
use cairn_common::error::ErrorKind;

/// With one of three chunkservers left and three copies wanted, a write is refused and what was there before reads back. With
/// two again, it is accepted.
pub fn one_of_three_left(bug: Option<&'static str>) -> Result<()> {
    block_on(async {
        let plan =
            Plan { replicas: Some(3), bug, ..Plan::new(Shape::Split { masters: 1, chunkservers: 3, gateways: 0 }) };
        let cluster = Cluster::start(plan)?;
        let client = client_with_bucket(&cluster).await?;
        let (before, during) = (Body { seed: 1, length: 3 << 20 }, Body { seed: 2, length: 3 << 20 });
        client.put(&path("before")?, before.source(), PutOptions::default()).await?;
        cluster.kill("chunkserver-1", "KILL")?;
        cluster.kill("chunkserver-2", "KILL")?;
        match client.put(&path("during")?, during.source(), PutOptions::default()).await {
            Ok(committed) => anyhow::bail!("P1: acknowledged with one chunkserver of three: {committed:?}"),
            Err(error) => ensure!(error.kind() == ErrorKind::Unavailable, "{error}"),
        }
        // And by the program, whose client may have the bug.
        let source = cluster.folder().join("during");
        std::fs::write(&source, during.bytes())?;
        let told = cluster.cli(&["put", &source.to_string_lossy(), &format!("cairn://{BUCKET}/during")])?;
        ensure!(!told.status.success(), "P1: `cairn put` succeeded with one chunkserver of three");
        ensure!(look(&client, "during").await? == Seen::Absent, "a refused write is visible");
        ensure!(look(&client, "before").await? == Seen::File(before.length, before.hash()), "the wrong bytes");
        cluster.start_process("chunkserver-1")?;
        client.put(&path("during")?, during.source(), PutOptions::default()).await?;
        ensure!(look(&client, "during").await? == Seen::File(during.length, during.hash()), "the wrong bytes");
        client.close().await;
        cluster.wipe()
    })
}
