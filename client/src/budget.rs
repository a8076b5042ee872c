//! One bound on the memory of all chunk buffers of a client.

use cairn_common::limits::CHUNK_MAX_BYTES;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const UNIT: usize = 4 << 10;

/// Bytes that may be held. Whoever holds some must be able to finish without asking for more: permits are taken for one
/// chunk at a time, whole, so operations wait for each other but never in a circle.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _permit: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Budget {
        let bytes = bytes.max(4 * CHUNK_MAX_BYTES as usize);
        Budget { units: Arc::new(Semaphore::new(bytes / UNIT)) }
    }

    /// Waits until `bytes` (at most a few chunks) may be held. Cancel-safe.
    pub(crate) async fn hold(&self, bytes: usize) -> Held {
        let units = u32::try_from(bytes.div_ceil(UNIT)).expect("a few chunks at a time");
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await.expect("never closed");
        Held { _permit: permit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_is_bounded_and_given_back() {
        let budget = Budget::new(0);
        let held = budget.hold(4 * CHUNK_MAX_BYTES as usize).await;
        assert_eq!(budget.units.available_permits(), 0);
        drop(held);
        assert_eq!(budget.units.available_permits() * UNIT, 4 * CHUNK_MAX_BYTES as usize);
    }
}
