//! The root of a manifest: one hash over the canonical list of its entries.
//!
//! The list is hashed in blocks of one full segment, each chained to the one before, so that a segment can be appended with
//! 32 bytes of state and without reading the others. The root does not name the domain or the place of any chunk: the same
//! bytes cut the same way have the same root everywhere, which is what `sync` and `diff` compare. The canonical form is
//! specified in docs/formats.md and pinned by a test.

use super::{Entry, Extent};
use crate::limits::SEGMENT_ENTRIES;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Hash over the canonical list of a file's entries. The native ETag is `b3-` and its 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Root(pub [u8; 32]);

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..6]))
    }
}

/// The running state of a root over full segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootHasher {
    chain: [u8; 32],
    entries: u64,
    length: u64,
}

impl Default for RootHasher {
    fn default() -> RootHasher {
        RootHasher::new()
    }
}

impl RootHasher {
    /// The state before the first entry.
    pub fn new() -> RootHasher {
        RootHasher { chain: [0; 32], entries: 0, length: 0 }
    }

    /// The root of a whole list.
    pub fn of(entries: &[Entry]) -> Root {
        let mut hasher = RootHasher::new();
        let full = entries.len() - entries.len() % SEGMENT_ENTRIES;
        let (segments, tail) = entries.split_at(full);
        for segment in segments.chunks(SEGMENT_ENTRIES) {
            hasher.segment(segment);
        }
        hasher.finish(tail)
    }

    /// Takes in a full segment.
    ///
    /// # Panics
    /// If the segment is not full.
    pub fn segment(&mut self, entries: &[Entry]) {
        assert_eq!(entries.len(), SEGMENT_ENTRIES, "only the last segment may be shorter");
        self.chain = self.hash("cairn 2026 manifest segment", entries);
        self.entries += entries.len() as u64;
        self.length += length(entries);
    }

    /// The root, with the entries after the last full segment.
    ///
    /// # Panics
    /// If there is a full segment among them.
    pub fn finish(&self, tail: &[Entry]) -> Root {
        assert!(tail.len() < SEGMENT_ENTRIES, "full segments go in first");
        let total =
            RootHasher { entries: self.entries + tail.len() as u64, length: self.length + length(tail), ..*self };
        Root(total.hash("cairn 2026 manifest root", tail))
    }

    /// Entries taken in so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes of the file taken in so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn hash(&self, purpose: &str, entries: &[Entry]) -> [u8; 32] {
        let mut bytes = Vec::with_capacity(48 + entries.len() * 50);
        bytes.extend_from_slice(&self.chain);
        bytes.extend_from_slice(&self.entries.to_be_bytes());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        for entry in entries {
            canonical(entry, &mut bytes);
        }
        blake3::derive_key(purpose, &bytes)
    }
}

fn length(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.length).sum()
}

/// Canonical form of an entry; all numbers big endian.
fn canonical(entry: &Entry, bytes: &mut Vec<u8>) {
    match &entry.extent {
        Extent::Chunk { address, chunk_length, offset } => {
            bytes.push(1);
            bytes.push(address.kind as u8);
            bytes.extend_from_slice(&address.id.0);
            bytes.extend_from_slice(&chunk_length.to_be_bytes());
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
        Extent::Range { root, offset, .. } => {
            bytes.push(2);
            bytes.extend_from_slice(&root.0);
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
        Extent::Hole => bytes.push(3),
    }
    bytes.extend_from_slice(&entry.length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::ChunkAddress;
    use crate::ids::{Domain, ManifestId};
    use crate::manifest::PlacementProfile;

    fn entry(n: u32) -> Entry {
        Entry::chunk(ChunkAddress::of(Domain(1), &n.to_be_bytes()), n + 1)
    }

    #[test]
    fn roots_are_pinned() {
        assert_eq!(RootHasher::of(&[]).to_string(), PINNED[0]);
        assert_eq!(RootHasher::of(&[entry(0)]).to_string(), PINNED[1]);
        let many: Vec<Entry> = (0..2050).map(entry).collect();
        assert_eq!(RootHasher::of(&many).to_string(), PINNED[2]);
        let range = Extent::Range { manifest: ManifestId(7), root: Root([5; 32]), offset: 3 };
        let mixed = [
            Entry { extent: range, length: 9, profile: PlacementProfile(0) },
            Entry { extent: Extent::Hole, length: 4, profile: PlacementProfile(0) },
        ];
        assert_eq!(RootHasher::of(&mixed).to_string(), PINNED[3]);
    }

    const PINNED: [&str; 4] = [
        "543484469bfcf08fa5e099ed727d00e3428b6d43cfb97906fda92827d3aa102c",
        "3748bba2ec5dcab4082ae97a36fa47dd69616aa79722663fb2867d0223f7e6c0",
        "8e9ff7978827d8562c181f525a2d4f1189ca2861a836630297f48b9305f70014",
        "6d6c4617c279a368f284ad69647681188761b0f41a5094446d6c103a5ed4ab2d",
    ];

    #[test]
    fn a_root_names_the_bytes_and_nothing_else() {
        let in_other_domain = Entry::chunk(ChunkAddress::of(Domain(2), &0u32.to_be_bytes()), 1);
        assert_eq!(RootHasher::of(&[entry(0)]), RootHasher::of(&[in_other_domain]));
        assert_ne!(RootHasher::of(&[entry(0), entry(1)]), RootHasher::of(&[entry(1), entry(0)]));
        assert_ne!(RootHasher::of(&[entry(0)]), RootHasher::of(&[entry(0), entry(0)]));
    }

    #[test]
    fn every_entry_counts_across_segments() {
        let many: Vec<Entry> = (0..1500).map(entry).collect();
        let root = RootHasher::of(&many);
        for changed in [0, 1023, 1024, 1499] {
            let mut other = many.clone();
            other[changed].length += 1;
            assert_ne!(RootHasher::of(&other), root, "entry {changed}");
        }
        assert_ne!(RootHasher::of(&many[..1024]), RootHasher::of(&many[..1023]));
    }
}
