//! The scrub: every copy is read back from the disk and hashed, at a set rate, over and over.
//!
//! A copy that is bad is set aside by the store; to the next round it is missing, and is fetched from a node where it is good.

use super::Context;
use cairn_common::ids::Slot;
use cairn_common::limits::INVENTORY_PAGE_MAX;
use cairn_common::ring::SLOTS;
use cairn_common::wire::chunk::Held;
use std::time::Duration;

impl Context {
    /// Runs for ever, with a pause before each pass.
    pub(super) async fn scrub(&self, pause: Duration) {
        loop {
            self.clock.sleep(pause).await;
            for slot in (0..SLOTS as u16).map(Slot) {
                self.progress.change(|upkeep| upkeep.scrub.slot = slot);
                if let Err(error) = self.scrub_slot(slot).await {
                    tracing::warn!(%slot, %error, "a slot was not scrubbed");
                }
            }
            let ended_ms = self.clock.wall_ms();
            self.progress.change(|upkeep| (upkeep.scrub.ended_ms, upkeep.scrub.slot) = (ended_ms, Slot(0)));
        }
    }

    async fn scrub_slot(&self, slot: Slot) -> Result<(), crate::store::index::IndexError> {
        let mut after = None;
        loop {
            let page = self.store.inventory(slot, after).await?;
            after = page.last().map(|held| held.address);
            for held in &page {
                self.scrub_chunk(held).await;
            }
            if page.len() < INVENTORY_PAGE_MAX {
                return Ok(());
            }
        }
    }

    async fn scrub_chunk(&self, held: &Held) {
        self.scrubbing.spend(u64::from(held.length)).await;
        match self.store.verify(held.address).await {
            Ok(true) => self.progress.change(|upkeep| upkeep.scrub.good.add(held.length)),
            // It was removed meanwhile, or it is bad.
            Ok(false) if matches!(self.store.is_set_aside(held.address).await, Ok(false)) => {}
            Ok(false) => {
                tracing::warn!(address = %held.address, "the scrub found a bad copy");
                metrics::counter!("cairn_scrub_bad_total").increment(1);
                self.progress.change(|upkeep| upkeep.scrub.bad += 1);
                self.view.kick();
            }
            Err(error) => tracing::warn!(address = %held.address, %error, "a copy cannot be read back"),
        }
    }
}
