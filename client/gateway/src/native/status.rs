//! The cluster and this process in figures. For administrators.

use super::Call;
use super::json;
use super::problem::Outcome;
use axum::body::Body;
use axum::response::Response;
use cairn_common::membership::{Node, NodeState};
use cairn_common::wire::master::{Heartbeat, Status};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

#[derive(Serialize)]
struct Document {
    cluster: String,
    generation: u32,
    epoch: u64,
    /// Copies of buckets that ask for none.
    replicas: u8,
    leader: Option<String>,
    buckets: u64,
    files: u64,
    bytes: u64,
    pending_bytes: u64,
    /// Manifests that no version needs any more and that wait to be let go.
    releasing: u64,
    /// Chunks known to lie off their owners.
    misplaced_chunks: u64,
    nodes: Vec<NodeDocument>,
}

#[derive(Serialize)]
struct NodeDocument {
    name: String,
    state: &'static str,
    zone: String,
    address: String,
    weight_gib: u32,
    roles: Vec<&'static str>,
    /// Since its last word, in milliseconds.
    silent_ms: Option<u64>,
    volumes: Vec<VolumeDocument>,
}

#[derive(Serialize)]
struct VolumeDocument {
    label: String,
    used_bytes: u64,
    free_bytes: u64,
    chunks: u64,
    /// Damaged records found since the node started.
    damaged: u64,
    fault: Option<String>,
}

/// The cluster in figures.
pub(crate) async fn status(call: Call) -> Outcome<Response> {
    let Status { membership, heartbeats, usage, buckets, releasing, misplaced, leader, .. } =
        call.client.status().await?;
    let document = Document {
        cluster: membership.cluster.to_string(),
        generation: membership.generation.0,
        epoch: membership.epoch().0,
        replicas: membership.replicas,
        leader: leader.and_then(|leader| membership.nodes.get(&leader)).map(|node| node.name.clone()),
        buckets,
        files: usage.files,
        bytes: usage.bytes,
        pending_bytes: usage.pending_bytes,
        releasing,
        misplaced_chunks: misplaced,
        nodes: membership.nodes.values().map(|node| of_node(node, heartbeats.get(&node.id))).collect(),
    };
    Ok(json::answer(StatusCode::OK, &document))
}

fn of_node(node: &Node, heard: Option<&(u64, Heartbeat)>) -> NodeDocument {
    let roles =
        [("master", node.roles.master), ("chunkserver", node.roles.chunkserver), ("gateway", node.roles.gateway)];
    let volumes = heard.map(|(_, heartbeat)| heartbeat.volumes.as_slice()).unwrap_or_default();
    NodeDocument {
        name: node.name.clone(),
        state: match node.state {
            NodeState::Joining => "joining",
            NodeState::Live => "live",
            NodeState::Draining => "draining",
            NodeState::Removed => "removed",
        },
        zone: node.zone.clone(),
        address: node.address.clone(),
        weight_gib: node.weight,
        roles: roles.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect(),
        silent_ms: heard.map(|(silent_ms, _)| *silent_ms),
        volumes: volumes
            .iter()
            .map(|volume| VolumeDocument {
                label: volume.label.clone(),
                used_bytes: volume.used_bytes,
                free_bytes: volume.free_bytes,
                chunks: volume.chunks,
                damaged: volume.damaged,
                fault: volume.fault.clone(),
            })
            .collect(),
    }
}

/// This process's metrics, for Prometheus.
pub(crate) fn metrics(call: &Call) -> Response {
    let text = call.front.options.metrics.as_ref().map(|render| render()).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
