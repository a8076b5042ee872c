//! Factors that bring every member's share of slots to its weight.
//!
//! For each leading position in turn: count how many slots each member has won up to and including it, compare with what
//! its weight asks for, scale its factor at this position by the quotient, repeat until all are within [`TOLERANCE`].
//!
//! Every correction moves data, so no more is corrected than must be: a ring begins with the factors of the one before it, and
//! keeps them at a position where all shares are within [`ACCEPTED`].

use super::draw::{self, Field, Given, ONE};
use super::{CALIBRATED_POSITIONS, Member, SLOTS};
use crate::ids::Slot;

/// A position is corrected where a member's share differs by more than this part of itself from its weight's…
const ACCEPTED: f64 = 0.045;
/// …until all differ by no more than this.
const TOLERANCE: f64 = 0.03;
/// Rounds per position. Shares that are still off then are off because zones or distinct nodes allow no better.
const ROUNDS: usize = 48;
/// Part of a correction that is made at a time at later positions.
const STEP: f64 = 12.0;
/// Bounds of a factor.
const FACTOR_MIN: f64 = 1.0 / 256.0;
const FACTOR_MAX: f64 = 256.0;

/// Factors of all members, in units of 1/65536. `begin`: those to begin with.
pub(super) fn factors(
    members: &[Member],
    zones: &[u16],
    begin: Vec<[u32; CALIBRATED_POSITIONS]>,
) -> Vec<[u32; CALIBRATED_POSITIONS]> {
    let field = Field { members, zones };
    let mut factors = begin;
    let weighted = members.iter().filter(|member| member.weight > 0).count();
    let mut given = vec![Given::none(members.len()); SLOTS];
    let mut before = vec![0.0; members.len()];
    let draws = draws(members);
    // Where every member with weight has a place, shares are what they are.
    for position in 0..CALIBRATED_POSITIONS.min(weighted.saturating_sub(1)) {
        let wanted = targets(members, zones, position + 1);
        let mut factor: Vec<f64> =
            factors.iter().map(|factors| f64::from(factors[position]) / f64::from(ONE)).collect();
        let mut rounds = 0;
        let winners = loop {
            let fixed: Vec<u32> = factor.iter().map(|factor| (factor * f64::from(ONE)) as u32).collect();
            let winners = winners(&field, &given, &draws, &fixed);
            let here = shares(&winners, members.len());
            let total = |index: usize| before[index] + here[index];
            let off = |index: &usize| (total(*index) / wanted[*index] - 1.0).abs();
            let worst =
                (0..members.len()).filter(|index| wanted[*index] > 0.0).map(|index| off(&index)).fold(0.0, f64::max);
            rounds += 1;
            if worst <= if rounds == 1 { ACCEPTED } else { TOLERANCE } || rounds == ROUNDS {
                factors.iter_mut().zip(fixed).for_each(|(factors, fixed)| factors[position] = fixed);
                break winners;
            }
            for (index, factor) in factor.iter_mut().enumerate() {
                let have = here[index].max(1.0 / SLOTS as f64);
                let want = (wanted[index] - before[index]).max(1.0 / SLOTS as f64);
                let step = damped((want / have).clamp(0.25, 4.0), position);
                *factor = (*factor * step).clamp(FACTOR_MIN, FACTOR_MAX);
            }
        };
        for (given, winner) in given.iter_mut().zip(&winners) {
            given.give(&field, *winner);
        }
        before.iter_mut().zip(shares(&winners, members.len())).for_each(|(before, here)| *before += here);
    }
    factors
}

/// How much to change a factor for a share that should grow by `quotient`. Draws are shared by all positions, and those who
/// are left at a later one have all lost the earlier ones by little: there a small factor moves many slots.
fn damped(quotient: f64, position: usize) -> f64 {
    match position {
        0 => quotient,
        _ => 1.0 + (quotient - 1.0) / STEP,
    }
}

