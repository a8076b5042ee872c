//! A file version as an ordered list of entries, and its root.
//!
//! A manifest is immutable once closed. Versions, parts, copies and snapshots refer to it by id and are counted, so a copy
//! costs one row whatever the file's size. Its entries are kept in segments of [`SEGMENT_ENTRIES`](crate::limits::SEGMENT_ENTRIES),
//! appended while uploading; only the last may be shorter.

mod root;

pub use root::{Root, RootHasher};

use crate::chunk::{ChunkAddress, Chunking};
use crate::ids::ManifestId;
use crate::limits::{CHUNK_MAX_BYTES, FILE_MAX_BYTES};
use serde::{Deserialize, Serialize};

/// What a stretch of a file consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// Bytes of a chunk, from `offset` on.
    Chunk {
        /// Which chunk.
        address: ChunkAddress,
        /// Length of the whole chunk, in bytes.
        chunk_length: u32,
        /// Where in the chunk the stretch starts, in bytes.
        offset: u32,
    },
    /// Bytes of another manifest (a part of a multipart upload), from `offset` on. Never of one that itself has ranges.
    Range {
        /// Which manifest.
        manifest: ManifestId,
        /// Its root.
        root: Root,
        /// Where in it the stretch starts, in bytes.
        offset: u64,
    },
    /// Zeros. Reserved.
    Hole,
}

/// How the chunks of an entry are kept. Only `replicated` is used; the others are reserved for erasure codes and media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlacementProfile(pub u8);

impl PlacementProfile {
    /// R whole copies, R from the bucket.
    pub const REPLICATED: PlacementProfile = PlacementProfile(0);
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its bytes.
    pub extent: Extent,
    /// Its length, in bytes; at least 1.
    pub length: u64,
    /// How its chunks are kept.
    pub profile: PlacementProfile,
}

impl Entry {
    /// A whole chunk.
    pub fn chunk(address: ChunkAddress, length: u32) -> Entry {
        Entry {
            extent: Extent::Chunk { address, chunk_length: length, offset: 0 },
            length: u64::from(length),
            profile: PlacementProfile::REPLICATED,
        }
    }

    /// The first broken rule, if any.
    pub fn check(&self) -> Result<(), ManifestError> {
        let fits = match &self.extent {
            Extent::Chunk { chunk_length, offset, .. } => {
                *chunk_length <= CHUNK_MAX_BYTES && self.length <= u64::from(chunk_length.saturating_sub(*offset))
            }
            Extent::Range { offset, .. } => offset.checked_add(self.length).is_some_and(|end| end <= FILE_MAX_BYTES),
            Extent::Hole => true,
        };
        if self.length == 0 || self.length > FILE_MAX_BYTES || !fits {
            return Err(ManifestError::Entry { length: self.length });
        }
        if self.profile != PlacementProfile::REPLICATED {
            return Err(ManifestError::Profile(self.profile.0));
        }
        Ok(())
    }
}

/// A manifest that breaks the rules of its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ManifestError {
    /// An entry is empty, or reaches past the end of what it names.
    #[error("an entry of {length} bytes is empty or reaches past the end of its chunk")]
    Entry {
        /// Its length, in bytes.
        length: u64,
    },
    /// A placement profile that this release does not know.
    #[error("placement profile {0} is not known to this release")]
    Profile(u8),
    /// A segment before the last is not full, or one has too many entries.
    #[error("a segment of {entries} entries in the wrong place")]
    Segment {
        /// How many.
        entries: usize,
    },
    /// The file would be larger than a file may be.
    #[error("the file is larger than {FILE_MAX_BYTES} bytes")]
    TooLarge,
}

/// The closed form of a manifest, without its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestHead {
    /// Hash over the canonical list of entries.
    pub root: Root,
    /// Length of the file, in bytes.
    pub length: u64,
    /// Number of entries.
    pub entries: u64,
    /// How the file was cut, if one chunker cut it.
    pub chunking: Option<Chunking>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Domain;

    #[test]
    fn entries_stay_within_what_they_name() {
        let address = ChunkAddress::of(Domain(1), b"x");
        let entry = |chunk_length, offset, length| Entry {
            extent: Extent::Chunk { address, chunk_length, offset },
            length,
            profile: PlacementProfile::REPLICATED,
        };
        assert_eq!(entry(10, 0, 10).check(), Ok(()));
        assert_eq!(entry(10, 4, 6).check(), Ok(()));
        for bad in
            [entry(10, 4, 7), entry(10, 0, 0), entry(CHUNK_MAX_BYTES + 1, 0, 1), entry(10, u32::MAX, u64::MAX - 5)]
        {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        let range = Extent::Range { manifest: ManifestId(1), root: Root([0; 32]), offset: u64::MAX };
        assert!(Entry { extent: range, length: 2, profile: PlacementProfile(0) }.check().is_err());
        assert_eq!(Entry { profile: PlacementProfile(3), ..entry(10, 0, 10) }.check(), Err(ManifestError::Profile(3)));
    }
}
