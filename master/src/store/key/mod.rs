//! Keys and values of all rows: what is in which table, and its bytes.
//!
//! A key is a list of fields, made so that keys sort as their fields do: numbers big endian, text as its bytes. Text that
//! something follows is escaped and terminated (as in the tuple layer of FoundationDB): a zero byte becomes `00 FF`, the end
//! is `00 00`. Text at the end of a key stands as it is. The tables `System` and `Sessions` hold rows of several kinds; there
//! a byte of the kind comes first. Values begin with a format byte; most are postcard, two are packed by hand because
//! everything reads them. All forms are specified in docs/formats.md and pinned by tests.
//!
//! The type of a key fixes the type of its value ([`RowKey::Row`]), so that a row cannot be read as another kind.

mod bucket;
mod cluster;
mod file;
mod history;
mod manifest;
mod queue;
mod session;
#[cfg(test)]
mod tests;
mod upload;

pub use bucket::{
    BucketKey, BucketOfTenantKey, BucketRow, BucketTagsKey, CorsKey, LifecycleKey, PolicyKey, PolicyRow, PublicKey,
    QuotaKey, SharingKey, TenantKey, TenantRow, UsageKey,
};
pub use cluster::{
    AccessKeyKey, ClockKey, Collection, CollectionKey, FreshVolumesKey, JoinTokenKey, JoinTokenRow, MembershipKey,
    MembershipStampKey, RaftMembers, RaftMembersKey, RebalanceKey, Totals, TotalsKey,
};
pub use file::{AttributesKey, Body, CurrentKey, CurrentRow, HoldersKey, InlineId, InlineKey, InlineRow};
pub use history::{HistoryKey, HistoryRow, KeptFile, NullVersionKey};
pub use manifest::{
    EMBEDDED_ENTRIES_MAX, FilePartsKey, FilePartsRow, ManifestKey, ManifestRow, MisplacedKey, ReferenceKey,
    ReferenceRow, SegmentKey, SegmentRow,
};
pub use queue::{Due, DueKey, HoldKey, HoldRow};
pub use session::{AnswerKey, ProgressKey, ProgressRow, SessionKey, SessionRow, WindowKey, WindowStartKey};
pub use upload::{
    AppendedKey, AppendedRow, FinishedKey, FinishedRow, MultipartKey, MultipartRow, PartKey, PartRow, StagingKey,
    StagingRow,
};

use super::{Cursor, StoreError, Table};
use bytes::Bytes;
use cairn_common::wire::DecodeError;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A key, and what kind of row it is for.
pub trait RowKey: Sized {
    /// In which table the row lies.
    const TABLE: Table;
    /// Its value.
    type Row: Record;

    /// The bytes of the key.
    fn encode(&self) -> KeyBytes;
}

/// The bytes of a key. Nearly all fit without an allocation.
pub type KeyBytes = SmallVec<[u8; 96]>;

/// A key that can be read back from its bytes, for walking over rows.
pub trait ScannedKey: RowKey {
    /// Reverse of [`RowKey::encode`]; `None`: the bytes are no key of this kind.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// The value of a row.
pub trait Record: Sized {
    /// Its bytes. `scratch` is room to work in, so that a row costs one allocation of its own size.
    fn to_bytes(&self, scratch: &mut Vec<u8>) -> Bytes;

    /// Reverse of [`Record::to_bytes`]. Never panics, whatever the bytes are.
    fn from_slice(bytes: &[u8]) -> Result<Self, DecodeError>;

    /// The same, sharing the bytes where the value holds some.
    fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        Self::from_slice(&bytes)
    }
}

/// The row that a cursor is on, decoded; `None`: it is at its end.
pub fn decode_row<K: ScannedKey>(cursor: &dyn Cursor) -> Result<Option<(K, K::Row)>, StoreError> {
    let Some((key, value)) = cursor.row() else { return Ok(None) };
    let damaged = |reason| StoreError::row(K::TABLE, key, reason);
    let decoded = K::decode(key).ok_or_else(|| damaged(DecodeError::Malformed))?;
    Ok(Some((decoded, K::Row::from_slice(value).map_err(damaged)?)))
}

