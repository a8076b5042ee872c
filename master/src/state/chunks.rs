//! From receipts to references: the one place where a chunk comes under the masters' protection.
//!
//! A chunk gets a reference on receipts from a write quorum of the copies that its bucket is configured for, never of the
//! nodes alive (P1, I3). A receipt counts if its volume is in service in the run that gave it, and its window is open and of
//! the same session; each node counts once; and where the ring has two zones, copies in one do not do. The API has checked the
//! MACs before the log: here, receipts are what they say.
//!
//! A staged upload need not bring receipts for a chunk that it referred to before: its own reference protects the copies. The
//! reference row names the last manifest that referred to the chunk, which is how that is known without an index. If another
//! upload came in between, new receipts are asked for, as for any chunk.

use super::tx::{Step, Tx};
use super::{Members, window};
use crate::store::StoreError;
use crate::store::key::{MisplacedKey, ReferenceKey, ReferenceRow};
use cairn_common::auth::Receipt;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{Domain, Epoch, ManifestId, NodeId, TenantId};
use cairn_common::limits::INVENTORY_PAGE_MAX;
use cairn_common::manifest::{Entry, Extent, ManifestError};
use cairn_common::quorum::write_quorum;
use cairn_common::seam::seeded_bug;
use cairn_common::wire::command::{ChunkReceipts, Done, Refusal};

/// What a bucket asks of its chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Whose chunks they are.
    pub(super) domain: Domain,
    /// How many copies are wanted.
    pub(super) replicas: u8,
    /// How many its bucket asks for; `None`: the cluster's number.
    asked: Option<u8>,
    /// How many must be durable before anything refers to a chunk.
    quorum: usize,
    /// Over how many zones.
    zones: usize,
}

impl Policy {
    /// What a bucket of `tenant` that asks for `replicas` asks of its chunks now.
    pub(super) fn of(members: &Members, tenant: TenantId, asked: Option<u8>) -> Policy {
        let replicas = members.replicas(asked);
        let quorum = if seeded_bug("commit-below-quorum") { 1 } else { write_quorum(replicas) };
        let zones = members.ring().map_or(1, |ring| ring.zone_count()).clamp(1, 2).min(quorum);
        Policy { domain: tenant.domain(), replicas, asked, quorum, zones }
    }
}

/// A chunk in a list of entries: entries of the same chunk side by side are one run, and hold one reference together.
#[derive(Clone, Copy)]
struct Run {
    address: ChunkAddress,
    length: u32,
}

/// The runs of a segment, in order.
pub(super) fn runs(entries: &[Entry]) -> impl Iterator<Item = ChunkAddress> {
    let address = |entry: &Entry| match &entry.extent {
        Extent::Chunk { address, .. } => Some(*address),
        Extent::Range { .. } | Extent::Hole => None,
    };
    let mut before = None;
    entries.iter().filter_map(move |entry| {
        let now = address(entry);
        let first = now != before;
        before = now;
        now.filter(|_| first)
    })
}

/// Gives `manifest` references to the chunks of a segment (or of a tail). Answers how many durable copies the least copied one
/// of them has; `None` if there is none that was not referred to before.
pub(super) fn refer(
    tx: &mut Tx<'_>,
    policy: &Policy,
    manifest: ManifestId,
    entries: &[Entry],
    receipts: &[ChunkReceipts],
) -> Step<Option<u8>> {
    let runs = whole_chunks(policy, entries)?;
    let receipts = ByAddress::new(receipts);
    let mut short = Short::default();
    let mut copies: Option<u8> = None;
    for run in runs {
        let key = ReferenceKey::of(run.address);
        let row = tx.get(&key)?;
        if row.is_some_and(|row| row.length != run.length) {
            return Err(ManifestError::Entry { length: u64::from(run.length) }.into());
        }
        if row.is_none_or(|row| row.last != manifest) {
            let mut holders = Holders::default();
            holders.count(tx, &run, receipts.of(&run.address))?;
            if !holders.suffice(tx, policy) {
                short.note(run.address, &holders);
                continue;
            }
            let durable = u8::try_from(holders.nodes.len()).unwrap_or(u8::MAX);
            copies = Some(copies.map_or(durable, |least| least.min(durable)));
            note_misplaced(tx, policy, key, &holders.nodes)?;
        }
        let count = row.map_or(0, |row| row.count) + 1;
        let asked = row.map_or(0, |row| row.asked).max(policy.asked.unwrap_or(0));
        let follows = row.is_some_and(|row| row.follows) || policy.asked.is_none();
        tx.put(&key, &ReferenceRow { count, length: run.length, last: manifest, asked, follows });
    }
    short.refuse()?;
    Ok(copies)
}

/// The runs of entries that must all be whole chunks of the bucket's domain.
fn whole_chunks(policy: &Policy, entries: &[Entry]) -> Step<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::with_capacity(entries.len());
    for entry in entries {
        entry.check()?;
        let run = match &entry.extent {
            Extent::Chunk { address, chunk_length, offset: 0 } if entry.length == u64::from(*chunk_length) => {
                Run { address: *address, length: *chunk_length }
            }
            _ => return Err(ManifestError::Entry { length: entry.length }.into()),
        };
        if run.address.domain != policy.domain {
            return Err(Refusal::WrongDomain.into());
        }
        match runs.last() {
            Some(last) if last.address == run.address && last.length != run.length => {
                return Err(ManifestError::Entry { length: entry.length }.into());
            }
            Some(last) if last.address == run.address => {}
            _ => runs.push(run),
        }
    }
    Ok(runs)
}

