//! Reading part of one chunk from whichever chunkserver has a good copy.
//!
//! Nodes are asked in the order the masters gave, those that failed a short while ago last. One that is slow is overtaken by
//! the next; one whose bytes do not match the chunk's hash is told so, and the next is asked. Nothing unverified leaves here
//! (P3).

use crate::client::{Inner, Patience, wrong_reply};
use crate::error::GetError;
use bytes::Bytes;
use cairn_common::auth::{OpenTicket, ReadToken};
use cairn_common::chunk::ChunkAddress;
use cairn_common::error::ErrorKind;
use cairn_common::ids::NodeId;
use cairn_common::name::FilePath;
use cairn_common::seam::seeded_bug;
use cairn_common::wire::chunk::{ChunkError, ChunkSlice, GetChunk, StatChunk};
use cairn_common::wire::master::{MasterError, MasterReply, MasterRequest};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Slices up to this size are hashed where they arrive: it takes less time than handing them to another thread and back.
const HASH_HERE_BYTES: usize = 256 << 10;
/// How long nodes that do not answer are asked again before a read fails.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// Part of a chunk that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Of which file, and where in it, for errors.
    pub(crate) path: Arc<FilePath>,
    pub(crate) file_offset: u64,
    /// To ask for more nodes with.
    pub(crate) ticket: Arc<OpenTicket>,
    pub(crate) address: ChunkAddress,
    /// Bytes of the chunk, not empty.
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Nodes that should have it.
    pub(crate) replicas: Arc<Vec<(NodeId, ReadToken)>>,
}

/// What became of asking one node.
type Tried = (NodeId, Result<Bytes, ChunkError>);

/// The bytes that are wanted, verified.
pub(crate) async fn fetch(inner: &Arc<Inner>, wanted: &Wanted) -> Result<Bytes, GetError> {
    let mut patience = Patience::new(inner.clock.as_ref(), READ_PATIENCE);
    let mut failures = BTreeMap::new();
    let mut replicas = wanted.replicas.as_ref().clone();
    loop {
        if let Some(bytes) = ask_all(inner, wanted, replicas, &mut failures).await {
            return Ok(bytes);
        }
        // The page named the likely nodes only, and its tokens may be old: every node may be asked, with new ones.
        let every = every_node(inner, wanted).await?;
        replicas = every.into_iter().filter(|(node, _)| !failures.get(node).is_some_and(is_final)).collect();
        let nodes_left = replicas.iter().any(|(node, _)| !failures.contains_key(node));
        if !nodes_left && (replicas.is_empty() || !patience.wait().await) {
            let tried = failures.into_iter().collect();
            let (path, offset) = (wanted.path.as_ref().clone(), wanted.file_offset);
            return Err(GetError::ChunkUnreadable { path, offset, address: wanted.address, tried });
        }
    }
}

/// Whether asking the node again is of no use.
fn is_final(error: &ChunkError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Invalid)
}

async fn every_node(inner: &Arc<Inner>, wanted: &Wanted) -> Result<Vec<(NodeId, ReadToken)>, GetError> {
    let request = MasterRequest::ReadTokens { ticket: wanted.ticket.as_ref().clone(), offset: wanted.file_offset };
    match inner.ask(None, request).await {
        Ok(MasterReply::ReadTokens(tokens)) => Ok(tokens),
        Ok(_) => Err(wrong_reply().into()),
        // The masters cannot be asked now; the nodes known so far are all there are.
        Err(MasterError::Unavailable(_) | MasterError::NotLeader { .. }) => Ok(wanted.replicas.as_ref().clone()),
        Err(error) => Err(error.into()),
    }
}

/// Asks nodes one after the other, or more at once where one is slow, until one gives good bytes.
async fn ask_all(
    inner: &Arc<Inner>,
    wanted: &Wanted,
    mut replicas: Vec<(NodeId, ReadToken)>,
    failures: &mut BTreeMap<NodeId, ChunkError>,
) -> Option<Bytes> {
    let now = inner.clock.monotonic();
    inner.health.prefer(&mut replicas, |(node, _)| *node, now);
    // A copy in this process needs no network; the order among the others stays.
    replicas.sort_by_key(|(node, _)| !inner.directory.is_local(*node) || inner.health.is_suspect(*node, now));
    let mut waiting = replicas.into_iter();
    let mut running = FuturesUnordered::new();
    let mut hedge_after = Duration::ZERO;
    loop {
        if running.is_empty() {
            let (node, token) = waiting.next()?;
            hedge_after = inner.health.hedge_after(node);
            running.push(ask_one(inner, wanted, node, token));
        }
        let answer: Option<Tried> = tokio::select! {
            biased;
            answer = running.next() => answer,
            () = inner.clock.sleep(hedge_after), if waiting.len() > 0 => None,
        };
        match answer {
            Some((_, Ok(bytes))) => return Some(bytes),
            Some((node, Err(error))) => {
                tracing::debug!(%node, chunk = ?wanted.address, %error, "a copy was not read");
                failures.insert(node, error);
            }
            None => {
                if let Some((node, token)) = waiting.next() {
                    metrics::counter!("cairn_client_hedged_reads_total").increment(1);
                    running.push(ask_one(inner, wanted, node, token));
                }
            }
        }
    }
}

async fn ask_one(inner: &Arc<Inner>, wanted: &Wanted, node: NodeId, token: ReadToken) -> Tried {
    let Some(service) = inner.directory.chunkserver(&inner.view(), node) else {
        return (node, Err(ChunkError::Unavailable("the node is not known".to_owned())));
    };
    let (address, start, end) = (wanted.address, wanted.start, wanted.end);
    let begun = inner.clock.monotonic();
    let answer = service.get(GetChunk { address, token: token.clone(), start, end }).await;
    let now = inner.clock.monotonic();
    let result = match answer {
        Ok(slice) => verified(inner, wanted, slice).await,
        Err(error) => Err(error),
    };
    match &result {
        Ok(_) => inner.health.answered(node, now.saturating_sub(begun)),
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown) => {
            inner.health.failed(node, now)
        }
        Err(ChunkError::Damaged) => {
            metrics::counter!("cairn_client_damaged_reads_total").increment(1);
            tracing::warn!(%node, chunk = %address, "a copy does not match its hash; telling its node");
            // A report only makes the node look for itself; whether it arrives does not matter to this read.
            inner.background.spawn(async move { service.report_bad(StatChunk { address, token }).await });
        }
        Err(_) => {}
    }
    (node, result)
}

/// The bytes that are wanted out of a slice, if the slice is what the chunk's hash says.
async fn verified(inner: &Inner, wanted: &Wanted, slice: ChunkSlice) -> Result<Bytes, ChunkError> {
    let from = wanted.start.checked_sub(slice.start).ok_or(ChunkError::BadRange)? as usize;
    let to = wanted.end.checked_sub(slice.start).ok_or(ChunkError::BadRange)? as usize;
    if to > slice.data.len() {
        return Err(ChunkError::Damaged);
    }
    let bytes = slice.data.slice(from..to);
    if seeded_bug("skip-verification") {
        return Ok(bytes);
    }
    let address = wanted.address;
    if slice.data.len() <= HASH_HERE_BYTES {
        slice.verify(&address)?;
    } else {
        inner.pool.run(move || slice.verify(&address)).await?;
    }
    Ok(bytes)
}
