//! Where chunks are kept: volumes of packs, each with its index.
//!
//! From the bottom: [`pack`] (the bytes), [`index`] (where each chunk lies), [`volume`] (one disk), and `Store` (all of them).

pub mod index;
mod lru;
pub mod pack;
pub mod volume;
