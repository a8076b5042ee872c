//! A clock that stands still until it is told to go on.

use cairn_common::seam::{Clock, SystemClock};
use futures::future::BoxFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// See the module. Its wall clock is the machine's, which signatures are checked against, and goes on with it.
pub(crate) struct ManualClock {
    now: watch::Sender<Duration>,
    /// When those who sleep want to be woken.
    sleepers: Arc<Mutex<Vec<Duration>>>,
}

impl ManualClock {
    pub(crate) fn new() -> Arc<ManualClock> {
        Arc::new(ManualClock { now: watch::Sender::new(Duration::ZERO), sleepers: Arc::default() })
    }

    /// Time goes on.
    pub(crate) fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now += by);
    }

    /// Waits until somebody sleeps until `until`.
    pub(crate) async fn sleeper(&self, until: Duration) {
        while !self.sleepers.lock().unwrap().contains(&until) {
            tokio::task::yield_now().await;
        }
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> u64 {
        SystemClock::new().wall_ms() + self.monotonic().as_millis() as u64
    }

    fn monotonic(&self) -> Duration {
        *self.now.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = self.monotonic() + duration;
        self.sleepers.lock().unwrap().push(until);
        let mut now = self.now.subscribe();
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= until).await;
        })
    }
}
