//! Where chunks are kept: volumes of packs, each with its index.
//!
//! From the bottom: [`pack`] (the bytes), [`index`] (where each chunk lies), [`volume`] (one disk), [`Store`] (all disks of a
//! node).

pub mod index;
mod lru;
mod node;
pub mod pack;
pub mod volume;

pub use node::{Finding, PutError, Store, Stored};
