//! Reading one whole record from the disk, and checking all of it.

use super::{HEADER_BYTES, PackKey, RecordHeader};
use bytes::Bytes;
use cairn_common::seam::DiskFile;
use std::io;

/// A record that was read from the disk and verified.
#[derive(Clone, Debug)]
pub(crate) struct WholeRecord {
    pub(crate) header: RecordHeader,
    pub(crate) body: Bytes,
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// There is no header where the record should start.
    #[error("there is no record")]
    Header,
    /// The header is good, outboard or body are not.
    #[error("the bytes of the record do not match its hash")]
    Body,
    /// The disk does not give the bytes.
    #[error("the record cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads the record of a chunk of `length` bytes at `offset`, past the page cache, and hashes it.
///
/// The pages are dropped first: bytes whose fsync failed still look right in the cache (docs/faults.md).
pub(crate) fn read_record(
    file: &dyn DiskFile,
    key: &PackKey,
    offset: u32,
    length: u32,
) -> Result<WholeRecord, RecordError> {
    let record_bytes = RecordHeader::chunk_bytes(length);
    file.drop_cache(u64::from(offset), u64::from(record_bytes))?;
    let mut bytes = vec![0; record_bytes as usize];
    file.read_exact_at(&mut bytes, u64::from(offset))?;
    let header = RecordHeader::decode(&bytes, offset, key).map_err(|_| RecordError::Header)?;
    if header.length != length {
        return Err(RecordError::Header);
    }
    let (start, end) = header.body_range();
    if !header.matches(&bytes[HEADER_BYTES..start], &bytes[start..end]) {
        return Err(RecordError::Body);
    }
    Ok(WholeRecord { header, body: Bytes::from(bytes).slice(start..end) })
}
