//! Chaos: three masters, each alone in a network namespace, under faults that overlap, while clients work on the same few keys.
//! What the clients saw of every key must be linearizable, and when all heals the masters must be as they should.
//!
//! The bodies are small, so that all of it is the masters' doing. Values are unique, keys are new in every round.

use super::kills::wait;
use super::masters::leader_first;
use super::{block_on, client_with_bucket};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::Dice;
use crate::linear::{self, Action, Operation};
use crate::workload::{BUCKET, path};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use cairn_client::{Client, GetError, GetOptions, PutOptions};
use cairn_common::error::ErrorKind;
use cairn_common::file::{Condition, TagCondition};
use cairn_common::name::{BucketName, Key};
use cairn_common::seam::{Clock as _, SystemClock};
use futures::TryStreamExt as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Clients at once.
const CLIENTS: u64 = 6;
/// Keys of a round.
const KEYS: u64 = 6;
/// How long the group has to come to rest at the end.
const CONVERGE: Duration = Duration::from_secs(60);

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The leader's process is killed.
    KillLeader,
    /// A follower's process is killed.
    KillFollower,
    /// The leader is stopped for longer than every time-out of the group.
    StopLeader,
    /// A follower is stopped.
    StopFollower,
    /// The leader hears no other master and none hears it; clients reach all.
    IsolateLeader,
    /// The leader hears nobody and nobody hears it, clients included.
    CutLeader,
    /// Leader and one follower do not hear each other; all others hear both.
    CutBetween,
    /// A follower does not hear the leader, which hears it.
    OneWay,
    /// The leader hands over.
    Transfer,
    /// All masters are killed at once.
    RestartAll,
    /// A follower is killed while the leader hands over to the other.
    KillAndTransfer,
    /// The leader is stopped while the two others do not hear each other for a part of that time.
    StopAndCut,
}

const FAULTS: [Fault; 12] = [
    Fault::IsolateLeader,
    Fault::KillLeader,
    Fault::StopLeader,
    Fault::CutLeader,
    Fault::CutBetween,
    Fault::OneWay,
    Fault::Transfer,
    Fault::KillFollower,
    Fault::StopFollower,
    Fault::RestartAll,
    Fault::KillAndTransfer,
    Fault::StopAndCut,
];

impl Fault {
    /// Whether the leader is lost and the others can elect another.
    fn takes_the_leader(self) -> bool {
        matches!(self, Fault::KillLeader | Fault::StopLeader | Fault::IsolateLeader | Fault::CutLeader)
    }
}

/// What a run did and saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rounds.
    pub rounds: u64,
    /// Operations whose outcome is known.
    pub known: u64,
    /// Operations whose outcome is not.
    pub unknown: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// For faults that take the leader from a majority: time from the fault to the next acknowledged write that was begun after it, in
    /// milliseconds, sorted.
    pub again_ms: Vec<u64>,
    /// Terms that passed: elections, those that were asked for included.
    pub terms: u64,
}

struct World {
    cluster: Cluster,
    clock: SystemClock,
    values: Mutex<u64>,
    history: Mutex<BTreeMap<String, Vec<Operation>>>,
}

/// Runs `rounds` of faults. An error says which promise was broken, in which round.
pub fn run(bug: Option<&'static str>, seed: u64, rounds: u64) -> Result<Report> {
    block_on(async {
        let shape = Shape::Split { masters: 3, chunkservers: 1, gateways: 0 };
        let plan = Plan { replicas: Some(1), bug, netns: true, ..Plan::new(shape) };
        let cluster = Cluster::start(plan)?;
        let client = client_with_bucket(&cluster).await?;
        let world =
            Arc::new(World { cluster, clock: SystemClock::new(), values: Mutex::default(), history: Mutex::default() });
        let mut dice = Dice::new(seed, "chaos");
        let mut report = Report { rounds, ..Report::default() };
        let before = term(&world.cluster)?;
        for round in 0..rounds {
            // Each kind comes before any comes twice.
            let fault = FAULTS[(round % FAULTS.len() as u64) as usize];
            *report.faults.entry(fault).or_default() += 1;
            let again = world.round(&client, round, fault, &mut dice);
            let again = again.await.with_context(|| format!("round {round}, {fault:?}"))?;
            report.again_ms.extend(Some(again).filter(|_| fault.takes_the_leader()));
            world.judge(&mut report).with_context(|| format!("round {round}, {fault:?}"))?;
        }
        converge(&world.cluster).await?;
        report.terms = term(&world.cluster)? - before;
        report.again_ms.sort_unstable();
        client.close().await;
        Arc::into_inner(world).context("a client is left")?.cluster.wipe()?;
        Ok(report)
    })
}

