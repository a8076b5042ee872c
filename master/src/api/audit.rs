//! The audit: whether every referenced chunk is with its owners, and what else lies there.
//!
//! Answered for a stretch of slots at a time, so that an audit of any size needs bounded memory here and can be broken off. It
//! is online: what is written or moved while it runs may be seen half done, so a finding is worth a second look once nothing
//! moves. It changes nothing.

use crate::query::{self, Owned};
use crate::server::MasterServer;
use crate::state::check;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{NodeId, Slot, Stamp};
use cairn_common::limits::{COMPARED_SLOTS_MAX, FINDINGS_MAX, HEARTBEAT_MS, INVENTORY_PAGE_MAX, READ_TOKEN_TTL_MS};
use cairn_common::membership::NodeState;
use cairn_common::net::RemoteChunkserver;
use cairn_common::net::handshake::{Credential, Identity};
use cairn_common::ring::SLOTS;
use cairn_common::wire::chunk::{ChunkError, ChunkService as _, ConfirmChunk, Held};
use cairn_common::wire::heal::Referenced;
use cairn_common::wire::master::{Audited, Finding, MasterError};
use futures::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Files above which the rows are not recomputed: that keeps a count for each chunk in memory.
const RECOMPUTED_FILES_MAX: u64 = 1_000_000;
/// Copies that are read back at the same time.
const READ_BACK_AT_ONCE: usize = 8;
/// How often a node that is at another ring is asked again.
const EPOCH_TRIES: u32 = 3;
/// Chunks of a stretch after which it ends early.
const STRETCH_CHUNKS: u64 = 20_000;

/// Time after which it ends early as well: who asked must hear something before the connection counts as dead.
const STRETCH_TIME: Duration = Duration::from_secs(2);

/// Ways to chunkservers.
type Links = BTreeMap<NodeId, RemoteChunkserver>;

impl MasterServer {
    pub(super) async fn audit(&self, from: Slot, deep: bool) -> Result<Audited, MasterError> {
        let mut audited = Audited::default();
        if from == Slot(0) {
            self.audit_state(&mut audited).await?;
        }
        let links = self.links()?;
        let mut silent = BTreeSet::new();
        let mut first = usize::from(from.0);
        let begun = self.clock.monotonic();
        let in_time = || self.clock.monotonic().saturating_sub(begun) < STRETCH_TIME;
        while first < SLOTS && audited.chunks < STRETCH_CHUNKS && audited.findings.len() < FINDINGS_MAX && in_time() {
            let count = (SLOTS - first).min(usize::from(COMPARED_SLOTS_MAX));
            let filled = filled(&links, first, count, &mut silent).await;
            let end = first + count;
            // One slot at least, so that it comes to its end.
            while first < end {
                let slot = Slot(first as u16);
                let mut holders = BTreeMap::new();
                for node in filled.get(&slot).into_iter().flatten() {
                    match inventory(&links[node], slot).await {
                        Ok(held) => holders.extend(held.into_iter().map(|held| ((held.address, *node), held))),
                        Err(_) => drop(silent.insert(*node)),
                    }
                }
                self.audit_slot(slot, holders, &links, deep, &mut audited).await?;
                first += 1;
                if !in_time() {
                    break;
                }
            }
        }
        silent.into_iter().for_each(|node| audited.note(Finding::Silent(node)));
        audited.next = (first < SLOTS).then_some(Slot(first as u16));
        Ok(audited)
    }

    /// Recomputes counters and references from the rows.
    async fn audit_state(&self, audited: &mut Audited) -> Result<(), MasterError> {
        if self.look(query::counts)?.usage.files > RECOMPUTED_FILES_MAX {
            return Ok(());
        }
        let violations = self.scan(|view| Ok(check(view)?)).await?;
        violations.into_iter().for_each(|violation| audited.note(Finding::State(format!("{violation:?}"))));
        Ok(())
    }

    async fn audit_slot(
        &self,
        slot: Slot,
        mut holders: BTreeMap<(ChunkAddress, NodeId), Held>,
        links: &Links,
        deep: bool,
        audited: &mut Audited,
    ) -> Result<(), MasterError> {
        let mut after = None;
        loop {
            let members = self.members()?;
            let looked_up = Arc::clone(&members);
            let (page, placed) = self
                .scan(move |view| {
                    let page = query::references(view, &looked_up, slot, after, INVENTORY_PAGE_MAX)?;
                    let asked: Vec<ChunkAddress> = page.references.iter().map(|chunk| chunk.address).collect();
                    let (_, placed) = query::place_chunks(view, &looked_up, &asked)?;
                    Ok((page, placed))
                })
                .await?;
            for (chunk, owned) in page.references.iter().zip(placed) {
                let Some(Owned { copies, owners, .. }) = owned else { continue };
                let (mut with, mut without): (Vec<NodeId>, Vec<NodeId>) =
                    owners.into_iter().partition(|owner| holders.contains_key(&(chunk.address, *owner)));
                if deep {
                    self.read_back(chunk.address, links, &mut with, &mut without).await;
                }
                audited.count(chunk, &with);
                if with.len() < usize::from(copies) {
                    let address = chunk.address;
                    audited.note(Finding::Short { address, wanted: copies, holders: with, without });
                }
            }
            let referenced: BTreeSet<ChunkAddress> = page.references.iter().map(|chunk| chunk.address).collect();
            holders.retain(|(address, _), _| !referenced.contains(address));
            after = page.references.last().map(|chunk| chunk.address);
            if !page.more {
                break;
            }
        }
        let now = Stamp::from_ms(self.clock.wall_ms());
        holders.values().for_each(|held| audited.count_unreferenced(held, now));
        Ok(())
    }

