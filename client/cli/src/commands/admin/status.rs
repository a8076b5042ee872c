//! `admin status`: the cluster in figures, its nodes and their disks.

use super::node::{nodes, volumes};
use crate::failure::Failure;
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::Tally;
use crate::units::{moment, printable, size};
use cairn_common::wire::master::Status;
use serde::Serialize;

#[derive(Serialize)]
struct ClusterRecord {
    cluster: String,
    generation: u32,
    epoch: u64,
    rings: usize,
    replicas: u8,
    replicas_rise: bool,
    buckets: u64,
    files: u64,
    bytes: u64,
    pending_bytes: u64,
    releasing: u64,
    misplaced: u64,
    leader: Option<String>,
    term: u64,
    applied: u64,
    entries: u64,
    commands: u64,
    stamp: u64,
}

impl From<&Status> for ClusterRecord {
    fn from(status: &Status) -> ClusterRecord {
        let membership = &status.membership;
        let leader = status.leader.map(|id| membership.nodes.get(&id).map_or(id.to_string(), |node| node.name.clone()));
        ClusterRecord {
            cluster: membership.cluster.to_string(),
            generation: membership.generation.0,
            epoch: membership.epoch().0,
            rings: membership.rings.len(),
            replicas: membership.replicas,
            replicas_rise: membership.replicas_rise,
            buckets: status.buckets,
            files: status.usage.files,
            bytes: status.usage.bytes,
            pending_bytes: status.usage.pending_bytes,
            releasing: status.releasing,
            misplaced: status.misplaced,
            leader,
            term: status.term,
            applied: status.applied,
            entries: status.entries,
            commands: status.commands,
            stamp: status.stamp.0,
        }
    }
}

impl Record for ClusterRecord {
    const COLUMNS: &'static [Column] = &[
        left("CLUSTER"),
        right("COPIES"),
        right("EPOCH"),
        right("BUCKETS"),
        right("FILES"),
        right("SIZE"),
        right("PENDING"),
        right("RELEASING"),
        right("MISPLACED"),
        left("LEADER"),
        right("TERM"),
        right("APPLIED"),
        left("TIME"),
    ];

    fn kind(&self) -> &'static str {
        "cluster"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let copies =
            if self.replicas_rise { format!("{} (rises to 3)", self.replicas) } else { self.replicas.to_string() };
        vec![
            self.cluster.clone(),
            copies,
            self.epoch.to_string(),
            self.buckets.to_string(),
            self.files.to_string(),
            size(self.bytes, exact),
            size(self.pending_bytes, exact),
            self.releasing.to_string(),
            self.misplaced.to_string(),
            self.leader.clone().unwrap_or_else(|| "-".to_owned()),
            self.term.to_string(),
            self.applied.to_string(),
            moment(cairn_common::ids::Stamp(self.stamp).ms()),
        ]
    }
}

/// Something that needs a person.
#[derive(Serialize)]
struct AlarmRecord {
    alarm: String,
}

impl Record for AlarmRecord {
    const COLUMNS: &'static [Column] = &[left("ATTENTION")];

    fn kind(&self) -> &'static str {
        "alarm"
    }

    fn cells(&self, _: bool) -> Vec<String> {
        vec![printable(&self.alarm)]
    }
}

/// Runs `admin status`.
pub(super) async fn run(session: &Session) -> Result<Tally, Failure> {
    let status = session.clients.current().await?.status().await?;
    session.out.facts(&ClusterRecord::from(&status))?;
    for alarm in &status.alarms {
        session.out.record(&AlarmRecord { alarm: alarm.clone() })?;
    }
    session.out.flush()?;
    for node in nodes(&status) {
        session.out.record(&node)?;
    }
    session.out.flush()?;
    for volume in volumes(&status) {
        session.out.record(&volume)?;
    }
    Ok(Tally::one(status.usage.bytes))
}
