//! What the leader does about chunkservers: takes out of the ring who is gone, retires rings whose moves are finished, forgets
//! where chunks were once misplaced, and says what needs a person.
//!
//! What it goes by (heartbeats) is soft: it is known to this leader only and forgotten with it. So it only ever proposes, a new
//! leader waits as long for a silent node as the old one did, and nothing here deletes anything. What is to be done is decided
//! by [`decide`], which is pure.

mod decide;
mod misplaced;

use crate::query;
use crate::server::MasterServer;
use cairn_common::ids::NodeId;
use cairn_common::limits::DOWN_AFTER_MS;
use cairn_common::wire::command::Command;
use cairn_common::wire::heal::Orders;
use cairn_common::wire::master::{Heartbeat, MasterError};
use decide::{Decision, Facts, Heard, Limits, decide};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What was last heard from a node, and when on the monotonic clock.
pub(crate) type Heartbeats = Mutex<BTreeMap<NodeId, (Duration, Heartbeat)>>;

/// What this leader knows by watching.
#[derive(Debug)]
pub(crate) struct Watch {
    limits: Limits,
    state: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Since when this master leads, on the monotonic clock.
    leading_since: Option<Duration>,
    alarms: Vec<String>,
}

impl Watch {
    /// A node that is silent for `dead_after` leaves the ring.
    pub(crate) fn new(dead_after: Duration) -> Watch {
        let down_after = Duration::from_millis(DOWN_AFTER_MS).min(dead_after);
        Watch { limits: Limits { down_after, dead_after }, state: Mutex::default() }
    }

    /// What needs a person, one line each.
    pub(crate) fn alarms(&self) -> Vec<String> {
        self.seen().alarms.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the alarms; those that begin and end are logged.
    fn set_alarms(&self, alarms: Vec<String>) {
        let mut seen = self.seen();
        for new in alarms.iter().filter(|alarm| !seen.alarms.contains(alarm)) {
            tracing::warn!(alarm = new, "needs attention");
        }
        for over in seen.alarms.iter().filter(|alarm| !alarms.contains(alarm)) {
            tracing::info!(alarm = over, "is over");
        }
        seen.alarms = alarms;
    }

    /// Notes whether this master leads; since when, if it does.
    fn leading(&self, leads: bool, now: Duration) -> Option<Duration> {
        let mut seen = self.seen();
        seen.leading_since = leads.then(|| seen.leading_since.unwrap_or(now));
        if !leads {
            seen.alarms.clear();
        }
        seen.leading_since
    }
}

/// Runs until the master stops.
pub(crate) async fn run(server: Weak<MasterServer>, stop: Arc<Notify>) {
    let mut misplaced = misplaced::Sweep::default();
    loop {
        let Some(pause) = server.upgrade().map(|server| server.clock.sleep(PAUSE)) else { return };
        tokio::select! {
            biased;
            () = stop.notified() => return,
            () = pause => {}
        }
        let Some(server) = server.upgrade() else { return };
        let Some(since) = server.watch.leading(server.status().leading, server.clock.monotonic()) else { continue };
        if let Err(error) = look(&server, since).await {
            tracing::debug!(%error, "what the chunkservers need is not done yet");
        }
        if let Err(error) = misplaced.go_on(&server).await {
            tracing::debug!(%error, "misplaced chunks are not looked at now");
        }
    }
}

async fn look(server: &MasterServer, leading_since: Duration) -> Result<(), MasterError> {
    let members = server.members()?;
    let now = server.clock.monotonic();
    let decision = {
        let heartbeats = server.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = heartbeats.iter().map(|(node, (when, heartbeat))| {
            (*node, Heard { silent_for: now.saturating_sub((*when).max(leading_since)), heartbeat })
        });
        let facts = Facts { heard: heard.collect(), leading_for: now.saturating_sub(leading_since) };
        decide(&members.membership, &facts, server.watch.limits)
    };
    let Decision { drain, retire_before, alarms } = decision;
    server.watch.set_alarms(alarms);
    if let Some(before) = retire_before {
        tracing::info!(%before, "every chunk is with its owners; earlier rings are retired");
        server.execute(None, Command::RetireEpochs { before }).await?;
    }
    if let Some(node) = drain {
        tracing::warn!(%node, "a node is silent for too long and leaves the ring");
        server.execute(None, Command::DrainNode { node, undo: false }).await?;
    }
    Ok(())
}

impl MasterServer {
    /// What the leader wants chunkservers to know.
    pub(crate) fn orders(&self) -> Result<Orders, MasterError> {
        let members = self.members()?;
        let collection = self.look(query::collection)?;
        let now = self.clock.monotonic();
        let since = self.watch.seen().leading_since.unwrap_or(now);
        let heartbeats = self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = |node: &NodeId| {
            let heard = heartbeats.get(node).map_or(since, |(when, _)| (*when).max(since));
            now.saturating_sub(heard) >= self.watch.limits.down_after
        };
        let chunkservers = members.membership.nodes.values().filter(|node| decide::may_hold_chunks(node));
        Ok(Orders {
            down: chunkservers.map(|node| node.id).filter(silent).collect(),
            collect_paused: collection.paused,
            collect_approved: collection.approved,
            rebalance: self.look(query::rebalance)?,
        })
    }
}
