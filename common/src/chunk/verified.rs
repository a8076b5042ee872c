//! Bytes that are known to be what their address says.

use super::{ChunkAddress, IdKind, Outboard};
use crate::ids::Domain;
use bytes::Bytes;

/// A chunk whose bytes were hashed in this process. Can only be made by hashing, so a function that takes one need not
/// check again. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct VerifiedChunk {
    address: ChunkAddress,
    data: Bytes,
    outboard: Outboard,
}

/// The bytes are not those that the address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes do not hash to chunk {expected}")]
pub struct HashMismatch {
    /// What the bytes were said to be.
    pub expected: ChunkAddress,
    /// How many bytes came, in bytes.
    pub length: usize,
}

impl VerifiedChunk {
    /// Hashes plain bytes into a chunk of `domain`. `each` sees every 64 KiB group in order.
    ///
    /// # Panics
    /// If `data` is longer than a chunk may be: the splitter bounds it.
    pub fn hash(domain: Domain, data: Bytes, each: impl FnMut(&[u8])) -> VerifiedChunk {
        let outboard = Outboard::hash(&data, each);
        let address = ChunkAddress { domain, kind: IdKind::Plain, id: outboard.id() };
        VerifiedChunk { address, data, outboard }
    }

    /// Takes bytes that came from elsewhere, if they are what `address` names.
    pub fn check(address: ChunkAddress, data: Bytes) -> Result<VerifiedChunk, HashMismatch> {
        let mismatch = HashMismatch { expected: address, length: data.len() };
        if data.len() > crate::limits::CHUNK_MAX_BYTES as usize || address.kind == IdKind::Keyed {
            return Err(mismatch);
        }
        let outboard = Outboard::hash(&data, |_| ());
        if outboard.id() == address.id { Ok(VerifiedChunk { address, data, outboard }) } else { Err(mismatch) }
    }

    /// Its name.
    pub fn address(&self) -> ChunkAddress {
        self.address
    }

    /// Its bytes.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The chaining values of its groups.
    pub fn outboard(&self) -> &Outboard {
        &self.outboard
    }

    /// Length in bytes.
    pub fn length(&self) -> u32 {
        self.outboard.length()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_bytes_become_a_chunk() {
        let chunk = VerifiedChunk::hash(Domain(3), Bytes::from_static(b"hello"), |_| ());
        assert_eq!(chunk.address(), ChunkAddress::of(Domain(3), b"hello"));
        assert!(VerifiedChunk::check(chunk.address(), Bytes::from_static(b"hello")).is_ok());
        let error = VerifiedChunk::check(chunk.address(), Bytes::from_static(b"hellp")).unwrap_err();
        assert_eq!(error, HashMismatch { expected: chunk.address(), length: 5 });
    }
}
