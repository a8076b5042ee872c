//! What moves when one ring follows another.

use super::{Ring, SLOTS};
use crate::ids::Slot;

/// Copies that change hands between two rings, as parts of all copies (0.0 ..= 1.0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Movement {
    /// Copies whose new owner was none before.
    pub moved: f64,
    /// The least any placement with the new shares could move: the sum of what shares grew by.
    pub minimum: f64,
}

/// Compares two rings at `replicas` copies.
pub fn movement(old: &Ring, new: &Ring, replicas: usize) -> Movement {
    let mut moved = 0usize;
    let mut total = 0usize;
    for slot in (0..SLOTS as u16).map(Slot) {
        let before: Vec<_> = old.owners(slot, replicas).collect();
        for node in new.owners(slot, replicas) {
            total += 1;
            moved += usize::from(!before.contains(&node));
        }
    }
    let before = old.wanted_shares(replicas);
    let grown = new.wanted_shares(replicas).into_iter();
    let minimum = grown.map(|(node, share)| (share - before.get(&node).copied().unwrap_or(0.0)).max(0.0)).sum();
    Movement { moved: moved as f64 / total.max(1) as f64, minimum }
}
