//! Several nodes, whose upkeep goes when a test says so.

use super::masters::{References, State, membership, ring_of};
use super::near::Near;
use crate::start::Chunkserver;
use crate::testing::{NOW_MS, TestClock, TestMaster, TestNode, chunk, cluster_key};
use crate::upkeep::{Context, Peers, Progress, UpkeepSettings};
use cairn_common::chunk::VerifiedChunk;
use cairn_common::ids::{Generation, NodeId, Stamp};
use cairn_common::ring::Ring;
use cairn_common::wire::heal::Referenced;
use cairn_common::wire::master::Master;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

pub(super) struct World {
    pub(super) masters: Arc<References>,
    pub(super) near: Near,
    pub(super) nodes: BTreeMap<NodeId, (Chunkserver, Arc<Context>, TestNode)>,
}

impl World {
    /// `count` nodes, of which some are in the first ring.
    pub(super) async fn new(count: u32, in_ring: &[u32]) -> World {
        let first = membership(count, ring_of(1, in_ring));
        let ring = Ring::new(first.rings[0].clone()).unwrap();
        let (stamp, horizon) = (Stamp(1_000), Stamp(900));
        let expires_ms = NOW_MS + 1_000_000;
        let state = Mutex::new(State { membership: first, ring, chunks: BTreeMap::new(), stamp, horizon, expires_ms });
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
    pub(super) fn change_ring(&self, nodes: &[u32]) {
        let mut state = self.masters.state.lock().unwrap();
        let epoch = state.ring.epoch().0 + 1;
        state.membership = membership(state.membership.nodes.len() as u32, ring_of(epoch, nodes));
        state.ring = Ring::new(state.membership.rings[0].clone()).unwrap();
    }

    pub(super) fn learn(&self, node: NodeId) {
        let membership = self.masters.state.lock().unwrap().membership.clone();
        self.context(node).view.set_membership(membership).unwrap();
    }

    /// What upkeep of this node begins with when it is started again.
    pub(super) fn another_context(&self, node: u32) -> Context {
        let Context { store, view, clock, computing, settings, .. } = self.context(NodeId(node));
        let peers = Peers::new(NodeId(node), Arc::clone(&self.masters) as Arc<dyn Master>, Box::new(self.near.clone()));
        let (store, view, clock) = (Arc::clone(store), Arc::clone(view), Arc::clone(clock));
        Context::new(store, view, peers, Arc::default(), clock, computing.clone(), *settings)
    }

    pub(super) fn context(&self, node: NodeId) -> &Context {
        &self.nodes[&node].1
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.masters.state.lock().unwrap()
    }

    /// Stores a chunk on a node, as the window of `touched` does.
    pub(super) async fn put(&self, node: u32, chunk: &VerifiedChunk, touched: u64) {
        self.context(NodeId(node)).store.put(chunk.clone(), Stamp(touched)).await.unwrap();
    }

    /// Something refers to the chunk.
    pub(super) fn refer(&self, chunk: &VerifiedChunk, copies: u8) {
        let (address, length) = (chunk.address(), chunk.length());
        self.state().chunks.insert((address.slot(), address), Referenced { address, length, copies });
    }

    /// Puts chunks on a node that something refers to, so many that one more is no tenth of it; all have one copy.
    pub(super) async fn furnish(&self, node: u32) -> Vec<VerifiedChunk> {
        let chunks = chunks(40);
        for chunk in &chunks {
            self.put(node, chunk, 5).await;
            self.refer(chunk, 1);
        }
        chunks
    }

    pub(super) fn forget(&self, chunk: &VerifiedChunk) {
        self.state().chunks.remove(&(chunk.address().slot(), chunk.address()));
    }

    pub(super) async fn has(&self, node: u32, chunk: &VerifiedChunk) -> bool {
        self.context(NodeId(node)).store.verify(chunk.address()).await.unwrap()
    }

    /// Flips a bit of a node's copy on its disk.
    pub(super) fn rot(&self, node: u32, chunk: &VerifiedChunk) {
        let disk = &self.nodes[&NodeId(node)].2.disk;
        let path = std::path::Path::new("/disk-1/packs/00000001.pack");
        let bytes = cairn_common::seam::Disk::read(disk, path).unwrap();
        let part = &chunk.data()[150_000..150_064];
        let at = bytes.windows(64).position(|window| window == part).unwrap();
        disk.damage(path, at as u64, 1);
    }

    /// Does something after a round has found what may be collected and before it asks about it again.
    pub(super) fn between_the_phases(&self, what: impl Future<Output = ()> + Send + 'static) {
        *self.masters.before_placement.lock().unwrap() = Some(Box::pin(what));
    }

    pub(super) async fn round(&self, node: u32) {
        self.context(NodeId(node)).round().await.unwrap();
    }

    pub(super) fn upkeep(&self, node: u32) -> cairn_common::wire::heal::Upkeep {
        self.context(NodeId(node)).progress.now()
    }
}

/// `count` chunks.
pub(super) fn chunks(count: u32) -> Vec<VerifiedChunk> {
    (0..count).map(|number| chunk(number, 1_000 + number as usize)).collect()
}
