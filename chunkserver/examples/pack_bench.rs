//! How fast one volume appends and reads, without the network.
//!
//! ```text
//! cargo run --release -p cairn-chunkserver --example pack_bench -- [FOLDER]
//! ```
//! Sixteen writers put chunks of 1 MiB and then of 64 KiB, each waiting for its receipt before it sends the next one; then sixteen
//! readers read them back. Chunks are hashed before the clock starts. The folder (default: one in the temporary folder) should
//! be on the file system to be measured; it is emptied afterwards.

use bytes::Bytes;
use cairn_chunkserver::store::Store;
use cairn_chunkserver::store::index::RocksIndexes;
use cairn_chunkserver::store::volume::{Admission, Volume, VolumeFolder, VolumeSeams, VolumeSettings};
use cairn_common::auth::{ClusterKey, Secret, TokenKeys};
use cairn_common::chunk::VerifiedChunk;
use cairn_common::ids::{BootCount, ClusterId, Domain, Epoch, Generation, KeyId, NodeId, Stamp, VolumeId, WindowId};
use cairn_common::seam::{Clock, OsRandom, Pool, RealDisk, SystemClock, Threads};
use cairn_common::wire::chunk::{ChunkService, GetChunk, PutChunk};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const WRITERS: usize = 16;
const TOTAL_BYTES: usize = 512 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("cairn-pack-bench"), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for bytes in [1 << 20, 64 << 10] {
        let volume = Arc::new(start(&folder)?);
        let chunks = chunks(bytes, TOTAL_BYTES / bytes);
        runtime.block_on(measure(&volume, bytes, chunks));
        runtime.block_on(volume.stop())?;
        drop(volume);
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

fn start(folder: &Path) -> Result<Volume, Box<dyn std::error::Error>> {
    let folder = VolumeFolder::lock(Arc::new(RealDisk), folder)?;
    let admission = Admission {
        cluster: ClusterId([1; 16]),
        generation: Generation(1),
        node: NodeId(1),
        volume: VolumeId(1),
        boot: BootCount(1),
        stamp: Stamp(1),
    };
    let indexes = RocksIndexes::with_memory(8 << 20, 16 << 20);
    let seams = VolumeSeams {
        clock: Arc::new(SystemClock::new()),
        random: &OsRandom,
        indexes: &indexes,
        failed: Arc::default(),
        threads: Threads::Own,
    };
    Ok(Volume::start(folder, admission, &seams, VolumeSettings::default())?)
}

fn chunks(bytes: usize, count: usize) -> Vec<VerifiedChunk> {
    let mut data = vec![0x5a; bytes];
    let make = |number: usize| {
        data[..8].copy_from_slice(&number.to_le_bytes());
        VerifiedChunk::hash(Domain(1), Bytes::copy_from_slice(&data), |_| ())
    };
    (0..count).map(make).collect()
}

async fn measure(volume: &Arc<Volume>, bytes: usize, chunks: Vec<VerifiedChunk>) {
    let clock = SystemClock::new();
    let key = ClusterKey::new(Secret::new([1; 32])).node_key(Generation(1), NodeId(1));
    let keys = Arc::new(TokenKeys::new(KeyId(1), NodeId(1), &key));
    let store = Arc::new(Store::new(vec![Arc::clone(volume)], Pool::new(WRITERS)));
    let service = Arc::new(cairn_chunkserver::Service::new(
        store,
        TokenKeys::new(KeyId(1), NodeId(1), &key),
        NodeId(1),
        BootCount(1),
        Arc::new(SystemClock::new()),
    ));
    let shares: Vec<Vec<VerifiedChunk>> =
        (0..WRITERS).map(|writer| chunks.iter().skip(writer).step_by(WRITERS).cloned().collect()).collect();
    let expires_ms = clock.wall_ms() + 3_600_000;

    let groups_before = volume.groups();
    let begun = clock.monotonic();
    let writers = shares.iter().cloned().map(|share| {
        let (service, keys) = (Arc::clone(&service), Arc::clone(&keys));
        tokio::spawn(async move {
            for chunk in share {
                let token = keys.write_token(Domain(1), WindowId(1), u64::MAX, expires_ms);
                let request = PutChunk { address: chunk.address(), token, epoch: Epoch(1) };
                service.put(request, chunk).await.expect("the disk has room and works");
            }
        })
    });
    futures::future::join_all(writers).await;
    let seconds = (clock.monotonic() - begun).as_secs_f64();
    let groups = volume.groups() - groups_before;
    report("append", bytes, chunks.len(), seconds);
    println!(
        "       {:8.0} groups/s, {:.1} chunks a group",
        groups as f64 / seconds,
        chunks.len() as f64 / groups as f64
    );

    let begun = clock.monotonic();
    let readers = shares.into_iter().map(|share| {
        let (service, keys) = (Arc::clone(&service), Arc::clone(&keys));
        tokio::spawn(async move {
            for chunk in share {
                let token = keys.read_token(&chunk.address(), expires_ms);
                let request = GetChunk { address: chunk.address(), token, start: 0, end: chunk.length() };
                service.get(request).await.expect("it was just written");
            }
        })
    });
    futures::future::join_all(readers).await;
    report("read", bytes, chunks.len(), (clock.monotonic() - begun).as_secs_f64());
}

fn report(what: &str, bytes: usize, count: usize, seconds: f64) {
    let mebibytes = (bytes * count) as f64 / (1 << 20) as f64;
    println!(
        "{what:6} {:8.0} MiB/s, {:8.0} chunks/s  ({} KiB x {count}, {WRITERS} at a time)",
        mebibytes / seconds,
        count as f64 / seconds,
        bytes >> 10
    );
}
