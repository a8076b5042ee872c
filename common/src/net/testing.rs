//! Twins for the tests of framed connections: time that passes as fast as it can, and a server that can be stopped.

use super::handshake::{Identity, Verifier, Vouched};
use super::{FrameHandler, serve};
use crate::ids::{ClusterId, Generation};
use crate::seam::{BodyStream, BoxedIo, CallError, Clock, OsRandom, SystemClock, Transport};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A clock on which time passes while somebody sleeps, and only then.
#[derive(Clone, Default)]
pub(super) struct QuickClock(Arc<AtomicU64>);

/// Turns that everybody else gets before a sleep is over: enough for a question and its answer.
const TURNS: usize = 100;

impl Clock for QuickClock {
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.wall_ms())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (clock, until) = (self.clone(), self.monotonic() + duration);
        Box::pin(async move {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            clock.0.fetch_max(until.as_millis() as u64, Ordering::Relaxed);
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
