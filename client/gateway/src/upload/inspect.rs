//! Checking a body against what its client said about it, before anything becomes visible.
//!
//! Runs on the client library's computing threads, over bytes that are in the cache because they were just hashed there.

use crate::checksum::{Algorithm, Hasher};
use cairn_client::{Inspector, RefusedBody};
use cairn_common::file::Checksum;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// What a client said about its body.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// `Content-MD5`.
    pub(crate) md5: Option<[u8; 16]>,
    /// `x-amz-content-sha256`, where it is a hash: part of what was signed.
    pub(crate) payload: Option<[u8; 32]>,
    /// Checksums to compute, and what is known about them. They are stored with the file.
    pub(crate) checksums: BTreeMap<Algorithm, Value>,
}

/// What a checksum must come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// This.
    Given(Vec<u8>),
    /// What the trailer of this name says, which comes behind the body.
    InTrailer,
    /// Whatever it comes to: nobody stated it.
    Unstated,
}

/// Trailers of a body, known when it was read to its end.
pub(crate) type Trailers = Arc<OnceLock<BTreeMap<Algorithm, String>>>;

/// Checksums that were computed and found right, for the answer.
pub(crate) type Computed = Arc<OnceLock<BTreeMap<String, Checksum>>>;

/// The body is not what its client said it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DigestError {
    /// Not of the MD5 that was stated.
    #[error("the body does not match the MD5 that was stated")]
    Md5,
    /// Not of the SHA-256 that was signed.
    #[error("the body does not match the SHA-256 that was signed")]
    Payload,
    /// Not of a checksum that was stated.
    #[error("the body does not match the {} that was stated", .0.name())]
    Checksum(Algorithm),
    /// The value in a trailer is none.
    #[error("the value of trailer {} is not valid", .0.header())]
    TrailerValue(Algorithm),
}

/// Computes what is [`Expected`] of a body, and compares.
pub(crate) struct BodyInspector {
    expected: Expected,
    hashers: BTreeMap<Algorithm, Hasher>,
    trailers: Trailers,
    computed: Computed,
}

impl BodyInspector {
    /// An inspector before the first byte. `trailers` must be known when it is asked for its verdict.
    pub(crate) fn new(expected: Expected, trailers: Trailers) -> BodyInspector {
        let payload = expected.payload.map(|_| Algorithm::Sha256);
        let wanted = expected.checksums.keys().copied().chain(payload);
        let hashers = wanted.map(|algorithm| (algorithm, Hasher::new(algorithm))).collect();
        BodyInspector { expected, hashers, trailers, computed: Computed::default() }
    }

    /// Where the checksums will be found that are stored with the file.
    pub(crate) fn computed(&self) -> Computed {
        Arc::clone(&self.computed)
    }

    fn verdict(self, md5: Option<[u8; 16]>) -> Result<BTreeMap<String, Checksum>, DigestError> {
        let sums: BTreeMap<Algorithm, Vec<u8>> =
            self.hashers.into_iter().map(|(algorithm, hasher)| (algorithm, hasher.finish())).collect();
        let Expected { md5: stated, payload, checksums } = self.expected;
        if payload.is_some_and(|payload| sums.get(&Algorithm::Sha256).map(Vec::as_slice) != Some(&payload[..])) {
            return Err(DigestError::Payload);
        }
        if stated.is_some() && stated != md5 {
            return Err(DigestError::Md5);
        }
        let mut stored = BTreeMap::new();
        for (algorithm, value) in checksums {
            let sum = sums.get(&algorithm).ok_or(DigestError::Checksum(algorithm))?;
            let wanted = match value {
                Value::Unstated => None,
                Value::Given(value) => Some(value),
                Value::InTrailer => {
                    let text = self.trailers.get().and_then(|trailers| trailers.get(&algorithm));
                    let value = text.and_then(|text| algorithm.decode(text));
                    Some(value.ok_or(DigestError::TrailerValue(algorithm))?)
                }
            };
            if wanted.is_some_and(|wanted| wanted != *sum) {
                return Err(DigestError::Checksum(algorithm));
            }
            stored.insert(algorithm.name().to_owned(), Checksum { value: sum.clone(), parts: None });
        }
        Ok(stored)
    }
}

