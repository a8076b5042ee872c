//! Twins for the tests of framed connections: time that passes as fast as it can, and a server that can be stopped.

use super::handshake::{Identity, Verifier, Vouched};
use super::{FrameHandler, serve};
use crate::ids::{ClusterId, Generation};
use crate::seam::{BodyStream, BoxedIo, CallError, Clock, OsRandom, SystemClock, Transport};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A clock on which time passes while everybody sleeps, and only then: whoever is to wake first does, when nobody had anything to
/// do for a while.
#[derive(Clone, Default)]
pub(super) struct QuickClock(Arc<Mutex<Passed>>);

#[derive(Default)]
struct Passed {
    now_ms: u64,
    sleepers: BTreeSet<(u64, u64)>,
    last: u64,
}

/// Turns that everybody else gets before a sleep is over: enough for a question and its answer.
const TURNS: usize = 100;

/// A sleeper, until it wakes or is dropped.
struct Asleep {
    clock: QuickClock,
    place: (u64, u64),
}

impl Drop for Asleep {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.place);
    }
}

impl QuickClock {
    fn lock(&self) -> std::sync::MutexGuard<'_, Passed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fall_asleep(&self, ms: u64) -> Asleep {
        let mut passed = self.lock();
        passed.last += 1;
        let place = (passed.now_ms + ms, passed.last);
        passed.sleepers.insert(place);
        Asleep { clock: self.clone(), place }
    }
}

impl Asleep {
    /// Whether it is the first to wake; then it is that time.
    fn wakes(&self) -> bool {
        let mut passed = self.clock.lock();
        let is_first = passed.sleepers.first() == Some(&self.place);
        if is_first {
            passed.now_ms = passed.now_ms.max(self.place.0);
        }
        is_first
    }
}

impl Clock for QuickClock {
    fn wall_ms(&self) -> u64 {
        self.lock().now_ms
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.wall_ms())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let asleep = self.fall_asleep(duration.as_millis() as u64);
        Box::pin(async move {
            loop {
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                if asleep.wakes() {
                    return;
                }
            }
        })
    }
}

struct Open;

#[async_trait]
impl Verifier for Open {
    async fn secret_of(&self, _: &Identity) -> Vouched {
        Ok(None)
    }

    fn server(&self) -> (ClusterId, Generation) {
        (ClusterId([1; 16]), Generation(1))
    }
}

/// A server in this process, and the way to it. Once stopped it takes connections and bytes, as the kernel does for a process that
/// is stopped, and says nothing.
pub(super) struct StoppableServer {
    handler: Arc<dyn FrameHandler>,
    stopped: watch::Sender<bool>,
}

impl StoppableServer {
    pub(super) fn new(handler: Arc<dyn FrameHandler>) -> StoppableServer {
        StoppableServer { handler, stopped: watch::Sender::new(false) }
    }

    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

#[async_trait]
impl Transport for StoppableServer {
    async fn connect(&self, _: &str) -> Result<BoxedIo, CallError> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (handler, mut stopped) = (Arc::clone(&self.handler), self.stopped.subscribe());
        tokio::spawn(async move {
            let clock = SystemClock::new();
            let mut serving = std::pin::pin!(serve(Box::new(theirs), &clock, &OsRandom, &Open, handler));
            let stops = async {
                drop(stopped.wait_for(|stopped| *stopped).await);
            };
            tokio::select! {
                biased;
                () = stops => std::future::pending().await,
                _ = &mut serving => {}
            }
        });
        Ok(Box::new(ours))
    }

    async fn http(&self, _: &str, _: http::Request<Bytes>) -> Result<http::Response<BodyStream>, CallError> {
        unreachable!("these tests send frames only")
    }
}
