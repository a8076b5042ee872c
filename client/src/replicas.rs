//! Writing one chunk to the chunkservers that should hold it.
//!
//! All owners are written at once. A node that is down, full, or slow is made up for by the next one on the slot's list (a
//! hand-off). The chunk counts as written when a write quorum of receipts is there, over two zones where the ring has them
//! (P1); the copies beyond it go on in the background.

use crate::budget::Held;
use crate::client::Inner;
use crate::error::PutError;
use crate::session::Window;
use cairn_common::auth::{Receipt, WriteToken};
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::error::ErrorKind;
use cairn_common::ids::{Epoch, NodeId};
use cairn_common::quorum::write_quorum;
use cairn_common::ring::Ring;
use cairn_common::seam::seeded_bug;
use cairn_common::wire::chunk::{ChunkError, PutChunk};
use cairn_common::wire::command::ChunkReceipts;
use cairn_common::wire::master::{Actor, MasterError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// A quorum that is not there after this long is sought on further nodes as well.
const HAND_OFF_AFTER: Duration = Duration::from_secs(1);

/// What the chunks of one upload have in common.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) bucket: cairn_common::name::BucketName,
    pub(crate) actor: Option<Actor>,
    /// Copies that are wanted.
    pub(crate) replicas: u8,
}

/// A chunk that a write quorum holds.
pub(crate) struct Written {
    pub(crate) address: ChunkAddress,
    pub(crate) length: u32,
    /// Whether its quorum was there before, so that no bytes were needed for it.
    pub(crate) found: bool,
    receipts: Arc<Mutex<Vec<Receipt>>>,
    /// Keeps the window open until the receipts were used.
    _window: Arc<Window>,
}

impl Written {
    /// All receipts that are there by now.
    pub(crate) fn receipts(&self) -> ChunkReceipts {
        let receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ChunkReceipts { address: self.address, receipts }
    }
}

/// What is done to a node's copy.
#[derive(Clone)]
enum Job {
    /// Send the bytes. The memory stays counted until the last copy is written.
    Put(VerifiedChunk, Arc<Held>),
    /// Ask for the chunk by its name, and send the bytes where it is not. Notes whether a node needed them.
    Offer(VerifiedChunk, Arc<Held>, Arc<AtomicBool>),
    /// Have the copy that is there checked again.
    Touch,
}

/// Writes a chunk to a quorum. Where the client's scout thinks so, nodes are asked for it first, and those that have it are not
/// sent its bytes.
pub(crate) async fn write(
    inner: &Arc<Inner>,
    target: &Target,
    chunk: VerifiedChunk,
    held: Arc<Held>,
) -> Result<Written, PutError> {
    let (address, length) = (chunk.address(), chunk.length());
    let Some(scout) = inner.scout.as_ref().filter(|scout| scout.asks()) else {
        return reach_quorum(inner, target, address, length, &Job::Put(chunk, held)).await;
    };
    let sent = Arc::new(AtomicBool::new(false));
    let written = reach_quorum(inner, target, address, length, &Job::Offer(chunk, held, Arc::clone(&sent))).await?;
    let found = !sent.load(Ordering::Relaxed);
    scout.learn(found);
    Ok(Written { found, ..written })
}

/// Gets new receipts for a chunk that was written before, without its bytes.
pub(crate) async fn touch(
    inner: &Arc<Inner>,
    target: &Target,
    address: ChunkAddress,
    length: u32,
) -> Result<Written, PutError> {
    reach_quorum(inner, target, address, length, &Job::Touch).await
}

async fn reach_quorum(
    inner: &Arc<Inner>,
    target: &Target,
    address: ChunkAddress,
    length: u32,
    job: &Job,
) -> Result<Written, PutError> {
    let (mut fresh_window, mut fresh_view) = (false, false);
    loop {
        let window = inner.sessions.window(inner).await?;
        window.count_chunk();
        let view = inner.view();
        let Some(ring) = view.ring() else {
            return Err(MasterError::Unavailable("no chunkserver serves yet".to_owned()).into());
        };
        let preference = ring.preference(address.slot());
        let mut tokens = window.tokens(inner, target.actor.clone(), &target.bucket, false).await?;
        if !preference.iter().all(|node| tokens.contains_key(node)) {
            tokens = window.tokens(inner, target.actor.clone(), &target.bucket, true).await?;
        }
        let attempt = Attempt {
            inner,
            ring,
            wanted: if seeded_bug("commit-below-quorum") { 1 } else { write_quorum(target.replicas) },
            copies: usize::from(target.replicas),
            address,
            length,
            epoch: ring.epoch(),
            tokens: &tokens,
        };
        match attempt.run(preference, job).await {
            Ok(receipts) => return Ok(Written { address, length, found: false, receipts, _window: window }),
            // The window's time or its byte limit is over: once more under a new one.
            Err(failures) if !fresh_window && failures.iter().any(|(_, error)| is_over(error)) => {
                fresh_window = true;
                inner.sessions.give_up_window(&window).await;
            }
            // Nodes may have come since the view was taken, as they do while a cluster begins.
            Err(_) if !fresh_view && inner.refresh().await.is_ok() && inner.view().epoch() != ring.epoch() => {
                fresh_view = true;
            }
            Err(failures) => {
                let durable = attempt.copies.min(view.membership().nodes.len()).saturating_sub(failures.len());
                return Err(PutError::ShortOfQuorum { address, durable, wanted: attempt.wanted, failures });
            }
        }
    }
}

