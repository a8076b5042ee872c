//! Collection: removing what nothing refers to.
//!
//! Two phases. While a round compares, it notes chunks that nothing refers to and that were touched before the oldest window
//! that was open when the round began. When it ends, and only if they are not too large a part of the node (the fuse, P7), each is
//! asked about again, and removed if at *one* moment nothing refers to it, and, looked at under its lock, it was touched before
//! the oldest window open at that moment. From then on nothing can refer to it on the word of this copy: a receipt for it would
//! be of a window that has touched it, a later write brings the bytes, and a copy by reference needs something that refers to it.
//!
//! Nothing else deletes for want of a reference. Nobody waits for it: a write that comes in between touches the chunk first and
//! keeps it, or comes after and writes it again.

use super::Context;
use crate::store::volume::{Holding, Removal};
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::Stamp;
use cairn_common::limits::{COLLECT_FUSE_PERCENT, COLLECTED_MAX, PLACEMENT_MAX};
use cairn_common::seam::seeded_bug;
use cairn_common::wire::chunk::Held;
use cairn_common::wire::heal::Amount;
use cairn_common::wire::master::MasterError;

/// What a round found that may be collected.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// All of it.
    pub(super) amount: Amount,
    /// The first of them; the others are the next round's.
    chunks: Vec<(ChunkAddress, u32)>,
}

impl Candidates {
    /// Notes what is old enough.
    pub(super) fn note(&mut self, held: &[Held], horizon: Stamp) {
        for held in held.iter().filter(|held| held.touched < horizon) {
            self.amount.add(held.length);
            if self.chunks.len() < COLLECTED_MAX {
                self.chunks.push((held.address, held.length));
            }
        }
    }
}

/// Whether a pass may free `candidates` of `live_bytes`.
fn within_fuse(candidates: Amount, live_bytes: u64) -> bool {
    candidates.bytes.saturating_mul(100) <= live_bytes.saturating_mul(COLLECT_FUSE_PERCENT)
}

impl Context {
    /// Collects what a round found. `began`: the moment at which the round began.
    pub(super) async fn collect(&self, candidates: Candidates, began: Stamp) -> Result<(), MasterError> {
        let orders = self.view.orders();
        let fused = self.progress.fused();
        let approved = fused > Stamp::ZERO && orders.collect_approved > fused;
        let allowed = approved || within_fuse(candidates.amount, self.live_bytes()) || seeded_bug("no-collect-fuse");
        let Amount { chunks, bytes } = candidates.amount;
        self.progress.change(|upkeep| upkeep.unreferenced = candidates.amount);
        if orders.collect_paused {
            return Ok(());
        }
        if !allowed {
            if fused == Stamp::ZERO {
                tracing::warn!(chunks, bytes, "collection would free too much at once and waits for an administrator");
                self.progress.change(|upkeep| upkeep.fused = began);
            }
            return Ok(());
        }
        for batch in candidates.chunks.chunks(PLACEMENT_MAX) {
            self.collect_batch(batch).await?;
        }
        // What was approved was all of it, in however many passes.
        if candidates.chunks.len() as u64 == chunks {
            self.progress.change(|upkeep| upkeep.fused = Stamp::ZERO);
        }
        Ok(())
    }

    async fn collect_batch(&self, batch: &[(ChunkAddress, u32)]) -> Result<(), MasterError> {
        let placement = self.peers.placement(batch.iter().map(|(address, _)| *address).collect()).await?;
        let horizon = if seeded_bug("collect-without-horizon") { Stamp::MAX } else { placement.horizon };
        for ((address, length), _) in batch.iter().zip(&placement.chunks).filter(|(_, place)| place.is_none()) {
            let old_enough =
                || Box::new(move |holding: Holding| holding.touched < horizon) as crate::store::volume::RemoveIf;
            match self.store.remove(*address, old_enough).await {
                Ok(Removal::Removed) => {
                    self.progress.collected(*length);
                    self.progress.change(|upkeep| {
                        upkeep.unreferenced.chunks = upkeep.unreferenced.chunks.saturating_sub(1);
                        upkeep.unreferenced.bytes = upkeep.unreferenced.bytes.saturating_sub(u64::from(*length));
                    });
                }
                Ok(Removal::Absent | Removal::Kept) => {}
                Err(error) => tracing::warn!(%address, %error, "a chunk that nothing refers to was not removed"),
            }
        }
        Ok(())
    }

    /// Bytes of records that chunks lie in, on all volumes.
    fn live_bytes(&self) -> u64 {
        self.store.volumes().iter().flat_map(|volume| volume.packs()).map(|(_, _, live)| live).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_frees_a_tenth_of_a_node_and_no_more() {
        let bytes = |bytes| Amount { chunks: 1, bytes };
        assert!(within_fuse(bytes(100), 1_000) && !within_fuse(bytes(101), 1_000));
        assert!(within_fuse(bytes(0), 0) && !within_fuse(bytes(1), 0));
        assert!(!within_fuse(bytes(u64::MAX), 1 << 40));
    }
}
