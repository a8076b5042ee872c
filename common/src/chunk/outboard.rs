//! Checking part of a chunk without the rest: the BLAKE3 chaining values of its 64 KiB groups.
//!
//! BLAKE3 is a tree over 1 KiB blocks, so the hash of a chunk can be put together from the chaining values of its groups
//! (`blake3::hazmat`). They are kept flat, in order, 32 bytes a group: half of what a list of inner nodes takes, and merged
//! up to the id in about a microsecond. A holder of the id checks the outboard against it once, then any group against the
//! outboard. A chunk of one group has no outboard: its id checks it.

use super::ChunkId;
use crate::limits::{CHUNK_MAX_BYTES, GROUP_BYTES};
use blake3::hazmat::{self, ChainingValue, HasherExt, Mode};
use bytes::Bytes;
use std::ops::Range;

const GROUP: u64 = GROUP_BYTES as u64;

/// The chaining values of a chunk's groups, and its length. Says nothing about a chunk until it was compared with its id
/// ([`Outboard::parse`] does so), or came from hashing the bytes ([`Outboard::hash`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outboard {
    length: u32,
    id: ChunkId,
    values: Bytes,
}

/// Why bytes or an outboard were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboardError {
    /// The outboard has not one value for each group of a chunk of that length.
    #[error("an outboard of {bytes} bytes does not fit a chunk of {length} bytes")]
    Length {
        /// Length of the chunk, in bytes.
        length: u32,
        /// Length of the outboard, in bytes.
        bytes: usize,
    },
    /// The values do not merge to the chunk's id.
    #[error("the outboard is not that of this chunk")]
    Root,
    /// The bytes of a group do not hash to its value.
    #[error("group {group} of the chunk does not match its hash")]
    Group {
        /// Which group, from 0.
        group: u32,
    },
}

/// The groups that cover a range of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRange {
    /// First byte of the first group.
    pub start: u32,
    /// One past the last byte of the last group.
    pub end: u32,
}

impl GroupRange {
    /// The groups that `range` touches in a chunk of `length` bytes. `None` if the range is empty or goes past the end.
    pub fn covering(range: Range<u32>, length: u32) -> Option<GroupRange> {
        if range.start >= range.end || range.end > length {
            return None;
        }
        let start = range.start - range.start % GROUP_BYTES;
        let end = range.end.div_ceil(GROUP_BYTES).saturating_mul(GROUP_BYTES).min(length);
        Some(GroupRange { start, end })
    }

    /// Bytes covered.
    pub fn bytes(&self) -> u32 {
        self.end - self.start
    }
}

impl Outboard {
    /// Hashes a whole chunk: its id and its outboard from one walk over the bytes. `each` sees every group in order, while
    /// it is hot in the cache (the gateway computes MD5 there).
    ///
    /// # Panics
    /// If `bytes` is longer than a chunk may be.
    pub fn hash(bytes: &[u8], mut each: impl FnMut(&[u8])) -> Outboard {
        assert!(bytes.len() <= CHUNK_MAX_BYTES as usize, "a chunk of {} bytes", bytes.len());
        let length = bytes.len() as u32;
        if length <= GROUP_BYTES {
            each(bytes);
            return Outboard { length, id: ChunkId::of(bytes), values: Bytes::new() };
        }
        let mut values = Vec::with_capacity(length.div_ceil(GROUP_BYTES) as usize * 32);
        for (index, group) in bytes.chunks(GROUP_BYTES as usize).enumerate() {
            values.extend_from_slice(&chaining_value(index as u64 * GROUP, group));
            each(group);
        }
        let id = merge_root(&values, length);
        Outboard { length, id, values: values.into() }
    }

    /// Takes an outboard that came from elsewhere, if it is that of the chunk `id` of `length` bytes.
    pub fn parse(id: ChunkId, length: u32, values: Bytes) -> Result<Outboard, OutboardError> {
        if values.len() != Self::encoded_len(length) {
            return Err(OutboardError::Length { length, bytes: values.len() });
        }
        if !values.is_empty() && merge_root(&values, length) != id {
            return Err(OutboardError::Root);
        }
        Ok(Outboard { length, id, values })
    }

    /// Bytes of the outboard of a chunk of `length` bytes: 32 a group, 0 for a single group.
    pub const fn encoded_len(length: u32) -> usize {
        if length <= GROUP_BYTES { 0 } else { length.div_ceil(GROUP_BYTES) as usize * 32 }
    }

    /// Length of the chunk, in bytes.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Id of the chunk.
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// The values, 32 bytes a group.
    pub fn values(&self) -> &Bytes {
        &self.values
    }

    /// Checks `bytes`, which start at the group boundary `start` of the chunk and end at one or at the chunk's end.
    pub fn check(&self, start: u32, bytes: &[u8]) -> Result<(), OutboardError> {
        let first = start / GROUP_BYTES;
        let end = u64::from(start) + bytes.len() as u64;
        let whole = start.is_multiple_of(GROUP_BYTES)
            && (end == u64::from(self.length) || (end < u64::from(self.length) && end.is_multiple_of(GROUP)));
        if !whole {
            return Err(OutboardError::Group { group: first });
        }
        if self.values.is_empty() {
            return if ChunkId::of(bytes) == self.id { Ok(()) } else { Err(OutboardError::Group { group: 0 }) };
        }
        for (index, group) in (first..).zip(bytes.chunks(GROUP_BYTES as usize)) {
            let at = index as usize * 32;
            if self.values[at..at + 32] != chaining_value(u64::from(index) * GROUP, group) {
                return Err(OutboardError::Group { group: index });
            }
        }
        Ok(())
    }
}