impl World {
    /// One fault under load, and its end. How long it took until a write was acknowledged again.
    async fn round(self: &Arc<Self>, client: &Client, round: u64, fault: Fault, dice: &mut Dice) -> Result<u64> {
        let members = leader_first(&self.cluster)?;
        let stop = CancellationToken::new();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let one = One {
                world: Arc::clone(self),
                client: client.clone(),
                dice: Dice::new(dice.number(), &format!("client {number}")),
                round,
            };
            clients.spawn(one.run(stop.clone()));
        }
        wait(dice, 300, 800).await;
        self.begin(fault, &members)?;
        let probe = tokio::spawn(write_again(client.clone(), format!("probe-{round}")));
        wait(dice, 1500, 3500).await;
        self.end(fault, &members)?;
        let again = probe.await.context("the probe")?.context("no write came through after the fault was over")?;
        wait(dice, 300, 600).await;
        stop.cancel();
        while let Some(one) = clients.join_next().await {
            one.context("a client")??;
        }
        Ok(again)
    }

    fn begin(&self, fault: Fault, members: &[String]) -> Result<()> {
        let (cluster, [leader, one, other]) = (&self.cluster, three(members)?);
        let both_ways = |a: &str, b: &str, change: fn(&Cluster, &str, &str) -> Result<()>| {
            change(cluster, a, b).and_then(|()| change(cluster, b, a))
        };
        match fault {
            Fault::KillLeader => cluster.kill(leader, "KILL"),
            Fault::KillFollower => cluster.kill(one, "KILL"),
            Fault::StopLeader => cluster.kill(leader, "STOP"),
            Fault::StopFollower => cluster.kill(one, "STOP"),
            Fault::IsolateLeader => {
                [one, other].into_iter().try_for_each(|peer| both_ways(leader, peer, Cluster::lose))
            }
            Fault::CutLeader => cluster.cut_off(leader),
            Fault::CutBetween => both_ways(leader, one, Cluster::lose),
            Fault::OneWay => cluster.lose(leader, one),
            Fault::Transfer => transfer(cluster, one),
            Fault::RestartAll => {
                let all = cluster.processes()?;
                let masters: Vec<_> = all.into_iter().filter(|process| members.contains(&process.name)).collect();
                cluster.kill_all(&masters)
            }
            Fault::KillAndTransfer => cluster.kill(one, "KILL").and_then(|()| transfer(cluster, other)),
            Fault::StopAndCut => {
                cluster.kill(leader, "STOP")?;
                both_ways(one, other, Cluster::lose)
            }
        }
    }

    fn end(&self, fault: Fault, members: &[String]) -> Result<()> {
        let (cluster, [leader, one, other]) = (&self.cluster, three(members)?);
        let both_ways = |a: &str, b: &str, change: fn(&Cluster, &str, &str) -> Result<()>| {
            change(cluster, a, b).and_then(|()| change(cluster, b, a))
        };
        match fault {
            Fault::KillLeader => cluster.start_process(leader),
            Fault::KillFollower | Fault::KillAndTransfer => cluster.start_process(one),
            Fault::StopLeader => cluster.kill(leader, "CONT"),
            Fault::StopFollower => cluster.kill(one, "CONT"),
            Fault::IsolateLeader => {
                [one, other].into_iter().try_for_each(|peer| both_ways(leader, peer, Cluster::mend))
            }
            Fault::CutLeader => cluster.reconnect(leader),
            Fault::CutBetween => both_ways(leader, one, Cluster::mend),
            Fault::OneWay => cluster.mend(leader, one),
            Fault::Transfer => Ok(()),
            Fault::RestartAll => start_together(cluster, members),
            Fault::StopAndCut => {
                both_ways(one, other, Cluster::mend)?;
                cluster.kill(leader, "CONT")
            }
        }
    }

    /// A value that nobody wrote before.
    fn value(&self) -> u64 {
        let mut last = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        *last
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }

    fn note(&self, key: &str, operation: Operation) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.entry(key.to_owned()).or_default().push(operation);
    }

    /// Judges what was seen since the last time.
    fn judge(&self, report: &mut Report) -> Result<()> {
        let history = std::mem::take(&mut *self.history.lock().unwrap_or_else(PoisonError::into_inner));
        for (key, operations) in history {
            let known = operations.iter().filter(|operation| operation.answered.is_some()).count() as u64;
            report.known += known;
            report.unknown += operations.len() as u64 - known;
            if let Err(broken) = linear::check(&operations) {
                bail!("P2: {key}: {broken}");
            }
        }
        Ok(())
    }
}

