//! How far upkeep is, for the masters and for metrics.

use cairn_common::ids::{Epoch, Stamp};
use cairn_common::wire::heal::{Amount, Upkeep};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by the parts of upkeep and the heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Upkeep>);

impl Progress {
    /// As it is now.
    pub(crate) fn now(&self) -> Upkeep {
        self.lock().clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Upkeep)) {
        change(&mut self.lock());
    }

    /// A volume is gone, and what it held with it: nothing is complete until a round has shown it again.
    pub(crate) fn volume_lost(&self) {
        self.change(|upkeep| (upkeep.complete, upkeep.emptied) = (Epoch(0), Epoch(0)));
    }

    /// When a pass of collection was stopped; zero: none is.
    pub(super) fn fused(&self) -> Stamp {
        self.lock().fused
    }

    pub(super) fn fetched(&self, length: u32) {
        self.change(|upkeep| upkeep.fetched.add(length));
        metrics::counter!("cairn_upkeep_fetched_bytes_total").increment(u64::from(length));
    }

    pub(super) fn dropped(&self, length: u32) {
        self.change(|upkeep| upkeep.dropped.add(length));
        metrics::counter!("cairn_upkeep_dropped_bytes_total").increment(u64::from(length));
    }

    pub(super) fn collected(&self, length: u32) {
        self.change(|upkeep| upkeep.collected.add(length));
        metrics::counter!("cairn_upkeep_collected_bytes_total").increment(u64::from(length));
    }

    pub(super) fn show(&self, missing: Amount, foreign: Amount) {
        self.change(|upkeep| (upkeep.missing, upkeep.foreign) = (missing, foreign));
        metrics::gauge!("cairn_upkeep_missing_chunks").set(missing.chunks as f64);
        metrics::gauge!("cairn_upkeep_foreign_chunks").set(foreign.chunks as f64);
    }

    fn lock(&self) -> MutexGuard<'_, Upkeep> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
