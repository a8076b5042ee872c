//! `where`: which nodes should hold the chunks of a file, and what they say themselves.

use super::stat::folder_hint;
use crate::address::Remote;
use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use crate::units::{moment, printable, size};
use cairn_client::Client;
use cairn_common::ids::NodeId;
use cairn_common::manifest::Extent;
use cairn_common::membership::Membership;
use cairn_common::wire::chunk::{ChunkError, ChunkStat};
use cairn_common::wire::master::{WhereEntry, WherePage};
use clap::Args;
use futures::stream::{self, StreamExt as _};
use serde::Serialize;

/// Chunks whose nodes are asked at once.
const CHUNKS_AT_ONCE: usize = 32;

/// Arguments of `where`.
#[derive(Args, Debug)]
pub(crate) struct LocateArgs {
    /// Files
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Show what would be left of each file if this node, with all of its disks, were lost
    #[arg(long, value_name = "lose:NODE", value_parser = parse_loss)]
    what_if: Option<Loss>,
}

/// A node that is thought away.
#[derive(Clone, Debug)]
struct Loss {
    node: String,
}

fn parse_loss(text: &str) -> Result<Loss, String> {
    match text.split_once(':') {
        Some(("lose", node)) if !node.is_empty() => Ok(Loss { node: node.to_owned() }),
        _ => Err("write lose: and the name of a node".to_owned()),
    }
}

/// What would be left of a file.
#[derive(Serialize)]
struct LossRecord {
    path: String,
    /// The node that would be lost.
    lost: String,
    chunks: u64,
    /// Chunks of which one more would have to be made.
    short: u64,
    /// Chunks of which no copy would be left.
    gone: u64,
    /// Copies that would be left of the chunk with the fewest; absent: the masters keep the bytes.
    fewest_copies: Option<usize>,
    readable: bool,
}

impl Record for LossRecord {
    const COLUMNS: &'static [Column] = &[
        left("WITHOUT"),
        right("CHUNKS"),
        right("SHORT"),
        right("GONE"),
        right("FEWEST COPIES"),
        left("FILE"),
        left("PATH"),
    ];

    fn kind(&self) -> &'static str {
        "what_if"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        vec![
            printable(&self.lost),
            self.chunks.to_string(),
            self.short.to_string(),
            self.gone.to_string(),
            self.fewest_copies.map_or_else(|| "-".to_owned(), |copies| copies.to_string()),
            if self.readable { "readable" } else { "LOST" }.to_owned(),
            printable(&self.path),
        ]
    }
}

impl LossRecord {
    fn new(path: &Remote, lost: &str) -> LossRecord {
        let (path, lost) = (path.to_string(), lost.to_owned());
        LossRecord { path, lost, chunks: 0, short: 0, gone: 0, fewest_copies: None, readable: true }
    }

    /// Counts a chunk by the copies that its nodes say they have.
    fn count(&mut self, chunk: &ChunkRecord) {
        let present = chunk.copies.iter().filter(|copy| copy.state == "present");
        let left = present.clone().filter(|copy| copy.node != self.lost).count();
        self.chunks += 1;
        self.short += u64::from(left < present.count());
        self.gone += u64::from(left == 0);
        self.fewest_copies = Some(self.fewest_copies.map_or(left, |fewest| fewest.min(left)));
        self.readable &= left > 0;
    }
}

/// The file as a whole.
#[derive(Serialize)]
struct LocationRecord {
    path: String,
    size: u64,
    etag: String,
    /// Copies its bucket asks for.
    replicas: u8,
    /// Whether the masters keep the bytes themselves.
    inline: bool,
    manifest: Option<u64>,
    epoch: u64,
}

impl Record for LocationRecord {
    const COLUMNS: &'static [Column] =
        &[right("SIZE"), right("COPIES"), left("KEPT BY"), right("EPOCH"), left("ETAG"), left("PATH")];

    fn kind(&self) -> &'static str {
        "location"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let kept = if self.inline { "masters" } else { "chunkservers" };
        vec![
            size(self.size, exact),
            self.replicas.to_string(),
            kept.to_owned(),
            self.epoch.to_string(),
            self.etag.clone(),
            printable(&self.path),
        ]
    }
}

/// A chunk of it.
#[derive(Serialize)]
struct ChunkRecord {
    path: String,
    offset: u64,
    length: u64,
    chunk: String,
    slot: u16,
    /// Owners in the newest ring, in order of preference.
    owners: Vec<String>,
    owner_ids: Vec<u32>,
    /// Nodes off the ring that are known to hold a copy.
    misplaced: Vec<String>,
    copies: Vec<CopyRecord>,
}

/// What one node says about its copy.
#[derive(Serialize)]
struct CopyRecord {
    node: String,
    node_id: u32,
    zone: Option<String>,
    /// `present`, `absent`, `damaged`, or `unknown` if the node did not answer.
    state: &'static str,
    volume: Option<u64>,
    /// When its bytes were last read from disk and hashed; absent: not since they were written.
    verified: Option<String>,
    reason: Option<String>,
}

impl Record for ChunkRecord {
    const COLUMNS: &'static [Column] = &[right("OFFSET"), right("LENGTH"), left("CHUNK"), left("COPIES")];

    fn kind(&self) -> &'static str {
        "chunk"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        let copy = |copy: &CopyRecord| match copy.state {
            "present" => copy.node.clone(),
            state => format!("{}({state})", copy.node),
        };
        let copies: Vec<String> = self.copies.iter().map(copy).collect();
        vec![self.offset.to_string(), self.length.to_string(), self.chunk.clone(), copies.join(" ")]
    }
}

