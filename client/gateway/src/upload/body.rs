//! A request body as it comes off the connection: counted, held to its pace, and not cut off when nobody wants its rest.

use super::BodyError;
use super::pace::Pace;
use crate::limits::{DRAIN_MAX_BYTES, DRAIN_MS, DRAINS_MAX};
use axum::body::Body;
use bytes::Bytes;
use cairn_common::seam::Clock;
use futures::future::BoxFuture;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A body that is given up when its client is too slow. A [`http_body::Body`] whose only errors are [`BodyError`]s.
///
/// Dropping it before its end reads a bounded rest and throws it away, so that a client that is still sending sees the answer
/// instead of a reset connection; unless the client waits for `100 Continue`, which a drop never causes.
pub(crate) struct IncomingBody {
    inner: Body,
    clock: Arc<dyn Clock>,
    pace: Pace,
    /// Since when the client is waited for.
    waiting: Option<Duration>,
    timer: Option<BoxFuture<'static, ()>>,
    counted: Arc<AtomicU64>,
    drain: Arc<Drain>,
    /// Nothing is to be read any more, or may be.
    over: bool,
}

impl IncomingBody {
    /// Takes over the body of a request. `expects_continue`: its client sends it only when it is asked to. `counted` is told how
    /// many bytes came.
    pub(crate) fn new(inner: Body, expects_continue: bool, counted: Arc<AtomicU64>, drain: Arc<Drain>) -> IncomingBody {
        let clock = Arc::clone(&drain.clock);
        let over = expects_continue || inner.is_end_stream();
        IncomingBody { inner, clock, pace: Pace::default(), waiting: None, timer: None, counted, drain, over }
    }

    /// The next piece, not empty; `None` at the end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            match self.frame().await {
                None => return Ok(None),
                Some(frame) => match frame?.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    // HTTP trailers mean nothing here.
                    Ok(_) | Err(_) => {}
                },
            }
        }
    }

    fn arrived(&mut self, bytes: u64) {
        let waited = self.waiting.take().map_or(Duration::ZERO, |since| self.clock.monotonic().saturating_sub(since));
        self.pace.arrived(bytes, waited);
        self.counted.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether the client has been waited for too long; else the task is woken when it will have been.
    fn is_too_slow(&mut self, context: &mut Context<'_>) -> bool {
        let since = *self.waiting.get_or_insert_with(|| self.clock.monotonic());
        let deadline = self.pace.deadline(since);
        loop {
            let timer = match &mut self.timer {
                Some(timer) => timer,
                None => {
                    let now = self.clock.monotonic();
                    if now >= deadline {
                        return true;
                    }
                    self.timer.insert(self.clock.sleep(deadline - now))
                }
            };
            // A timer that was set in an earlier pause rings too soon; then it is set again.
            match timer.as_mut().poll(context) {
                Poll::Pending => return false,
                Poll::Ready(()) => self.timer = None,
            }
        }
    }
}

impl http_body::Body for IncomingBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.over = this.inner.is_end_stream();
                this.arrived(frame.data_ref().map_or(0, Bytes::len) as u64);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.over = true;
                tracing::debug!(%error, "a request body broke off");
                Poll::Ready(Some(Err(BodyError::BrokenOff)))
            }
            Poll::Ready(None) => {
                this.over = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                // Whoever asks for the first bytes has them asked for; from here on they are on their way.
                this.over = false;
                if this.is_too_slow(context) {
                    this.over = true;
                    return Poll::Ready(Some(Err(BodyError::TooSlow)));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        if !self.over {
            self.drain.take(std::mem::take(&mut self.inner));
        }
    }
}

/// Throws away what is left of bodies that nobody wants, a bounded number at a time.
pub(crate) struct Drain {
    clock: Arc<dyn Clock>,
    permits: Arc<Semaphore>,
}

impl Drain {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Drain {
        Drain { clock, permits: Arc::new(Semaphore::new(DRAINS_MAX)) }
    }

    fn take(&self, mut body: Body) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let patience = self.clock.sleep(Duration::from_millis(DRAIN_MS));
        runtime.spawn(async move {
            let rest = async {
                let mut bytes = 0;
                while let Some(Ok(frame)) = body.frame().await {
                    bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                    if bytes >= DRAIN_MAX_BYTES {
                        break;
                    }
                }
            };
            tokio::select! {
                biased;
                () = rest => {}
                () = patience => {}
            }
            drop(permit);
        });
    }
}
