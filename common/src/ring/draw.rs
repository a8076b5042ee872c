//! The draws, and the order of a slot's list.

use super::{CALIBRATED_POSITIONS, Member};
use crate::ids::{NodeId, Slot};

/// One, in the units of a calibration factor.
pub(super) const ONE: u32 = 1 << 16;

/// What `node` pays for a place in the list of `slot` before its weight counts: -log2 of a uniform draw from (0, 1], in units of
/// 2⁻³². Divided by a weight, the smallest of such numbers falls to each node in proportion to its weight.
pub(super) fn cost(node: NodeId, slot: Slot) -> u64 {
    neg_log2(mix(mix(u64::from(node.0)) ^ u64::from(slot.0)))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014), after one step of its sequence.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// -log2((x + 1) / 2⁶⁴) in units of 2⁻³², digit by digit, so that it is the same on every machine.
fn neg_log2(x: u64) -> u64 {
    let Some(value) = x.checked_add(1) else { return 0 };
    let zeros = value.leading_zeros();
    let mut mantissa = value << zeros; // in [2⁶³, 2⁶⁴), read as [1, 2)
    let mut fraction: u64 = 0;
    for _ in 0..32 {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63; // in [1, 4)
        let carry = (square >> 64) as u64; // whether the square is at least 2
        mantissa = (square >> carry) as u64;
        fraction = fraction << 1 | carry;
    }
    ((u64::from(zeros) + 1) << 32) - fraction
}

/// Members and their zones, as numbers.
pub(super) struct Field<'a> {
    pub(super) members: &'a [Member],
    pub(super) zones: &'a [u16],
}

/// The places of one slot's list that are given so far.
#[derive(Clone)]
pub(super) struct Given {
    taken: Vec<bool>,
    by_zone: Vec<u16>,
}

impl Given {
    pub(super) fn none(members: usize) -> Given {
        // There are at most as many zones as members.
        Given { taken: vec![false; members], by_zone: vec![0; members] }
    }

    pub(super) fn give(&mut self, field: &Field<'_>, index: usize) {
        self.taken[index] = true;
        self.by_zone[usize::from(field.zones[index])] += 1;
    }
}

impl Field<'_> {
    /// Who gets the next place: in a zone with the fewest places so far that still has members, the one with the smallest
    /// draw by weight. A member without weight comes after all that have some.
    pub(super) fn next(
        &self,
        given: &Given,
        draw: impl Fn(usize) -> u64,
        factor: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        let key = |index: &usize| {
            let member = &self.members[*index];
            let weight = u64::from(member.weight) * u64::from(factor(*index));
            let price = u128::from(draw(*index)) * u128::from(u64::MAX / weight.max(1));
            (member.weight == 0, given.by_zone[usize::from(self.zones[*index])], price, *index)
        };
        (0..self.members.len()).filter(|index| !given.taken[*index]).min_by_key(key)
    }

    /// The first `count` members of a slot's list, as indexes.
    pub(super) fn order(&self, slot: Slot, factors: &[[u32; CALIBRATED_POSITIONS]], count: usize) -> Vec<usize> {
        let count = count.min(self.members.len());
        let mut given = Given::none(self.members.len());
        let mut order = Vec::with_capacity(count);
        let draws: Vec<u64> = self.members.iter().map(|member| cost(member.node, slot)).collect();
        for position in 0..count {
            let factor = |index: usize| factors[index].get(position).copied().unwrap_or(ONE);
            let Some(next) = self.next(&given, |index| draws[index], factor) else { break };
            given.give(self, next);
            order.push(next);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_right_to_nine_digits() {
        assert_eq!(neg_log2(u64::MAX), 0);
        assert_eq!(neg_log2(0), 64 << 32);
        assert_eq!(neg_log2((1 << 63) - 1), 1 << 32);
        for x in [1u64, 12345, 1 << 40, u64::MAX / 3, u64::MAX / 2 + 7, u64::MAX - (1 << 40)] {
            let want = 64.0 - ((x as f64) + 1.0).log2();
            let got = neg_log2(x) as f64 / f64::from(ONE) / f64::from(ONE);
            assert!((got - want).abs() < 1e-9 * want.max(1.0), "{x}: {got} {want}");
        }
    }

    #[test]
    fn draws_are_pinned() {
        assert_eq!(cost(NodeId(1), Slot(0)), PINNED[0]);
        assert_eq!(cost(NodeId(7), Slot(16_383)), PINNED[1]);
    }

    const PINNED: [u64; 2] = [6191107521, 25779030177];
}
