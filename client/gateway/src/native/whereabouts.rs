//! Where the chunks of a file are: for its owner, who wants to know whether it is safe. Nodes are named by their names; how they
//! are reached is told to administrators only.

use super::Call;
use super::json;
use axum::response::Response;
use cairn_common::ids::NodeId;
use cairn_common::manifest::Extent;
use cairn_common::name::FilePath;
use cairn_common::wire::master::WherePage;
use http::StatusCode;
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    bucket: &'a str,
    key: &'a str,
    size: u64,
    etag: String,
    /// Copies of each chunk that the bucket asks for.
    replicas: u8,
    /// Whether the masters keep the body themselves, as they do with small files.
    inline: bool,
    chunks: Vec<Chunk>,
    /// To go on with: `?where&offset=`.
    next_offset: Option<u64>,
}

#[derive(Serialize)]
struct Chunk {
    offset: u64,
    size: u64,
    /// BLAKE3 of the chunk; `null` for a stretch of zeros.
    id: Option<String>,
    /// Nodes that should hold it.
    owners: Vec<Holder>,
    /// Nodes off the ring that are known to hold it.
    misplaced: Vec<Holder>,
}

#[derive(Serialize)]
struct Holder {
    node: String,
    zone: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

/// The answer to `?where`.
pub(crate) fn answer(call: &Call, path: &FilePath, page: &WherePage) -> Response {
    let view = call.client.view();
    let admin = call.identity.key().cluster_admin;
    let holder = |id: &NodeId| {
        let node = view.membership().nodes.get(id);
        Holder {
            node: node.map_or_else(|| id.to_string(), |node| node.name.clone()),
            zone: node.map_or_else(String::new, |node| node.zone.clone()),
            address: node.filter(|_| admin).map(|node| node.address.clone()),
        }
    };
    let chunks = page.entries.iter().map(|entry| Chunk {
        offset: entry.offset,
        size: entry.entry.length,
        id: match &entry.entry.extent {
            Extent::Chunk { address, .. } => Some(address.id.to_string()),
            Extent::Range { .. } | Extent::Hole => None,
        },
        owners: entry.owners.iter().map(holder).collect(),
        misplaced: entry.misplaced.iter().map(holder).collect(),
    });
    let last = page.entries.last().map(|entry| entry.offset + entry.entry.length);
    let document = Document {
        bucket: path.bucket.as_str(),
        key: path.key.as_str(),
        size: page.info.length,
        etag: page.info.tags.native(),
        replicas: page.replicas,
        inline: page.inline,
        chunks: chunks.collect(),
        next_offset: last.filter(|_| page.more),
    };
    json::answer(StatusCode::OK, &document)
}
