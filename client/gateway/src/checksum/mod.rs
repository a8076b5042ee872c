//! The checksums of S3: the five algorithms, as clients name, send and expect them.
//!
//! A checksum is of the full object, or *composite*: the checksum of the parts' checksums, with their number. CRCs of parts can
//! be joined to that of the whole without its bytes ([`full_object`]); the SHAs cannot. ("Checking object integrity", Amazon
//! S3 User Guide.)

mod combine;

pub(crate) use combine::{PartSum, composite, full_object};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};

/// A checksum algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    /// As S3 spells it, and as attributes store it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// Name of the header or trailer that carries it.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn from_header(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }

    /// Length of a value.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    /// Whether the checksum of a multipart object is that of the full object unless the client asks for the other.
    pub(crate) fn is_full_object_by_default(self) -> bool {
        self == Algorithm::Crc64Nvme
    }

    /// Whether the checksum of the whole can be had from those of its parts.
    pub(crate) fn is_crc(self) -> bool {
        matches!(self, Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Crc64Nvme)
    }

    /// Whether composites of it exist. S3 has none of CRC64NVME.
    pub(crate) fn is_composable(self) -> bool {
        self != Algorithm::Crc64Nvme
    }

    /// A value as it stands in a header: base64 of exactly the right length.
    pub(crate) fn decode(self, text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok().filter(|value| value.len() == self.bytes())
    }
}

/// A checksum as S3 writes it: base64, behind a composite's value `-` and the number of its parts.
pub(crate) fn encode(checksum: &cairn_common::file::Checksum) -> String {
    let value = STANDARD.encode(&checksum.value);
    match checksum.parts {
        None => value,
        Some(parts) => format!("{value}-{parts}"),
    }
}

/// A checksum that is being computed.
pub(crate) enum Hasher {
    Crc32(Crc32),
    Crc32c(Crc32c),
    Crc64Nvme(Crc64Nvme),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Crc32 => Hasher::Crc32(Crc32::new()),
            Algorithm::Crc32c => Hasher::Crc32c(Crc32c::new()),
            Algorithm::Crc64Nvme => Hasher::Crc64Nvme(Crc64Nvme::new()),
            Algorithm::Sha1 => Hasher::Sha1(Sha1::new()),
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Crc32(hasher) => hasher.update(bytes),
            Hasher::Crc32c(hasher) => hasher.update(bytes),
            Hasher::Crc64Nvme(hasher) => hasher.update(bytes),
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Hasher::Crc32(hasher) => hasher.finalize().to_vec(),
            Hasher::Crc32c(hasher) => hasher.finalize().to_vec(),
            Hasher::Crc64Nvme(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha1(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha256(hasher) => hasher.finalize().to_vec(),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::file::Checksum;

    /// Check values of the catalogue of parametrised CRC algorithms (reveng) and of FIPS 180-4, for "123456789".
    #[test]
    fn each_algorithm_gives_its_published_check_value() {
        let hex = |algorithm| hex::encode(Hasher::of(algorithm, b"123456789"));
        assert_eq!(hex(Algorithm::Crc32), "cbf43926");
        assert_eq!(hex(Algorithm::Crc32c), "e3069283");
        assert_eq!(hex(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hex(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(hex(Algorithm::Sha256), "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
    }

    #[test]
    fn names_headers_and_lengths_belong_together() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(&algorithm.name().to_lowercase()), Some(algorithm));
            assert_eq!(Algorithm::from_header(&algorithm.header().to_uppercase()), Some(algorithm));
            assert_eq!(Hasher::of(algorithm, b"").len(), algorithm.bytes());
        }
        assert_eq!(Algorithm::from_name("MD5"), None);
        assert_eq!(Algorithm::from_header("x-amz-checksum-md5"), None);
    }

    #[test]
    fn a_value_must_have_the_length_of_its_algorithm() {
        assert_eq!(Algorithm::Crc32.decode("y/Q5Jg=="), Some(vec![0xcb, 0xf4, 0x39, 0x26]));
        for bad in ["", "y/Q5Jg", "y/Q5Jg=", "y/Q5Jg==x", "y/Q5JgA=", "y_Q5Jg==", " y/Q5Jg=="] {
            assert_eq!(Algorithm::Crc32.decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_composite_is_written_with_the_number_of_its_parts() {
        let value = vec![0xcb, 0xf4, 0x39, 0x26];
        assert_eq!(encode(&Checksum { value: value.clone(), parts: None }), "y/Q5Jg==");
        assert_eq!(encode(&Checksum { value, parts: Some(3) }), "y/Q5Jg==-3");
    }
}
