//! Bytes that can be told again: every body is named by a seed and a length.

use bytes::Bytes;
use cairn_client::ByteSource;
use std::io;

/// A small generator of numbers (SplitMix64: Steele, Lea, Flood 2014). Good enough to choose what a test does.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice for a seed and a purpose; different purposes are independent.
    pub fn new(seed: u64, purpose: &str) -> Dice {
        let hash = blake3::hash(format!("{seed} {purpose}").as_bytes());
        Dice(hash.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// A length such as files have: most are small, some are many chunks long, some sit on a boundary.
    pub fn length(&mut self) -> u64 {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        match self.below(20) {
            0 => 0,
            1 => [1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 64 * KIB, 64 * KIB + 1, MIB, 4 * MIB + 1]
                [self.below(8) as usize],
            2..=9 => self.below(16 * KIB),
            10..=16 => self.below(512 * KIB),
            17 | 18 => self.below(3 * MIB),
            _ => 3 * MIB + self.below(9 * MIB),
        }
    }
}

/// A body: the same name gives the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Body {
    /// What its bytes are made from.
    pub seed: u64,
    /// Its length, in bytes.
    pub length: u64,
}

impl Body {
    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.length).unwrap_or(usize::MAX)];
        self.stream().fill(&mut bytes);
        bytes
    }

    /// BLAKE3 of its bytes, without holding them.
    pub fn hash(&self) -> blake3::Hash {
        let mut source = self.source();
        let mut hasher = blake3::Hasher::new();
        while let Some(piece) = source.piece() {
            hasher.update(&piece);
        }
        hasher.finalize()
    }

    /// Its bytes as the source of an upload.
    pub fn source(&self) -> BodySource {
        BodySource { stream: self.stream(), left: self.length }
    }

    fn stream(&self) -> blake3::OutputReader {
        blake3::Hasher::new().update(&self.seed.to_le_bytes()).finalize_xof()
    }
}

/// The bytes of a [`Body`], in order.
#[derive(Clone)]
pub struct BodySource {
    stream: blake3::OutputReader,
    left: u64,
}

impl BodySource {
    /// The next piece; `None` at the end.
    pub fn piece(&mut self) -> Option<Bytes> {
        const PIECE: u64 = 256 << 10;
        if self.left == 0 {
            return None;
        }
        let mut piece = vec![0; self.left.min(PIECE) as usize];
        self.stream.fill(&mut piece);
        self.left -= piece.len() as u64;
        Some(piece.into())
    }
}

impl ByteSource for BodySource {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        Ok(self.piece())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_same_however_it_is_told() {
        let body = Body { seed: 7, length: 600_000 };
        assert_eq!(blake3::hash(&body.bytes()), body.hash());
        assert_ne!(Body { seed: 8, ..body }.hash(), body.hash());
        assert_eq!(Body { seed: 7, length: 10 }.bytes(), body.bytes()[..10]);
    }

    #[test]
    fn dice_repeat_for_a_seed_and_differ_by_purpose() {
        let throw = |seed, purpose| Dice::new(seed, purpose).number();
        assert_eq!(throw(1, "a"), throw(1, "a"));
        assert_ne!(throw(1, "a"), throw(1, "b"));
        assert_ne!(throw(1, "a"), throw(2, "a"));
    }
}
