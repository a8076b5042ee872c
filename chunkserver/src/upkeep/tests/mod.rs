//! Rounds of several nodes against masters that know references and nothing else.

mod race;

use super::peers::Chunkservers;
use super::round::RoundError;
use super::*;
use crate::service::Service;
use crate::start::Chunkserver;
use crate::store::volume::ScrubMark;
use crate::testing::{NOW_MS, TestClock, TestMaster, TestNode, chunk, cluster_key};
use async_trait::async_trait;
use cairn_common::auth::{Receipt, TokenKeys};
use cairn_common::chunk::{ChunkAddress, ChunkId, IdKind, VerifiedChunk};
use cairn_common::ids::{BootCount, ClusterId, Domain, Epoch, Generation, KeyId, NodeId, Slot, Stamp};
use cairn_common::limits::INVENTORY_PAGE_MAX;
use cairn_common::membership::{Membership, Node, NodeState, Roles};
use cairn_common::ring::{Member, Ring, RingSpec};
use cairn_common::seam::{OsRandom, Random as _, must_fail_without};
use cairn_common::wire::chunk::{
    ChunkError, ChunkService, ChunkSlice, ChunkStat, ConfirmChunk, GetChunk, Held, PutChunk, SlotDigest, StatChunk,
};
use cairn_common::wire::encode;
use cairn_common::wire::heal::{ChunkPlace, Compared, Orders, Placement, Rebalance, ReferencePage, Referenced};
use cairn_common::wire::master::{Caller, Master, MasterCall, MasterError, MasterReply, MasterRequest};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Masters as chunkservers see them.
struct References {
    state: Mutex<State>,
    /// Bytes of all questions and answers.
    bytes: AtomicUsize,
    /// Runs before an answer about placement is given.
    before_placement: Mutex<Option<Interlude>>,
    /// Runs after the next such answer was found, and before it is heard.
    after_placement: Mutex<Option<Interlude>>,
    /// How many steps of others at most go by before an answer is found, and again before it is heard.
    delay: AtomicUsize,
}

type Interlude = futures::future::BoxFuture<'static, ()>;

struct State {
    membership: Membership,
    ring: Arc<Ring>,
    chunks: BTreeMap<(Slot, ChunkAddress), Referenced>,
    stamp: Stamp,
    horizon: Stamp,
}

fn keys(node: NodeId) -> TokenKeys {
    TokenKeys::new(KeyId(1), node, &cluster_key().node_key(Generation(1), node))
}

