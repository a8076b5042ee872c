//! Giving space back: packs in which little lives are compacted.

use super::Context;
use crate::store::volume::{Compaction, Volume};
use std::sync::Arc;

/// A pack in which at most this share of the bytes lives, in percent, is worth copying what lives.
const SPARSE_PERCENT: u64 = 50;
/// The same on a volume that is nearly full.
const SPARSE_WHEN_FULL_PERCENT: u64 = 90;
/// A volume with less than this share of its space free, in percent, is nearly full.
const NEARLY_FULL_PERCENT: u64 = 10;
/// Bytes below which a pack is left alone: it is still being filled, or hardly anything.
const SMALLEST_BYTES: u64 = 1 << 20;

/// Whether a pack is worth compacting: `written` bytes, of which `live` are of use.
fn is_sparse(written: u64, live: u64, nearly_full: bool) -> bool {
    let limit = if nearly_full { SPARSE_WHEN_FULL_PERCENT } else { SPARSE_PERCENT };
    written >= SMALLEST_BYTES && live.saturating_mul(100) <= written.saturating_mul(limit)
}

impl Context {
    /// Compacts what is worth it, one pack after the other.
    pub(super) async fn reclaim(&self) {
        for volume in self.store.volumes().iter().filter(|volume| volume.is_serving()) {
            let nearly_full = volume.report();
            let nearly_full = nearly_full.free_bytes < nearly_full.capacity_bytes / 100 * NEARLY_FULL_PERCENT;
            for (pack, written, live) in volume.packs() {
                if !is_sparse(written, live, nearly_full) {
                    continue;
                }
                // What is copied is read and written once each.
                self.scrubbing.spend(live).await;
                let compacted: Arc<Volume> = Arc::clone(volume);
                match self.store.run(move || compacted.compact(pack)).await {
                    Ok(Compaction::Dropped { freed_bytes }) => {
                        tracing::info!(volume = %volume.id(), %pack, freed_bytes, "a pack was compacted");
                        self.progress.change(|upkeep| upkeep.compacted_bytes += freed_bytes);
                    }
                    Ok(Compaction::Kept) => {}
                    Err(error) => tracing::warn!(volume = %volume.id(), %pack, %error, "a pack was not compacted"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_empty_packs_are_compacted_and_nearly_full_ones_where_space_is_short() {
        let mib = 1 << 20;
        assert!(is_sparse(10 * mib, 5 * mib, false) && !is_sparse(10 * mib, 6 * mib, false));
        assert!(is_sparse(10 * mib, 9 * mib, true) && !is_sparse(10 * mib, 10 * mib, true));
        assert!(!is_sparse(mib / 2, 0, true), "it is hardly begun");
    }
}
