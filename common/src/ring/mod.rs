//! Pure placement: which nodes hold the chunks of a slot, in order of preference.
//!
//! Consistent hashing in its rendezvous form (Thaler and Ravishankar 1998; weighted by Schindelhauer and Schomaker 2005): every
//! node draws a number for every slot from a hash of both, divides it by its weight, and the smallest come first. A node
//! that joins or leaves moves only the slots it wins or had won. Zones come before nodes: the next place on a list always
//! goes to a zone that has the fewest places so far. Plain draws miss the wanted shares (by chance; and because a heavy
//! node cannot hold two copies of one slot), so weights are calibrated once per epoch, position by position
//! ([`calibrate`](Ring::new)), and the factors travel with the ring.
//!
//! Only integers and the four basic IEEE operations are used, so every process computes the same ring from the same members.
//! See docs/decisions/0003-placement.md for the measurements.

mod calibrate;
mod diff;
mod draw;

pub use diff::{Movement, movement};

use crate::ids::{Epoch, NodeId, Slot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bits of a slot number.
pub const SLOT_BITS: u32 = 14;
/// Number of slots. The ring is evaluated once per slot; inventory, repair and progress are per slot as well.
pub const SLOTS: usize = 1 << SLOT_BITS;
/// Leading positions of a preference list whose shares are calibrated: R up to this is exact.
pub const CALIBRATED_POSITIONS: usize = 3;
/// Positions of each list that are kept ready; the rest is computed when asked for.
const TABLE_POSITIONS: usize = 6;

/// The only placement algorithm so far. A ring with another number is refused, never guessed at.
pub const ALGORITHM_RENDEZVOUS: u8 = 1;

/// A node as the ring sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its failure domain.
    pub zone: String,
    /// Configured capacity in any unit that all members share (GiB by convention). 0: in the list, but after all others.
    pub weight: u32,
}

/// The part of a ring that is stored and sent: members and their calibration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingSpec {
    /// Which algorithm places.
    pub algorithm: u8,
    /// Number of this ring.
    pub epoch: Epoch,
    /// Members, by node id.
    pub members: Vec<Member>,
    /// Calibration of each member at each position, in units of 1/65536.
    factors: Vec<Factors>,
}

/// Calibration of one member at each position.
type Factors = [u32; CALIBRATED_POSITIONS];

/// A ring ready for look-ups. Immutable; shared by reference.
#[derive(Debug)]
pub struct Ring {
    spec: RingSpec,
    zones: Vec<u16>,
    zone_count: usize,
    /// First positions of every slot's list, as member indexes, slot after slot.
    table: Vec<u16>,
    positions: usize,
}

/// A ring that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Another release placed this ring.
    #[error("placement algorithm {0} is not known to this release")]
    Algorithm(u8),
    /// Members are not sorted by node, or a node is named twice, or factors are missing.
    #[error("ring of epoch {0} is malformed")]
    Malformed(Epoch),
}

impl RingSpec {
    /// Calibrates a first ring over `members`. Pure and deterministic; costs a few milliseconds per member.
    pub fn new(epoch: Epoch, members: Vec<Member>) -> RingSpec {
        RingSpec::calibrated(epoch, members, &[])
    }

    /// Calibrates the ring that follows this one. Shares that are good enough stay as they are, so that a change moves little
    /// more than it must.
    pub fn followed_by(&self, epoch: Epoch, members: Vec<Member>) -> RingSpec {
        let known: Vec<_> = self.members.iter().map(|member| member.node).zip(self.factors.iter().copied()).collect();
        RingSpec::calibrated(epoch, members, &known)
    }

    /// `known`: factors of nodes to begin with, by node.
    fn calibrated(epoch: Epoch, mut members: Vec<Member>, known: &[(NodeId, Factors)]) -> RingSpec {
        members.sort();
        members.dedup_by_key(|member| member.node);
        let zones = zone_indexes(&members);
        let begin = |member: &Member| match known.binary_search_by_key(&member.node, |(node, _)| *node) {
            Ok(index) => known[index].1,
            Err(_) => mean(known),
        };
        let begin = members.iter().map(begin).collect();
        let factors = calibrate::factors(&members, &zones, begin);
        RingSpec { algorithm: ALGORITHM_RENDEZVOUS, epoch, members, factors }
    }

