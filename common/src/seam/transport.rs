//! The network: byte streams for frames, and HTTP for chunk bodies. The only place that uses `reqwest`.

use crate::limits::CONNECT_TIMEOUT_MS;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connected byte stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
/// A connected byte stream, whatever carries it.
pub type BoxedIo = Box<dyn Io>;
/// A body that is still arriving.
pub type BodyStream = BoxStream<'static, Result<Bytes, CallError>>;

/// A call that brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent: the other side did not do anything.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// Base URL that was tried.
        address: String,
        /// Why, for people.
        reason: String,
    },
    /// The other side is not who we talk to: another cluster, or a wrong key.
    #[error("{address} refused the connection: {reason}")]
    Refused {
        /// Base URL that was tried.
        address: String,
        /// Why, for people.
        reason: String,
    },
    /// Something was sent and no answer came: the other side may or may not have acted.
    #[error("no answer from {address}: {reason}")]
    Lost {
        /// Base URL that was called.
        address: String,
        /// Why, for people.
        reason: String,
    },
}

impl CallError {
    /// Whether the other side cannot have acted.
    pub fn nothing_was_sent(&self) -> bool {
        !matches!(self, CallError::Lost { .. })
    }
}

/// The network, real or simulated. Addresses are base URLs (`http://127.0.0.1:7070`).
#[async_trait]
pub trait Transport: Send + Sync {
    /// Opens a byte stream to the frame service at `address`.
    async fn connect(&self, address: &str) -> Result<BoxedIo, CallError>;

    /// Sends a request whose URI is a path below `address`, and returns the answer's head with its body still arriving.
    /// Nothing here ends a body that stalls: the caller sets its own limit.
    async fn http(&self, address: &str, request: http::Request<Bytes>)
    -> Result<http::Response<BodyStream>, CallError>;
}

/// Which certificates are trusted.
#[derive(Clone, Debug, Default)]
pub enum TlsTrust {
    /// Those of the system.
    #[default]
    System,
    /// Those in this PEM file, and no others.
    File(PathBuf),
    /// These, in PEM, and no others.
    Pem(Vec<u8>),
}

/// HTTP/1.1 over TCP or TLS.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
}

impl HttpTransport {
    /// A transport with its own connections. Fails if the trusted certificates cannot be read.
    pub fn new(trust: &TlsTrust) -> Result<HttpTransport, String> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_config(trust)?)
            .http1_only()
            .tcp_nodelay(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
            .pool_idle_timeout(Duration::from_secs(60));
        Ok(HttpTransport { client: builder.build().map_err(|error| error.to_string())? })
    }
}

fn tls_config(trust: &TlsTrust) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    match trust {
        TlsTrust::File(path) => {
            let file = |error: String| format!("{}: {error}", path.display());
            let pem = std::fs::read(path).map_err(|error| file(error.to_string()))?;
            Ok(builder.with_root_certificates(roots(&pem).map_err(file)?).with_no_client_auth())
        }
        TlsTrust::Pem(pem) => Ok(builder.with_root_certificates(roots(pem)?).with_no_client_auth()),
        TlsTrust::System => {
            let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(|error| error.to_string())?;
            Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
        }
    }
}

fn roots(pem: &[u8]) -> Result<rustls::RootCertStore, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(roots) }
}

/// Classifies what reqwest says. Only the innermost cause is shown: the outer texts repeat the URL, which may carry more than
/// should be logged.
fn call_error(address: &str, error: &reqwest::Error) -> CallError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let (address, reason) = (address.to_owned(), cause.to_string());
    if error.is_connect() || error.is_builder() {
        CallError::Unreachable { address, reason }
    } else {
        CallError::Lost { address, reason }
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn connect(&self, address: &str) -> Result<BoxedIo, CallError> {
        let request = self
            .client
            .get(format!("{address}/v1/frames"))
            .header(http::header::CONNECTION, "upgrade")
            .header(http::header::UPGRADE, "cairn-frames");
        let response = request.send().await.map_err(|error| call_error(address, &error))?;
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            let reason = format!("status {} instead of a frame connection", response.status());
            return Err(CallError::Refused { address: address.to_owned(), reason });
        }
        let io = response.upgrade().await.map_err(|error| call_error(address, &error))?;
        Ok(Box::new(io))
    }

    async fn http(
        &self,
        address: &str,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<BodyStream>, CallError> {
        let (head, body) = request.into_parts();
        let request =
            self.client.request(head.method, format!("{address}{}", head.uri)).headers(head.headers).body(body);
        let response = request.send().await.map_err(|error| call_error(address, &error))?;
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        let address = address.to_owned();
        let body = response.bytes_stream().map(move |piece| piece.map_err(|error| call_error(&address, &error)));
        Ok(answer.body(body.boxed()).expect("status and headers come from a response"))
    }
}
