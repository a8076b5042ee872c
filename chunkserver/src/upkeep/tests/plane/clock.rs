//! Virtual time: it stands still while anything can be done, and then goes on to the next moment that somebody waits for.

use cairn_common::seam::Clock;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What clocks show when a run begins, in milliseconds since 1970.
const BEGINNING_MS: u64 = 1_700_000_000_000;

/// The time of a run. Clones are the same time.
#[derive(Clone, Default)]
pub(super) struct Timeline(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    now: Duration,
    sleepers: u64,
    /// Who waits, by moment and then in the order in which they began to.
    wakers: BTreeMap<(Duration, u64), Waker>,
}

impl Timeline {
    pub(super) fn now(&self) -> Duration {
        self.lock().now
    }

    /// Since the run began.
    pub(super) fn now_ms(&self) -> u64 {
        self.now().as_millis() as u64
    }

    /// What a clock that is right shows.
    pub(super) fn wall_ms(&self) -> u64 {
        BEGINNING_MS + self.now_ms()
    }

    /// Nothing can be done any more: the first who waits goes on.
    pub(super) fn go_on(&self) {
        let mut waiting = self.lock();
        let Some(((moment, _), waker)) = waiting.wakers.pop_first() else { return };
        waiting.now = waiting.now.max(moment);
        drop(waiting);
        waker.wake();
    }

    pub(super) fn sleep(&self, duration: Duration) -> Sleep {
        let mut waiting = self.lock();
        waiting.sleepers += 1;
        let key = (waiting.now.saturating_add(duration), waiting.sleepers);
        Sleep { timeline: self.clone(), key }
    }

    pub(super) fn sleep_ms(&self, ms: u64) -> Sleep {
        self.sleep(Duration::from_millis(ms))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap()
    }
}

/// Waits for a moment.
pub(super) struct Sleep {
    timeline: Timeline,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.timeline.lock();
        if waiting.now >= self.key.0 {
            return Poll::Ready(());
        }
        waiting.wakers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = self.timeline.lock().wakers.remove(&self.key);
        // Not under the lock: it may be the last handle of a task that sleeps.
        drop(waker);
    }
}

/// The clocks of one machine; the one on the wall may be wrong.
pub(super) struct MachineClock {
    pub(super) timeline: Timeline,
    pub(super) off_ms: Arc<AtomicI64>,
}

impl Clock for MachineClock {
    fn wall_ms(&self) -> u64 {
        self.timeline.wall_ms().saturating_add_signed(self.off_ms.load(Ordering::Relaxed))
    }
    fn monotonic(&self) -> Duration {
        self.timeline.now()
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.timeline.sleep(duration))
    }
}
