//! The chunk plane in simulation: whole chunkservers, with their stores, heartbeats, rounds, collection and scrub, as they run in
//! a process, on disks that lose what was not synced, over a network that loses, delays and repeats. One seed, one run.
//!
//! Clients upload the same few chunks again and again, read and remove them. Meanwhile nodes lose power, also in the middle of a
//! write, stop and come back; are cut off in one direction or both; rings change; disks fill up, fail and rot; clocks jump. All
//! the time each rule of [`checks`] holds. Then everything heals: every node must come to hold what it owns and nothing else,
//! and every file must be read as it was written.
//!
//! Everything runs on one thread, in virtual time, and every choice is drawn from the seed: a run can be repeated. Masters are a
//! state that does not fail ([`masters`]), for how they fail is simulated in `master/src/raft/sim`; clients are as simple as the
//! protocol lets them be ([`client`]).

mod checks;
mod client;
mod clock;
mod faults;
mod machine;
mod masters;
mod network;
mod record;
mod seeds;

use crate::testing::chunk;
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::seam::Random as _;
use cairn_common::sim::SeededRandom;
use client::Client;
use clock::Timeline;
use faults::{RINGS, Rot, Weather};
use machine::Machine;
use masters::Masters;
use network::{Network, Roughness};
use record::{Event, Record};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NODES: u32 = 4;
const CLIENTS_COUNT: u32 = 3;
/// Chunks that clients have.
const CHUNKS: u32 = 30;
/// Space of a node's disks together, in bytes.
const DISKS_BYTES: u64 = 1 << 30;
/// Time between two looks at everything.
const STEP_MS: u64 = 250;
/// How long faults go on.
const FAULTY_MS: u64 = 90_000;
/// How long the plane has to come to rest afterwards.
const HEAL_MS: u64 = 300_000;

/// What a run did.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    commits: u64,
    reads: u64,
    crashes: u64,
    rings: u64,
    strikes: u64,
    collected: u64,
    /// Over everything that happened, in order.
    trace: [u8; 32],
}

/// A run.
struct Plane {
    timeline: Timeline,
    random: Arc<SeededRandom>,
    record: Record,
    weather: Weather,
    copies: u8,
    chunks: Vec<VerifiedChunk>,
    masters: Arc<Masters>,
    network: Arc<Network>,
    machines: Mutex<BTreeMap<NodeId, Machine>>,
    /// Copies of which a bit was flipped.
    rotten: Mutex<BTreeMap<(NodeId, ChunkAddress), Rot>>,
    /// Whose disk lost something since all was whole, and when.
    struck: Mutex<Option<(NodeId, Stamp)>>,
    /// Nodes without room, and until when.
    full: Mutex<BTreeMap<NodeId, u64>>,
    over: AtomicBool,
}

/// Runs one seed. An error says which rule was broken.
fn run(seed: u64) -> Result<Report, String> {
    let timeline = Timeline::default();
    let idle = timeline.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().on_thread_park(move || idle.go_on()).build();
    runtime.expect("a runtime without threads and I/O").block_on(async move {
        let plane = Plane::new(seed, timeline);
        plane.live().await
    })
}

impl Plane {
    fn new(seed: u64, timeline: Timeline) -> Arc<Plane> {
        let random = Arc::new(SeededRandom::new(seed));
        let record = Record::new(&timeline);
        let one_of = |choices: &[u64]| choices[random.below(choices.len() as u64) as usize];
        let roughness =
            Roughness { lose: one_of(&[0, 60, 20]), repeat: one_of(&[0, 30, 10]), delay_ms: one_of(&[5, 100, 1_500]) };
        let weather = Weather {
            crash: one_of(&[0, 120, 40]),
            cut: one_of(&[0, 150, 60]),
            ring: one_of(&[0, 150, 50]),
            strike: one_of(&[0, 60, 20]),
            full: one_of(&[0, 0, 150]),
            clock: one_of(&[0, 200]),
        };
        let scrub_pause = Duration::from_secs(one_of(&[60, 1 << 20, 1 << 20, 1 << 20]));
        let copies = 2 + random.below(2) as u8;
        let network = Arc::new(Network {
            timeline: timeline.clone(),
            random: Arc::clone(&random),
            record: record.clone(),
            roughness,
            calm: AtomicBool::new(true),
            cut: Mutex::default(),
            reach: Mutex::default(),
        });
        let length = |number: u32| if number.is_multiple_of(8) { 150_000 } else { 1_500 + 100 * number as usize };
        let machines = (1..=NODES).map(|id| (NodeId(id), Machine::new(NodeId(id), seed, scrub_pause))).collect();
        Arc::new(Plane {
            masters: Arc::new(Masters::new(&timeline, NODES, RINGS[0], copies)),
            timeline,
            random,
            record,
            weather,
            copies,
            chunks: (0..CHUNKS).map(|number| chunk(number, length(number))).collect(),
            network,
            machines: Mutex::new(machines),
            rotten: Mutex::default(),
            struck: Mutex::default(),
            full: Mutex::default(),
            over: AtomicBool::new(false),
        })
    }

