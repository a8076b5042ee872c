//! Simulated twins of the seams: the same behaviour as the real ones, from a seed, with faults on demand.
//!
//! Feature `sim`, for tests of every crate; never in a binary that keeps data.

#![allow(clippy::disallowed_types)]

pub mod disk;
mod random;

pub use disk::SimDisk;
pub use random::SeededRandom;