/// Receipts, to be found by chunk.
struct ByAddress<'a>(Vec<&'a ChunkReceipts>);

impl<'a> ByAddress<'a> {
    fn new(receipts: &'a [ChunkReceipts]) -> ByAddress<'a> {
        let mut sorted: Vec<&ChunkReceipts> = receipts.iter().collect();
        sorted.sort_by_key(|chunk| chunk.address);
        ByAddress(sorted)
    }

    fn of(&self, address: &ChunkAddress) -> impl Iterator<Item = &'a Receipt> {
        let start = self.0.partition_point(|chunk| chunk.address < *address);
        let end = self.0.partition_point(|chunk| chunk.address <= *address);
        self.0[start..end].iter().flat_map(|chunk| &chunk.receipts)
    }
}

/// The nodes whose receipts for a chunk count.
#[derive(Default)]
struct Holders {
    nodes: Vec<NodeId>,
    /// Whether a receipt was turned down because its window has ended.
    window_ended: bool,
}

impl Holders {
    fn count<'r>(
        &mut self,
        tx: &Tx<'_>,
        run: &Run,
        receipts: impl Iterator<Item = &'r Receipt>,
    ) -> Result<(), StoreError> {
        let membership = &tx.members().membership;
        let mut open = None;
        for receipt in receipts {
            let live = membership.volume_is_live(receipt.node, receipt.volume, receipt.boot)
                || seeded_bug("count-receipts-of-dead-volumes");
            if !live || receipt.length != run.length || self.nodes.contains(&receipt.node) {
                continue;
            }
            if open != Some(receipt.window) && !window::is_open(tx, receipt.window)? {
                self.window_ended = true;
                continue;
            }
            open = Some(receipt.window);
            self.nodes.push(receipt.node);
        }
        Ok(())
    }

    fn suffice(&self, tx: &Tx<'_>, policy: &Policy) -> bool {
        let nodes = &tx.members().membership.nodes;
        let mut zones = self.nodes.iter().filter_map(|node| nodes.get(node)).map(|node| node.zone.as_str());
        let first = zones.next();
        let over_zones = policy.zones < 2 || zones.any(|zone| Some(zone) != first);
        self.nodes.len() >= policy.quorum && over_zones
    }
}

/// Chunks that lack a write quorum.
#[derive(Default)]
struct Short {
    chunks: Vec<ChunkAddress>,
    window_ended: bool,
}

impl Short {
    fn note(&mut self, address: ChunkAddress, holders: &Holders) {
        // A segment may have the same chunk in several places; few are short, so looking through them is cheap.
        if !self.chunks.contains(&address) {
            self.chunks.push(address);
        }
        self.window_ended |= holders.window_ended;
    }

    /// That the window ended is said first: touching the chunks again would not help under the same window.
    fn refuse(self) -> Result<(), Refusal> {
        match self {
            Short { chunks, .. } if chunks.is_empty() => Ok(()),
            Short { window_ended: true, .. } => Err(Refusal::WindowEnded),
            Short { chunks, .. } => Err(Refusal::ShortOfQuorum { chunks }),
        }
    }
}

/// Notes which of the nodes that hold a chunk do not own it in the newest ring: the last hint for readers.
fn note_misplaced(tx: &mut Tx<'_>, policy: &Policy, key: ReferenceKey, nodes: &[NodeId]) -> Result<(), StoreError> {
    let owners = tx.members().owners(key.slot, policy.replicas);
    let off: Vec<NodeId> = nodes.iter().copied().filter(|node| !owners.contains(node)).collect();
    if off.is_empty() {
        return Ok(());
    }
    let key = MisplacedKey(key);
    let known = tx.get(&key)?;
    if known.is_none() {
        tx.totals(|totals| totals.misplaced += 1)?;
    }
    let mut all = known.unwrap_or_default();
    all.extend(off);
    all.sort_unstable();
    all.dedup();
    tx.put(&key, &all);
    Ok(())
}

/// Chunks that were found with all their owners at `epoch` lie nowhere else that matters.
pub(super) fn forget_misplaced(tx: &mut Tx<'_>, epoch: Epoch, chunks: &[ChunkAddress]) -> Step<Done> {
    if chunks.len() > INVENTORY_PAGE_MAX {
        return Err(Refusal::Invalid(format!("at most {INVENTORY_PAGE_MAX} chunks at a time")).into());
    }
    if tx.members().membership.epoch() == epoch {
        for address in chunks {
            forget(tx, ReferenceKey::of(*address))?;
        }
    }
    Ok(Done::Nothing)
}

fn forget(tx: &mut Tx<'_>, key: ReferenceKey) -> Result<(), StoreError> {
    let misplaced = MisplacedKey(key);
    if tx.get(&misplaced)?.is_some() {
        tx.delete(&misplaced);
        tx.totals(|totals| totals.misplaced = totals.misplaced.saturating_sub(1))?;
    }
    Ok(())
}

/// Takes one reference of a chunk away. The last one makes it collectable.
pub(super) fn let_go(tx: &mut Tx<'_>, address: ChunkAddress) -> Result<(), StoreError> {
    let key = ReferenceKey::of(address);
    let row = tx.expect(&key)?;
    if row.count > 1 {
        tx.put(&key, &ReferenceRow { count: row.count - 1, ..row });
        return Ok(());
    }
    tx.delete(&key);
    forget(tx, key)
}