    fn nodes(&self) -> Vec<NodeId> {
        (1..=NODES).map(NodeId).collect()
    }

    async fn live(self: Arc<Plane>) -> Result<Report, String> {
        while !self.is_whole() {
            self.step().await?;
        }
        self.set_calm(false);
        let clients: Vec<_> = (0..CLIENTS_COUNT).map(|number| tokio::spawn(Client::new(&self, number).run())).collect();
        let end_ms = self.timeline.now_ms() + FAULTY_MS;
        while self.timeline.now_ms() < end_ms {
            self.faults();
            self.step().await?;
        }
        self.heal();
        for client in clients {
            client.await.map_err(|error| format!("a client broke an invariant of the code: {error}"))?;
        }
        self.come_to_rest().await?;
        self.find_rot().await;
        self.come_to_rest().await?;
        let reader = Client::new(&self, CLIENTS_COUNT);
        let files: Vec<_> = self.masters.lock().files.keys().copied().collect();
        for file in files {
            if !reader.read(file).await {
                return Err(format!("file {file} cannot be read when all is well"));
            }
        }
        self.record.check()?;
        Ok(self.report())
    }

    /// Some time goes by; what follows from it is looked at.
    async fn step(&self) -> Result<(), String> {
        self.timeline.sleep_ms(STEP_MS).await;
        self.follow();
        self.masters.keep_house();
        for node in self.nodes() {
            let returned = {
                let mut machines = self.machines.lock().unwrap();
                let machine = machines.get_mut(&node).expect("one of ours");
                machine.start_if_due(&self.masters, &self.network);
                machine.has_started(&self.network).map_err(|error| format!("{node} does not start: {error}"))?
            };
            if returned {
                self.check_return(node);
            }
        }
        self.check_copies();
        self.record.check()
    }

    fn set_calm(&self, calm: bool) {
        self.network.calm.store(calm, std::sync::atomic::Ordering::Relaxed);
    }

    /// Nothing goes wrong any more, and clients end.
    fn heal(&self) {
        self.set_calm(true);
        self.over.store(true, std::sync::atomic::Ordering::Relaxed);
        self.masters.announce();
        for node in self.nodes() {
            self.empty(node);
            let mut machines = self.machines.lock().unwrap();
            let machine = machines.get_mut(&node).expect("one of ours");
            machine.disk.heal();
            machine.disk.cut_power_at(u64::MAX, cairn_common::sim::disk::PowerCut::Before);
            machine.off_ms.store(0, std::sync::atomic::Ordering::Relaxed);
            machine.down_until = 0;
        }
    }

    async fn come_to_rest(&self) -> Result<(), String> {
        self.masters.end_windows();
        let end_ms = self.timeline.now_ms() + HEAL_MS;
        while let Some(unrest) = self.unrest() {
            if self.timeline.now_ms() > end_ms {
                return Err(format!("it does not come to rest: {unrest}"));
            }
            self.step().await?;
        }
        Ok(())
    }

    /// What a scrub would find.
    async fn find_rot(&self) {
        let rotten: Vec<(NodeId, ChunkAddress)> = self.rotten.lock().unwrap().keys().copied().collect();
        for (node, address) in rotten {
            let service = self.network.reach.lock().unwrap().get(&node).map(|reach| Arc::clone(&reach.service));
            if let Some(service) = service {
                let _ = service.store().verify(address).await;
            }
        }
    }

    fn report(&self) -> Report {
        let machines = self.machines.lock().unwrap();
        let collected = machines.values().map(|machine| self.masters.collected(machine.id)).sum();
        Report {
            commits: self.record.count(Event::Commit),
            reads: self.record.count(Event::Read),
            crashes: self.record.count(Event::Crash),
            rings: self.record.count(Event::Ring),
            strikes: self.record.count(Event::Fault),
            collected,
            trace: self.record.trace(),
        }
    }
}
