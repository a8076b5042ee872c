//! Collection, drops and changes of the ring race uploads of the same few chunks: nothing that is referred to is ever lost, and
//! nothing is left over in the end.
//!
//! Choices are drawn from a seed; the order in which things happen is that of tasks that wait for appenders and of answers that
//! are held back.

use super::world::World;
use crate::testing::chunk;
use crate::upkeep::round::RoundError;
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::{Epoch, NodeId, Stamp};
use cairn_common::seam::{OsRandom, Random as _};
use cairn_common::sim::SeededRandom;
use cairn_common::wire::heal::Orders;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

const COPIES: u8 = 2;
const CLIENTS: u64 = 6;
/// Chunks that come and go, again and again.
const CONTESTED: u32 = 60;
/// Chunks that stay, so that what comes and goes is never a tenth of a node.
const KEPT: u32 = 40;
/// Rings that the cluster goes back and forth between.
const RINGS: [&[u32]; 4] = [&[1, 2], &[2, 3], &[1, 3], &[1, 2, 3]];

/// How much is raced.
#[derive(Clone, Copy)]
struct Race {
    commits: u64,
    /// A change of the ring every so many commits.
    ring_every: u64,
}

/// What the race has come to.
#[derive(Debug, Default)]
struct Count {
    commits: Cell<u64>,
    /// Commits for which every copy was there already.
    hits: Cell<u64>,
    refused: Cell<u64>,
    rounds: Cell<u64>,
}