fn draws(members: &[Member]) -> Vec<Vec<u64>> {
    let of_slot = |slot| members.iter().map(|member| draw::cost(member.node, Slot(slot))).collect();
    (0..SLOTS as u16).map(of_slot).collect()
}

/// Who gets the next place of every slot.
fn winners(field: &Field<'_>, given: &[Given], draws: &[Vec<u64>], factor: &[u32]) -> Vec<usize> {
    let slots = given.iter().zip(draws);
    slots.filter_map(|(given, draws)| field.next(given, |index| draws[index], |index| factor[index])).collect()
}

fn shares(winners: &[usize], members: usize) -> Vec<f64> {
    let mut won = vec![0u32; members];
    winners.iter().for_each(|winner| won[*winner] += 1);
    won.into_iter().map(|won| f64::from(won) / SLOTS as f64).collect()
}

/// How many of a slot's first `copies` places each member should have on average: in proportion to its weight, but never
/// more than one, and spread over the zones as evenly as the rule of fewest places spreads them.
pub(super) fn targets(members: &[Member], zones: &[u16], copies: usize) -> Vec<f64> {
    let zone_count = zones.iter().max().map_or(0, |zone| usize::from(*zone) + 1);
    let mut zone_weight = vec![0.0; zone_count];
    let mut zone_size = vec![0usize; zone_count];
    for (member, zone) in members.iter().zip(zones).filter(|(member, _)| member.weight > 0) {
        zone_weight[usize::from(*zone)] += f64::from(member.weight);
        zone_size[usize::from(*zone)] += 1;
    }
    // Full rounds over the zones are certain; the places of the last, partial round go by weight.
    let mut certain = vec![0usize; zone_count];
    let mut left = copies.min(zone_size.iter().sum());
    loop {
        let open: Vec<usize> = (0..zone_count).filter(|zone| certain[*zone] < zone_size[*zone]).collect();
        if open.is_empty() || left < open.len() {
            let lower: Vec<f64> = certain.iter().map(|places| *places as f64).collect();
            let upper: Vec<f64> =
                (0..zone_count).map(|zone| lower[zone] + if open.contains(&zone) { 1.0 } else { 0.0 }).collect();
            let total = lower.iter().sum::<f64>() + left as f64;
            let by_zone = share_out(&zone_weight, &lower, &upper, total);
            return within_zones(members, zones, &by_zone);
        }
        left -= open.len();
        for zone in open {
            certain[zone] += 1;
        }
    }
}

fn within_zones(members: &[Member], zones: &[u16], by_zone: &[f64]) -> Vec<f64> {
    let mut wanted = vec![0.0; members.len()];
    for (zone, total) in by_zone.iter().enumerate() {
        let of_zone: Vec<usize> = (0..members.len()).filter(|index| usize::from(zones[*index]) == zone).collect();
        let weights: Vec<f64> = of_zone.iter().map(|index| f64::from(members[*index].weight)).collect();
        let upper: Vec<f64> = weights.iter().map(|weight| if *weight > 0.0 { 1.0 } else { 0.0 }).collect();
        let shares = share_out(&weights, &vec![0.0; weights.len()], &upper, *total);
        for (index, share) in of_zone.into_iter().zip(shares) {
            wanted[index] = share;
        }
    }
    wanted
}

/// Shares `total` out in proportion to `weights` within bounds for each ("water-filling"): finds the level whose clamped
/// shares add up to `total`, by bisection.
fn share_out(weights: &[f64], lower: &[f64], upper: &[f64], total: f64) -> Vec<f64> {
    let at = |level: f64| -> Vec<f64> {
        let bounds = lower.iter().zip(upper);
        weights.iter().zip(bounds).map(|(weight, (lower, upper))| (weight * level).clamp(*lower, *upper)).collect()
    };
    let (mut low, mut high) = (0.0, 1.0);
    while at(high).iter().sum::<f64>() < total && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if at(middle).iter().sum::<f64>() < total { low = middle } else { high = middle }
    }
    at(high)
}