impl Inspector for BodyInspector {
    fn update(&mut self, bytes: &[u8]) {
        for hasher in self.hashers.values_mut() {
            hasher.update(bytes);
        }
    }

    fn finish(self: Box<Self>, md5: Option<[u8; 16]>) -> Result<BTreeMap<String, Checksum>, RefusedBody> {
        let computed = Arc::clone(&self.computed);
        let stored = self.verdict(md5)?;
        // The only place that sets it, and a verdict is given once.
        let _ = computed.set(stored.clone());
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"123456789";

    fn inspect(expected: Expected, trailers: &[(Algorithm, &str)]) -> Result<BTreeMap<String, Checksum>, DigestError> {
        let slot = Trailers::default();
        let mut inspector = BodyInspector::new(expected, Arc::clone(&slot));
        for piece in BODY.chunks(4) {
            inspector.update(piece);
        }
        // The trailers are known only behind the body.
        let trailers = trailers.iter().map(|(algorithm, value)| (*algorithm, (*value).to_owned())).collect();
        slot.set(trailers).unwrap();
        let md5: [u8; 16] = hex::decode("25f9e794323b453885f5181f1b624d0b").unwrap().try_into().unwrap();
        inspector.verdict(Some(md5))
    }

    fn one(algorithm: Algorithm, value: Value) -> Expected {
        Expected { checksums: BTreeMap::from([(algorithm, value)]), ..Expected::default() }
    }

    #[test]
    fn what_was_stated_is_compared_and_stored() {
        for algorithm in Algorithm::ALL {
            let right = Hasher::of(algorithm, BODY);
            let stored = inspect(one(algorithm, Value::Given(right.clone())), &[]).unwrap();
            assert_eq!(stored[algorithm.name()], Checksum { value: right.clone(), parts: None });
            let mut wrong = right;
            wrong[0] ^= 1;
            let refused = inspect(one(algorithm, Value::Given(wrong)), &[]);
            assert_eq!(refused, Err(DigestError::Checksum(algorithm)));
        }
    }

    #[test]
    fn a_value_in_a_trailer_is_compared_like_one_in_a_header() {
        let crc = |value| inspect(one(Algorithm::Crc32, Value::InTrailer), &[(Algorithm::Crc32, value)]);
        assert_eq!(crc("y/Q5Jg==").unwrap()["CRC32"].value, [0xcb, 0xf4, 0x39, 0x26]);
        assert_eq!(crc("AAAAAA=="), Err(DigestError::Checksum(Algorithm::Crc32)));
        assert_eq!(crc("nonsense"), Err(DigestError::TrailerValue(Algorithm::Crc32)));
        let none = inspect(one(Algorithm::Crc32, Value::InTrailer), &[]);
        assert_eq!(none, Err(DigestError::TrailerValue(Algorithm::Crc32)));
    }

    #[test]
    fn a_checksum_that_nobody_stated_is_computed_and_stored() {
        let stored = inspect(one(Algorithm::Crc64Nvme, Value::Unstated), &[]).unwrap();
        assert_eq!(stored["CRC64NVME"].value, Hasher::of(Algorithm::Crc64Nvme, BODY));
    }

    #[test]
    fn md5_and_signed_hash_are_compared_and_not_stored() {
        let md5 =
            |hex: &str| Expected { md5: Some(hex::decode(hex).unwrap().try_into().unwrap()), ..Expected::default() };
        assert_eq!(inspect(md5("25f9e794323b453885f5181f1b624d0b"), &[]), Ok(BTreeMap::new()));
        assert_eq!(inspect(md5("25f9e794323b453885f5181f1b624d0c"), &[]), Err(DigestError::Md5));
        let payload: [u8; 32] = Hasher::of(Algorithm::Sha256, BODY).try_into().unwrap();
        let right = Expected { payload: Some(payload), ..Expected::default() };
        assert_eq!(inspect(right, &[]), Ok(BTreeMap::new()));
        let wrong = Expected { payload: Some([0; 32]), ..Expected::default() };
        assert_eq!(inspect(wrong, &[]), Err(DigestError::Payload));
    }

    #[test]
    fn a_body_that_was_not_hashed_is_never_taken_for_right() {
        let inspector = BodyInspector::new(Expected { md5: Some([0; 16]), ..Expected::default() }, Trailers::default());
        assert_eq!(inspector.verdict(None), Err(DigestError::Md5));
    }
}