fn one_more(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

/// The masters' part: windows, and how many files refer to each chunk.
#[derive(Default)]
struct Files {
    windows: RefCell<BTreeSet<Stamp>>,
    counts: RefCell<BTreeMap<ChunkAddress, u32>>,
}

impl Files {
    /// A command takes effect; its stamp.
    fn command(&self, world: &World, change: impl FnOnce(&mut BTreeSet<Stamp>, Stamp)) -> Stamp {
        let mut state = world.state();
        state.stamp = Stamp(state.stamp.0 + 1);
        change(&mut self.windows.borrow_mut(), state.stamp);
        state.horizon = self.windows.borrow().first().copied().unwrap_or(state.stamp);
        state.stamp
    }

    fn open(&self, world: &World) -> Stamp {
        self.command(world, |windows, stamp| assert!(windows.insert(stamp)))
    }

    fn close(&self, world: &World, window: Stamp) {
        self.command(world, |windows, _| _ = windows.remove(&window));
    }

    /// A file refers to the chunk, if the window whose receipts say that it is there is still open.
    fn commit(&self, world: &World, chunk: &VerifiedChunk, window: Stamp) -> bool {
        self.command(world, |_, _| ());
        let open = self.windows.borrow().contains(&window);
        if open {
            *self.counts.borrow_mut().entry(chunk.address()).or_default() += 1;
            world.refer(chunk, COPIES);
        }
        open
    }

    fn remove(&self, world: &World, chunk: &VerifiedChunk) {
        self.command(world, |_, _| ());
        let mut counts = self.counts.borrow_mut();
        let count = counts.get_mut(&chunk.address()).expect("a file of the caller's");
        *count -= 1;
        if *count == 0 {
            world.forget(chunk);
        }
    }
}

async fn pass(random: &SeededRandom) {
    for _ in 0..random.number() % 20 {
        tokio::task::yield_now().await;
    }
}

/// A client: uploads what others upload as well, and removes it again.
async fn client(world: &World, files: &Files, count: &Count, race: Race, chunks: &[VerifiedChunk], seed: u64) {
    let random = SeededRandom::new(seed);
    let mut window = files.open(world);
    while count.commits.get() < race.commits {
        if random.number().is_multiple_of(4) {
            files.close(world, window);
            pass(&random).await;
            window = files.open(world);
        }
        let chunk = &chunks[random.number() as usize % chunks.len()];
        let first = random.number() as u32 % 3;
        let mut all_there = true;
        for node in [1 + first, 1 + (first + 1) % 3] {
            all_there &= world.context(NodeId(node)).store.stat(chunk.address()).await.unwrap().is_some();
            world.put(node, chunk, window.0).await;
            pass(&random).await;
        }
        // Some windows end before their receipts are used.
        if random.number().is_multiple_of(32) {
            files.close(world, window);
        }
        if !files.commit(world, chunk, window) {
            one_more(&count.refused);
            window = files.open(world);
            continue;
        }
        one_more(&count.commits);
        all_there.then(|| one_more(&count.hits));
        pass(&random).await;
        if random.number().is_multiple_of(16) {
            is_stored(world, chunk).await;
        }
        files.remove(world, chunk);
    }
    files.close(world, window);
}

/// What is referred to is on two nodes. They are asked one after the other, while chunks move.
async fn is_stored(world: &World, chunk: &VerifiedChunk) {
    let mut copies = 0;
    for _ in 0..50 {
        copies = 0;
        for node in 1..=3 {
            copies += u8::from(world.has(node, chunk).await);
        }
        if copies >= COPIES {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} is referred to, and on {copies} nodes", chunk.address());
}

/// Rounds of one node, for as long as clients go on.
async fn upkeep(world: &World, count: &Count, race: Race, node: NodeId) {
    while count.commits.get() < race.commits {
        match world.context(node).round().await {
            Ok(_) => one_more(&count.rounds),
            Err(RoundError::Epoch) => world.learn(node),
            Err(error) => panic!("{error}"),
        }
        tokio::task::yield_now().await;
    }
}

async fn rings(world: &World, count: &Count, race: Race) {
    let mut next = race.ring_every;
    while count.commits.get() < race.commits {
        if count.commits.get() >= next {
            world.change_ring(RINGS[(next / race.ring_every) as usize % RINGS.len()]);
            next += race.ring_every;
        }
        tokio::task::yield_now().await;
    }
}

async fn run(race: Race) {
    let world = World::new(3, RINGS[0]).await;
    let (files, count, seed) = (Files::default(), Count::default(), OsRandom.number());
    println!("seed {seed}");
    let kept: Vec<VerifiedChunk> = (0..KEPT).map(|number| chunk(1_000 + number, 4_000)).collect();
    for chunk in &kept {
        let window = files.open(&world);
        for node in [1, 2] {
            world.put(node, chunk, window.0).await;
        }
        assert!(files.commit(&world, chunk, window));
        files.close(&world, window);
    }
    // A node that has next to nothing of its own stops and asks before it removes what others' uploads left there.
    for (_, context, _) in world.nodes.values() {
        context.view.set_orders(Orders { collect_approved: Stamp::MAX, ..Orders::default() });
    }
    world.masters.delay.store(40, std::sync::atomic::Ordering::Relaxed);
    let contested: Vec<VerifiedChunk> = (0..CONTESTED).map(|number| chunk(number, 500)).collect();
    let clients = (0..CLIENTS).map(|number| client(&world, &files, &count, race, &contested, seed ^ number));
    let nodes = (1..=3).map(|node| upkeep(&world, &count, race, NodeId(node)));
    futures::join!(futures::future::join_all(clients), futures::future::join_all(nodes), rings(&world, &count, race));
    world.masters.delay.store(0, std::sync::atomic::Ordering::Relaxed);
    at_rest(&world, &files, &kept, &contested).await;
    println!("{count:?}");
    assert!(count.hits.get() * 4 > count.commits.get(), "hardly any hits: {count:?}");
    assert!(count.rounds.get() * 400 > race.commits, "hardly any collection: {count:?}");
}

/// Two cycles later everything is where it belongs, and nothing else is anywhere.
async fn at_rest(world: &World, files: &Files, kept: &[VerifiedChunk], contested: &[VerifiedChunk]) {
    files.command(world, |windows, _| assert!(windows.is_empty()));
    (1..=3).for_each(|node| world.learn(NodeId(node)));
    for node in [1, 2, 3, 1, 2, 3] {
        world.round(node).await;
    }
    let ring = std::sync::Arc::clone(&world.state().ring);
    assert!(ring.epoch() > Epoch(1), "the ring never changed");
    for (chunk, is_kept) in kept.iter().map(|chunk| (chunk, true)).chain(contested.iter().map(|chunk| (chunk, false))) {
        let owners: Vec<NodeId> = ring.owners(chunk.address().slot(), usize::from(COPIES)).collect();
        for node in 1..=3 {
            let wanted = is_kept && owners.contains(&NodeId(node));
            assert_eq!(world.has(node, chunk).await, wanted, "{} on node {node}", chunk.address());
        }
    }
    for (node, (_, context, _)) in &world.nodes {
        let digests =
            context.store.digests(cairn_common::ids::Slot(0), cairn_common::ring::SLOTS as u32).await.unwrap();
        let held: u64 = digests.iter().map(|digest| u64::from(digest.chunks)).sum();
        let owned = |chunk: &&VerifiedChunk| {
            ring.owners(chunk.address().slot(), usize::from(COPIES)).any(|owner| owner == *node)
        };
        assert_eq!(held, kept.iter().filter(owned).count() as u64, "held on node {node}");
    }
}

/// Much of it with `CAIRN_CAMPAIGN=1`: more than 500 cycles against 100,000 commits, of which most find everything there.
#[tokio::test]
async fn collection_that_races_uploads_of_the_same_chunks_loses_and_leaks_nothing() {
    let campaign = std::env::var_os("CAIRN_CAMPAIGN").is_some_and(|value| !value.is_empty());
    run(Race { commits: if campaign { 120_000 } else { 6_000 }, ring_every: 1_500 }).await;
}

#[tokio::test]
async fn a_short_race() {
    run(Race { commits: 3_000, ring_every: 500 }).await;
}