    /// How many different zones have weight: what "two zones where the ring has them" counts.
    pub fn zone_count(&self) -> usize {
        let weighted = self.members.iter().filter(|member| member.weight > 0);
        weighted.map(|member| &member.zone).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// The zone of a member.
    pub fn zone_of(&self, node: NodeId) -> Option<&str> {
        let index = self.members.binary_search_by_key(&node, |member| member.node).ok()?;
        Some(&self.members[index].zone)
    }

    /// The owners of one slot without building a whole ring: for `apply`, which looks at few slots.
    pub fn owners_of(&self, slot: Slot, replicas: usize) -> Vec<NodeId> {
        let zones = zone_indexes(&self.members);
        let order = draw::Field { members: &self.members, zones: &zones }.order(slot, &self.factors, replicas);
        order.into_iter().map(|index| self.members[index].node).collect()
    }
}

impl Ring {
    /// Builds the look-up table of a ring.
    pub fn new(spec: RingSpec) -> Result<Arc<Ring>, RingError> {
        if spec.algorithm != ALGORITHM_RENDEZVOUS {
            return Err(RingError::Algorithm(spec.algorithm));
        }
        let sorted = spec.members.windows(2).all(|pair| pair[0].node < pair[1].node);
        if !sorted || spec.factors.len() != spec.members.len() {
            return Err(RingError::Malformed(spec.epoch));
        }
        let zones = zone_indexes(&spec.members);
        let positions = spec.members.len().min(TABLE_POSITIONS);
        let mut table = Vec::with_capacity(SLOTS * positions);
        let field = draw::Field { members: &spec.members, zones: &zones };
        for slot in 0..SLOTS as u16 {
            let order = field.order(Slot(slot), &spec.factors, positions);
            table.extend(order.into_iter().map(|index| index as u16));
        }
        let zone_count = spec.zone_count();
        Ok(Arc::new(Ring { spec, zones, zone_count, table, positions }))
    }

    /// Number of this ring.
    pub fn epoch(&self) -> Epoch {
        self.spec.epoch
    }

    /// What this ring was built from.
    pub fn spec(&self) -> &RingSpec {
        &self.spec
    }

    /// How many different zones have weight.
    pub fn zone_count(&self) -> usize {
        self.zone_count
    }

    /// The first `count` nodes of a slot's list: its owners, for `count` = R.
    pub fn owners(&self, slot: Slot, count: usize) -> impl Iterator<Item = NodeId> + '_ {
        let start = usize::from(slot.0) * self.positions;
        let indexes = &self.table[start..start + count.min(self.positions)];
        let more = if count > self.positions { self.rest(slot, count) } else { Vec::new() };
        indexes.iter().map(|index| self.spec.members[usize::from(*index)].node).chain(more)
    }

    /// All nodes, in the order in which they should hold, take over, or be asked for the chunks of a slot.
    pub fn preference(&self, slot: Slot) -> Vec<NodeId> {
        self.owners(slot, self.spec.members.len()).collect()
    }

    /// Share of all copies that each node owns at `replicas` copies, counted over the slots, in 0.0 ..= 1.0.
    pub fn shares(&self, replicas: usize) -> BTreeMap<NodeId, f64> {
        let mut counts: BTreeMap<NodeId, usize> = self.spec.members.iter().map(|member| (member.node, 0)).collect();
        let mut total = 0usize;
        for slot in 0..SLOTS as u16 {
            for node in self.owners(Slot(slot), replicas) {
                *counts.entry(node).or_default() += 1;
                total += 1;
            }
        }
        counts.into_iter().map(|(node, count)| (node, count as f64 / total.max(1) as f64)).collect()
    }

    /// Share of all copies that each node should own at `replicas` copies: its weight, as far as zones and distinct nodes allow.
    pub fn wanted_shares(&self, replicas: usize) -> BTreeMap<NodeId, f64> {
        let copies = replicas.min(self.spec.members.len());
        let wanted = calibrate::targets(&self.spec.members, &self.zones, copies);
        let nodes = self.spec.members.iter().map(|member| member.node);
        nodes.zip(wanted).map(|(node, slots)| (node, slots / copies.max(1) as f64)).collect()
    }

    fn rest(&self, slot: Slot, count: usize) -> Vec<NodeId> {
        let field = draw::Field { members: &self.spec.members, zones: &self.zones };
        let order = field.order(slot, &self.spec.factors, count);
        order.into_iter().skip(self.positions).map(|index| self.spec.members[index].node).collect()
    }
}

/// Factors of a member without any: those of the others on average, or one.
fn mean(known: &[(NodeId, Factors)]) -> Factors {
    std::array::from_fn(|position| {
        let sum: u64 = known.iter().map(|(_, factors)| u64::from(factors[position])).sum();
        sum.checked_div(known.len() as u64).map_or(draw::ONE, |mean| mean as u32)
    })
}

fn zone_indexes(members: &[Member]) -> Vec<u16> {
    let names: std::collections::BTreeSet<&str> = members.iter().map(|member| member.zone.as_str()).collect();
    let numbers: BTreeMap<&str, u16> = names.into_iter().zip(0..).collect();
    members.iter().map(|member| numbers[member.zone.as_str()]).collect()
}

#[cfg(test)]
mod tests;
