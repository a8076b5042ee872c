//! Versions that are not the current one of their key, and the marks that say a file was removed.
//!
//! The newest comes first within its key. Where a mark is the newest, the key has no current row, so listings never meet it.

use super::file::{Body, CurrentRow};
use super::{KeyBytes, KeyReader, KeyWriter, RowKey, ScannedKey, SystemKind, postcard_records};
use crate::store::Table;
use cairn_common::file::{Attributes, ETags};
use cairn_common::ids::{BucketId, Stamp};
use cairn_common::version::VersionId;
use serde::{Deserialize, Serialize};

/// An earlier version: bucket, key, stamp, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryKey {
    /// In which bucket.
    pub bucket: BucketId,
    /// Under which key.
    pub key: String,
    /// When it was committed.
    pub stamp: Stamp,
}

/// An earlier version, or a mark of removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// Whether its stamp is its id; else it is the `null` version.
    pub versioned: bool,
    /// `None`: a mark.
    pub file: Option<Box<KeptFile>>,
}

/// All that is known about an earlier version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    /// Its length, in bytes.
    pub length: u64,
    /// What identifies its bytes.
    pub tags: ETags,
    /// Where its bytes are.
    pub body: Body,
    /// What was given with it.
    pub attributes: Attributes,
}

impl KeptFile {
    /// The row that it has where it is current.
    pub fn as_current(&self, stamp: Stamp, versioned: bool) -> CurrentRow {
        let KeptFile { length, tags, body, ref attributes } = *self;
        CurrentRow { stamp, length, tags, body, attributes: !attributes.is_empty(), versioned }
    }
}

impl HistoryKey {
    /// What the keys of all versions of a key start with.
    pub(crate) fn of(bucket: BucketId, key: &str) -> Vec<u8> {
        KeyWriter::new().u64(bucket.0).text(key).prefix()
    }

    /// What the keys of all versions of keys with a prefix start with.
    pub(crate) fn prefix(bucket: BucketId, prefix: &str) -> Vec<u8> {
        KeyWriter::new().u64(bucket.0).text_start(prefix).prefix()
    }

    /// The id of the version.
    pub fn id(&self, row: &HistoryRow) -> VersionId {
        if row.versioned { VersionId::At(self.stamp) } else { VersionId::Null }
    }
}

impl RowKey for HistoryKey {
    const TABLE: Table = Table::History;
    type Row = HistoryRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::new().u64(self.bucket.0).text(&self.key).u64(!self.stamp.0).finish()
    }
}

impl ScannedKey for HistoryKey {
    fn decode(bytes: &[u8]) -> Option<HistoryKey> {
        let mut reader = KeyReader::new(bytes);
        let (bucket, key) = (BucketId(reader.u64()?), reader.text()?);
        let stamp = Stamp(!reader.u64()?);
        reader.end(HistoryKey { bucket, key, stamp })
    }
}

/// Where the `null` version of a key is, if it is an earlier one: bucket, key. So it is found without walking over all versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NullVersionKey {
    /// In which bucket.
    pub bucket: BucketId,
    /// Under which key.
    pub key: String,
}

impl NullVersionKey {
    /// What the keys of all such rows start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::NullVersion).prefix()
    }
}

impl RowKey for NullVersionKey {
    const TABLE: Table = Table::System;
    /// Its stamp.
    type Row = Stamp;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::NullVersion).u64(self.bucket.0).last(self.key.as_bytes()).finish()
    }
}

impl ScannedKey for NullVersionKey {
    fn decode(bytes: &[u8]) -> Option<NullVersionKey> {
        let mut reader = KeyReader::system(bytes, SystemKind::NullVersion)?;
        let bucket = BucketId(reader.u64()?);
        Some(NullVersionKey { bucket, key: reader.last_text()?.to_owned() })
    }
}

postcard_records!(HistoryRow);
