//! What a chunk is: immutable bytes, named by their hash, checked by anyone who holds the name.
//!
//! [`ChunkAddress`] names, [`VerifiedChunk`] is bytes that were hashed to that name, [`Outboard`] lets a part of the bytes be
//! checked without the rest, [`Splitter`] cuts a stream into chunks.

mod id;
mod outboard;
mod split;
mod verified;

pub use id::{ChunkAddress, ChunkId, IdKind, ParseAddressError};
pub use outboard::{GroupRange, Outboard, OutboardError};
pub use split::{Chunking, Splitter};
pub use verified::{HashMismatch, VerifiedChunk};
