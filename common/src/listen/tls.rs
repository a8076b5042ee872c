//! Certificates of a listener, which can be replaced while it serves.

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// Its key; must not be readable for group or others.
    pub key: PathBuf,
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TlsError {
    path: String,
    reason: String,
}

/// A certificate chain and its key, checked to belong together.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<CertifiedKey>);

impl Certificate {
    /// From a chain in PEM, leaf first, and a key.
    pub fn new(chain_pem: &[u8], key: PrivateKeyDer<'static>) -> Result<Certificate, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem).collect();
        let chain = chain.map_err(|error| error.to_string())?;
        if chain.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| error.to_string())?;
        Ok(Certificate(Arc::new(certified)))
    }

    /// The same, the key as PKCS #8.
    pub fn from_pkcs8(chain_pem: &[u8], key: Vec<u8>) -> Result<Certificate, String> {
        Certificate::new(chain_pem, PrivateKeyDer::Pkcs8(key.into()))
    }
}

impl TlsFiles {
    /// Reads and checks the files.
    pub fn load(&self) -> Result<Certificate, TlsError> {
        let error = |path: &Path, reason: &dyn std::fmt::Display| TlsError {
            path: path.display().to_string(),
            reason: reason.to_string(),
        };
        let chain = std::fs::read(&self.certificate).map_err(|reason| error(&self.certificate, &reason))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|reason| error(&self.key, &reason))?;
        Certificate::new(&chain, key).map_err(|reason| error(&self.certificate, &reason))
    }
}

/// The certificate that a listener shows now. Clones share it; connections that are open keep what they began with. While it is
/// empty, no TLS handshake succeeds.
#[derive(Clone, Debug, Default)]
pub struct CertificateSlot {
    current: Arc<ArcSwapOption<CertifiedKey>>,
}

impl CertificateSlot {
    /// An empty one.
    pub fn new() -> CertificateSlot {
        CertificateSlot::default()
    }

    /// Shows `certificate` from now on.
    pub fn set(&self, certificate: &Certificate) {
        self.current.store(Some(Arc::clone(&certificate.0)));
    }

    /// What a server needs to accept connections. HTTP/1.1 is the only protocol offered.
    pub(super) fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError { path: "TLS".to_owned(), reason: error.to_string() })?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for CertificateSlot {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{ClusterKey, Secret};
    use crate::limits::CERTIFICATE_TTL_MS;
    use crate::listen::{Authority, LeafKey, ListenOptions, Listener, Shutdown};
    use crate::seam::{CallError, Clock as _, HttpTransport, OsRandom, SystemClock, TlsTrust, Transport as _};
    use bytes::Bytes;
    use std::time::Duration;

    fn authority(byte: u8) -> Authority {
        Authority::of(&ClusterKey::new(Secret::new([byte; 32])))
    }

    fn certificate(authority: &Authority, name: &str, now_ms: u64) -> Certificate {
        let key = LeafKey::new(&OsRandom);
        let pem = authority.issue(&[name.to_owned()], key.public(), now_ms, &OsRandom).unwrap();
        Certificate::from_pkcs8(pem.as_bytes(), key.pkcs8()).unwrap()
    }

    /// A fresh connection to `url` by someone who trusts `authority`.
    async fn get(url: &str, authority: &Authority) -> Result<u16, CallError> {
        let trust = TlsTrust::Pem(authority.certificate_pem().unwrap().into_bytes());
        let transport = HttpTransport::new(&trust).unwrap();
        let request = http::Request::builder().uri("/").body(Bytes::new()).unwrap();
        transport.http(url, request).await.map(|answer| answer.status().as_u16())
    }

    #[tokio::test]
    async fn those_who_trust_the_authority_connect_and_certificates_are_replaced_while_it_serves() {
        let (ours, theirs, now) = (authority(1), authority(2), SystemClock::new().wall_ms());
        let slot = CertificateSlot::new();
        let options = ListenOptions { tls: Some(slot.clone()), ..ListenOptions::default() };
        let listener = Listener::bind("127.0.0.1:0", options).await.unwrap();
        let (url, shutdown) = (listener.base_url().unwrap(), Shutdown::new());
        assert!(url.starts_with("https://"));
        let router = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
        let serving = tokio::spawn(listener.serve(router, shutdown.clone(), Duration::from_secs(1)));
        let refused = |answer| matches!(answer, Err(CallError::Unreachable { .. }));
        assert!(refused(get(&url, &ours).await), "there is no certificate yet");
        for (certificate, accepted, why) in [
            (certificate(&ours, "127.0.0.1", now), true, "ours"),
            (certificate(&theirs, "127.0.0.1", now), false, "another cluster's"),
            (certificate(&ours, "127.0.0.2", now), false, "of another name"),
            (certificate(&ours, "127.0.0.1", now - CERTIFICATE_TTL_MS - 1000), false, "over"),
            (certificate(&ours, "127.0.0.1", now), true, "a new one"),
        ] {
            slot.set(&certificate);
            match get(&url, &ours).await {
                Ok(status) => assert!(accepted && status == 200, "{why}: {status}"),
                Err(error) => assert!(!accepted && error.nothing_was_sent(), "{why}: {error}"),
            }
        }
        shutdown.begin();
        serving.await.unwrap();
    }

    #[test]
    fn a_key_that_is_not_the_certificates_is_refused() {
        let (ours, now) = (authority(1), SystemClock::new().wall_ms());
        let (key, other) = (LeafKey::new(&OsRandom), LeafKey::new(&OsRandom));
        let pem = ours.issue(&["localhost".to_owned()], key.public(), now, &OsRandom).unwrap();
        assert!(Certificate::from_pkcs8(pem.as_bytes(), key.pkcs8()).is_ok());
        assert!(Certificate::from_pkcs8(pem.as_bytes(), other.pkcs8()).is_err());
        assert!(Certificate::from_pkcs8(b"", key.pkcs8()).is_err());
    }
}
