//! What chunkservers ask so that every chunk lies where it belongs: what they should hold, what is referred to, and where.

use super::place::Places;
use super::{QueryError, oldest_window};
use crate::state::Members;
use crate::store::key::{
    ClockKey, Collection, CollectionKey, MisplacedKey, RebalanceKey, ReferenceKey, ReferenceRow, decode_row,
};
use crate::store::{KeyRange, MetaView, Order, Table, successor};
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{Epoch, NodeId, Slot, Stamp};
use cairn_common::limits::REPLICAS_MAX;
use cairn_common::ring::{Ring, SLOTS};
use cairn_common::wire::chunk::SlotDigest;
use cairn_common::wire::heal::{Compare, Compared, Rebalance, ReferencePage, Referenced};

/// One moment of the state, as far as collection goes by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The stamp of the newest command.
    pub stamp: Stamp,
    /// Start of the oldest open window, or the moment itself.
    pub horizon: Stamp,
}

impl Moment {
    fn of(view: &dyn MetaView) -> Result<Moment, QueryError> {
        let stamp = view.row(&ClockKey)?.unwrap_or(Stamp::ZERO);
        // A window that is opened later has a later stamp.
        let horizon = oldest_window(view)?.map_or(stamp, |window| Stamp(window.0).min(stamp));
        Ok(Moment { stamp, horizon })
    }
}

/// Where a chunk belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Copies that are wanted.
    pub copies: u8,
    /// Its owners in the newest ring.
    pub owners: Vec<NodeId>,
    /// Every node, in the order in which to ask for it.
    pub nodes: Vec<NodeId>,
}

/// At which place of a slot's list a node is; beyond all that any bucket may ask for, if it is not.
fn position(ring: &Ring, slot: Slot, node: NodeId) -> usize {
    let mut owners = ring.owners(slot, usize::from(REPLICAS_MAX));
    owners.position(|owner| owner == node).unwrap_or(usize::MAX)
}

/// Compares what a node holds in a group of slots with what it should.
pub fn compare(view: &dyn MetaView, members: &Members, node: NodeId, asked: &Compare) -> Result<Compared, QueryError> {
    let epoch = members.membership.epoch();
    let Some(ring) = members.ring().filter(|_| epoch == asked.epoch) else { return Ok(Compared::OtherEpoch(epoch)) };
    let end = (usize::from(asked.first.0) + usize::from(asked.count)).min(SLOTS);
    let mut digests = Vec::new();
    let mut all = [0; 16];
    for slot in (usize::from(asked.first.0)..end).map(|slot| Slot(slot as u16)) {
        let place = position(ring, slot, node);
        if place == usize::MAX {
            continue;
        }
        let mut digest = SlotDigest { slot, chunks: 0, digest: [0; 16] };
        let range = KeyRange::prefix(ReferenceKey::of_slot(slot));
        let mut cursor = view.scan(Table::References, range, Order::Forward)?;
        while let Some((key, row)) = decode_row::<ReferenceKey>(&*cursor)? {
            if usize::from(row.copies(members.membership.replicas)) > place {
                digest.add(&key.address);
            }
            cursor.advance()?;
        }
        if digest.chunks > 0 {
            all.iter_mut().zip(digest.digest).for_each(|(sum, byte)| *sum ^= byte);
            digests.push(digest);
        }
    }
    Ok(if all == asked.digest { Compared::Same } else { Compared::Differs(digests) })
}

/// Up to `limit` references of a slot, behind `after`.
pub fn references(
    view: &dyn MetaView,
    members: &Members,
    slot: Slot,
    after: Option<ChunkAddress>,
    limit: usize,
) -> Result<ReferencePage, QueryError> {
    let of_slot = ReferenceKey::of_slot(slot);
    let start = match after {
        None => of_slot.clone(),
        Some(address) => {
            use crate::store::key::RowKey as _;
            [ReferenceKey { slot, address }.encode().as_slice(), &[0]].concat()
        }
    };
    let mut cursor = view.scan(Table::References, KeyRange { start, end: successor(&of_slot) }, Order::Forward)?;
    let mut page = ReferencePage { references: Vec::new(), more: false };
    while let Some((ReferenceKey { address, .. }, row)) = decode_row(&*cursor)? {
        if page.references.len() == limit {
            page.more = true;
            break;
        }
        let ReferenceRow { length, .. } = row;
        page.references.push(Referenced { address, length, copies: row.copies(members.membership.replicas) });
        cursor.advance()?;
    }
    Ok(page)
}

/// Where chunks belong, and the moment that this is of. `None`: nothing refers to the chunk.
pub fn place_chunks(
    view: &dyn MetaView,
    members: &Members,
    chunks: &[ChunkAddress],
) -> Result<(Moment, Vec<Option<Owned>>), QueryError> {
    let places = Places::new(view, members)?;
    let place = |address: &ChunkAddress| -> Result<Option<Owned>, QueryError> {
        let Some(row) = view.row(&ReferenceKey::of(*address))? else { return Ok(None) };
        let copies = row.copies(members.membership.replicas);
        let owners = places.owners(address.slot(), copies);
        Ok(Some(Owned { copies, owners, nodes: places.nodes(*address, copies, usize::MAX)? }))
    };
    let placed = chunks.iter().map(place).collect::<Result<_, _>>()?;
    Ok((Moment::of(view)?, placed))
}

/// Up to `limit` chunks that are said to lie off their owners, behind `after`, with their ring.
pub fn misplaced(
    view: &dyn MetaView,
    members: &Members,
    after: Option<ChunkAddress>,
    limit: usize,
) -> Result<(Epoch, Vec<ChunkAddress>), QueryError> {
    let all = MisplacedKey::all();
    let start = match after {
        None => all.clone(),
        Some(address) => {
            use crate::store::key::RowKey as _;
            [MisplacedKey(ReferenceKey::of(address)).encode().as_slice(), &[0]].concat()
        }
    };
    let mut cursor = view.scan(Table::System, KeyRange { start, end: successor(&all) }, Order::Forward)?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some((MisplacedKey(key), _)) = decode_row(&*cursor)?
    {
        found.push(key.address);
        cursor.advance()?;
    }
    Ok((members.membership.epoch(), found))
}

/// How chunks move when the ring has changed.
pub fn rebalance(view: &dyn MetaView) -> Result<Rebalance, QueryError> {
    Ok(view.row(&RebalanceKey)?.unwrap_or_default())
}

/// How collection goes.
pub fn collection(view: &dyn MetaView) -> Result<Collection, QueryError> {
    Ok(view.row(&CollectionKey)?.unwrap_or_default())
}