fn chaining_value(offset: u64, group: &[u8]) -> ChainingValue {
    blake3::Hasher::new().set_input_offset(offset).update(group).finalize_non_root()
}

/// The id of a chunk of more than one group.
fn merge_root(values: &[u8], length: u32) -> ChunkId {
    let (left, right) = split(values, u64::from(length));
    ChunkId(*hazmat::merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
}

fn merge_subtree(values: &[u8], length: u64) -> ChainingValue {
    if let Ok(single) = values.try_into() {
        return single;
    }
    let (left, right) = split(values, length);
    hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash)
}

fn split(values: &[u8], length: u64) -> (ChainingValue, ChainingValue) {
    let left_len = hazmat::left_subtree_len(length);
    let (left, right) = values.split_at((left_len / GROUP) as usize * 32);
    (merge_subtree(left, left_len), merge_subtree(right, length - left_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length around a group boundary, and the ends of the allowed range.
    fn lengths() -> Vec<usize> {
        let group = GROUP_BYTES as usize;
        let mut lengths = vec![0, 1, 1023, 1024, 1025];
        for groups in [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 63, 64] {
            lengths.extend([groups * group - 1, groups * group, groups * group + 1]);
        }
        lengths.retain(|length| *length <= CHUNK_MAX_BYTES as usize);
        lengths
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(b"outboard").finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn groups_merge_to_the_plain_blake3_hash_at_every_boundary() {
        for length in lengths() {
            let bytes = noise(length);
            let outboard = Outboard::hash(&bytes, |_| ());
            assert_eq!(outboard.id(), ChunkId::of(&bytes), "{length} bytes");
            assert_eq!(outboard.values().len(), Outboard::encoded_len(length as u32));
            assert_eq!(outboard.check(0, &bytes), Ok(()));
            assert_eq!(
                Outboard::parse(outboard.id(), length as u32, outboard.values().clone()),
                Ok(outboard),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn each_group_is_seen_once_and_in_order() {
        let bytes = noise(3 * GROUP_BYTES as usize + 5);
        let mut seen = Vec::new();
        Outboard::hash(&bytes, |group| seen.extend_from_slice(group));
        assert_eq!(seen, bytes);
    }

    #[test]
    fn a_flipped_bit_is_found_in_its_group_only() {
        let bytes = noise(5 * GROUP_BYTES as usize + 100);
        let outboard = Outboard::hash(&bytes, |_| ());
        for group in 0..6 {
            let mut bad = bytes.clone();
            bad[group * GROUP_BYTES as usize + 7] ^= 1;
            assert_eq!(outboard.check(0, &bad), Err(OutboardError::Group { group: group as u32 }));
            for other in (0..6).filter(|other| *other != group) {
                let start = other * GROUP_BYTES as usize;
                let end = (start + GROUP_BYTES as usize).min(bad.len());
                assert_eq!(outboard.check(start as u32, &bad[start..end]), Ok(()));
            }
        }
    }

    #[test]
    fn a_wrong_outboard_is_refused() {
        let bytes = noise(3 * GROUP_BYTES as usize);
        let outboard = Outboard::hash(&bytes, |_| ());
        let length = bytes.len() as u32;
        for at in [0, 40, 95] {
            let mut values = outboard.values().to_vec();
            values[at] ^= 0x80;
            assert_eq!(Outboard::parse(outboard.id(), length, values.into()), Err(OutboardError::Root));
        }
        let short = outboard.values().slice(..64);
        assert!(matches!(Outboard::parse(outboard.id(), length, short), Err(OutboardError::Length { .. })));
        let other_length = Outboard::parse(outboard.id(), length - 1024, outboard.values().clone());
        assert!(other_length.is_ok(), "the length is bound by the groups' bytes, not by the values");
        assert!(other_length.unwrap().check(0, &bytes).is_err());
    }

    #[test]
    fn pieces_that_do_not_end_at_a_boundary_are_refused() {
        let bytes = noise(2 * GROUP_BYTES as usize + 9);
        let outboard = Outboard::hash(&bytes, |_| ());
        assert!(outboard.check(0, &bytes[..100]).is_err());
        assert!(outboard.check(1, &bytes[1..]).is_err());
        assert!(outboard.check(0, &bytes[..bytes.len() - 1]).is_err());
        assert!(outboard.check(GROUP_BYTES, &bytes[GROUP_BYTES as usize..]).is_ok());
    }

    #[test]
    fn ranges_grow_to_the_groups_that_cover_them() {
        let group = GROUP_BYTES;
        let cover = |range, length| GroupRange::covering(range, length).map(|range| (range.start, range.end));
        assert_eq!(cover(0..1, 10), Some((0, 10)));
        assert_eq!(cover(group - 1..group + 1, 3 * group), Some((0, 2 * group)));
        assert_eq!(cover(group..2 * group, 3 * group), Some((group, 2 * group)));
        assert_eq!(cover(2 * group..2 * group + 1, 2 * group + 5), Some((2 * group, 2 * group + 5)));
        assert_eq!(cover(5..5, 10), None);
        assert_eq!(cover(5..11, 10), None);
    }
}
