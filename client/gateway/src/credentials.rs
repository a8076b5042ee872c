//! Access keys: found at the masters, remembered for a second, and asked what they allow.
//!
//! Every look-up is linearizable at the masters, so a removed key is refused everywhere once [`CREDENTIAL_AGE_MS`] have passed.
//! That no key was found is never remembered: a key works as soon as it was made. The masters judge every call again by
//! themselves; asking here first keeps a gateway from receiving a body that will be refused.

use crate::limits::{CREDENTIAL_AGE_MS, CREDENTIALS_MAX};
use cairn_client::Client;
use cairn_common::seam::Clock;
use cairn_common::wire::master::{Credential, MasterError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Finds credentials.
pub(crate) struct Credentials {
    client: Client,
    clock: Arc<dyn Clock>,
    found: Mutex<BTreeMap<String, Found>>,
}

struct Found {
    credential: Arc<Credential>,
    at: Duration,
}

/// Why there is no credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialError {
    /// There is no such key, or its time is over.
    #[error("there is no such access key, or it has expired")]
    Unknown,
    /// The secret is not that of the key.
    #[error("the secret is not that of the access key")]
    WrongSecret,
    /// The masters could not say.
    #[error(transparent)]
    Master(#[from] MasterError),
}

impl Credentials {
    pub(crate) fn new(client: Client, clock: Arc<dyn Clock>) -> Credentials {
        Credentials { client, clock, found: Mutex::new(BTreeMap::new()) }
    }

    /// The key with its secret. An absent record is an error, never a credential that equals anything.
    pub(crate) async fn find(&self, access: &str) -> Result<Arc<Credential>, CredentialError> {
        let credential = match self.remembered(access) {
            Some(credential) => credential,
            None => {
                let at = self.clock.monotonic();
                let found = self.client.credential(access).await;
                let found = found.map_err(|cairn_client::Error::Master(error)| error)?;
                let credential = Arc::new(found.ok_or(CredentialError::Unknown)?);
                self.remember(access, &credential, at);
                credential
            }
        };
        let expired = credential.key.expires.is_some_and(|expires| expires.ms() <= self.clock.wall_ms());
        if expired || credential.secret.is_empty() { Err(CredentialError::Unknown) } else { Ok(credential) }
    }

    /// The key, if `secret` is its secret. Compared in constant time.
    pub(crate) async fn check(&self, access: &str, secret: &str) -> Result<Arc<Credential>, CredentialError> {
        let credential = self.find(access).await?;
        // Hashes, so that not even the length of the secret shows in the time this takes.
        let (right, given) = (sha256_of(&credential.secret), sha256_of(secret));
        if constant_time_eq::constant_time_eq_32(&right, &given) {
            Ok(credential)
        } else {
            Err(CredentialError::WrongSecret)
        }
    }

    fn remembered(&self, access: &str) -> Option<Arc<Credential>> {
        let now = self.clock.monotonic();
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(access).filter(|found| is_fresh(found.at, now)).map(|found| Arc::clone(&found.credential))
    }

    fn remember(&self, access: &str, credential: &Arc<Credential>, at: Duration) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() >= CREDENTIALS_MAX {
            found.retain(|_, found| is_fresh(found.at, at));
        }
        if found.len() < CREDENTIALS_MAX {
            found.insert(access.to_owned(), Found { credential: Arc::clone(credential), at });
        }
    }
}

fn is_fresh(at: Duration, now: Duration) -> bool {
    now.saturating_sub(at) < Duration::from_millis(CREDENTIAL_AGE_MS)
}

fn sha256_of(text: &str) -> [u8; 32] {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_ref());
    bytes
}