/// Values that are encoded as messages are: a format byte, then postcard.
macro_rules! postcard_records {
    ($($name:ty),* $(,)?) => {$(
        impl $crate::store::key::Record for $name {
            fn to_bytes(&self, scratch: &mut Vec<u8>) -> bytes::Bytes {
                scratch.clear();
                *scratch = cairn_common::wire::encode_into(self, std::mem::take(scratch));
                bytes::Bytes::copy_from_slice(scratch)
            }
            fn from_slice(bytes: &[u8]) -> Result<$name, cairn_common::wire::DecodeError> {
                cairn_common::wire::decode(bytes)
            }
        }
    )*};
}
pub(crate) use postcard_records;

/// A value without content: the row says all by being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Present;

postcard_records!(Present);

/// First byte of the keys of [`Table::System`]. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum SystemKind {
    Clock = 1,
    Totals = 2,
    Membership = 3,
    MembershipStamp = 4,
    FreshVolumes = 5,
    Collection = 6,
    Rebalance = 7,
    Bucket = 10,
    BucketOfTenant = 11,
    Usage = 12,
    Tenant = 13,
    Quota = 14,
    Public = 15,
    BucketTags = 16,
    NullVersion = 17,
    Lifecycle = 18,
    Cors = 19,
    Staging = 20,
    Multipart = 21,
    Part = 22,
    Finished = 23,
    Sharing = 24,
    Policy = 25,
    Appended = 26,
    FileParts = 27,
    Due = 30,
    Hold = 31,
    Misplaced = 32,
    Holders = 33,
    AccessKey = 40,
    JoinToken = 41,
    RaftMembers = 50,
}

/// First byte of the keys of [`Table::Sessions`]. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum SessionKind {
    Session = 1,
    Progress = 2,
    Answer = 3,
    Window = 4,
    WindowStart = 5,
}

/// Builds a key.
pub(crate) struct KeyWriter(KeyBytes);

impl KeyWriter {
    /// A key without a kind.
    pub(crate) fn new() -> KeyWriter {
        KeyWriter(KeyBytes::new())
    }

    /// A key of [`Table::System`].
    pub(crate) fn system(kind: SystemKind) -> KeyWriter {
        KeyWriter::new().byte(kind as u8)
    }

    /// A key of [`Table::Sessions`].
    pub(crate) fn sessions(kind: SessionKind) -> KeyWriter {
        KeyWriter::new().byte(kind as u8)
    }

    pub(crate) fn byte(mut self, byte: u8) -> KeyWriter {
        self.0.push(byte);
        self
    }

    pub(crate) fn u16(self, number: u16) -> KeyWriter {
        self.last(&number.to_be_bytes())
    }

    pub(crate) fn u32(self, number: u32) -> KeyWriter {
        self.last(&number.to_be_bytes())
    }

    pub(crate) fn u64(self, number: u64) -> KeyWriter {
        self.last(&number.to_be_bytes())
    }

    /// Text that something follows.
    pub(crate) fn text(self, text: &str) -> KeyWriter {
        self.text_start(text).last(&[0, 0])
    }

    /// The beginning of text: every key whose text starts with it starts with these bytes.
    pub(crate) fn text_start(mut self, text: &str) -> KeyWriter {
        for byte in text.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
        self
    }

    /// Bytes at the end of a key, or of a length that is always the same.
    pub(crate) fn last(mut self, bytes: &[u8]) -> KeyWriter {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn finish(self) -> KeyBytes {
        self.0
    }

    /// The bytes as the beginning of many keys.
    pub(crate) fn prefix(self) -> Vec<u8> {
        self.0.into_vec()
    }
}

/// Reads a key. Every method is `None` where the bytes are not what it reads.
pub(crate) struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> KeyReader<'a> {
        KeyReader(bytes)
    }

    pub(crate) fn system(bytes: &'a [u8], kind: SystemKind) -> Option<KeyReader<'a>> {
        let (first, rest) = bytes.split_first()?;
        (*first == kind as u8).then_some(KeyReader(rest))
    }

    pub(crate) fn sessions(bytes: &'a [u8], kind: SessionKind) -> Option<KeyReader<'a>> {
        let (first, rest) = bytes.split_first()?;
        (*first == kind as u8).then_some(KeyReader(rest))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(array)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| *byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Text that something follows.
    pub(crate) fn text(&mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            let zero = self.0.iter().position(|byte| *byte == 0)?;
            text.extend_from_slice(&self.0[..zero]);
            let after = self.0.get(zero + 1)?;
            self.0 = &self.0[zero + 2..];
            match after {
                0xff => text.push(0),
                0 => return String::from_utf8(text).ok(),
                _ => return None,
            }
        }
    }

    /// All that is left, as text.
    pub(crate) fn last_text(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// `value`, if nothing is left.
    pub(crate) fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}
