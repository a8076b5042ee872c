//! Around every request: its id, its place among the running ones, one line in the access log, and figures.
//!
//! The line is written when the last byte of the answer was taken by the connection, or when the answer was given up. It never
//! has a secret, a signature, a token, or a query string in it: presigned URLs carry their signature there.

use crate::front::Front;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use cairn_common::seam::Clock;
use http::{HeaderName, HeaderValue, Method};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

/// Which API a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    S3,
    Native,
}

impl Api {
    fn name(self) -> &'static str {
        match self {
            Api::S3 => "s3",
            Api::Native => "native",
        }
    }

    fn id_header(self) -> HeaderName {
        match self {
            Api::S3 => HeaderName::from_static("x-amz-request-id"),
            Api::Native => HeaderName::from_static("x-request-id"),
        }
    }
}

/// What is known about a request while it is served.
#[derive(Debug)]
pub(crate) struct RequestLog {
    /// Its id: 16 hex digits.
    pub(crate) id: String,
    bytes_in: Arc<AtomicU64>,
    facts: Mutex<Facts>,
}

#[derive(Clone, Debug)]
struct Facts {
    operation: &'static str,
    access: Option<String>,
    auth: &'static str,
    payload: &'static str,
}

impl RequestLog {
    fn new(id: String) -> RequestLog {
        let facts = Facts { operation: "-", access: None, auth: "-", payload: "-" };
        RequestLog { id, bytes_in: Arc::default(), facts: Mutex::new(facts) }
    }

    /// Counts bytes of the request's body.
    pub(crate) fn bytes_in(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_in)
    }

    /// What is asked for, out of a bounded set: it is a label of metrics.
    pub(crate) fn set_operation(&self, operation: &'static str) {
        self.facts().operation = operation;
    }

    /// Whose key it came with, as stated, and how: `header`, `query`, `basic`, `bearer`, `link`.
    pub(crate) fn set_access(&self, access: &str, auth: &'static str) {
        let mut facts = self.facts();
        facts.access = Some(access.chars().take(128).collect());
        facts.auth = auth;
    }

    /// How its body is covered by its signature.
    pub(crate) fn set_payload(&self, payload: &'static str) {
        self.facts().payload = payload;
    }

    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a request with `serve`, or answers with `busy` if too many are running.
pub(crate) async fn observe<F>(
    front: &Arc<Front>,
    api: Api,
    request: Request,
    serve: impl FnOnce(Request, Arc<RequestLog>) -> F,
    busy: impl FnOnce(&RequestLog) -> Response,
) -> Response
where
    F: Future<Output = Response>,
{
    let log = Arc::new(RequestLog::new(format!("{:016X}", front.random.number())));
    let span = tracing::info_span!("request", id = %log.id);
    let begun = front.clock.monotonic();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let permit = Arc::clone(&front.running).try_acquire_owned().ok();
    let mut response = match permit {
        Some(_) => serve(request, Arc::clone(&log)).instrument(span).await,
        None => busy(&log),
    };
    if let Ok(id) = HeaderValue::from_str(&log.id) {
        response.headers_mut().insert(api.id_header(), id);
    }
    let (status, clock) = (response.status().as_u16(), Arc::clone(&front.clock));
    let line = Line { api, method, path, status, begun, clock, log, bytes_out: 0, whole: false };
    response.map(|body| Body::new(ObservedBody { inner: body, line, _permit: permit }))
}

/// The line of a request in the access log, written when it is dropped.
struct Line {
    api: Api,
    method: Method,
    path: String,
    status: u16,
    begun: Duration,
    clock: Arc<dyn Clock>,
    log: Arc<RequestLog>,
    bytes_out: u64,
    /// Whether the whole answer was taken.
    whole: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        let took = self.clock.monotonic().saturating_sub(self.begun);
        let bytes_in = self.log.bytes_in.load(Ordering::Relaxed);
        let Facts { operation, access, auth, payload } = self.log.facts().clone();
        let api = self.api.name();
        tracing::info!(
            target: "cairn_gateway::access",
            id = %self.log.id,
            api,
            operation,
            method = %self.method,
            path = %self.path,
            status = self.status,
            bytes_in,
            bytes_out = self.bytes_out,
            whole = self.whole,
            ms = took.as_millis() as u64,
            key = access.as_deref().unwrap_or("-"),
            auth,
            payload,
        );
        let labels =
            [("api", api.to_owned()), ("operation", operation.to_owned()), ("status", self.status.to_string())];
        metrics::counter!("cairn_gateway_requests_total", &labels).increment(1);
        let labels = [("api", api), ("operation", operation)];
        metrics::histogram!("cairn_gateway_request_seconds", &labels).record(took.as_secs_f64());
        metrics::counter!("cairn_gateway_bytes_in_total", "api" => api).increment(bytes_in);
        metrics::counter!("cairn_gateway_bytes_out_total", "api" => api).increment(self.bytes_out);
    }
}

/// The body of an answer, counted. Holds the request's place among the running ones.
struct ObservedBody {
    inner: Body,
    line: Line,
    _permit: Option<OwnedSemaphorePermit>,
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.line.bytes_out += frame.data_ref().map_or(0, Bytes::len) as u64;
                this.line.whole = this.inner.is_end_stream();
            }
            Poll::Ready(Some(Err(error))) => tracing::warn!(id = %this.line.log.id, %error, "an answer is broken off"),
            Poll::Ready(None) => this.line.whole = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
