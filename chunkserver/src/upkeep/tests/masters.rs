//! Masters as chunkservers see them: references, placements, and nothing else.

use super::super::compare;
use crate::testing::cluster_key;
use async_trait::async_trait;
use cairn_common::auth::TokenKeys;
use cairn_common::chunk::{ChunkAddress, ChunkId, IdKind};
use cairn_common::ids::{BootCount, ClusterId, Domain, Epoch, Generation, KeyId, NodeId, Slot, Stamp};
use cairn_common::limits::INVENTORY_PAGE_MAX;
use cairn_common::membership::{Membership, Node, NodeState, Roles};
use cairn_common::ring::{Member, Ring, RingSpec};
use cairn_common::seam::{OsRandom, Random as _};
use cairn_common::wire::chunk::SlotDigest;
use cairn_common::wire::encode;
use cairn_common::wire::heal::{ChunkPlace, Compared, Placement, ReferencePage, Referenced};
use cairn_common::wire::master::{Caller, Master, MasterCall, MasterError, MasterReply, MasterRequest};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Masters as chunkservers see them.
pub(super) struct References {
    pub(super) state: Mutex<State>,
    /// Bytes of all questions and answers.
    pub(super) bytes: AtomicUsize,
    /// Runs before an answer about placement is given.
    pub(super) before_placement: Mutex<Option<Interlude>>,
    /// Runs after the next such answer was found, and before it is heard.
    pub(super) after_placement: Mutex<Option<Interlude>>,
    /// How many steps of others at most go by before an answer is found, and again before it is heard.
    pub(super) delay: AtomicUsize,
}

pub(super) type Interlude = futures::future::BoxFuture<'static, ()>;

pub(super) struct State {
    pub(super) membership: Membership,
    pub(super) ring: Arc<Ring>,
    pub(super) chunks: BTreeMap<(Slot, ChunkAddress), Referenced>,
    pub(super) stamp: Stamp,
    pub(super) horizon: Stamp,
    /// When tokens end that are given out now, in milliseconds since 1970.
    pub(super) expires_ms: u64,
}

pub(super) fn keys(node: NodeId) -> TokenKeys {
    TokenKeys::new(KeyId(1), node, &cluster_key().node_key(Generation(1), node))
}

impl State {
    pub(super) fn answer(&self, asking: NodeId, request: MasterRequest) -> MasterReply {
        let epoch = self.ring.epoch();
        match request {
            MasterRequest::Compare(asked) if asked.epoch != epoch => MasterReply::Compared(Compared::OtherEpoch(epoch)),
            MasterRequest::Compare(asked) => {
                let mut digests: BTreeMap<Slot, SlotDigest> = BTreeMap::new();
                let slots = asked.first..Slot(asked.first.0 + asked.count);
                let lowest = ChunkAddress { domain: Domain(0), kind: IdKind::Plain, id: ChunkId([0; 32]) };
                let of_group = self.chunks.range((slots.start, lowest)..(slots.end, lowest));
                for ((slot, address), chunk) in of_group {
                    let owned = self.ring.owners(*slot, usize::from(chunk.copies)).any(|owner| owner == asking);
                    if owned {
                        let new = SlotDigest { slot: *slot, chunks: 0, digest: [0; 16] };
                        digests.entry(*slot).or_insert(new).add(address);
                    }
                }
                let digests: Vec<SlotDigest> = digests.into_values().collect();
                let same = compare::combined(&digests) == asked.digest;
                MasterReply::Compared(if same { Compared::Same } else { Compared::Differs(digests) })
            }
            MasterRequest::References { slot, after } => {
                let after = after.map(|address| (slot, address));
                let of_slot = self.chunks.iter().filter(|(key, _)| key.0 == slot && Some(**key) > after);
                let mut references: Vec<Referenced> = of_slot.map(|(_, chunk)| *chunk).collect();
                let more = references.len() > INVENTORY_PAGE_MAX;
                references.truncate(INVENTORY_PAGE_MAX);
                MasterReply::References(ReferencePage { references, more })
            }
            MasterRequest::Placement { chunks } => {
                let chunks = chunks.into_iter().map(|address| self.place(asking, address)).collect();
                let (stamp, horizon) = (self.stamp, self.horizon);
                MasterReply::Placement(Placement { epoch, stamp, horizon, chunks })
            }
            other => panic!("upkeep does not ask for {other:?}"),
        }
    }

    fn place(&self, asking: NodeId, address: ChunkAddress) -> Option<ChunkPlace> {
        let slot = address.slot();
        let copies = self.chunks.get(&(slot, address))?.copies;
        let owners: Vec<NodeId> = self.ring.owners(slot, usize::from(copies)).collect();
        let owner = owners.contains(&asking);
        let expires_ms = self.expires_ms;
        let nodes = if owner {
            let others = self.membership.nodes.keys().filter(|node| **node != asking);
            others.map(|node| (*node, keys(*node).read_token(&address, expires_ms))).collect()
        } else {
            let confirm = |node| (node, keys(node).confirm_token(&address, self.stamp, expires_ms));
            owners.into_iter().map(confirm).collect()
        };
        Some(ChunkPlace { copies, owner, nodes })
    }
}

#[async_trait]
impl Master for References {
    async fn call(&self, caller: &Caller, call: MasterCall) -> Result<MasterReply, MasterError> {
        let Caller::Node(node) = caller else { return Err(MasterError::Denied) };
        self.bytes.fetch_add(encode(&call).len(), Ordering::SeqCst);
        let asks_for_some = matches!(&call.request, MasterRequest::Placement { chunks } if !chunks.is_empty());
        self.delay(asks_for_some).await;
        let before = if asks_for_some { self.before_placement.lock().unwrap().take() } else { None };
        if let Some(before) = before {
            before.await;
        }
        let reply = self.state.lock().unwrap().answer(*node, call.request);
        let after = if asks_for_some { self.after_placement.lock().unwrap().take() } else { None };
        if let Some(after) = after {
            after.await;
        }
        self.delay(asks_for_some).await;
        self.bytes.fetch_add(encode(&Ok::<_, MasterError>(reply.clone())).len(), Ordering::SeqCst);
        Ok(reply)
    }
}

impl References {
    async fn delay(&self, some: bool) {
        let most = if some { self.delay.load(Ordering::Relaxed) } else { 0 };
        for _ in 0..OsRandom.number() as usize % (most + 1) {
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn membership(nodes: u32, ring: RingSpec) -> Membership {
    let node = |id: u32| Node {
        id: NodeId(id),
        name: format!("n{id}"),
        zone: format!("z{id}"),
        weight: 1,
        address: format!("http://n{id}"),
        roles: Roles { chunkserver: true, ..Roles::default() },
        state: NodeState::Live,
        boot: BootCount(1),
        served_boot: BootCount(1),
        volumes: BTreeMap::new(),
    };
    Membership {
        cluster: ClusterId([1; 16]),
        generation: Generation(1),
        revision: ring.epoch.0,
        nodes: (1..=nodes).map(|id| (NodeId(id), node(id))).collect(),
        rings: vec![ring],
        replicas: 2,
        replicas_rise: false,
        voters: cairn_common::limits::VOTERS_DEFAULT,
    }
}

pub(super) fn ring_of(epoch: u64, nodes: &[u32]) -> RingSpec {
    let member = |node: &u32| Member { node: NodeId(*node), zone: format!("z{node}"), weight: 1 };
    RingSpec::new(Epoch(epoch), nodes.iter().map(member).collect())
}
