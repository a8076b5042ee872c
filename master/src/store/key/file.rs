//! Current versions: what a listing shows, the attributes, and small bodies.

use super::{KeyBytes, KeyReader, KeyWriter, Record, RowKey, ScannedKey, SystemKind, postcard_records};
use crate::store::Table;
use bytes::Bytes;
use cairn_common::file::{Attributes, ETags, S3Tag, VersionFacts};
use cairn_common::ids::{BucketId, ManifestId, Stamp};
use cairn_common::manifest::Root;
use cairn_common::version::VersionId;
use cairn_common::wire::{DecodeError, FORMAT};
use serde::{Deserialize, Serialize};

/// A small body in the masters: the stamp of the commit that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InlineId(pub u64);

/// Where the bytes of a version are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Body {
    /// There are none. Every empty file is this, however it came about.
    Empty,
    /// In the masters.
    Inline(InlineId),
    /// In chunks.
    Manifest(ManifestId),
}

/// The current version of a key: bucket, key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentKey<'a> {
    /// In which bucket.
    pub bucket: BucketId,
    /// Under which key.
    pub key: &'a str,
}

/// A current version: enough for a listing, for conditions, and to find the bytes. At most 80 bytes, so that a listing reads
/// little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentRow {
    /// When it was committed.
    pub stamp: Stamp,
    /// Its length, in bytes.
    pub length: u64,
    /// What identifies its bytes.
    pub tags: ETags,
    /// Where its bytes are.
    pub body: Body,
    /// Whether it has a row of attributes.
    pub attributes: bool,
    /// Whether its stamp is its id; else it is the `null` version of its key.
    pub versioned: bool,
}

impl CurrentRow {
    /// The id of the version.
    pub fn id(&self) -> VersionId {
        if self.versioned { VersionId::At(self.stamp) } else { VersionId::Null }
    }

    /// The facts that a condition looks at.
    pub fn facts(&self) -> VersionFacts<'_> {
        VersionFacts { tags: &self.tags, stamp: self.stamp, length: self.length }
    }
}

impl RowKey for CurrentKey<'_> {
    const TABLE: Table = Table::Current;
    type Row = CurrentRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::new().u64(self.bucket.0).last(self.key.as_bytes()).finish()
    }
}

impl<'a> CurrentKey<'a> {
    /// Reverse of [`RowKey::encode`].
    pub fn decode(bytes: &'a [u8]) -> Option<CurrentKey<'a>> {
        let mut reader = KeyReader::new(bytes);
        let bucket = BucketId(reader.u64()?);
        Some(CurrentKey { bucket, key: reader.last_text()? })
    }
}

/// Packed by hand: format, shape, stamp, length, root, then what the shape says: MD5, number of parts, id of the body.
/// Shape: bits 0–1 the S3 tag (0 root, 1 MD5, 2 multipart), bits 2–3 the body (0 empty, 1 inline, 2 manifest), bit 4
/// whether there are attributes, bit 5 whether the stamp is the version's id.
impl Record for CurrentRow {
    fn to_bytes(&self, scratch: &mut Vec<u8>) -> Bytes {
        let (tag, md5, parts) = match self.tags.s3 {
            S3Tag::Root => (0, None, None),
            S3Tag::Md5(md5) => (1, Some(md5), None),
            S3Tag::Multipart(md5, parts) => (2, Some(md5), Some(parts)),
        };
        let (body, id) = match self.body {
            Body::Empty => (0, None),
            Body::Inline(id) => (1, Some(id.0)),
            Body::Manifest(id) => (2, Some(id.0)),
        };
        let bytes = scratch;
        bytes.clear();
        bytes.extend_from_slice(&[
            FORMAT,
            tag | body << 2 | u8::from(self.attributes) << 4 | u8::from(self.versioned) << 5,
        ]);
        bytes.extend_from_slice(&self.stamp.0.to_be_bytes());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.extend_from_slice(&self.tags.root.0);
        bytes.extend(md5.into_iter().flatten());
        bytes.extend(parts.into_iter().flat_map(u32::to_be_bytes));
        bytes.extend(id.into_iter().flat_map(u64::to_be_bytes));
        Bytes::copy_from_slice(bytes)
    }

