//! The checksum of a multipart object from those of its parts, without reading a byte.

use super::{Algorithm, Hasher};
use cairn_common::file::Checksum;
use crc_fast::CrcAlgorithm;

/// One part of an object: the checksum of its bytes, and how many they are.
#[derive(Clone, Debug)]
pub(crate) struct PartSum<'a> {
    /// The raw value.
    pub(crate) value: &'a [u8],
    /// Length of the part, in bytes.
    pub(crate) length: u64,
}

/// Why checksums cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CombineError {
    /// A part's value has not the length of the algorithm's values.
    #[error("a part's checksum has the wrong length")]
    Length,
    /// Only CRCs of parts can be joined to that of the whole.
    #[error("checksums of this algorithm cannot be joined")]
    NotACrc,
}

/// The checksum of the parts' checksums, with their number.
pub(crate) fn composite(algorithm: Algorithm, parts: &[PartSum<'_>]) -> Result<Checksum, CombineError> {
    let mut hasher = Hasher::new(algorithm);
    for part in parts {
        if part.value.len() != algorithm.bytes() {
            return Err(CombineError::Length);
        }
        hasher.update(part.value);
    }
    let count = u32::try_from(parts.len()).map_err(|_| CombineError::Length)?;
    Ok(Checksum { value: hasher.finish(), parts: Some(count) })
}

/// The checksum of all bytes of all parts in order.
pub(crate) fn full_object(algorithm: Algorithm, parts: &[PartSum<'_>]) -> Result<Checksum, CombineError> {
    let crc = match algorithm {
        Algorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        Algorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        Algorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        Algorithm::Sha1 | Algorithm::Sha256 => return Err(CombineError::NotACrc),
    };
    let mut sum = crc_fast::checksum(crc, b"");
    for part in parts {
        let value = number(part.value, algorithm).ok_or(CombineError::Length)?;
        sum = crc_fast::checksum_combine(crc, sum, value, part.length);
    }
    let bytes = sum.to_be_bytes();
    Ok(Checksum { value: bytes[bytes.len() - algorithm.bytes()..].to_vec(), parts: None })
}

/// A big-endian value of the algorithm's length as a number.
fn number(value: &[u8], algorithm: Algorithm) -> Option<u64> {
    let whole = value.len() == algorithm.bytes() && value.len() <= 8;
    whole.then(|| value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sums(algorithm: Algorithm, parts: &[Vec<u8>]) -> Vec<(Vec<u8>, u64)> {
        parts.iter().map(|part| (Hasher::of(algorithm, part), part.len() as u64)).collect()
    }

    fn borrowed(sums: &[(Vec<u8>, u64)]) -> Vec<PartSum<'_>> {
        sums.iter().map(|(value, length)| PartSum { value, length: *length }).collect()
    }

    proptest! {
        #[test]
        fn joined_crcs_are_those_of_the_joined_bytes(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..6)) {
            for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.is_crc()) {
                let sums = sums(algorithm, &parts);
                let whole = full_object(algorithm, &borrowed(&sums)).unwrap();
                prop_assert_eq!(whole, Checksum { value: Hasher::of(algorithm, &parts.concat()), parts: None });
            }
        }
    }

    #[test]
    fn a_composite_is_the_checksum_of_the_parts_checksums() {
        let parts = [b"first".to_vec(), b"second".to_vec()];
        for algorithm in Algorithm::ALL {
            let sums = sums(algorithm, &parts);
            let values = [sums[0].0.clone(), sums[1].0.clone()].concat();
            let wanted = Checksum { value: Hasher::of(algorithm, &values), parts: Some(2) };
            assert_eq!(composite(algorithm, &borrowed(&sums)), Ok(wanted));
        }
    }

    #[test]
    fn values_of_another_length_and_shas_are_refused() {
        let short = [PartSum { value: &[1, 2, 3], length: 5 }];
        assert_eq!(full_object(Algorithm::Crc32, &short), Err(CombineError::Length));
        assert_eq!(composite(Algorithm::Crc32, &short), Err(CombineError::Length));
        assert_eq!(full_object(Algorithm::Sha256, &[]), Err(CombineError::NotACrc));
    }
}