/// Runs `where`.
pub(crate) async fn run(session: &Session, args: LocateArgs) -> Result<Tally, Failure> {
    let addresses = stream::iter(args.addresses.into_iter().map(|text| Remote::parse(&text)));
    // One file after the other, so that their chunks do not mix.
    let mut tally = Tally::default();
    let mut addresses = std::pin::pin!(addresses);
    while let Some(address) = addresses.next().await {
        let lost = args.what_if.as_ref();
        let one = |remote| async move {
            let located = match lost {
                Some(lost) => without(session, &remote, &lost.node).await,
                None => file(session, &remote).await,
            };
            located.map_err(|failure| folder_hint(failure, &remote))
        };
        tally.add(each(session, stream::iter([address]), one).await?);
    }
    Ok(tally)
}

async fn file(session: &Session, remote: &Remote) -> Result<Did, Failure> {
    let client = session.clients.of(remote).await?;
    let path = remote.file()?;
    let mut page = client.locate(&path, 0).await?;
    let length = page.info.length;
    session.out.record(&location(remote, &client, &page))?;
    loop {
        let next = page.entries.last().map(|last| last.offset + last.entry.length);
        let records = page.entries.into_iter().map(|entry| chunk(&client, remote, entry));
        let mut records = stream::iter(records).buffered(CHUNKS_AT_ONCE);
        while let Some(record) = records.next().await {
            session.out.record(&record)?;
        }
        match next.filter(|_| page.more) {
            Some(offset) => page = client.locate(&path, offset).await?,
            None => return Ok(Did::Done(length)),
        }
    }
}

/// What would be left of a file without a node.
async fn without(session: &Session, remote: &Remote, lost: &str) -> Result<Did, Failure> {
    let client = session.clients.of(remote).await?;
    let path = remote.file()?;
    let mut page = client.locate(&path, 0).await?;
    let known = client.view().membership().nodes.values().any(|node| node.name == lost);
    if !known {
        let failure = Failure::new(Exit::NotFound, "there is no node of this name").at(lost);
        return Err(failure.advise("see: cairn admin node ls"));
    }
    let mut left = LossRecord::new(remote, lost);
    loop {
        let next = page.entries.last().map(|last| last.offset + last.entry.length);
        let whole = page.entries.into_iter().filter(|entry| matches!(entry.entry.extent, Extent::Chunk { .. }));
        let records = whole.map(|entry| chunk(&client, remote, entry));
        let mut records = stream::iter(records).buffered(CHUNKS_AT_ONCE);
        while let Some(record) = records.next().await {
            left.count(&record);
        }
        match next.filter(|_| page.more) {
            Some(offset) => page = client.locate(&path, offset).await?,
            None => break,
        }
    }
    let readable = left.readable;
    session.out.record(&left)?;
    if readable {
        Ok(Did::Done(page.info.length))
    } else {
        Err(Failure::new(Exit::Corrupt, "it would be lost").at(remote))
    }
}

fn location(remote: &Remote, client: &Client, page: &WherePage) -> LocationRecord {
    LocationRecord {
        path: remote.to_string(),
        size: page.info.length,
        etag: page.info.tags.native(),
        replicas: page.replicas,
        inline: page.inline,
        manifest: page.manifest.map(|manifest| manifest.0),
        epoch: client.view().epoch().0,
    }
}

async fn chunk(client: &Client, remote: &Remote, entry: WhereEntry) -> ChunkRecord {
    let copies = client.copies(&entry).await;
    let view = client.view();
    let membership = view.membership();
    let names = |nodes: &[NodeId]| nodes.iter().map(|node| name(membership, *node)).collect();
    let (chunk, slot) = match &entry.entry.extent {
        Extent::Chunk { address, .. } => (address.id.to_string(), address.slot().0),
        Extent::Range { .. } | Extent::Hole => ("-".to_owned(), 0),
    };
    ChunkRecord {
        path: remote.to_string(),
        offset: entry.offset,
        length: entry.entry.length,
        chunk,
        slot,
        owners: names(&entry.owners),
        owner_ids: entry.owners.iter().map(|node| node.0).collect(),
        misplaced: names(&entry.misplaced),
        copies: copies.into_iter().map(|(node, said)| copy(membership, node, said)).collect(),
    }
}

fn copy(membership: &Membership, node: NodeId, said: Result<ChunkStat, ChunkError>) -> CopyRecord {
    let (state, stat, reason) = match said {
        Ok(stat) => ("present", Some(stat), None),
        Err(ChunkError::Absent) => ("absent", None, None),
        Err(ChunkError::Damaged) => ("damaged", None, None),
        Err(error) => ("unknown", None, Some(error.to_string())),
    };
    CopyRecord {
        node: name(membership, node),
        node_id: node.0,
        zone: membership.nodes.get(&node).map(|node| node.zone.clone()),
        state,
        volume: stat.map(|stat| stat.volume.0),
        verified: stat.filter(|stat| stat.verified_ms > 0).map(|stat| moment(stat.verified_ms)),
        reason,
    }
}

/// A node's name; its id if it is not known any more.
fn name(membership: &Membership, node: NodeId) -> String {
    membership.nodes.get(&node).map_or_else(|| node.to_string(), |node| node.name.clone())
}