impl State {
    fn answer(&self, asking: NodeId, request: MasterRequest) -> MasterReply {
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
        let expires_ms = NOW_MS + 1_000_000;
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

/// All nodes of a test; one that is down is not reached.
#[derive(Clone, Default)]
struct Near(Arc<Mutex<BTreeMap<NodeId, Arc<Service>>>>);

struct Down;

fn down() -> ChunkError {
    ChunkError::Unavailable("down".to_owned())
}

#[async_trait]
impl ChunkService for Down {
    async fn put(&self, _: PutChunk, _: VerifiedChunk) -> Result<Receipt, ChunkError> {
        Err(down())
    }
    async fn get(&self, _: GetChunk) -> Result<ChunkSlice, ChunkError> {
        Err(down())
    }
    async fn touch(&self, _: PutChunk) -> Result<Receipt, ChunkError> {
        Err(down())
    }
    async fn stat(&self, _: StatChunk) -> Result<ChunkStat, ChunkError> {
        Err(down())
    }
    async fn report_bad(&self, _: StatChunk) -> Result<(), ChunkError> {
        Err(down())
    }
    async fn confirm(&self, _: ConfirmChunk) -> Result<u32, ChunkError> {
        Err(down())
    }
    async fn digests(&self, _: Slot, _: u32) -> Result<Vec<SlotDigest>, ChunkError> {
        Err(down())
    }
    async fn inventory(&self, _: Slot, _: Option<ChunkAddress>) -> Result<Vec<Held>, ChunkError> {
        Err(down())
    }
    async fn whoami(&self) -> Result<(NodeId, BootCount), ChunkError> {
        Err(down())
    }
}

impl Chunkservers for Near {
    fn at(&self, node: NodeId, _: &str) -> Arc<dyn ChunkService> {
        match self.0.lock().unwrap().get(&node) {
            Some(service) => Arc::clone(service) as Arc<dyn ChunkService>,
            None => Arc::new(Down),
        }
    }
}

struct World {
    masters: Arc<References>,
    near: Near,
    nodes: BTreeMap<NodeId, (Chunkserver, Arc<Context>, TestNode)>,
}

fn membership(nodes: u32, ring: RingSpec) -> Membership {
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

fn ring_of(epoch: u64, nodes: &[u32]) -> RingSpec {
    let member = |node: &u32| Member { node: NodeId(*node), zone: format!("z{node}"), weight: 1 };
    RingSpec::new(Epoch(epoch), nodes.iter().map(member).collect())
}

impl World {
    /// `count` nodes, of which some are in the first ring.
    async fn new(count: u32, in_ring: &[u32]) -> World {
        let first = membership(count, ring_of(1, in_ring));
        let ring = Ring::new(first.rings[0].clone()).unwrap();
        let (stamp, horizon) = (Stamp(1_000), Stamp(900));
        let state = Mutex::new(State { membership: first, ring, chunks: BTreeMap::new(), stamp, horizon });
        let masters = Arc::new(References {
            state,
            bytes: AtomicUsize::new(0),
            before_placement: Mutex::default(),
            after_placement: Mutex::default(),
            delay: AtomicUsize::new(0),
        });
        let (near, clock) = (Near::default(), TestClock::new());
        let mut nodes = BTreeMap::new();
        for id in (1..=count).map(NodeId) {
            let mut test = TestNode::new(&["/disk-1"]);
            test.config.disks[0].capacity_bytes = Some(1 << 30);
            test.clock = clock.clone();
            (test.identity.node, test.identity.key) = (id, cluster_key().node_key(Generation(1), id));
            let server = test.start(&TestMaster::new()).await.unwrap();
            let service = server.service();
            near.0.lock().unwrap().insert(id, Arc::clone(service));
            let context = Context::new(
                Arc::clone(service.store()),
                Arc::clone(service.view()),
                Peers::new(id, Arc::clone(&masters) as Arc<dyn Master>, Box::new(near.clone())),
                Arc::new(Progress::default()),
                Arc::new(clock.clone()),
                test.seams().computing,
                // No test waits for a rate.
                UpkeepSettings {
                    fetch_bytes_per_second: u64::MAX,
                    scrub_bytes_per_second: u64::MAX,
                    ..Default::default()
                },
            );
            nodes.insert(id, (server, Arc::new(context), test));
        }
        let world = World { masters, near, nodes };
        for node in world.nodes.keys() {
            world.learn(*node);
        }
        world
    }

    /// The next ring; nodes know it when they learn it.
    fn change_ring(&self, nodes: &[u32]) {
        let mut state = self.masters.state.lock().unwrap();
        let epoch = state.ring.epoch().0 + 1;
        state.membership = membership(state.membership.nodes.len() as u32, ring_of(epoch, nodes));
        state.ring = Ring::new(state.membership.rings[0].clone()).unwrap();
    }

    fn learn(&self, node: NodeId) {
        let membership = self.masters.state.lock().unwrap().membership.clone();
        self.context(node).view.set_membership(membership).unwrap();
    }

    /// What upkeep of this node begins with when it is started again.
    fn another_context(&self, node: u32) -> Context {
        let Context { store, view, clock, computing, settings, .. } = self.context(NodeId(node));
        let peers = Peers::new(NodeId(node), Arc::clone(&self.masters) as Arc<dyn Master>, Box::new(self.near.clone()));
        let (store, view, clock) = (Arc::clone(store), Arc::clone(view), Arc::clone(clock));
        Context::new(store, view, peers, Arc::default(), clock, computing.clone(), *settings)
    }

    fn context(&self, node: NodeId) -> &Context {
        &self.nodes[&node].1
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.masters.state.lock().unwrap()
    }

    /// Stores a chunk on a node, as the window of `touched` does.
    async fn put(&self, node: u32, chunk: &VerifiedChunk, touched: u64) {
        self.context(NodeId(node)).store.put(chunk.clone(), Stamp(touched)).await.unwrap();
    }

    /// Something refers to the chunk.
    fn refer(&self, chunk: &VerifiedChunk, copies: u8) {
        let (address, length) = (chunk.address(), chunk.length());
        self.state().chunks.insert((address.slot(), address), Referenced { address, length, copies });
    }

    fn forget(&self, chunk: &VerifiedChunk) {
        self.state().chunks.remove(&(chunk.address().slot(), chunk.address()));
    }

    async fn has(&self, node: u32, chunk: &VerifiedChunk) -> bool {
        self.context(NodeId(node)).store.verify(chunk.address()).await.unwrap()
    }

    /// Flips a bit of a node's copy on its disk.
    fn rot(&self, node: u32, chunk: &VerifiedChunk) {
        let disk = &self.nodes[&NodeId(node)].2.disk;
        let path = std::path::Path::new("/disk-1/packs/00000001.pack");
        let bytes = cairn_common::seam::Disk::read(disk, path).unwrap();
        let part = &chunk.data()[150_000..150_064];
        let at = bytes.windows(64).position(|window| window == part).unwrap();
        disk.damage(path, at as u64, 1);
    }

    /// Does something after a round has found what may be collected and before it asks about it again.
    fn between_the_phases(&self, what: impl Future<Output = ()> + Send + 'static) {
        *self.masters.before_placement.lock().unwrap() = Some(Box::pin(what));
    }

    async fn round(&self, node: u32) {
        self.context(NodeId(node)).round().await.unwrap();
    }

    fn upkeep(&self, node: u32) -> cairn_common::wire::heal::Upkeep {
        self.context(NodeId(node)).progress.now()
    }
}

/// `count` chunks.
fn chunks(count: u32) -> Vec<VerifiedChunk> {
    (0..count).map(|number| chunk(number, 1_000 + number as usize)).collect()
}

#[tokio::test]
async fn an_owner_fetches_what_it_lacks_and_says_when_it_has_all() {
    let world = World::new(3, &[1, 2, 3]).await;
    let chunks = chunks(20);
    for chunk in &chunks {
        world.put(1, chunk, 5).await;
        world.refer(chunk, 3);
    }
    assert_eq!(world.upkeep(2).complete, Epoch(0));
    for node in [1, 2, 3] {
        world.round(node).await;
        assert_eq!((world.upkeep(node).complete, world.upkeep(node).missing.chunks), (Epoch(1), 0));
        for chunk in &chunks {
            assert!(world.has(node, chunk).await);
        }
    }
    assert_eq!((world.upkeep(1).fetched.chunks, world.upkeep(2).fetched.chunks), (0, 20));
}

#[tokio::test]
async fn a_copy_that_is_bad_is_passed_over_and_its_node_looks_for_itself() {
    let world = World::new(3, &[1, 2, 3]).await;
    let chunk = chunk(1, 300_000);
    world.put(1, &chunk, 5).await;
    world.put(2, &chunk, 5).await;
    world.refer(&chunk, 3);
    world.rot(1, &chunk);
    world.round(3).await;
    assert!(world.has(3, &chunk).await);
    assert!(!world.has(1, &chunk).await, "node 1 was told");
    world.round(1).await;
    assert!(world.has(1, &chunk).await, "and has fetched a good copy");
}

#[tokio::test]
async fn a_chunk_that_no_node_has_is_named_and_one_whose_holder_is_down_is_waited_for() {
    let world = World::new(3, &[1, 2]).await;
    let (gone, away) = (chunk(1, 1_000), chunk(2, 1_000));
    world.put(3, &away, 5).await;
    world.refer(&gone, 2);
    world.refer(&away, 2);
    world.near.0.lock().unwrap().remove(&NodeId(3));
    world.round(1).await;
    let upkeep = world.upkeep(1);
    assert_eq!((upkeep.complete, upkeep.missing.chunks, upkeep.lost.len()), (Epoch(0), 2, 0), "node 3 may have both");
    let back = Arc::clone(world.nodes[&NodeId(3)].0.service());
    world.near.0.lock().unwrap().insert(NodeId(3), back);
    world.round(1).await;
    let upkeep = world.upkeep(1);
    assert_eq!((upkeep.complete, upkeep.lost), (Epoch(1), vec![gone.address()]));
    assert!(world.has(1, &away).await);
}

#[tokio::test]
async fn a_chunk_of_others_goes_when_all_of_them_have_it() {
    let world = World::new(3, &[1, 2]).await;
    let chunk = chunk(1, 1_000);
    world.put(3, &chunk, 5).await;
    world.refer(&chunk, 2);
    world.round(3).await;
    assert!(world.has(3, &chunk).await, "neither owner has it");
    world.round(1).await;
    world.round(3).await;
    assert!(world.has(3, &chunk).await, "one owner has it");
    assert_eq!((world.upkeep(3).foreign.chunks, world.upkeep(3).emptied), (1, Epoch(0)));
    world.round(2).await;
    world.round(3).await;
    assert!(!world.has(3, &chunk).await);
    assert_eq!((world.upkeep(3).dropped.chunks, world.upkeep(3).emptied), (1, Epoch(1)));
    assert!(world.has(1, &chunk).await && world.has(2, &chunk).await);
}

#[tokio::test]
async fn a_copy_that_an_open_window_counts_on_is_not_dropped() {
    let world = World::new(3, &[1, 2]).await;
    let chunk = chunk(1, 1_000);
    world.put(3, &chunk, 900).await;
    world.refer(&chunk, 2);
    for node in [1, 2, 3] {
        world.round(node).await;
    }
    assert!(world.has(3, &chunk).await, "the window that began at 900 is open");
    world.state().horizon = Stamp(901);
    world.round(3).await;
    assert!(!world.has(3, &chunk).await);
}

/// The owner has decided to remove a copy that nothing refers to. Before it does, an upload is committed on the word of another
/// node, its window is closed, and that node asks the owner whether it may drop its copy.
#[tokio::test]
async fn a_copy_that_was_confirmed_is_not_removed_on_an_older_decision() {
    let world = World::new(2, &[1]).await;
    for chunk in &chunks(40) {
        world.put(1, chunk, 5).await;
        world.refer(chunk, 1);
    }
    let chunk = chunk(100, 1_000);
    world.put(1, &chunk, 5).await;
    let (masters, other) = (Arc::clone(&world.masters), Arc::clone(&world.nodes[&NodeId(2)].1));
    let (again, address, length) = (chunk.clone(), chunk.address(), chunk.length());
    let meanwhile: Interlude = Box::pin(async move {
        other.store.put(again, Stamp(1_001)).await.unwrap();
        {
            let mut state = masters.state.lock().unwrap();
            state.chunks.insert((address.slot(), address), Referenced { address, length, copies: 1 });
            (state.stamp, state.horizon) = (Stamp(1_010), Stamp(1_010));
        }
        other.round().await.unwrap();
    });
    *world.masters.after_placement.lock().unwrap() = Some(meanwhile);
    world.round(1).await;
    assert!(world.has(1, &chunk).await || world.has(2, &chunk).await, "what is referred to is nowhere");
    for node in [1, 2] {
        world.round(node).await;
    }
    assert!(world.has(1, &chunk).await && !world.has(2, &chunk).await);
}

#[tokio::test]
async fn a_copy_that_rotted_at_an_owner_confirms_nothing() {
    let world = World::new(3, &[1, 2]).await;
    let chunk = chunk(1, 300_000);
    for node in [1, 2, 3] {
        world.put(node, &chunk, 5).await;
    }
    world.refer(&chunk, 2);
    world.rot(2, &chunk);
    world.round(3).await;
    assert!(world.has(3, &chunk).await);
    world.round(2).await;
    world.round(3).await;
    assert!(!world.has(3, &chunk).await && world.has(2, &chunk).await);
}

#[tokio::test]
async fn an_answer_of_another_ring_is_none() {
    let world = World::new(2, &[1, 2]).await;
    let chunk = chunk(1, 1_000);
    world.put(1, &chunk, 5).await;
    let confirm = |epoch, token| ConfirmChunk { address: chunk.address(), token, epoch: Epoch(epoch), stamp: Stamp(1) };
    let service = world.nodes[&NodeId(1)].0.service();
    let token = keys(NodeId(1)).confirm_token(&chunk.address(), Stamp(1), NOW_MS + 1);
    assert_eq!(service.confirm(confirm(1, token.clone())).await, Ok(1_000));
    assert_eq!(service.confirm(confirm(2, token.clone())).await, Err(ChunkError::OtherEpoch(Epoch(1))));
    world.change_ring(&[2]);
    world.learn(NodeId(1));
    assert_eq!(service.confirm(confirm(1, token)).await, Err(ChunkError::OtherEpoch(Epoch(2))));
    let read = keys(NodeId(1)).read_token(&chunk.address(), NOW_MS + 1);
    assert!(matches!(service.confirm(confirm(2, read)).await, Err(ChunkError::Token(_))));
}

/// A owns a chunk, then B, then A again: neither may drop on what the other said in between.
#[tokio::test]
async fn two_changes_that_give_and_take_an_owner_lose_nothing() {
    for late in [1, 2] {
        let world = World::new(2, &[1]).await;
        let chunk = chunk(1, 1_000);
        world.put(1, &chunk, 5).await;
        world.refer(&chunk, 1);
        world.change_ring(&[2]);
        for node in [1, 2] {
            world.learn(NodeId(node));
        }
        world.round(2).await;
        assert!(world.has(1, &chunk).await && world.has(2, &chunk).await);
        world.change_ring(&[1]);
        // One of them has not heard of it.
        world.learn(NodeId(3 - late));
        for node in [late, 3 - late, late] {
            match world.context(NodeId(node)).round().await {
                Ok(_) | Err(RoundError::Epoch) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(world.has(1, &chunk).await || world.has(2, &chunk).await, "node {late} was late");
        world.learn(NodeId(late));
        for node in [1, 2] {
            world.round(node).await;
        }
        assert!(world.has(1, &chunk).await && !world.has(2, &chunk).await);
    }
}

#[tokio::test]
async fn what_nothing_refers_to_goes_once_no_open_window_is_older() {
    let world = World::new(1, &[1]).await;
    let kept = chunks(40);
    for chunk in &kept {
        world.put(1, chunk, 5).await;
        world.refer(chunk, 1);
    }
    let (old, young) = (chunk(100, 1_000), chunk(101, 1_000));
    world.put(1, &old, 899).await;
    world.put(1, &young, 900).await;
    world.round(1).await;
    assert!(!world.has(1, &old).await, "nobody can refer to it any more");
    assert!(world.has(1, &young).await, "the window that wrote it is open");
    for chunk in &kept {
        assert!(world.has(1, chunk).await);
    }
    assert_eq!((world.upkeep(1).collected.chunks, world.upkeep(1).unreferenced.chunks), (1, 0));
    world.forget(&kept[0]);
    world.state().horizon = Stamp(901);
    world.round(1).await;
    assert!(!world.has(1, &young).await && !world.has(1, &kept[0]).await && world.has(1, &kept[1]).await);
}

#[tokio::test]
async fn a_reference_or_a_touch_that_comes_between_the_phases_keeps_the_chunk() {
    let world = World::new(1, &[1]).await;
    for chunk in &chunks(40) {
        world.put(1, chunk, 5).await;
        world.refer(chunk, 1);
    }
    let chunk = chunk(100, 1_000);
    world.put(1, &chunk, 5).await;
    let (address, length) = (chunk.address(), chunk.length());
    let masters = Arc::clone(&world.masters);
    world.between_the_phases(async move {
        let referenced = Referenced { address, length, copies: 1 };
        masters.state.lock().unwrap().chunks.insert((address.slot(), address), referenced);
    });
    world.round(1).await;
    assert!(world.has(1, &chunk).await, "something refers to it now");
    world.forget(&chunk);
    let (store, again) = (Arc::clone(&world.context(NodeId(1)).store), chunk.clone());
    world.between_the_phases(async move {
        store.put(again, Stamp(950)).await.unwrap();
    });
    world.round(1).await;
    assert!(world.has(1, &chunk).await, "an open window has touched it");
    world.round(1).await;
    assert!(world.has(1, &chunk).await, "and is still open");
    world.state().horizon = Stamp(951);
    world.round(1).await;
    assert!(!world.has(1, &chunk).await, "nothing keeps it any more");
}

#[tokio::test]
async fn a_pass_that_would_free_more_than_a_tenth_stops_and_asks() {
    let world = World::new(1, &[1]).await;
    let all = chunks(20);
    for chunk in &all {
        world.put(1, chunk, 5).await;
    }
    for chunk in &all[10..] {
        world.refer(chunk, 1);
    }
    let approve = |stamp| {
        let orders = Orders { collect_approved: Stamp(stamp), ..Orders::default() };
        world.context(NodeId(1)).view.set_orders(orders);
    };
    approve(999);
    world.round(1).await;
    assert!(world.has(1, &all[0]).await, "it was approved before it was known");
    assert_eq!((world.upkeep(1).fused, world.upkeep(1).unreferenced.chunks), (Stamp(1_000), 10));
    world.state().stamp = Stamp(2_000);
    approve(1_500);
    world.round(1).await;
    assert!(!world.has(1, &all[0]).await && world.has(1, &all[10]).await);
    assert_eq!(world.upkeep(1).fused, Stamp::ZERO);
    for chunk in &all[10..15] {
        world.forget(chunk);
    }
    world.round(1).await;
    assert!(world.has(1, &all[10]).await, "each time is asked about anew");
    world.context(NodeId(1)).view.set_orders(Orders {
        collect_paused: true,
        collect_approved: Stamp(3_000),
        ..Orders::default()
    });
    world.round(1).await;
    assert!(world.has(1, &all[10]).await, "paused");
    approve(3_000);
    world.round(1).await;
    assert!(!world.has(1, &all[10]).await);
}

#[tokio::test]
async fn a_node_that_was_away_brings_nothing_back_that_was_collected() {
    let world = World::new(2, &[1, 2]).await;
    for chunk in &chunks(40) {
        for node in [1, 2] {
            world.put(node, chunk, 5).await;
        }
        world.refer(chunk, 2);
    }
    let collected = chunk(100, 1_000);
    world.put(2, &collected, 5).await;
    for node in [1, 2] {
        world.round(node).await;
    }
    assert!(!world.has(1, &collected).await && !world.has(2, &collected).await);
}

#[tokio::test]
async fn the_scrub_goes_on_where_it_was_when_its_node_was_restarted() {
    let world = World::new(1, &[1]).await;
    world.put(1, &chunk(1, 1_000), 5).await;
    let (first, second) = (world.context(NodeId(1)), world.another_context(1));
    let pause = Duration::from_secs(3_600);
    let left = ScrubMark { slot: Slot(8_192), ended_ms: 0, due_ms: 0 };
    first.store.leave_scrubbed(left).await;
    assert_eq!(first.store.scrubbed().await, left);
    // No time goes by now, so a pass that waited would never end.
    let ended = async {
        while second.progress.now().scrub.ended_ms == 0 {
            let slot = second.progress.now().scrub.slot;
            assert!(slot >= left.slot || slot == Slot(0), "it began anew at {slot}");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = ended => {}
        () = second.scrub(pause) => unreachable!("it never ends"),
    }
    assert_eq!(first.store.scrubbed().await.slot, Slot(0));
}

#[tokio::test]
async fn what_only_moves_waits_while_moves_are_paused_and_what_was_lost_is_made_again() {
    let world = World::new(3, &[1, 2]).await;
    let chunks = chunks(20);
    for chunk in &chunks {
        for node in [1, 2] {
            world.put(node, chunk, 5).await;
        }
        world.refer(chunk, 2);
    }
    world.change_ring(&[1, 3]);
    {
        // The earlier ring is kept until everything has moved.
        let mut state = world.state();
        state.membership.rings.insert(0, ring_of(1, &[1, 2]));
    }
    world.learn(NodeId(3));
    let rebalance = |paused| Rebalance { paused, bytes_per_second: 0 };
    let view = &world.context(NodeId(3)).view;
    view.set_orders(Orders { rebalance: rebalance(true), ..Orders::default() });
    world.round(3).await;
    assert_eq!((world.upkeep(3).missing.chunks, world.upkeep(3).complete), (20, Epoch(0)), "nothing moves");
    view.set_orders(Orders { rebalance: rebalance(true), down: vec![NodeId(2)], ..Orders::default() });
    world.round(3).await;
    assert_eq!((world.upkeep(3).missing.chunks, world.upkeep(3).complete), (0, Epoch(2)), "an owner is gone");
}

/// What one comparison costs on the network; the figure is in docs/decisions/0010-upkeep.md.
#[tokio::test]
async fn comparing_many_chunks_with_few_differences_moves_little() {
    const CHUNKS: u32 = 100_000;
    let world = World::new(2, &[1, 2]).await;
    let mut missing = Vec::new();
    for number in 0..CHUNKS {
        let chunk = chunk(number, 16);
        world.refer(&chunk, 2);
        let lacks = number % (CHUNKS / 10) == 0;
        world.put(if lacks { 1 } else { 2 }, &chunk, 5).await;
        missing.extend(lacks.then_some(chunk));
    }
    world.masters.bytes.store(0, Ordering::SeqCst);
    world.round(2).await;
    let bytes = world.masters.bytes.load(Ordering::SeqCst);
    assert_eq!((world.upkeep(2).fetched.chunks, missing.len()), (10, 10));
    println!("{CHUNKS} chunks, 10 differences: {bytes} bytes to and from the masters");
    assert!(bytes < 1 << 20, "{bytes}");
}

#[test]
fn rules_of_upkeep_are_missed_when_they_are_left_out() {
    must_fail_without("drop-without-confirmation", a_chunk_of_others_goes_when_all_of_them_have_it);
    must_fail_without("confirm-at-any-epoch", an_answer_of_another_ring_is_none);
    must_fail_without("confirm-without-touch", a_copy_that_was_confirmed_is_not_removed_on_an_older_decision);
    must_fail_without("drop-under-window", a_copy_that_an_open_window_counts_on_is_not_dropped);
    must_fail_without("collect-without-horizon", a_reference_or_a_touch_that_comes_between_the_phases_keeps_the_chunk);
    must_fail_without("no-collect-fuse", a_pass_that_would_free_more_than_a_tenth_stops_and_asks);
}
