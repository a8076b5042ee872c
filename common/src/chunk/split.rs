//! Cutting a stream of bytes into chunks.
//!
//! The CLI and the library cut by content (FastCDC), so that a changed byte changes one or two chunks and everything else is
//! recognised; the gateway cuts at fixed places, which is cheaper. Which chunker cut a file is recorded in its manifest, and
//! golden vectors pin the cut points: a library update that moved them would silently end deduplication.

use crate::limits::{CHUNK_AVERAGE_BYTES, CHUNK_FIXED_BYTES, CHUNK_MAX_BYTES, CHUNK_MIN_BYTES};
use bytes::{Bytes, BytesMut};
use fastcdc::v2020::FastCDC;
use serde::{Deserialize, Serialize};

/// How a file is cut. Recorded in its manifest with its parameters (all in bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chunking {
    /// Every `bytes` bytes.
    Fixed {
        /// Length of all chunks but the last.
        bytes: u32,
    },
    /// FastCDC 2020, normalisation level 1, seed 0.
    FastCdc2020 {
        /// Shortest chunk but for the last.
        min: u32,
        /// Average chunk, a power of two.
        average: u32,
        /// Longest chunk.
        max: u32,
    },
}

impl Chunking {
    /// The gateway's.
    pub const FIXED: Chunking = Chunking::Fixed { bytes: CHUNK_FIXED_BYTES };
    /// The library's and the CLI's.
    pub const CONTENT: Chunking =
        Chunking::FastCdc2020 { min: CHUNK_MIN_BYTES, average: CHUNK_AVERAGE_BYTES, max: CHUNK_MAX_BYTES };

    /// Bytes that must be buffered before a cut can be decided without the end of the stream.
    fn lookahead(self) -> usize {
        match self {
            Chunking::Fixed { bytes } => bytes as usize,
            Chunking::FastCdc2020 { max, .. } => max as usize,
        }
    }

    /// Length of the first chunk of `bytes`, which holds the lookahead or all that is left of the stream.
    fn cut(self, bytes: &[u8]) -> usize {
        match self {
            Chunking::Fixed { bytes: length } => bytes.len().min(length as usize),
            Chunking::FastCdc2020 { min, average, max } => {
                let cutter = FastCDC::new(bytes, min as usize, average as usize, max as usize);
                cutter.cut(0, bytes.len()).1
            }
        }
    }
}

/// Cuts bytes that come in pieces of any size. The cuts depend on the bytes alone, never on the pieces. Holds less than one
/// lookahead plus one piece.
#[derive(Debug)]
pub struct Splitter {
    chunking: Chunking,
    buffer: BytesMut,
}

impl Splitter {
    /// A splitter at the start of a stream.
    pub fn new(chunking: Chunking) -> Splitter {
        Splitter { chunking, buffer: BytesMut::new() }
    }

    /// Adds the next bytes of the stream. Call [`Splitter::next_chunk`] until it has no more before adding again.
    pub fn push(&mut self, piece: &[u8]) {
        if self.buffer.capacity() < self.buffer.len() + piece.len() {
            // One allocation a lookahead instead of doubling through all smaller sizes.
            self.buffer.reserve(self.chunking.lookahead().max(piece.len()));
        }
        self.buffer.extend_from_slice(piece);
    }

    /// The next chunk that is certain before the end of the stream.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        if self.buffer.len() < self.chunking.lookahead() { None } else { Some(self.cut()) }
    }

    /// After the end of the stream: the remaining chunks, one a call.
    pub fn finish(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty() { None } else { Some(self.cut()) }
    }

    /// Bytes held.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn cut(&mut self) -> Bytes {
        let length = self.chunking.cut(&self.buffer);
        assert!(length > 0 && length <= self.buffer.len(), "cut {length} of {} bytes", self.buffer.len());
        self.buffer.split_to(length).freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(seed: &str, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn lengths(chunking: Chunking, bytes: &[u8], piece: usize) -> Vec<usize> {
        let mut splitter = Splitter::new(chunking);
        let mut chunks = Vec::new();
        for piece in bytes.chunks(piece) {
            splitter.push(piece);
            chunks.extend(std::iter::from_fn(|| splitter.next_chunk()));
        }
        chunks.extend(std::iter::from_fn(|| splitter.finish()));
        assert_eq!(chunks.concat(), bytes);
        chunks.iter().map(Bytes::len).collect()
    }

    /// Golden vectors. If this fails after an update of the library, the update must not land: files already stored would
    /// no longer deduplicate against new uploads of themselves.
    #[test]
    fn content_cuts_are_pinned() {
        let noise = noise("golden", 16 << 20);
        assert_eq!(lengths(Chunking::CONTENT, &noise, 1 << 20), GOLDEN_NOISE);
        assert_eq!(lengths(Chunking::CONTENT, &vec![0; 9 << 20], 1 << 20), [4 << 20, 4 << 20, 1 << 20]);
        let text: Vec<u8> = (0..600_000u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        assert_eq!(lengths(Chunking::CONTENT, &text, 1 << 20), GOLDEN_TEXT);
    }

    const GOLDEN_NOISE: &[usize] = &[
        1455205, 1154463, 2455996, 1303776, 1754776, 1354216, 892600, 507334, 414081, 1292743, 1321979, 380001,
        1195078, 485981, 808987,
    ];
    const GOLDEN_TEXT: &[usize] = &[1118851, 1461511, 433999, 753519, 321010];

    #[test]
    fn an_insertion_moves_only_the_cuts_around_it() {
        let before = noise("insert", 24 << 20);
        let mut after = before.clone();
        after.splice(10_000_000..10_000_000, *b"a few bytes in the middle");
        let chunks = |bytes: &[u8]| {
            let mut at = 0;
            lengths(Chunking::CONTENT, bytes, 1 << 20)
                .into_iter()
                .map(|length| {
                    at += length;
                    blake3::hash(&bytes[at - length..at])
                })
                .collect::<Vec<_>>()
        };
        let old = chunks(&before);
        let new = chunks(&after);
        let fresh = new.iter().filter(|id| !old.contains(id)).count();
        assert!(fresh <= 2, "{fresh} of {} chunks changed", new.len());
    }

    #[test]
    fn an_empty_stream_has_no_chunks() {
        assert_eq!(lengths(Chunking::CONTENT, &[], 1), [0usize; 0]);
        assert_eq!(lengths(Chunking::FIXED, &[], 1), [0usize; 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn cuts_do_not_depend_on_how_the_bytes_arrive(
            seed in "[a-z]{4}", length in 0usize..(9 << 20), piece in 1usize..(3 << 20)
        ) {
            let bytes = noise(&seed, length);
            // Pieces of a few bytes would take minutes; a prefix is enough for them.
            let piece = piece.max(length / 4096);
            for chunking in [Chunking::CONTENT, Chunking::FIXED] {
                let cuts = lengths(chunking, &bytes, piece);
                prop_assert_eq!(&cuts, &lengths(chunking, &bytes, usize::MAX >> 1));
                prop_assert!(cuts.iter().all(|cut| *cut <= CHUNK_MAX_BYTES as usize));
                if let (Chunking::FastCdc2020 { min, .. }, Some((_, all_but_last))) = (chunking, cuts.split_last()) {
                    prop_assert!(all_but_last.iter().all(|cut| *cut >= min as usize));
                }
            }
        }
    }
}
