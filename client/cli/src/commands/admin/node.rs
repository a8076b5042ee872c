//! `admin node ls`, and the rows of nodes and volumes that `admin status` shows as well.

use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use crate::units::{moment, printable, size};
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::membership::{Node, NodeState, VolumeState};
use cairn_common::ring::Ring;
use cairn_common::wire::master::Status;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(super) struct NodeRecord {
    name: String,
    id: u32,
    state: &'static str,
    zone: String,
    weight: u32,
    address: String,
    roles: Vec<&'static str>,
    leader: bool,
    boot: u32,
    volumes: usize,
    used_bytes: u64,
    free_bytes: u64,
    chunks: u64,
    /// Damaged records its volumes found since they started.
    damaged: u64,
    /// How long ago it was last heard of; absent: never, or it holds no chunks.
    heard_ms_ago: Option<u64>,
    /// Share of all copies that it should hold, in percent.
    share_percent: f64,
    /// Chunks that it should hold and has not yet, and their bytes.
    missing: u64,
    missing_bytes: u64,
    /// Chunks that it holds for others until they have them, and their bytes.
    foreign: u64,
    foreign_bytes: u64,
    /// Chunks that are good on no node.
    lost: usize,
    /// When its last whole comparison with what it should hold ended, and its last pass of reading everything back, in
    /// milliseconds since 1970; 0: not yet.
    compared_ms: u64,
    scrubbed_ms: u64,
    /// Copies that reading back found bad.
    scrub_bad: u64,
}

impl Record for NodeRecord {
    const COLUMNS: &'static [Column] = &[
        left("NODE"),
        left("STATE"),
        left("ZONE"),
        right("WEIGHT"),
        left("ROLES"),
        right("DISKS"),
        right("USED"),
        right("FREE"),
        right("CHUNKS"),
        right("DAMAGED"),
        right("SHARE"),
        right("MISSING"),
        right("FOREIGN"),
        left("SCRUBBED"),
        left("HEARD"),
        left("ADDRESS"),
    ];

    fn kind(&self) -> &'static str {
        "node"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let roles = self.roles.join("+");
        let heard = self.heard_ms_ago.map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s ago", ms as f64 / 1000.0));
        vec![
            printable(&self.name),
            self.state.to_owned(),
            printable(&self.zone),
            self.weight.to_string(),
            if self.leader { format!("{roles} (leads)") } else { roles },
            self.volumes.to_string(),
            size(self.used_bytes, exact),
            size(self.free_bytes, exact),
            self.chunks.to_string(),
            self.damaged.to_string(),
            format!("{:.1} %", self.share_percent),
            self.missing.to_string(),
            self.foreign.to_string(),
            if self.scrubbed_ms == 0 { "-".to_owned() } else { moment(self.scrubbed_ms) },
            heard,
            self.address.clone(),
        ]
    }
}

#[derive(Serialize)]
pub(super) struct VolumeRecord {
    node: String,
    volume: u64,
    label: String,
    state: &'static str,
    capacity_bytes: Option<u64>,
    used_bytes: Option<u64>,
    free_bytes: Option<u64>,
    chunks: Option<u64>,
    damaged: Option<u64>,
    /// Why it takes no more.
    fault: Option<String>,
}

impl Record for VolumeRecord {
    const COLUMNS: &'static [Column] = &[
        left("NODE"),
        left("DISK"),
        left("STATE"),
        right("CAPACITY"),
        right("USED"),
        right("FREE"),
        right("CHUNKS"),
        right("DAMAGED"),
        left("FAULT"),
    ];

    fn kind(&self) -> &'static str {
        "volume"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let bytes = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |bytes| size(bytes, exact));
        let count = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |count| count.to_string());
        vec![
            printable(&self.node),
            printable(&self.label),
            self.state.to_owned(),
            bytes(self.capacity_bytes),
            bytes(self.used_bytes),
            bytes(self.free_bytes),
            count(self.chunks),
            count(self.damaged),
            printable(self.fault.as_deref().unwrap_or("-")),
        ]
    }
}

/// The nodes of a status, removed ones last.
pub(super) fn nodes(status: &Status) -> Vec<NodeRecord> {
    let mut nodes: Vec<&Node> = status.membership.nodes.values().collect();
    nodes.sort_by_key(|node| (node.state == NodeState::Removed, node.id));
    let ring = status.membership.ring().and_then(|spec| Ring::new(spec.clone()).ok());
    let shares = ring.map_or_else(BTreeMap::new, |ring| ring.shares(usize::from(status.membership.replicas)));
    nodes.into_iter().map(|node| record(status, node, shares.get(&node.id).copied().unwrap_or(0.0))).collect()
}

/// The node of a name that is not removed.
pub(super) fn find(status: &Status, name: &str) -> Result<NodeId, Failure> {
    let mut nodes = status.membership.nodes.values().filter(|node| node.state != NodeState::Removed);
    let found = nodes.find(|node| node.name == name).map(|node| node.id);
    found.ok_or_else(|| {
        Failure::new(Exit::NotFound, "there is no node of this name").at(name).advise("see: cairn admin node ls")
    })
}

