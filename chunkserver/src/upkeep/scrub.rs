//! The scrub: every copy is read back from the disk and hashed, at a set rate, over and over.
//!
//! A copy that is bad is set aside by the store; to the next round it is missing, and is fetched from a node where it is good.
//!
//! How far it is lies on the disks, so that a node that is restarted every day gets through all the same.

use super::Context;
use crate::store::volume::ScrubMark;
use cairn_common::ids::Slot;
use cairn_common::limits::INVENTORY_PAGE_MAX;
use cairn_common::ring::SLOTS;
use cairn_common::wire::chunk::Held;
use std::time::Duration;

/// After so many slots it is noted how far it is.
const NOTED_SLOTS: u16 = 256;

impl Context {
    /// Runs for ever, with a pause before each pass; goes on where the last run of this node was.
    pub(super) async fn scrub(&self, pause: Duration) {
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let mut mark = self.store.scrubbed().await;
        if mark == ScrubMark::default() {
            mark.due_ms = self.clock.wall_ms().saturating_add(pause_ms);
            self.store.leave_scrubbed(mark).await;
        }
        loop {
            self.progress.change(|upkeep| (upkeep.scrub.slot, upkeep.scrub.ended_ms) = (mark.slot, mark.ended_ms));
            if mark.slot == Slot(0) {
                // A clock that was wrong once, or a pause that is shorter now, must not put it off for long.
                let wait_ms = mark.due_ms.saturating_sub(self.clock.wall_ms()).min(pause_ms);
                self.clock.sleep(Duration::from_millis(wait_ms)).await;
            }
            self.pass(&mut mark).await;
            let ended_ms = self.clock.wall_ms();
            mark = ScrubMark { slot: Slot(0), ended_ms, due_ms: ended_ms.saturating_add(pause_ms) };
            self.store.leave_scrubbed(mark).await;
        }
    }

    /// Reads back what lies in `mark.slot` and behind.
    async fn pass(&self, mark: &mut ScrubMark) {
        for slot in (mark.slot.0..SLOTS as u16).map(Slot) {
            self.progress.change(|upkeep| upkeep.scrub.slot = slot);
            if slot.0 % NOTED_SLOTS == 0 && slot > mark.slot {
                mark.slot = slot;
                self.store.leave_scrubbed(*mark).await;
            }
            if let Err(error) = self.scrub_slot(slot).await {
                tracing::warn!(%slot, %error, "a slot was not scrubbed");
            }
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
