//! The cluster's own certificate authority, for clusters that have no certificates from elsewhere.
//!
//! Its key is derived from the cluster's key, and its signatures are deterministic (RFC 6979): every master is the same
//! authority with the same certificate, byte for byte, and there is no second secret to keep, to replicate or to lose. Keys are
//! P-256, which every TLS client knows; Ed25519 would be simpler, but browsers and older Java refuse it.
//!
//! A certificate says which names a node may be reached under, and nothing about what it may do: nodes and clients prove
//! themselves in the handshake of their frames, or sign their requests.

use crate::auth::{ClusterKey, Secret};
use crate::limits::{CERTIFICATE_NAMES_MAX, CERTIFICATE_TTL_MS};
use crate::seam::Random;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePrivateKey as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use std::net::IpAddr;
use time::OffsetDateTime;

/// When authorities begin and end: 2026-01-01 and 2076-01-01, in seconds. Fixed, so that every master makes the same.
const AUTHORITY_FROM_S: i64 = 1_767_225_600;
const AUTHORITY_TO_S: i64 = 3_345_062_400;
/// A certificate is valid from a little before it was made: clocks differ.
const BACKDATE_MS: u64 = 24 * 3_600_000;
/// Bytes of a public key: an uncompressed point.
pub const PUBLIC_KEY_BYTES: usize = 65;

/// A certificate that is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// No name, or more than [`CERTIFICATE_NAMES_MAX`].
    #[error("a certificate has 1 to {CERTIFICATE_NAMES_MAX} names, not {0}")]
    Names(usize),
    /// A name that is neither a host name nor an address.
    #[error("{0:?} is neither a host name nor an IP address")]
    Name(String),
    /// The public key is none.
    #[error("the public key is no point of P-256")]
    Key,
    /// The encoder refuses it.
    #[error("cannot make the certificate: {0}")]
    Encode(String),
}

/// Makes certificates that everyone accepts who trusts [`Authority::certificate_pem`].
pub struct Authority {
    key: Key,
    name: String,
}

/// The key of one certificate. Only its public half leaves the process that made it.
pub struct LeafKey(Key);

struct Key {
    signing: SigningKey,
    public: Vec<u8>,
}

impl Key {
    /// The key that `secret` stands for. A derived number is no key with probability 2⁻³²; then the next one is taken.
    fn derive(secret: &Secret) -> Key {
        let mut tries = (0u8..).map(|n| secret.derive("cairn 2026 p256 key", &[n]));
        let signing = tries.find_map(|candidate| SigningKey::from_slice(candidate.expose()).ok());
        let signing = signing.expect("256 derived numbers are not all beyond the curve's order");
        let public = signing.verifying_key().to_encoded_point(false).as_bytes().to_vec();
        assert_eq!(public.len(), PUBLIC_KEY_BYTES);
        Key { signing, public }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: DerSignature = self.signing.sign(message);
        Ok(signature.as_bytes().to_vec())
    }
}

/// A public key from elsewhere.
struct Point<'a>(&'a [u8]);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl LeafKey {
    /// A new key.
    pub fn new(random: &dyn Random) -> LeafKey {
        LeafKey(Key::derive(&Secret::random(random)))
    }

    /// Its public half, [`PUBLIC_KEY_BYTES`] long.
    pub fn public(&self) -> &[u8] {
        &self.0.public
    }

    /// The key as PKCS #8, for the file that keeps it.
    pub fn pkcs8(&self) -> Vec<u8> {
        let secret = p256::SecretKey::from(&self.0.signing);
        let document = secret.to_pkcs8_der().expect("a valid key has an encoding");
        document.as_bytes().to_vec()
    }
}

impl Authority {
    /// The authority of a cluster.
    pub fn of(cluster: &ClusterKey) -> Authority {
        let key = Key::derive(&cluster.authority());
        let name = format!("Cairn cluster {}", hex::encode(&key_id(&key.public)[..4]));
        Authority { key, name }
    }

    /// Its certificate, for those who are to trust it.
    pub fn certificate_pem(&self) -> Result<String, IssueError> {
        let encoded = self.params().and_then(|params| params.self_signed(&self.key));
        encoded.map(|certificate| certificate.pem()).map_err(|error| IssueError::Encode(error.to_string()))
    }