fn is_over(error: &ChunkError) -> bool {
    matches!(error, ChunkError::Token(_) | ChunkError::LimitReached)
}

struct Attempt<'a> {
    inner: &'a Arc<Inner>,
    ring: &'a Arc<Ring>,
    wanted: usize,
    copies: usize,
    address: ChunkAddress,
    length: u32,
    epoch: Epoch,
    tokens: &'a BTreeMap<NodeId, WriteToken>,
}

type Answer = (NodeId, Result<Receipt, ChunkError>);

impl Attempt<'_> {
    /// Works down the preference list until a quorum has the chunk.
    async fn run(
        &self,
        preference: Vec<NodeId>,
        job: &Job,
    ) -> Result<Arc<Mutex<Vec<Receipt>>>, Vec<(NodeId, ChunkError)>> {
        let receipts = Arc::new(Mutex::new(Vec::with_capacity(self.copies)));
        let (sender, mut answers) = mpsc::channel::<Answer>(preference.len().max(1));
        let mut waiting: VecDeque<NodeId> = preference.into();
        let mut running = 0usize;
        let mut failures = Vec::new();
        let start = |count: usize, waiting: &mut VecDeque<NodeId>, running: &mut usize| {
            for _ in 0..count {
                let Some(node) = waiting.pop_front() else { break };
                self.start(node, job, &sender, &receipts);
                *running += 1;
            }
        };
        // A suspect owner is written all the same, and one more node beside it.
        let now = self.inner.clock.monotonic();
        let suspects =
            waiting.iter().take(self.copies).filter(|node| self.inner.health.is_suspect(**node, now)).count();
        start(self.copies + suspects, &mut waiting, &mut running);
        loop {
            if running == 0 && waiting.is_empty() {
                return Err(failures);
            }
            if running == 0 {
                start(1, &mut waiting, &mut running);
            }
            let answer = tokio::select! {
                biased;
                answer = answers.recv() => answer,
                () = self.inner.clock.sleep(HAND_OFF_AFTER) => None,
            };
            match answer {
                None => start(1, &mut waiting, &mut running),
                Some((_, Ok(_))) => {
                    running -= 1;
                    if self.is_quorum(&receipts.lock().unwrap_or_else(PoisonError::into_inner)) {
                        return Ok(receipts);
                    }
                }
                Some((node, Err(error))) => {
                    running -= 1;
                    tracing::debug!(%node, chunk = ?self.address, %error, "a copy was not written");
                    failures.push((node, error));
                    start(1, &mut waiting, &mut running);
                }
            }
        }
    }

    fn start(&self, node: NodeId, job: &Job, answers: &mpsc::Sender<Answer>, receipts: &Arc<Mutex<Vec<Receipt>>>) {
        let (answers, receipts) = (answers.clone(), Arc::clone(receipts));
        let view = self.inner.view();
        let service = self.inner.directory.chunkserver(&view, node);
        let (Some(service), Some(token)) = (service, self.tokens.get(&node).cloned()) else {
            let _ = answers.try_send((node, Err(ChunkError::Unavailable("the node is not known".to_owned()))));
            return;
        };
        let request = PutChunk { address: self.address, token, epoch: self.epoch };
        let (inner, job, length) = (Arc::clone(self.inner), job.clone(), self.length);
        self.inner.background.spawn(async move {
            let begun = inner.clock.monotonic();
            let result = match job {
                Job::Put(chunk, _held) => service.put(request, chunk).await,
                Job::Offer(chunk, _held, sent) if request.token.finds => match service.touch(request.clone()).await {
                    Err(ChunkError::Absent) => {
                        sent.store(true, Ordering::Relaxed);
                        service.put(request, chunk).await
                    }
                    answer => answer,
                },
                Job::Offer(chunk, _held, sent) => {
                    sent.store(true, Ordering::Relaxed);
                    service.put(request, chunk).await
                }
                Job::Touch => service.touch(request).await,
            };
            let now = inner.clock.monotonic();
            let result = result.and_then(|receipt| {
                // Another node's receipt, or for another length, is no answer to us.
                let ours = receipt.node == node && receipt.length == length;
                if ours {
                    Ok(receipt)
                } else {
                    Err(ChunkError::Unknown("the receipt is for something else".to_owned()))
                }
            });
            match &result {
                Ok(receipt) => {
                    inner.health.answered(node, now.saturating_sub(begun));
                    receipts.lock().unwrap_or_else(PoisonError::into_inner).push(receipt.clone());
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::NoSpace) =>
                {
                    inner.health.failed(node, now);
                }
                Err(_) => {}
            }
            let _ = answers.try_send((node, result));
        });
    }

    fn is_quorum(&self, receipts: &[Receipt]) -> bool {
        let nodes: BTreeSet<NodeId> = receipts.iter().map(|receipt| receipt.node).collect();
        let zones: BTreeSet<&str> = nodes.iter().filter_map(|node| self.ring.spec().zone_of(*node)).collect();
        nodes.len() >= self.wanted && (zones.len() >= 2 || self.wanted < 2 || self.ring.zone_count() < 2)
    }
}
