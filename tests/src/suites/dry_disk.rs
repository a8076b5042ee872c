//! A disk whose writes fail after they were taken: the image of its file system lies on a store that is too small.
//!
//! Buffered writes all succeed; an fsync fails once, and a second one succeeds although the bytes are gone. Whatever was
//! acknowledged must be readable after the page cache was dropped (P6).

use super::{block_on, client_with_bucket};
use crate::cluster::{Cluster, Plan, Shape, new_folder};
use crate::content::Body;
use crate::faults::{LoopDisk, SmallMemory, drop_caches};
use crate::oracle::Seen;
use crate::workload::{look, path};
use anyhow::{Context as _, Result, ensure};
use cairn_client::PutOptions;

const IMAGE_BYTES: u64 = 4 << 30;
const STORE_MIB: u32 = 96;
const FILES: u64 = 200;
const FILE_BYTES: u64 = 1 << 20;

/// Stores files until well after the disk's store is full; the number that was acknowledged.
pub fn acknowledged_means_stored(bug: Option<&'static str>) -> Result<u64> {
    let (folder, images) = (new_folder()?, new_folder()?);
    let result = block_on(async {
        let store = SmallMemory::make(images.join("store"), STORE_MIB)?;
        let mut disk = LoopDisk::make(store.path().join("image"), folder.join("node-1/disk-1"), IMAGE_BYTES)?;
        let plan = Plan { replicas: Some(1), bug, ..Plan::new(Shape::Nodes(1)) };
        let cluster = Cluster::start_in(folder.clone(), plan)?;
        let client = client_with_bucket(&cluster).await?;
        let mut acknowledged = Vec::new();
        let mut refused = 0;
        for n in 0..FILES {
            let body = Body { seed: 1000 + n, length: FILE_BYTES };
            match client.put(&path(&n.to_string())?, body.source(), PutOptions::default()).await {
                Ok(_) => acknowledged.push((n, body)),
                Err(_) => refused += 1,
            }
            if refused == 3 {
                break;
            }
        }
        ensure!(refused > 0, "{STORE_MIB} MiB took {FILES} MiB");
        // The dirty pages that cannot be written back would survive this; they are lost with the next step at the latest.
        drop_caches()?;
        for (n, body) in &acknowledged {
            let seen = look(&client, &n.to_string()).await.with_context(|| format!("file {n} was acknowledged"))?;
            ensure!(seen == Seen::File(body.length, body.hash()), "P6: file {n}: {seen:?}");
        }
        client.close().await;
        cluster.down()?;
        disk.unmount()?;
        cluster.wipe()?;
        Ok(acknowledged.len() as u64)
    });
    std::fs::remove_dir_all(&images)?;
    result
}