    fn from_slice(bytes: &[u8]) -> Result<CurrentRow, DecodeError> {
        let (format, rest) = bytes.split_first().ok_or(DecodeError::Malformed)?;
        if *format != FORMAT {
            return Err(DecodeError::Format(*format));
        }
        unpack_current(KeyReader::new(rest)).ok_or(DecodeError::Malformed)
    }
}

fn unpack_current(mut reader: KeyReader<'_>) -> Option<CurrentRow> {
    let shape = reader.byte()?;
    let stamp = Stamp(reader.u64()?);
    let length = reader.u64()?;
    let root = Root(*reader.array()?);
    let s3 = match shape & 3 {
        0 => S3Tag::Root,
        1 => S3Tag::Md5(*reader.array()?),
        2 => S3Tag::Multipart(*reader.array()?, reader.u32()?),
        _ => return None,
    };
    let body = match shape >> 2 & 3 {
        0 => Body::Empty,
        1 => Body::Inline(InlineId(reader.u64()?)),
        2 => Body::Manifest(ManifestId(reader.u64()?)),
        _ => return None,
    };
    let (attributes, versioned) = (shape >> 4 & 1 == 1, shape >> 5 & 1 == 1);
    let row = CurrentRow { stamp, length, tags: ETags { root, s3 }, body, attributes, versioned };
    if shape >> 6 == 0 { reader.end(row) } else { None }
}

/// Holders of bytes beyond the first: kind, id. Bytes with one holder, which are nearly all, have no such row: so a version is
/// replaced without reading what it replaces, and bodies and manifests never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldersKey {
    /// Of a small body.
    Inline(InlineId),
    /// Of a manifest.
    Manifest(ManifestId),
}

impl HoldersKey {
    /// What the keys of all such rows start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::Holders).prefix()
    }
}

impl RowKey for HoldersKey {
    const TABLE: Table = Table::System;
    /// How many, beyond the first.
    type Row = u64;

    fn encode(&self) -> KeyBytes {
        let writer = KeyWriter::system(SystemKind::Holders);
        match self {
            HoldersKey::Inline(id) => writer.byte(1).u64(id.0),
            HoldersKey::Manifest(id) => writer.byte(2).u64(id.0),
        }
        .finish()
    }
}

impl ScannedKey for HoldersKey {
    fn decode(bytes: &[u8]) -> Option<HoldersKey> {
        let mut reader = KeyReader::system(bytes, SystemKind::Holders)?;
        let key = match reader.byte()? {
            1 => HoldersKey::Inline(InlineId(reader.u64()?)),
            2 => HoldersKey::Manifest(ManifestId(reader.u64()?)),
            _ => return None,
        };
        reader.end(key)
    }
}

/// Attributes of a current version: bucket, key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributesKey<'a>(pub CurrentKey<'a>);

impl RowKey for AttributesKey<'_> {
    const TABLE: Table = Table::Attributes;
    type Row = Attributes;

    fn encode(&self) -> KeyBytes {
        self.0.encode()
    }
}

postcard_records!(Attributes, u64);

/// A small body: its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InlineKey(pub InlineId);

/// A small body. Never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineRow {
    /// BLAKE3 of the bytes.
    pub hash: [u8; 32],
    /// The bytes.
    pub bytes: Bytes,
}

impl RowKey for InlineKey {
    const TABLE: Table = Table::Inline;
    type Row = InlineRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::new().u64(self.0.0).finish()
    }
}

/// Where the bytes of an inline row begin: behind format and hash.
const INLINE_HEAD: usize = 1 + 32;

/// Packed by hand: format, hash, bytes.
impl Record for InlineRow {
    fn to_bytes(&self, _scratch: &mut Vec<u8>) -> Bytes {
        let mut bytes = Vec::with_capacity(INLINE_HEAD + self.bytes.len());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(&self.bytes);
        bytes.into()
    }

    fn from_slice(bytes: &[u8]) -> Result<InlineRow, DecodeError> {
        InlineRow::from_bytes(Bytes::copy_from_slice(bytes))
    }

    fn from_bytes(bytes: Bytes) -> Result<InlineRow, DecodeError> {
        let mut reader = KeyReader::new(&bytes);
        match (reader.byte(), reader.array()) {
            (Some(FORMAT), Some(hash)) => Ok(InlineRow { hash: *hash, bytes: bytes.slice(INLINE_HEAD..) }),
            (Some(format), _) if format != FORMAT => Err(DecodeError::Format(format)),
            _ => Err(DecodeError::Malformed),
        }
    }
}
