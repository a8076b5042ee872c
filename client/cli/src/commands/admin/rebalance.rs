//! `admin rebalance`: how chunks move to their new owners when nodes come, go or change, and how fast they may.

use crate::failure::Failure;
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::Tally;
use crate::units::{printable, size};
use cairn_common::wire::master::Status;
use clap::Subcommand;
use serde::Serialize;

/// Verbs of `admin rebalance`.
#[derive(Subcommand, Debug)]
pub(crate) enum RebalanceVerb {
    /// How it goes, by node
    Status,
    /// Move nothing until it is resumed; what is lost is made up for all the same
    Pause,
    /// Go on after a pause
    Resume,
    /// Change how fast chunks move, also to repair
    Limit {
        /// MiB a second that each node fetches; 0: as each is configured
        #[arg(value_name = "MIB", value_parser = clap::value_parser!(u64).range(..1 << 20))]
        mib_per_second: u64,
    },
}

impl RebalanceVerb {
    pub(super) fn name(&self) -> &'static str {
        match self {
            RebalanceVerb::Status => "admin rebalance status",
            RebalanceVerb::Pause => "admin rebalance pause",
            RebalanceVerb::Resume => "admin rebalance resume",
            RebalanceVerb::Limit { .. } => "admin rebalance limit",
        }
    }
}

#[derive(Serialize)]
struct RebalanceRecord {
    paused: bool,
    /// That each node fetches; absent: as each is configured.
    limit_bytes_per_second: Option<u64>,
    epoch: u64,
    /// Rings from which chunks are still moving away, besides the newest.
    earlier_rings: usize,
    /// Chunks that their owners lack, and their bytes.
    missing: u64,
    missing_bytes: u64,
    /// Chunks that are held for others until those have them.
    foreign: u64,
    /// Time that what is missing takes at least at the limit; absent: there is none.
    eta_seconds: Option<u64>,
}

impl Record for RebalanceRecord {
    const COLUMNS: &'static [Column] = &[
        left("MOVES"),
        right("LIMIT"),
        right("EPOCH"),
        right("EARLIER RINGS"),
        right("MISSING"),
        right("BYTES"),
        right("FOREIGN"),
        right("ETA"),
    ];

    fn kind(&self) -> &'static str {
        "rebalance"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let state = if self.paused { "paused" } else { "on" };
        vec![
            state.to_owned(),
            self.limit_bytes_per_second.map_or_else(|| "-".to_owned(), |rate| format!("{}/s", size(rate, exact))),
            self.epoch.to_string(),
            self.earlier_rings.to_string(),
            self.missing.to_string(),
            size(self.missing_bytes, exact),
            self.foreign.to_string(),
            self.eta_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s")),
        ]
    }
}

/// A node that has something to fetch or to give away.
#[derive(Serialize)]
struct MovingRecord {
    node: String,
    missing: u64,
    missing_bytes: u64,
    foreign: u64,
    foreign_bytes: u64,
}

impl Record for MovingRecord {
    const COLUMNS: &'static [Column] =
        &[left("NODE"), right("MISSING"), right("BYTES"), right("FOREIGN"), right("BYTES")];

    fn kind(&self) -> &'static str {
        "moving"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        vec![
            printable(&self.node),
            self.missing.to_string(),
            size(self.missing_bytes, exact),
            self.foreign.to_string(),
            size(self.foreign_bytes, exact),
        ]
    }
}

fn moving(status: &Status) -> Vec<MovingRecord> {
    let named = status.membership.nodes.values().filter_map(|node| Some((node, status.heartbeats.get(&node.id)?)));
    let record = named.map(|(node, (_, heartbeat))| MovingRecord {
        node: node.name.clone(),
        missing: heartbeat.upkeep.missing.chunks,
        missing_bytes: heartbeat.upkeep.missing.bytes,
        foreign: heartbeat.upkeep.foreign.chunks,
        foreign_bytes: heartbeat.upkeep.foreign.bytes,
    });
    record.filter(|record| record.missing + record.foreign > 0).collect()
}

fn summary(status: &Status, moving: &[MovingRecord]) -> RebalanceRecord {
    let limit = Some(status.rebalance.bytes_per_second).filter(|rate| *rate > 0);
    // Nodes fetch at the same time: the one that lacks most is the last.
    let most = moving.iter().map(|record| record.missing_bytes).max().unwrap_or(0);
    RebalanceRecord {
        paused: status.rebalance.paused,
        limit_bytes_per_second: limit,
        epoch: status.membership.epoch().0,
        earlier_rings: status.membership.rings.len().saturating_sub(1),
        missing: moving.iter().map(|record| record.missing).sum(),
        missing_bytes: moving.iter().map(|record| record.missing_bytes).sum(),
        foreign: moving.iter().map(|record| record.foreign).sum(),
        eta_seconds: limit.filter(|_| most > 0).map(|rate| most.div_ceil(rate)),
    }
}

pub(super) async fn run(session: &Session, verb: RebalanceVerb) -> Result<Tally, Failure> {
    let client = session.clients.current().await?;
    match verb {
        RebalanceVerb::Status => {
            let status = client.status().await?;
            let moving = moving(&status);
            session.out.facts(&summary(&status, &moving))?;
            for record in &moving {
                session.out.record(record)?;
            }
        }
        RebalanceVerb::Pause => client.set_rebalance(Some(true), None).await?,
        RebalanceVerb::Resume => client.set_rebalance(Some(false), None).await?,
        RebalanceVerb::Limit { mib_per_second } => client.set_rebalance(None, Some(mib_per_second << 20)).await?,
    }
    Ok(Tally::one(0))
}
