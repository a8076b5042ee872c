//! `admin node ls`, and the rows of nodes and volumes that `admin status` shows as well.

use crate::failure::Failure;
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use crate::units::{printable, size};
use cairn_common::membership::{Node, NodeState, VolumeState};
use cairn_common::wire::master::Status;
use serde::Serialize;

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
    nodes.into_iter().map(|node| record(status, node)).collect()
}

fn record(status: &Status, node: &Node) -> NodeRecord {
    let heard = status.heartbeats.get(&node.id);
    let reports = heard.map_or(&[][..], |(_, heartbeat)| &heartbeat.volumes);
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
