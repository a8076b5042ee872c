//! Uploads that are no file yet: staged ones, and multipart uploads with their parts.

use super::{Body, KeyBytes, KeyReader, KeyWriter, RowKey, ScannedKey, SystemKind, postcard_records};
use crate::store::Table;
use cairn_common::chunk::Chunking;
use cairn_common::file::{Attributes, Checksum};
use cairn_common::ids::{BucketId, ManifestId, Stamp, TenantId, UploadId};
use cairn_common::manifest::{Root, RootHasher};
use cairn_common::wire::command::Committed;
use cairn_common::wire::master::Caller;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A staged upload: its id, which is also that of the manifest it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagingKey(pub UploadId);

/// A staged upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagingRow {
    /// Where its chunks belong.
    pub bucket: BucketId,
    /// Whose bucket that is.
    pub tenant: TenantId,
    /// Copies that the bucket asks for; `None`: the cluster's number.
    pub replicas: Option<u8>,
    /// Who began it: nobody else can append to it or commit it, since its id is easily guessed.
    pub owner: Caller,
    /// How the file is cut.
    pub chunking: Chunking,
    /// The root over the segments so far.
    pub hasher: RootHasher,
    /// Durable copies of its least copied chunk so far; `None`: it has no chunks yet.
    pub copies: Option<u8>,
    /// When it began or was last appended to.
    pub touched: Stamp,
}

impl StagingKey {
    /// The manifest that the upload becomes.
    pub fn manifest(self) -> ManifestId {
        ManifestId(self.0.0)
    }

    /// What the keys of all staged uploads start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::Staging).prefix()
    }
}

impl RowKey for StagingKey {
    const TABLE: Table = Table::System;
    type Row = StagingRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::Staging).u64(self.0.0).finish()
    }
}

impl ScannedKey for StagingKey {
    fn decode(bytes: &[u8]) -> Option<StagingKey> {
        let mut reader = KeyReader::system(bytes, SystemKind::Staging)?;
        let id = UploadId(reader.u64()?);
        reader.end(StagingKey(id))
    }
}

/// An open multipart upload: bucket, key (escaped), id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultipartKey {
    /// In which bucket.
    pub bucket: BucketId,
    /// Of which key.
    pub key: String,
    /// Its id, and when it began.
    pub upload: UploadId,
}

/// An open multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartRow {
    /// What will be stored with the file.
    pub attributes: Attributes,
    /// Name of the checksum algorithm asked for, and whether it is of the full object.
    pub checksum: Option<(String, bool)>,
    /// Of one that is appended to: the length of the whole.
    pub length: Option<u64>,
}

impl MultipartKey {
    /// What the keys of a bucket's uploads start with whose file keys start with `prefix`.
    pub(crate) fn prefix(bucket: BucketId, prefix: &str) -> Vec<u8> {
        KeyWriter::system(SystemKind::Multipart).u64(bucket.0).text_start(prefix).prefix()
    }

    /// What the keys of all uploads of all buckets start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::Multipart).prefix()
    }
}

impl RowKey for MultipartKey {
    const TABLE: Table = Table::System;
    type Row = MultipartRow;

    fn encode(&self) -> KeyBytes {
        let writer = KeyWriter::system(SystemKind::Multipart).u64(self.bucket.0);
        writer.text(&self.key).u64(self.upload.0).finish()
    }
}

impl ScannedKey for MultipartKey {
    fn decode(bytes: &[u8]) -> Option<MultipartKey> {
        let mut reader = KeyReader::system(bytes, SystemKind::Multipart)?;
        let bucket = BucketId(reader.u64()?);
        let key = reader.text()?;
        let upload = UploadId(reader.u64()?);
        reader.end(MultipartKey { bucket, key, upload })
    }
}

/// A part of a multipart upload: upload, number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartKey {
    /// Of which upload.
    pub upload: UploadId,
    /// Its number.
    pub number: u32,
}

/// A part of a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    /// Its bytes: in a manifest, or none.
    pub body: Body,
    /// Whether that manifest consists of ranges of others.
    pub composite: bool,
    /// Root of its entries.
    pub root: Root,
    /// Its length, in bytes.
    pub length: u64,
    /// Its tag: MD5 of its bytes where they came through a gateway.
    pub md5: [u8; 16],
    /// Durable copies of its least copied chunk.
    pub copies: u8,
    /// When it was made.
    pub stamp: Stamp,
    /// Its verified checksums.
    pub checksums: BTreeMap<String, Checksum>,
}

impl PartKey {
    /// What the keys of all parts start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::Part).prefix()
    }

    /// What the keys of an upload's parts start with.
    pub(crate) fn of(upload: UploadId) -> Vec<u8> {
        KeyWriter::system(SystemKind::Part).u64(upload.0).prefix()
    }
}

impl RowKey for PartKey {
    const TABLE: Table = Table::System;
    type Row = PartRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::Part).u64(self.upload.0).u32(self.number).finish()
    }
}

impl ScannedKey for PartKey {
    fn decode(bytes: &[u8]) -> Option<PartKey> {
        let mut reader = KeyReader::system(bytes, SystemKind::Part)?;
        let key = PartKey { upload: UploadId(reader.u64()?), number: reader.u32()? };
        reader.end(key)
    }
}

/// A multipart upload that ended less than a day ago: its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedKey(pub UploadId);

/// How a multipart upload ended, for a client that asks again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedRow {
    /// In which bucket it was.
    pub bucket: BucketId,
    /// Of which key.
    pub key: String,
    /// The version it became; `None`: it was given up.
    pub committed: Option<Committed>,
}

impl RowKey for FinishedKey {
    const TABLE: Table = Table::System;
    type Row = FinishedRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::Finished).u64(self.0.0).finish()
    }
}

/// An open multipart upload that is appended to: its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedKey(pub UploadId);

/// Where to find it when its time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendedRow {
    /// In which bucket.
    pub bucket: BucketId,
    /// Of which key.
    pub key: String,
}

impl RowKey for AppendedKey {
    const TABLE: Table = Table::System;
    type Row = AppendedRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::Appended).u64(self.0.0).finish()
    }
}

postcard_records!(StagingRow, MultipartRow, PartRow, FinishedRow, AppendedRow);
