//! Certificates of a listener.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
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

impl TlsFiles {
    /// Reads the files into what a server needs. HTTP/1.1 is the only protocol offered.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let error = |path: &PathBuf, reason: &dyn std::fmt::Display| TlsError {
            path: path.display().to_string(),
            reason: reason.to_string(),
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&self.certificate).and_then(Iterator::collect);
        let chain = chain.map_err(|reason| error(&self.certificate, &reason))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|reason| error(&self.key, &reason))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|reason| error(&self.certificate, &reason))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
