//! How fast upkeep may go: bytes a second, so that clients come first.

use cairn_common::seam::Clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Spends bytes over time. One that was idle does not catch up: the rate is a bound, not a goal.
pub(super) struct Pace {
    clock: Arc<dyn Clock>,
    bytes_per_second: AtomicU64,
    /// When what was spent so far is paid for.
    free_at: Mutex<Duration>,
}

impl Pace {
    pub(super) fn new(clock: Arc<dyn Clock>, bytes_per_second: u64) -> Pace {
        Pace { clock, bytes_per_second: AtomicU64::new(bytes_per_second.max(1)), free_at: Mutex::default() }
    }

    /// Changes the rate for what is spent from now on.
    pub(super) fn set(&self, bytes_per_second: u64) {
        self.bytes_per_second.store(bytes_per_second.max(1), Ordering::Relaxed);
    }

    /// Waits until `bytes` may be moved. Several callers share the rate. Dropping the future spends the bytes all the same.
    pub(super) async fn spend(&self, bytes: u64) {
        let wait = {
            let now = self.clock.monotonic();
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let start = (*free_at).max(now);
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.load(Ordering::Relaxed));
            *free_at = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            start - now
        };
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestClock;

    #[tokio::test]
    async fn the_rate_is_kept_and_idleness_saves_nothing_up() {
        let clock = TestClock::new();
        let pace = Pace::new(Arc::new(clock.clone()), 1_000);
        clock.advance(60_000);
        pace.spend(2_000).await;
        let mut second = Box::pin(pace.spend(1));
        let waker = futures::task::noop_waker();
        let mut context = std::task::Context::from_waker(&waker);
        use std::future::Future as _;
        assert!(second.as_mut().poll(&mut context).is_pending());
        clock.advance(1_999);
        assert!(second.as_mut().poll(&mut context).is_pending());
        clock.advance(1);
        second.await;
    }
}
