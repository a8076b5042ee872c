//! Chaos: four masters of which three vote, each alone in a network namespace, under faults that overlap with each other and with
//! changes of the group, while clients work on the same few keys. What the clients saw of every key must be linearizable, and when all heals the masters must be as they should.
//!
//! The bodies are small, so that all of it is the masters' doing. Values are unique, keys are new in every round.

mod clients;
mod faults;

pub use faults::Fault;

use super::kills::wait;
use super::{block_on, client_with_bucket};
use crate::cluster::{Cluster, Plan, Shape};
use crate::content::Dice;
use crate::linear::{self, Operation};
use anyhow::{Context as _, Result, bail, ensure};
use cairn_client::Client;
use cairn_common::file::Condition;
use cairn_common::seam::{Clock as _, SystemClock};
use clients::{One, put};
use faults::{FAULTS, MASTERS};
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
        let shape = Shape::Split { masters: MASTERS, chunkservers: 1, gateways: 0 };
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
        converge(&world.cluster, MASTERS).await?;
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
        let begun = fault.begin(&self.cluster, dice).await?;
        let probe = tokio::spawn(write_again(client.clone(), format!("probe-{round}")));
        wait(dice, 1500, 3500).await;
        begun.end(&self.cluster)?;
        let again = probe.await.context("the probe")?.context("no write came through after the fault was over")?;
        wait(dice, 300, 600).await;
        stop.cancel();
        while let Some(one) = clients.join_next().await {
            one.context("a client")??;
        }
        Ok(again)
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

/// Writes until it is acknowledged; how long that took, in milliseconds.
async fn write_again(client: Client, key: String) -> Result<u64> {
    let clock = SystemClock::new();
    while let Err(error) = put(&client, &key, 0, Condition::default()).await {
        ensure!(error.kind().is_retryable(), "{error}");
        ensure!(clock.monotonic() < CONVERGE, "no write is acknowledged: {error}");
    }
    Ok(u64::try_from(clock.monotonic().as_millis())?)
}

fn term(cluster: &Cluster) -> Result<u64> {
    let members = cluster.cli_json(&["admin", "master", "ls"])?;
    members.iter().find_map(|member| member["term"].as_u64()).context("admin master ls tells no term")
}

/// Waits until all masters hear each other and have everything, and sees that nothing is alarmed about.
pub(super) async fn converge(cluster: &Cluster, masters: u32) -> Result<()> {
    let is_whole = async || -> Result<bool> {
        let mut members = cluster.cli_json(&["admin", "master", "ls"])?;
        members.retain(|member| member["type"] == "master");
        Ok(members.len() == masters as usize
            && members.iter().all(|member| member["active"] == true && member["lag"] == 0))
    };
    ensure!(super::eventually(CONVERGE, is_whole).await?, "the masters do not come to rest");
    // Long enough for them to compare their states.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let complaints = cluster.complaints()?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}
