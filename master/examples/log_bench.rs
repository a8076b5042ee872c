//! Commits a second through the Raft log of a group of one or three, with an empty state machine: what the log itself costs.
//! `cargo run --release -p cairn-master --example log_bench -- FOLDER [MASTERS]`
//!
//! The members of a group are in one process, on one disk, and talk through memory: what a network adds is not in the figures.

#![allow(clippy::disallowed_methods)] // it measures

use bytes::Bytes;
use cairn_common::file::{Attributes, Condition, S3Tag};
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::manifest::Root;
use cairn_common::name::FilePath;
use cairn_common::seam::SystemClock;
use cairn_common::wire::command::{Command, CommitFile, Done, Envelope, NewContent, Outcome};
use cairn_master::raft::{ApplyError, ConfState, EngineLog, Group, GroupConfig, LogError, LogStore, StateMachine};
use raft::eraftpb::{Entry, HardState};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A state machine that only counts: index, last stamp, and the size of its group.
struct Nothing(u64, Stamp, u32);

/// A log that counts its syncs.
struct Counted {
    log: EngineLog,
    syncs: Arc<AtomicU64>,
}

impl LogStore for Counted {
    fn hard_state(&self) -> Result<HardState, LogError> {
        self.log.hard_state()
    }

    fn truncated(&self) -> Result<(u64, u64), LogError> {
        self.log.truncated()
    }

    fn last_index(&self) -> Result<u64, LogError> {
        self.log.last_index()
    }

    fn append(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), LogError> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.log.append(entries, hard_state)
    }

    fn entries(&self, low: u64, high: u64) -> Result<Vec<Entry>, LogError> {
        self.log.entries(low, high)
    }

    fn reset(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        self.log.reset(index, term)
    }

    fn compact(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        self.log.compact(index, term)
    }
}

impl StateMachine for Nothing {
    fn applied(&self) -> (u64, Stamp) {
        (self.0, self.1)
    }

    fn apply(&mut self, index: u64, _: u64, base: Stamp, commands: &[Envelope]) -> Result<Vec<Outcome>, ApplyError> {
        (self.0, self.1) = (index, base.next(commands.len() as u64));
        Ok(commands.iter().map(|_| Ok(Done::Nothing)).collect())
    }

    fn conf(&self) -> ConfState {
        ConfState { voters: (1..=u64::from(self.2)).collect(), ..ConfState::default() }
    }

    fn apply_conf(&mut self, index: u64, _: u64, _: &ConfState) -> Result<(), ApplyError> {
        self.0 = index;
        Ok(())
    }

    fn install(&mut self, _: u64, _: u64) -> Result<(), ApplyError> {
        Err(ApplyError("these never miss so much".to_owned()))
    }

    fn flush(&mut self) -> Result<u64, ApplyError> {
        Ok(self.0)
    }
}

fn command(body: &Bytes) -> Envelope {
    let commit = CommitFile {
        path: FilePath::new("bench", "some/key/of/usual/length-000001").expect("a good path"),
        content: NewContent::Inline(body.clone()),
        root: Root([1; 32]),
        length: body.len() as u64,
        tag: S3Tag::Md5([2; 16]),
        attributes: Attributes::default(),
        condition: Condition::default(),
    };
    Envelope { session: None, command: Command::CommitFile(Box::new(commit)) }
}

/// The members of a group, by number less one; known to each other once all are there.
type Peers = Arc<OnceLock<Vec<Arc<Group>>>>;

fn start(folder: &Path, node: u32, masters: u32, peers: &Peers, syncs: &Arc<AtomicU64>) -> Arc<Group> {
    let log = EngineLog::open(&folder.join(format!("log-{node}"))).expect("the log opens");
    let others = Arc::clone(peers);
    let config = GroupConfig {
        node: NodeId(node),
        run: u64::from(node),
        outbox: Box::new(move |messages| {
            for message in messages {
                if let Some(to) = others.get().and_then(|all| all.get(message.to as usize - 1)) {
                    // A queue that is full loses it, as a network does.
                    let _ = to.step(message);
                }
            }
        }),
        snapshots: None,
        fatal: Box::new(|reason| panic!("{reason}")),
    };
    let log = Counted { log, syncs: Arc::clone(syncs) };
    let machine = Nothing(0, Stamp::ZERO, masters);
    Arc::new(Group::start(config, machine, log, Arc::new(SystemClock::new())).expect("it starts"))
}

/// Time of all processors that this process has used, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc is mounted");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // User and system time, in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("usage: log_bench FOLDER [MASTERS]");
    let masters: u32 = arguments.next().map_or(1, |text| text.parse().expect("a number of masters"));
    let (peers, syncs): (Peers, Arc<AtomicU64>) = Default::default();
    let all: Vec<Arc<Group>> =
        (1..=masters).map(|node| start(folder.as_ref(), node, masters, &peers, &syncs)).collect();
    let _ = peers.set(all.clone());
    let group = loop {
        if let Some(leader) = all.iter().find(|group| group.status().leading) {
            break Arc::clone(leader);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    println!("| masters | bytes | at once | commits/s | commits an entry | syncs a commit | CPU µs a commit |");
    println!("|---|---|---|---|---|---|---|");
    for bytes in [0usize, 4096] {
        let body = Bytes::from(vec![7; bytes]);
        for at_once in [1usize, 8, 64, 512] {
            let (begun, before, cpu, synced) =
                (Instant::now(), group.status(), cpu_seconds(), syncs.load(Ordering::Relaxed));
            let workers = (0..at_once).map(|_| {
                let (group, body) = (Arc::clone(&group), body.clone());
                tokio::spawn(async move {
                    let begun = Instant::now();
                    while begun.elapsed() < Duration::from_secs(3) {
                        group.propose(command(&body)).await.expect("it is executed").expect("it is done");
                    }
                })
            });
            futures::future::join_all(workers).await;
            let (seconds, after) = (begun.elapsed().as_secs_f64(), group.status());
            let (commands, entries) = (after.commands - before.commands, after.entries - before.entries);
            let each = |amount: f64| amount / commands as f64;
            println!(
                "| {masters} | {bytes} | {at_once} | {:.0} | {:.1} | {:.3} | {:.1} |",
                commands as f64 / seconds,
                commands as f64 / entries as f64,
                each((syncs.load(Ordering::Relaxed) - synced) as f64),
                each((cpu_seconds() - cpu) * 1e6),
            );
        }
    }
    all.iter().for_each(|group| group.stop());
}