/// How collection goes on a node.
#[derive(Serialize)]
pub(super) struct CollectionRecord {
    node: String,
    /// Chunks that nothing refers to and that are old enough, and their bytes.
    unreferenced: u64,
    unreferenced_bytes: u64,
    /// Removed since the node started.
    collected: u64,
    collected_bytes: u64,
    /// Given back by compaction since the node started.
    compacted_bytes: u64,
    /// It would free too much at once and waits for `admin collect run`.
    stopped: bool,
}

impl Record for CollectionRecord {
    const COLUMNS: &'static [Column] =
        &[left("NODE"), right("UNREFERENCED"), right("BYTES"), right("COLLECTED"), right("GIVEN BACK"), left("STATE")];

    fn kind(&self) -> &'static str {
        "collection"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        vec![
            printable(&self.node),
            self.unreferenced.to_string(),
            size(self.unreferenced_bytes, exact),
            size(self.collected_bytes, exact),
            size(self.compacted_bytes, exact),
            if self.stopped { "stopped: would free more than a tenth" } else { "on" }.to_owned(),
        ]
    }
}

/// How collection goes, by node.
pub(super) fn collections(status: &Status) -> Vec<CollectionRecord> {
    let nodes = status.membership.nodes.values().filter_map(|node| Some((node, status.heartbeats.get(&node.id)?)));
    nodes
        .map(|(node, (_, heartbeat))| CollectionRecord {
            node: node.name.clone(),
            unreferenced: heartbeat.upkeep.unreferenced.chunks,
            unreferenced_bytes: heartbeat.upkeep.unreferenced.bytes,
            collected: heartbeat.upkeep.collected.chunks,
            collected_bytes: heartbeat.upkeep.collected.bytes,
            compacted_bytes: heartbeat.upkeep.compacted_bytes,
            stopped: heartbeat.upkeep.fused > Stamp::ZERO,
        })
        .collect()
}

fn record(status: &Status, node: &Node, share: f64) -> NodeRecord {
    let heard = status.heartbeats.get(&node.id);
    let reports = heard.map_or(&[][..], |(_, heartbeat)| &heartbeat.volumes);
    let upkeep = heard.map(|(_, heartbeat)| heartbeat.upkeep.clone()).unwrap_or_default();
    let roles =
        [(node.roles.master, "master"), (node.roles.chunkserver, "chunkserver"), (node.roles.gateway, "gateway")];
    NodeRecord {
        name: node.name.clone(),
        id: node.id.0,
        state: match node.state {
            NodeState::Joining => "joining",
            NodeState::Live => "live",
            NodeState::Draining => "draining",
            NodeState::Removed => "removed",
        },
        zone: node.zone.clone(),
        weight: node.weight,
        address: node.address.clone(),
        roles: roles.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect(),
        leader: status.leader == Some(node.id),
        boot: node.boot.0,
        volumes: node.volumes.values().filter(|volume| volume.state == VolumeState::Live).count(),
        used_bytes: reports.iter().map(|report| report.used_bytes).sum(),
        free_bytes: reports.iter().map(|report| report.free_bytes).sum(),
        chunks: reports.iter().map(|report| report.chunks).sum(),
        damaged: reports.iter().map(|report| report.damaged).sum(),
        heard_ms_ago: heard.map(|(ago, _)| *ago),
        share_percent: 100.0 * share,
        missing: upkeep.missing.chunks,
        missing_bytes: upkeep.missing.bytes,
        foreign: upkeep.foreign.chunks,
        foreign_bytes: upkeep.foreign.bytes,
        lost: upkeep.lost.len(),
        compared_ms: upkeep.round_ms,
        scrubbed_ms: upkeep.scrub.ended_ms,
        scrub_bad: upkeep.scrub.bad,
    }
}

/// The volumes of a status.
pub(super) fn volumes(status: &Status) -> Vec<VolumeRecord> {
    let mut records = Vec::new();
    for node in status.membership.nodes.values().filter(|node| node.state != NodeState::Removed) {
        let reports = status.heartbeats.get(&node.id).map_or(&[][..], |(_, heartbeat)| &heartbeat.volumes);
        for (id, volume) in &node.volumes {
            let report = reports.iter().find(|report| report.volume == *id);
            records.push(VolumeRecord {
                node: node.name.clone(),
                volume: id.0,
                label: volume.label.clone(),
                state: match volume.state {
                    VolumeState::Live => "live",
                    VolumeState::Retired => "retired",
                },
                capacity_bytes: report.map(|report| report.capacity_bytes),
                used_bytes: report.map(|report| report.used_bytes),
                free_bytes: report.map(|report| report.free_bytes),
                chunks: report.map(|report| report.chunks),
                damaged: report.map(|report| report.damaged),
                fault: report.and_then(|report| report.fault.clone()),
            });
        }
    }
    records
}

/// Runs `admin node ls`.
pub(super) async fn list(session: &Session) -> Result<Tally, Failure> {
    let status = session.clients.current().await?.status().await?;
    let mut tally = Tally::default();
    for node in nodes(&status) {
        tally.count(Did::Done(0));
        session.out.record(&node)?;
    }
    Ok(tally)
}