/// A client of a round.
struct One {
    world: Arc<World>,
    client: Client,
    dice: Dice,
    round: u64,
}

/// How an operation ended.
enum Ended {
    /// It did this.
    Did(Action),
    /// It did nothing: not part of the history.
    Nothing,
    /// It may have done what was wanted.
    Unknown,
}

impl One {
    async fn run(mut self, stop: CancellationToken) -> Result<()> {
        // What this client believes to be there, by key: what a swap goes by.
        let mut believed: BTreeMap<String, (Option<u64>, Option<String>)> = BTreeMap::new();
        while !stop.is_cancelled() {
            let key = format!("r{}/{}", self.round, self.dice.below(KEYS));
            let called = self.world.now();
            let (wanted, ended) = match self.dice.below(10) {
                0..=3 => {
                    let (ended, seen) = self.read(&key).await?;
                    if let Some(seen) = seen {
                        believed.insert(key.clone(), seen);
                    }
                    (Action::Read(None), ended)
                }
                4..=6 => self.write(&key).await?,
                7 | 8 => self.swap(&key, believed.get(&key).cloned().unwrap_or_default()).await?,
                _ => self.remove(&key).await?,
            };
            let answered = Some(self.world.now());
            match ended {
                Ended::Did(action) => self.world.note(&key, Operation { called, answered, action }),
                Ended::Unknown => self.world.note(&key, Operation { called, answered: None, action: wanted }),
                Ended::Nothing => {}
            }
            let pause = Duration::from_millis(5 + self.dice.below(30));
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<(Ended, Option<(Option<u64>, Option<String>)>)> {
        match read(&self.client, key).await {
            Ok(seen) => Ok((Ended::Did(Action::Read(seen.0)), Some(seen))),
            Err(error) if error.kind().is_retryable() => Ok((Ended::Nothing, None)),
            Err(error) => Err(error).with_context(|| format!("reading {key}")),
        }
    }

    async fn write(&self, key: &str) -> Result<(Action, Ended)> {
        let value = self.world.value();
        let action = Action::Write(value);
        let ended = match put(&self.client, key, value, Condition::default()).await {
            Ok(()) => Ended::Did(action),
            Err(error) => may_go_on(error.kind(), || format!("writing {key}: {error}"))?,
        };
        Ok((action, ended))
    }

    async fn swap(&self, key: &str, (expected, tag): (Option<u64>, Option<String>)) -> Result<(Action, Ended)> {
        let to = self.world.value();
        let condition = match tag {
            Some(tag) => Condition { if_match: Some(TagCondition::OneOf(vec![tag])), ..Condition::default() },
            None => Condition { if_none_match: Some(TagCondition::Any), ..Condition::default() },
        };
        let swapped = |done| Action::Swap { expected, to, done };
        let ended = match put(&self.client, key, to, condition).await {
            Ok(()) => Ended::Did(swapped(Some(true))),
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                Ended::Did(swapped(Some(false)))
            }
            Err(error) => may_go_on(error.kind(), || format!("swapping {key}: {error}"))?,
        };
        Ok((swapped(None), ended))
    }

    async fn remove(&self, key: &str) -> Result<(Action, Ended)> {
        let files = vec![(Key::new(key)?, Condition::default())];
        let ended = match self.client.delete(&BucketName::new(BUCKET)?, files).await {
            Ok(_) => Ended::Did(Action::Remove),
            Err(error) => may_go_on(error.kind(), || format!("removing {key}: {error}"))?,
        };
        Ok((Action::Remove, ended))
    }
}

/// What an error says about a change; an error if it is one that no fault explains.
fn may_go_on(kind: ErrorKind, told: impl Fn() -> String) -> Result<Ended> {
    match kind {
        ErrorKind::Unavailable => Ok(Ended::Nothing),
        ErrorKind::Unknown => Ok(Ended::Unknown),
        _ => bail!(told()),
    }
}

/// The value of a key, and the tag to swap it by.
async fn read(client: &Client, key: &str) -> Result<(Option<u64>, Option<String>), GetError> {
    let path = path(key).expect("keys are short");
    let file = match client.get(&path, GetOptions::default()).await {
        Ok(outcome) => outcome.into_file()?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((None, None)),
        Err(error) => return Err(error),
    };
    let tag = file.info().tags.native();
    let pieces: Vec<Bytes> = file.try_collect().await?;
    let body = pieces.concat();
    let value = <[u8; 8]>::try_from(&body[..]).map(u64::from_be_bytes).expect("values have eight bytes");
    Ok((Some(value), Some(tag)))
}

async fn put(client: &Client, key: &str, value: u64, condition: Condition) -> Result<(), cairn_client::PutError> {
    let path = path(key).expect("keys are short");
    let options = PutOptions { condition, ..PutOptions::default() };
    client.put(&path, std::io::Cursor::new(value.to_be_bytes().to_vec()), options).await.map(drop)
}

/// Writes until it is acknowledged; how long that took, in milliseconds.
async fn write_again(client: Client, key: String) -> Result<u64> {
    let clock = SystemClock::new();
    while let Err(error) = put(&client, &key, 0, Condition::default()).await {
        ensure!(error.kind().is_retryable(), "{error}");
        ensure!(clock.monotonic() < CONVERGE, "no write is acknowledged: {error}");
    }
    Ok(u64::try_from(clock.monotonic().as_millis())?)
}

fn three(members: &[String]) -> Result<[&str; 3]> {
    match members {
        [leader, one, other] => Ok([leader, one, other]),
        _ => bail!("the group has not three members: {members:?}"),
    }
}

/// Starts masters at the same time: none is ready before there is a majority.
fn start_together(cluster: &Cluster, members: &[String]) -> Result<()> {
    std::thread::scope(|scope| {
        let starting: Vec<_> = members.iter().map(|name| scope.spawn(|| cluster.start_process(name))).collect();
        starting.into_iter().try_for_each(|started| started.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

fn transfer(cluster: &Cluster, to: &str) -> Result<()> {
    // It may not come to that: whoever is asked may lead no more.
    cluster.cli(&["admin", "master", "transfer", to]).map(drop)
}

fn term(cluster: &Cluster) -> Result<u64> {
    let members = cluster.cli_json(&["admin", "master", "ls"])?;
    members.iter().find_map(|member| member["term"].as_u64()).context("admin master ls tells no term")
}

/// Waits until all masters hear each other and have everything, and sees that nothing is alarmed about.
async fn converge(cluster: &Cluster) -> Result<()> {
    let is_whole = async || -> Result<bool> {
        let mut members = cluster.cli_json(&["admin", "master", "ls"])?;
        members.retain(|member| member["type"] == "master");
        Ok(members.len() == 3 && members.iter().all(|member| member["active"] == true && member["lag"] == 0))
    };
    ensure!(super::eventually(CONVERGE, is_whole).await?, "the masters do not come to rest");
    // Long enough for them to compare their states.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let complaints = cluster.complaints()?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}
