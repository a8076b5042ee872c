//! Accepting connections and serving them until the process is told to stop.

use super::tls::{CertificateSlot, TlsError};
use crate::limits::HEADER_TIMEOUT_MS;
use crate::seam::BoxedIo;
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Bytes of a request's head.
    pub head_max_bytes: usize,
    /// The certificate to show; `None`: plain HTTP.
    pub tls: Option<CertificateSlot>,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { connections_max: 4096, head_max_bytes: 64 << 10, tls: None }
    }
}

/// Tells everything that serves to finish what it is doing and end. Cloned to whoever must know.
#[derive(Clone, Debug)]
pub struct Shutdown {
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown::new()
    }
}

impl Shutdown {
    /// Not begun.
    pub fn new() -> Shutdown {
        Shutdown { sender: Arc::new(watch::Sender::new(false)) }
    }

    /// Begins it.
    pub fn begin(&self) {
        self.sender.send_replace(true);
    }

    /// Waits until it begins. Cancel-safe.
    pub async fn begun(&self) {
        let mut receiver = self.sender.subscribe();
        let _ = receiver.wait_for(|begun| *begun).await;
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.sender.borrow()
    }
}

/// Who is on the other end of a connection; in the extensions of every request that came over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that the connection came from: a proxy's, if there is one in between.
    pub address: IpAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    tls: Option<TlsAcceptorDebug>,
    options: ListenOptions,
}

struct TlsAcceptorDebug(TlsAcceptor);

impl std::fmt::Debug for TlsAcceptorDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Its address cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// Which.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// Its certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Listener {
    /// Binds `address` (`HOST:PORT`; port 0: any free one).
    pub async fn bind(address: &str, options: ListenOptions) -> Result<Listener, ListenError> {
        let tls = options.tls.as_ref().map(CertificateSlot::server_config).transpose()?;
        let tls = tls.map(|config| TlsAcceptorDebug(TlsAcceptor::from(config)));
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|error| ListenError::Bind { address: address.to_owned(), error })?;
        Ok(Listener { listener, tls, options })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Base URL of this listener, if it is reached under the address it is bound to.
    pub fn base_url(&self) -> io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.local_addr()?))
    }

    /// Serves `router` until `shutdown` begins, then lets running requests finish for at most `grace`.
    pub async fn serve(self, router: axum::Router, shutdown: Shutdown, grace: Duration) {
        let permits = Arc::new(Semaphore::new(self.options.connections_max));
        let tls = self.tls.as_ref().map(|tls| tls.0.clone());
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.begun() => break,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely. Accepting again at once would spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let permit = Arc::clone(&permits).acquire_owned().await.expect("never closed");
            let (router, shutdown, tls) = (router.clone(), shutdown.clone(), tls.clone());
            let head_max_bytes = self.options.head_max_bytes;
            let peer = Peer { address: address.ip(), tls: tls.is_some() };
            tokio::spawn(async move {
                if let Some(io) = secure(stream, tls).await {
                    serve_connection(io, peer, router, shutdown, head_max_bytes).await;
                }
                drop(permit);
            });
        }
        let all = u32::try_from(self.options.connections_max).unwrap_or(u32::MAX);
        if tokio::time::timeout(grace, permits.acquire_many(all)).await.is_err() {
            tracing::info!("connections are still open; they end with the process");
        }
    }
}

async fn secure(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<BoxedIo> {
    // Without it a small answer on a kept connection waits for the peer's delayed acknowledgement: 40 ms.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return Some(Box::new(stream)) };
    match tokio::time::timeout(Duration::from_millis(HEADER_TIMEOUT_MS), tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

async fn serve_connection(io: BoxedIo, peer: Peer, router: axum::Router, shutdown: Shutdown, head_max_bytes: usize) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        let router = router.clone();
        request.extensions_mut().insert(peer);
        async move {
            if head_bytes(&request) > head_max_bytes {
                return Ok(http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response());
            }
            router.oneshot(request).await
        }
    });
    // The header timeout does nothing without a timer.
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEADER_TIMEOUT_MS))
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = shutdown.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn head_bytes<B>(request: &http::Request<B>) -> usize {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    request.uri().path_and_query().map_or(0, |path| path.as_str().len()) + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn start(options: ListenOptions) -> (SocketAddr, Shutdown, tokio::task::JoinHandle<()>) {
        let listener = Listener::bind("127.0.0.1:0", options).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            "slow"
        };
        let router = axum::Router::new().route("/", get(|| async { "hello" })).route("/slow", get(slow));
        let serving = tokio::spawn(listener.serve(router, shutdown.clone(), Duration::from_secs(5)));
        (address, shutdown, serving)
    }

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_running_request_finishes_when_shutdown_begins() {
        let (address, shutdown, serving) = start(ListenOptions::default()).await;
        let slow = tokio::spawn(exchange_owned(address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        shutdown.begin();
        assert!(slow.await.unwrap().ends_with("slow"));
        serving.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    async fn exchange_owned(address: SocketAddr, request: &'static str) -> String {
        exchange(address, request).await
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let (address, _shutdown, _serving) = start(ListenOptions { head_max_bytes: 100, ..Default::default() }).await;
        let long = "x".repeat(100);
        let answer = exchange(address, &format!("GET / HTTP/1.1\r\nconnection: close\r\na: {long}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test]
    async fn a_contradictory_length_is_refused() {
        let (address, _shutdown, _serving) = start(ListenOptions::default()).await;
        for head in ["content-length: 1\r\ncontent-length: 2", "content-length: +1", "transfer-encoding: xchunked"] {
            let answer = exchange(address, &format!("POST / HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\nab")).await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
        }
    }
}
