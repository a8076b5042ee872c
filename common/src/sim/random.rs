//! Chance that repeats itself.

use crate::seam::Random;
use std::sync::{Mutex, PoisonError};

/// Random bytes from a seed: the same seed, the same bytes (BLAKE3's extendable output).
#[derive(Debug)]
pub struct SeededRandom(Mutex<blake3::OutputReader>);

impl SeededRandom {
    /// Starts at the beginning of the seed's bytes.
    pub fn new(seed: u64) -> SeededRandom {
        let hasher = blake3::Hasher::new_derive_key("cairn 2026 simulated randomness");
        SeededRandom(Mutex::new(hasher.clone().update(&seed.to_le_bytes()).finalize_xof()))
    }

    /// A coin.
    pub fn coin(&self) -> bool {
        self.below(2) == 0
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}
