//! Placement from outside: `where` agrees with the ring, and a ring that changes in mid-upload and mid-download fails nothing.

use super::kills::wait;
use super::{block_on, client_with_bucket};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::{Body, BodySource, Dice};
use crate::oracle::{Oracle, Seen};
use crate::workload::{Load, LoadOptions, check_everything, look, path};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use cairn_client::{ByteSource, Client, GetOptions, PutOptions};
use cairn_common::manifest::Extent;
use cairn_common::ring::Ring;
use cairn_common::wire::master::RangeWanted;
use futures::TryStreamExt as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Six chunkservers in three zones, with `replicas` copies: the owners that `where` tells are those of the ring, in distinct
/// zones, and the copies are there. Then two more join, one in the middle of an upload and one in the middle of a download,
/// under load: nothing fails, and everything that was written before reads back.
pub fn six_in_three_zones(bug: Option<&'static str>, replicas: u8, seed: u64) -> Result<()> {
    block_on(async {
        let plan = Plan {
            replicas: Some(u32::from(replicas)),
            zones: Some(3),
            bug,
            ..Plan::new(Shape::Split { masters: 1, chunkservers: 6, gateways: 0 })
        };
        let cluster = Cluster::start(plan)?;
        let client = client_with_bucket(&cluster).await?;
        let body = Body { seed, length: 40 << 20 };
        client.put(&path("still")?, body.source(), PutOptions::default()).await?;
        where_agrees(&client, "still", replicas).await?;

        let oracle = Arc::new(Oracle::default());
        let options = LoadOptions { workers: 3, seed, name: format!("moving-{replicas}"), strict: true };
        let load = Load::start(&client, &oracle, &options);
        wait(&mut Dice::new(seed, "epochs"), 500, 1000).await;
        let before = client.status().await?.membership.epoch();
        join_in_mid_upload(&cluster, &client).await?;
        join_in_mid_download(&cluster, &client, body).await?;
        let after = client.status().await?.membership.epoch();
        ensure!(after > before, "two chunkservers joined and the epoch stayed at {after}");
        ensure!(look(&client, "still").await? == Seen::File(body.length, body.hash()), "a file from before");
        load.finish().await?;
        check_everything(&client, &oracle, &options.name).await?;
        where_agrees(&client, "mid-upload", replicas).await?;
        client.close().await;
        cluster.wipe()
    })
}

/// The owners of every chunk are those of the ring, each in another zone, and at least a write quorum of copies is there.
async fn where_agrees(client: &Client, key: &str, replicas: u8) -> Result<()> {
    let membership = client.status().await?.membership;
    let spec = membership.ring().context("a ring")?;
    let ring = Ring::new(spec.clone())?;
    let page = client.locate(&path(key)?, 0).await?;
    ensure!(!page.more && page.replicas == replicas && !page.entries.is_empty(), "{} copies", page.replicas);
    for entry in &page.entries {
        let Extent::Chunk { address, .. } = &entry.entry.extent else {
            anyhow::bail!("{:?} in a plain file", entry.entry)
        };
        let owners: Vec<_> = ring.owners(address.slot(), usize::from(replicas)).collect();
        ensure!(entry.owners == owners, "`where` names {:?}, the ring {owners:?}", entry.owners);
        let zones: BTreeSet<_> = owners.iter().filter_map(|node| spec.zone_of(*node)).collect();
        ensure!(zones.len() == usize::from(replicas).min(spec.zone_count()), "{owners:?} lie in {zones:?}");
        let copies = client.copies(entry).await;
        let present = copies.iter().filter(|(_, said)| said.is_ok()).count();
        let wanted = cairn_common::quorum::write_quorum(replicas);
        ensure!(present >= wanted, "{present} copies of {address} are there, {wanted} were promised: {copies:?}");
    }
    Ok(())
}

/// A source that waits once, in the middle, until it is told to go on.
struct Pausing {
    source: BodySource,
    left_until_pause: u64,
    reached: Option<oneshot::Sender<()>>,
    go_on: Option<oneshot::Receiver<()>>,
}

impl ByteSource for Pausing {
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        let piece = self.source.piece();
        self.left_until_pause =
            self.left_until_pause.saturating_sub(piece.as_ref().map_or(0, |piece| piece.len() as u64));
        if self.left_until_pause == 0
            && let (Some(reached), Some(go_on)) = (self.reached.take(), self.go_on.take())
        {
            // Whoever waits for it may have failed; then nobody reads on either.
            let _ = reached.send(());
            let _ = go_on.await;
        }
        Ok(piece)
    }
}

async fn join_in_mid_upload(cluster: &Cluster, client: &Client) -> Result<()> {
    let body = Body { seed: 77, length: 40 << 20 };
    let ((reached, at_pause), (resume, go_on)) = (oneshot::channel(), oneshot::channel());
    let source = Pausing {
        source: body.source(),
        left_until_pause: body.length / 2,
        reached: Some(reached),
        go_on: Some(go_on),
    };
    let (uploading, path) = (client.clone(), path("mid-upload")?);
    let upload = tokio::spawn(async move { uploading.put(&path, source, PutOptions::default()).await });
    at_pause.await.context("the upload ended before its middle")?;
    cluster.add("chunkserver", &["--zone", "z1"])?;
    let _ = resume.send(());
    upload.await?.context("an upload failed because a chunkserver joined")?;
    ensure!(look(client, "mid-upload").await? == Seen::File(body.length, body.hash()), "the wrong bytes");
    Ok(())
}

async fn join_in_mid_download(cluster: &Cluster, client: &Client, body: Body) -> Result<()> {
    let options = GetOptions { range: RangeWanted::All, ..GetOptions::default() };
    let mut file = client.get(&path("still")?, options).await?.into_file()?;
    let mut hasher = blake3::Hasher::new();
    let mut read = 0;
    let mut joined = false;
    while let Some(piece) = file.try_next().await.context("a download failed because a chunkserver joined")? {
        hasher.update(&piece);
        read += piece.len() as u64;
        if !joined && read >= body.length / 2 {
            joined = true;
            cluster.add("chunkserver", &["--zone", "z2"])?;
        }
    }
    ensure!(joined && hasher.finalize() == body.hash(), "the wrong bytes");
    Ok(())
}

/// Three chunkservers, then four more, before much was moved: what was written before is found with its former owners.
pub fn readers_look_at_earlier_rings(bug: Option<&'static str>) -> Result<()> {
    block_on(async {
        let plan = Plan {
            replicas: Some(2),
            bug,
            config: "repair-rate = 1",
            ..Plan::new(Shape::Split { masters: 1, chunkservers: 3, gateways: 0 })
        };
        let cluster = Cluster::start(plan)?;
        let client = client_with_bucket(&cluster).await?;
        let body = Body { seed: 8, length: 60 << 20 };
        client.put(&path("early")?, body.source(), PutOptions::default()).await?;
        for _ in 0..4 {
            cluster.add("chunkserver", &[])?;
        }
        client.close().await;
        // By the program, whose client may have the bug.
        ensure!(cluster.fetch("early")? == body.bytes(), "the wrong bytes of a file from before the ring moved");
        cluster.wipe()
    })
}
