//! The network: calls that are late, lost on their way there or back, carried out twice, or cut off in one direction.

use super::clock::Timeline;
use super::record::{Event, Record};
use crate::service::Service;
use crate::upkeep::peers::Chunkservers;
use async_trait::async_trait;
use cairn_common::auth::Receipt;
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::{BootCount, NodeId, Slot};
use cairn_common::seam::Random as _;
use cairn_common::sim::SeededRandom;
use cairn_common::wire::chunk::{
    ChunkError, ChunkService, ChunkSlice, ChunkStat, ConfirmChunk, GetChunk, Held, PutChunk, SlotDigest, StatChunk,
};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// How long a caller waits for an answer.
const PATIENCE_MS: u64 = 2_000;

/// How bad the network is: once in so many times, or never if zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Roughness {
    pub(super) lose: u64,
    pub(super) repeat: u64,
    pub(super) delay_ms: u64,
}

/// Who calls or is called: masters are nobody's node.
pub(super) const MASTERS: u32 = 0;
/// Clients have numbers from here on.
pub(super) const CLIENTS: u32 = 100;

/// A process that can be called.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) service: Arc<Service>,
    pub(super) died: watch::Receiver<bool>,
}

/// The network of a run.
pub(super) struct Network {
    pub(super) timeline: Timeline,
    pub(super) random: Arc<SeededRandom>,
    pub(super) record: Record,
    pub(super) roughness: Roughness,
    pub(super) calm: AtomicBool,
    /// Directions in which nothing comes through, and until when.
    pub(super) cut: Mutex<BTreeMap<(u32, u32), u64>>,
    pub(super) reach: Mutex<BTreeMap<NodeId, Reach>>,
}

fn once_in(random: &SeededRandom, times: u64) -> bool {
    times > 0 && random.below(times) == 0
}

fn no_answer() -> ChunkError {
    ChunkError::Unavailable("no answer".to_owned())
}

impl Network {
    /// Carries a message, or does not. Messages of which there are very many are hardly ever late.
    pub(super) async fn carry(&self, from: u32, to: u32, often: bool) -> bool {
        if self.calm.load(Ordering::Relaxed) {
            return true;
        }
        let is_cut = self.cut.lock().unwrap().get(&(from, to)).is_some_and(|until| *until > self.timeline.now_ms());
        if is_cut || once_in(&self.random, self.roughness.lose * if often { 30 } else { 1 }) {
            self.record.note(Event::Lost, &[u64::from(from), u64::from(to)]);
            self.timeline.sleep_ms(PATIENCE_MS).await;
            return false;
        }
        if self.roughness.delay_ms > 0 && !(often && self.random.below(64) > 0) {
            self.timeline.sleep_ms(self.random.below(self.roughness.delay_ms)).await;
        }
        true
    }

    async fn call<T, F>(self: &Arc<Self>, from: u32, to: NodeId, kind: u64, serve: F) -> Result<T, ChunkError>
    where
        T: Send + 'static,
        F: Fn(Arc<Service>) -> BoxFuture<'static, Result<T, ChunkError>> + Send + Sync + 'static,
    {
        if !self.carry(from, to.0, false).await {
            return Err(no_answer());
        }
        let serve = Arc::new(serve);
        if !self.calm.load(Ordering::Relaxed) && once_in(&self.random, self.roughness.repeat) {
            // The same once more, some time later; nobody hears the answer.
            let (network, again) = (Arc::clone(self), Arc::clone(&serve));
            tokio::spawn(async move {
                network.timeline.sleep_ms(network.random.below(5_000)).await;
                let _ = network.execute(to, &*again).await;
            });
        }
        let answer = self.execute(to, &*serve).await;
        self.record.note(Event::Call, &[u64::from(from), u64::from(to.0), kind, u64::from(answer.is_ok())]);
        if self.carry(to.0, from, false).await { answer } else { Err(no_answer()) }
    }

    /// Has a node do something, for as long as it is there.
    async fn execute<T>(
        &self,
        to: NodeId,
        serve: impl Fn(Arc<Service>) -> BoxFuture<'static, Result<T, ChunkError>>,
    ) -> Result<T, ChunkError> {
        let reach = self.reach.lock().unwrap().get(&to).cloned();
        let Some(Reach { service, mut died }) = reach else { return Err(no_answer()) };
        tokio::select! {
            biased;
            _ = died.wait_for(|died| *died) => Err(no_answer()),
            answer = serve(service) => answer,
        }
    }

    /// A way from someone to a node.
    pub(super) fn way(self: &Arc<Self>, from: u32, to: NodeId) -> Arc<Way> {
        Arc::new(Way { network: Arc::clone(self), from, to })
    }
}

/// A way to a chunkserver.
pub(super) struct Way {
    network: Arc<Network>,
    from: u32,
    to: NodeId,
}

/// Ways from one node to the others.
pub(super) struct Ways(pub(super) Arc<Network>, pub(super) NodeId);

impl Chunkservers for Ways {
    fn at(&self, node: NodeId, _: &str) -> Arc<dyn ChunkService> {
        self.0.way(self.1.0, node)
    }
}

#[async_trait]
impl ChunkService for Way {
    async fn put(&self, request: PutChunk, chunk: VerifiedChunk) -> Result<Receipt, ChunkError> {
        let serve = move |node: Arc<Service>| -> BoxFuture<'static, _> {
            let (request, chunk) = (request.clone(), chunk.clone());
            Box::pin(async move { node.put(request, chunk).await })
        };
        self.network.call(self.from, self.to, 1, serve).await
    }

    async fn get(&self, request: GetChunk) -> Result<ChunkSlice, ChunkError> {
        let serve = move |node: Arc<Service>| -> BoxFuture<'static, _> {
            let request = request.clone();
            Box::pin(async move { node.get(request).await })
        };
        self.network.call(self.from, self.to, 2, serve).await
    }

    async fn touch(&self, request: PutChunk) -> Result<Receipt, ChunkError> {
        let serve = move |node: Arc<Service>| -> BoxFuture<'static, _> {
            let request = request.clone();
            Box::pin(async move { node.touch(request).await })
        };
        self.network.call(self.from, self.to, 3, serve).await
    }

    async fn stat(&self, request: StatChunk) -> Result<ChunkStat, ChunkError> {
        let serve = move |node: Arc<Service>| -> BoxFuture<'static, _> {
            let request = request.clone();
            Box::pin(async move { node.stat(request).await })
        };
        self.network.call(self.from, self.to, 4, serve).await
    }

    async fn report_bad(&self, request: StatChunk) -> Result<(), ChunkError> {
        let serve = move |node: Arc<Service>| -> BoxFuture<'static, _> {
            let request = request.clone();
            Box::pin(async move { node.report_bad(request).await })
        };
        self.network.call(self.from, self.to, 5, serve).await
    }

    async fn confirm(&self, request: ConfirmChunk) -> Result<u32, ChunkError> {
        let serve = move |node: Arc<Service>| -> BoxFuture<'static, _> {
            let request = request.clone();
            Box::pin(async move { node.confirm(request).await })
        };
        self.network.call(self.from, self.to, 6, serve).await
    }

    async fn digests(&self, _: Slot, _: u32) -> Result<Vec<SlotDigest>, ChunkError> {
        unreachable!("nodes do not compare with each other")
    }

    async fn inventory(&self, _: Slot, _: Option<ChunkAddress>) -> Result<Vec<Held>, ChunkError> {
        unreachable!("nodes do not compare with each other")
    }

    async fn whoami(&self) -> Result<(NodeId, BootCount), ChunkError> {
        unreachable!("nobody asks")
    }
}