    /// Has these owners read their copies back; those whose copy is not good change over to `without`.
    async fn read_back(&self, address: ChunkAddress, links: &Links, with: &mut Vec<NodeId>, without: &mut Vec<NodeId>) {
        let (epoch, expires_ms) = match self.members() {
            Ok(members) => (members.membership.epoch(), self.clock.wall_ms() + READ_TOKEN_TTL_MS),
            Err(_) => return,
        };
        let asked = std::mem::take(with);
        let answers = futures::stream::iter(asked).map(|node| async move {
            let Some(link) = links.get(&node) else { return (node, false) };
            let token = self.keyring.confirm_token(node, &address, Stamp::ZERO, expires_ms);
            let question = ConfirmChunk { address, token, epoch, stamp: Stamp::ZERO };
            let mut answer = link.confirm(question.clone()).await;
            // It hears of a new ring with its next heartbeats.
            for _ in 0..EPOCH_TRIES {
                if !matches!(answer, Err(ChunkError::OtherEpoch(_))) {
                    break;
                }
                self.clock.sleep(Duration::from_millis(HEARTBEAT_MS)).await;
                answer = link.confirm(question.clone()).await;
            }
            (node, answer.is_ok())
        });
        let answers: Vec<(NodeId, bool)> = answers.buffered(READ_BACK_AT_ONCE).collect().await;
        for (node, good) in answers {
            if good { with.push(node) } else { without.push(node) }
        }
    }

    /// Ways to all chunkservers, as a master.
    fn links(&self) -> Result<Links, MasterError> {
        let members = self.members()?;
        let nodes = members.membership.nodes.values();
        let chunkservers = nodes.filter(|node| node.roles.chunkserver && node.state != NodeState::Removed);
        Ok(chunkservers
            .map(|node| {
                let secret = self.keyring.node_handshake(node.id);
                (node.id, self.chunkserver_at(&node.address, Credential { identity: Identity::Master, secret }))
            })
            .collect())
    }
}

/// Which nodes hold something in each of these slots.
async fn filled(
    links: &Links,
    first: usize,
    count: usize,
    silent: &mut BTreeSet<NodeId>,
) -> BTreeMap<Slot, Vec<NodeId>> {
    let mut filled: BTreeMap<Slot, Vec<NodeId>> = BTreeMap::new();
    for (node, link) in links.iter().filter(|(node, _)| !silent.contains(node)).collect::<Vec<_>>() {
        match link.digests(Slot(first as u16), count as u32).await {
            Ok(digests) => digests.into_iter().for_each(|digest| filled.entry(digest.slot).or_default().push(*node)),
            Err(_) => drop(silent.insert(*node)),
        }
    }
    filled
}

async fn inventory(link: &RemoteChunkserver, slot: Slot) -> Result<Vec<Held>, ChunkError> {
    let mut all: Vec<Held> = Vec::new();
    loop {
        let page = link.inventory(slot, all.last().map(|held| held.address)).await?;
        let last = page.len() < INVENTORY_PAGE_MAX;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}

/// Counting what was looked at.
trait Account {
    fn note(&mut self, finding: Finding);
    fn count(&mut self, chunk: &Referenced, with: &[NodeId]);
    fn count_unreferenced(&mut self, held: &Held, now: Stamp);
}

impl Account for Audited {
    fn note(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }

    fn count(&mut self, chunk: &Referenced, with: &[NodeId]) {
        self.chunks += 1;
        self.bytes += u64::from(chunk.length);
        self.copies += with.len() as u64;
    }

    fn count_unreferenced(&mut self, held: &Held, now: Stamp) {
        const HOUR_MS: u64 = 60 * 60_000;
        let age_ms = now.ms().saturating_sub(held.touched.ms());
        let bucket = if age_ms < HOUR_MS { 0 } else { usize::from(age_ms >= 24 * HOUR_MS) + 1 };
        self.unreferenced[bucket].0 += 1;
        self.unreferenced[bucket].1 += u64::from(held.length);
    }
}
