//! What differs between what a node holds and what it should. Pure.

use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{NodeId, Slot};
use cairn_common::limits::COMPARED_SLOTS_MAX;
use cairn_common::ring::{Ring, SLOTS};
use cairn_common::wire::chunk::{Held, SlotDigest};
use cairn_common::wire::heal::Referenced;
use std::collections::BTreeMap;

/// A stretch of slots that is compared at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) first: Slot,
    pub(super) count: u16,
}

/// All groups, those with the most endangered slots first: fewest owners that are up, so that the next failure finds as little as
/// possible with one copy.
pub(super) fn groups(ring: &Ring, copies: u8, down: &[NodeId]) -> Vec<Group> {
    let owners_up =
        |slot: u16| ring.owners(Slot(slot), usize::from(copies)).filter(|node| !down.contains(node)).count();
    let mut groups: Vec<(usize, Group)> = (0..SLOTS as u16)
        .step_by(usize::from(COMPARED_SLOTS_MAX))
        .map(|first| {
            let count = COMPARED_SLOTS_MAX.min(SLOTS as u16 - first);
            let endangered = if down.is_empty() { None } else { (first..first + count).map(owners_up).min() };
            (endangered.unwrap_or(0), Group { first: Slot(first), count })
        })
        .collect();
    groups.sort_by_key(|(up, group)| (*up, group.first));
    groups.into_iter().map(|(_, group)| group).collect()
}

/// One digest over several slots.
pub(super) fn combined(digests: &[SlotDigest]) -> [u8; 16] {
    let mut all = [0; 16];
    for digest in digests {
        all.iter_mut().zip(digest.digest).for_each(|(sum, byte)| *sum ^= byte);
    }
    all
}

/// The slots in which what is held is not what is wanted.
pub(super) fn differing(held: &[SlotDigest], wanted: &[SlotDigest]) -> Vec<Slot> {
    let by_slot = |digests: &[SlotDigest]| -> BTreeMap<Slot, SlotDigest> {
        digests.iter().map(|digest| (digest.slot, *digest)).collect()
    };
    let (held, wanted) = (by_slot(held), by_slot(wanted));
    let mut slots: Vec<Slot> = held.keys().chain(wanted.keys()).copied().collect();
    slots.sort();
    slots.dedup();
    slots.into_iter().filter(|slot| held.get(slot) != wanted.get(slot)).collect()
}

/// What differs in one slot.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Difference {
    /// To be fetched.
    pub(super) missing: Vec<Referenced>,
    /// Held for others.
    pub(super) foreign: Vec<Referenced>,
    /// Held, and not referred to.
    pub(super) unreferenced: Vec<Held>,
}

/// Compares one slot. `place`: at which place of the slot's list the node is.
pub(super) fn difference(held: Vec<Held>, references: Vec<Referenced>, place: usize) -> Difference {
    let mut held: BTreeMap<ChunkAddress, Held> = held.into_iter().map(|held| (held.address, held)).collect();
    let mut difference = Difference::default();
    for reference in references {
        let owned = usize::from(reference.copies) > place;
        match (held.remove(&reference.address), owned) {
            (None, true) => difference.missing.push(reference),
            (Some(_), false) => difference.foreign.push(reference),
            (Some(_), true) | (None, false) => {}
        }
    }
    difference.unreferenced = held.into_values().collect();
    difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::ids::{Domain, Epoch, Stamp, VolumeId};
    use cairn_common::ring::{Member, RingSpec};

    fn address(name: &[u8]) -> ChunkAddress {
        ChunkAddress::of(Domain(1), name)
    }

    fn held(name: &[u8]) -> Held {
        Held { address: address(name), length: 1, volume: VolumeId(1), touched: Stamp(5) }
    }

    fn reference(name: &[u8], copies: u8) -> Referenced {
        Referenced { address: address(name), length: 1, copies }
    }

    fn ring(nodes: u32) -> std::sync::Arc<Ring> {
        let member = |node| Member { node: NodeId(node), zone: format!("z{node}"), weight: 1 };
        Ring::new(RingSpec::new(Epoch(1), (1..=nodes).map(member).collect())).unwrap()
    }

    #[test]
    fn each_chunk_is_missing_foreign_unreferenced_or_as_it_should_be() {
        let found = difference(
            vec![held(b"right"), held(b"foreign"), held(b"nobody's")],
            vec![reference(b"right", 3), reference(b"foreign", 1), reference(b"missing", 2), reference(b"others'", 1)],
            1,
        );
        assert_eq!(found.missing, [reference(b"missing", 2)]);
        assert_eq!(found.foreign, [reference(b"foreign", 1)]);
        assert_eq!(found.unreferenced, [held(b"nobody's")]);
    }

    #[test]
    fn a_node_off_the_list_owns_nothing() {
        let found = difference(vec![held(b"a")], vec![reference(b"a", 9), reference(b"b", 9)], usize::MAX);
        assert_eq!((found.missing.len(), found.foreign.len()), (0, 1));
    }

    #[test]
    fn only_slots_that_differ_are_looked_into() {
        let digest = |slot, names: &[&[u8]]| {
            let mut digest = SlotDigest { slot: Slot(slot), chunks: 0, digest: [0; 16] };
            names.iter().for_each(|name| digest.add(&address(name)));
            digest
        };
        let ours = [digest(1, &[b"a", b"b"]), digest(2, &[b"c"]), digest(3, &[b"d"])];
        let theirs = [digest(1, &[b"b", b"a"]), digest(2, &[b"x"]), digest(4, &[b"e"])];
        assert_eq!(differing(&ours, &theirs), [Slot(2), Slot(3), Slot(4)]);
        assert_eq!(combined(&ours[..1]), combined(&theirs[..1]));
        assert_ne!(combined(&ours), combined(&theirs));
    }

    #[test]
    fn groups_cover_every_slot_once_and_the_most_endangered_come_first() {
        let ring = ring(40);
        let down = [NodeId(1), NodeId(2), NodeId(3)];
        let groups = groups(&ring, 3, &down);
        let mut slots: Vec<u16> = groups.iter().flat_map(|group| group.first.0..group.first.0 + group.count).collect();
        slots.sort_unstable();
        assert_eq!(slots, (0..SLOTS as u16).collect::<Vec<_>>());
        let up = |group: &Group| {
            let slots = group.first.0..group.first.0 + group.count;
            slots.map(|slot| ring.owners(Slot(slot), 3).filter(|node| !down.contains(node)).count()).min()
        };
        let order: Vec<_> = groups.iter().map(up).collect();
        assert!(order.is_sorted() && order.first() < order.last(), "{order:?}");
    }
}
