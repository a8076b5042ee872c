//! Compares ways of placing: how far shares are from the weights, and how much a change moves. Prints the tables of
//! docs/decisions/0003-placement.md. `cargo run --release -p cairn-common --example placement`

use cairn_common::ids::{Epoch, NodeId, Slot};
use cairn_common::ring::{Member, Ring, RingSpec, SLOTS, movement};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn members(weights: &[u32], zones: usize) -> Vec<Member> {
    let member = |(index, weight): (usize, &u32)| Member {
        node: NodeId(index as u32 + 1),
        zone: format!("z{}", index % zones + 1),
        weight: *weight,
    };
    weights.iter().enumerate().map(member).collect()
}

fn cairn(weights: &[u32], zones: usize) -> Arc<Ring> {
    Ring::new(RingSpec::new(Epoch(1), members(weights, zones))).expect("made here")
}

fn hash(parts: &[u64]) -> u64 {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_be_bytes()).collect();
    u64::from_be_bytes(blake3::hash(&bytes).as_bytes()[..8].try_into().expect("8 bytes"))
}

/// A ring of virtual nodes, `per_weight` for each unit of weight over the mean: the classical form.
fn virtual_nodes(weights: &[u32], zones: usize, per_node: u64) -> Vec<Vec<NodeId>> {
    let members = members(weights, zones);
    let mean = weights.iter().map(|weight| f64::from(*weight)).sum::<f64>() / weights.len() as f64;
    let mut ring = BTreeMap::new();
    for member in &members {
        let points = (per_node as f64 * f64::from(member.weight) / mean).round() as u64;
        for point in 0..points {
            ring.insert(hash(&[u64::from(member.node.0), point]), member);
        }
    }
    let list = |slot: u64| {
        let start = hash(&[u64::MAX, slot]);
        let (mut nodes, mut seen) = (Vec::new(), BTreeSet::new());
        for distinct_zones in [true, false] {
            for (_, member) in ring.range(start..).chain(ring.range(..start)) {
                let fresh = if distinct_zones { seen.insert(member.zone.clone()) } else { true };
                if fresh && !nodes.contains(&member.node) && nodes.len() < 3 {
                    nodes.push(member.node);
                }
            }
        }
        nodes
    };
    (0..SLOTS as u64).map(list).collect()
}

fn worst(lists: &[Vec<NodeId>], wanted: &BTreeMap<NodeId, f64>, replicas: usize) -> f64 {
    let mut counts: BTreeMap<NodeId, f64> = BTreeMap::new();
    for list in lists {
        for node in list.iter().take(replicas) {
            *counts.entry(*node).or_default() += 1.0 / (lists.len() * replicas) as f64;
        }
    }
    wanted.iter().map(|(node, want)| (counts.get(node).unwrap_or(&0.0) / want - 1.0).abs()).fold(0.0, f64::max)
}

fn moved(old: &[Vec<NodeId>], new: &[Vec<NodeId>], replicas: usize) -> f64 {
    let moved = old.iter().zip(new).map(|(old, new)| {
        let old = &old[..replicas];
        new[..replicas].iter().filter(|node| !old.contains(node)).count()
    });
    moved.sum::<usize>() as f64 / (old.len() * replicas) as f64
}

#[allow(clippy::disallowed_methods)] // it measures
fn main() {
    let cases: &[(&str, &[u32], &[u32], usize)] = &[
        ("5 equal, +1", &[1; 5], &[1; 6], 1),
        ("9 equal, +1", &[1; 9], &[1; 10], 1),
        ("1..6 weighted, +1 of 4", &[1, 2, 3, 4, 5, 6], &[1, 2, 3, 4, 5, 6, 4], 1),
        ("6 in 3 zones, +3", &[1; 6], &[1; 9], 3),
        ("24 in 4 zones, +1", &[8; 24], &[8; 25], 4),
    ];
    println!(
        "Worst difference of a node's share from its weight at R = 3 (at R = 1), and movement over the minimum at R = 3\n"
    );
    println!(
        "| members | virtual nodes, 128 a node | virtual nodes, 1024 a node | calibrated rendezvous |\n|---|---|---|---|"
    );
    for (name, before, after, zones) in cases {
        let old = cairn(before, *zones);
        let new = Ring::new(old.spec().followed_by(Epoch(2), members(after, *zones))).expect("made here");
        let ours = movement(&old, &new, 3);
        let mut cells = Vec::new();
        for per_node in [128, 1024] {
            let (vn_old, vn_new) = (virtual_nodes(before, *zones, per_node), virtual_nodes(after, *zones, per_node));
            cells.push(format!(
                "{:.1} % ({:.1} %), {:.2}",
                100.0 * worst(&vn_old, &old.wanted_shares(3), 3),
                100.0 * worst(&vn_old, &old.wanted_shares(1), 1),
                moved(&vn_old, &vn_new, 3) / ours.minimum
            ));
        }
        let lists: Vec<Vec<NodeId>> = (0..SLOTS as u16).map(|slot| old.owners(Slot(slot), 3).collect()).collect();
        cells.push(format!(
            "{:.1} % ({:.1} %), {:.2}",
            100.0 * worst(&lists, &old.wanted_shares(3), 3),
            100.0 * worst(&lists, &old.wanted_shares(1), 1),
            ours.moved / ours.minimum
        ));
        println!("| {name} | {} |", cells.join(" | "));
    }
    for nodes in [3u32, 9, 24, 100] {
        let weights = vec![4; nodes as usize];
        let begun = std::time::Instant::now();
        let spec = RingSpec::new(Epoch(1), members(&weights, 3));
        let calibrated = begun.elapsed();
        let ring = Ring::new(spec).expect("made here");
        let table = begun.elapsed() - calibrated;
        let wanted = ring.wanted_shares(3);
        let error = ring.shares(3).iter().map(|(node, share)| (share / wanted[node] - 1.0).abs()).fold(0.0, f64::max);
        println!(
            "\n{nodes} nodes: calibrated in {calibrated:?}, table in {table:?}, worst share {:.1} % off",
            100.0 * error
        );
    }
}