    /// A certificate for `names` and the public key, in PEM, valid from now for [`CERTIFICATE_TTL_MS`].
    pub fn issue(
        &self,
        names: &[String],
        public: &[u8],
        now_ms: u64,
        random: &dyn Random,
    ) -> Result<String, IssueError> {
        if names.is_empty() || names.len() > CERTIFICATE_NAMES_MAX {
            return Err(IssueError::Names(names.len()));
        }
        if public.len() != PUBLIC_KEY_BYTES || p256::PublicKey::from_sec1_bytes(public).is_err() {
            return Err(IssueError::Key);
        }
        let mut serial = [0; 16];
        random.fill(&mut serial);
        serial[0] = serial[0] & 0x7f | 0x40; // Positive, and always as long.
        let mut params = empty_params();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = moment((now_ms.saturating_sub(BACKDATE_MS) / 1000) as i64)?;
        params.not_after = moment((now_ms.saturating_add(CERTIFICATE_TTL_MS) / 1000) as i64)?;
        params.subject_alt_names = names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
        params.distinguished_name = common_name("Cairn node");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.key_identifier_method = KeyIdMethod::PreSpecified(key_id(public));
        let encoded =
            self.params().and_then(|own| params.signed_by(&Point(public), &Issuer::from_params(&own, &self.key)));
        encoded.map(|certificate| certificate.pem()).map_err(|error| IssueError::Encode(error.to_string()))
    }

    fn params(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = empty_params();
        params.serial_number = Some(SerialNumber::from_slice(&[1]));
        params.not_before = moment(AUTHORITY_FROM_S).map_err(|_| rcgen::Error::Time)?;
        params.not_after = moment(AUTHORITY_TO_S).map_err(|_| rcgen::Error::Time)?;
        params.distinguished_name = common_name(&self.name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.key_identifier_method = KeyIdMethod::PreSpecified(key_id(&self.key.public));
        Ok(params)
    }
}

fn empty_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names.clear();
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Any value that is the key's alone will do (RFC 5280, 4.2.1.2).
fn key_id(public: &[u8]) -> Vec<u8> {
    blake3::hash(public).as_bytes()[..20].to_vec()
}

fn moment(seconds: i64) -> Result<OffsetDateTime, IssueError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| IssueError::Encode(error.to_string()))
}

fn alt_name(name: &str) -> Result<SanType, IssueError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let host = name.strip_prefix("*.").unwrap_or(name);
    if name.len() > 253 || !host.split('.').all(label) {
        return Err(IssueError::Name(name.to_owned()));
    }
    let text = name.try_into().map_err(|_| IssueError::Name(name.to_owned()))?;
    Ok(SanType::DnsName(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::OsRandom;

    fn authority(byte: u8) -> Authority {
        Authority::of(&ClusterKey::new(Secret::new([byte; 32])))
    }

    #[test]
    fn every_master_is_the_same_authority_and_every_cluster_has_its_own() {
        let pem = authority(1).certificate_pem().unwrap();
        assert_eq!(authority(1).certificate_pem().unwrap(), pem);
        assert_ne!(authority(2).certificate_pem().unwrap(), pem);
    }

    #[test]
    fn names_are_host_names_or_addresses() {
        let key = LeafKey::new(&OsRandom);
        let issue = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            authority(1).issue(&names, key.public(), 1_800_000_000_000, &OsRandom)
        };
        assert!(issue(&["localhost", "::1", "10.0.0.1", "*.s3.example.org", "a-b.c_d"]).is_ok());
        for bad in ["", "a b", "a..b", "*", "a.*.b", "ü.de", "http://x", &"x".repeat(64)] {
            assert_eq!(issue(&[bad]), Err(IssueError::Name(bad.to_owned())));
        }
        assert_eq!(issue(&[]), Err(IssueError::Names(0)));
        assert_eq!(issue(&["x"; CERTIFICATE_NAMES_MAX + 1]), Err(IssueError::Names(CERTIFICATE_NAMES_MAX + 1)));
        let names = ["x".to_owned()];
        for bad in [&[4u8; 65][..], &key.public()[..64], &[]] {
            assert_eq!(authority(1).issue(&names, bad, 1_800_000_000_000, &OsRandom), Err(IssueError::Key));
        }
    }
}
