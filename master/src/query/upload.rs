//! Uploads that are no file yet.

use super::fold::Fold;
use super::{QueryError, bucket};
use crate::store::key::{MultipartKey, PartKey, PartRow, RowKey, StagingKey, decode_row};
use crate::store::{KeyRange, MetaView, Order, StoreError, Table, successor};
use cairn_common::chunk::Chunking;
use cairn_common::ids::{BucketId, Stamp, UploadId};
use cairn_common::limits::{LIST_MAX_KEYS, PARTS_MAX, SEGMENT_ENTRIES};
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::wire::DecodeError;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::{Caller, PartInfo, PartsPage, UploadInfo, UploadsPage};

/// A staged upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagingInfo {
    /// Where its chunks belong.
    pub bucket: BucketId,
    /// Who may append to it.
    pub owner: Caller,
    /// How the file is cut.
    pub chunking: Chunking,
    /// Full segments it has.
    pub segments: u64,
    /// Bytes in them.
    pub length: u64,
}

/// A staged upload, if it is open.
pub fn staging(view: &dyn MetaView, upload: UploadId) -> Result<Option<StagingInfo>, QueryError> {
    let row = view.row(&StagingKey(upload))?;
    Ok(row.map(|row| StagingInfo {
        bucket: row.bucket,
        owner: row.owner,
        chunking: row.chunking,
        segments: row.hasher.entries() / SEGMENT_ENTRIES as u64,
        length: row.hasher.length(),
    }))
}

/// Parts of a multipart upload with numbers above `after`, at most `limit` (0: all).
pub fn parts(
    view: &dyn MetaView,
    path: &FilePath,
    upload: UploadId,
    after: u32,
    limit: u32,
) -> Result<PartsPage, QueryError> {
    let bucket = bucket::find(view, &path.bucket)?.id;
    let key = MultipartKey { bucket, key: path.key.as_str().to_owned(), upload };
    let row = view.row(&key)?.ok_or(Refusal::NoSuchUpload(upload))?;
    let limit = if limit == 0 { PARTS_MAX } else { limit.min(PARTS_MAX) } as usize;
    let appended = row.length.map(|length| (length, row.attributes));
    let mut page = PartsPage { parts: Vec::new(), more: false, checksum: row.checksum, appended };
    let Some(number) = after.checked_add(1) else { return Ok(page) };
    let range =
        KeyRange { start: PartKey { upload, number }.encode().into_vec(), end: successor(&PartKey::of(upload)) };
    let mut cursor = view.scan(Table::System, range, Order::Forward)?;
    while let Some((PartKey { number, .. }, row)) = decode_row(&*cursor)? {
        if page.parts.len() == limit {
            page.more = true;
            break;
        }
        let PartRow { stamp, length, md5, checksums, .. } = row;
        page.parts.push(PartInfo { number, stamp, length, md5, checksums });
        cursor.advance()?;
    }
    Ok(page)
}

/// Open multipart uploads of a bucket whose keys start with `prefix`, by key and then by id, at most `limit` of them and folded
/// prefixes together. `after`: behind that upload of that key; without an upload, behind all of that key, or of that
/// folded prefix.
pub fn uploads(
    view: &dyn MetaView,
    bucket: &BucketName,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<&(String, Option<UploadId>)>,
    limit: u32,
) -> Result<UploadsPage, QueryError> {
    let bucket = bucket::find(view, bucket)?.id;
    let limit = limit.min(LIST_MAX_KEYS) as usize;
    let fold = Fold::new(prefix, delimiter);
    let mut page = UploadsPage { uploads: Vec::new(), prefixes: Vec::new(), next: None };
    if limit == 0 {
        return Ok(page);
    }
    let range = KeyRange::prefix(MultipartKey::prefix(bucket, prefix));
    let mut cursor = view.scan(Table::System, range, Order::Forward)?;
    if let Some(after) = after {
        match behind(bucket, &fold, after) {
            Some(key) => cursor.seek(&key)?,
            None => return Ok(page),
        }
    }
    let mut last = None;
    while let Some((key, _)) = decode_row::<MultipartKey>(&*cursor)? {
        if page.uploads.len() + page.prefixes.len() == limit {
            page.next = last;
            break;
        }
        if let Some(folded) = fold.of(&key.key) {
            last = Some((folded.to_owned(), None));
            page.prefixes.push(folded.to_owned());
            match successor(&MultipartKey::prefix(bucket, folded)) {
                Some(key) => cursor.seek(&key)?,
                None => break,
            }
        } else {
            last = Some((key.key.clone(), Some(key.upload)));
            page.uploads.push(info(key)?);
            cursor.advance()?;
        }
    }
    Ok(page)
}

/// The first key behind `after`; `None`: there is none.
fn behind(bucket: BucketId, fold: &Fold<'_>, after: &(String, Option<UploadId>)) -> Option<Vec<u8>> {
    let (key, upload) = after;
    match upload {
        None if fold.is_folded(key) => successor(&MultipartKey::prefix(bucket, key)),
        None => {
            let last = MultipartKey { bucket, key: key.clone(), upload: UploadId(u64::MAX) };
            Some([&last.encode()[..], &[0]].concat())
        }
        Some(upload) => {
            let this = MultipartKey { bucket, key: key.clone(), upload: *upload };
            Some([&this.encode()[..], &[0]].concat())
        }
    }
}

fn info(key: MultipartKey) -> Result<UploadInfo, StoreError> {
    let damaged = |_| StoreError::row(Table::System, &[], DecodeError::Malformed);
    let upload = key.upload;
    Ok(UploadInfo { key: Key::new(key.key).map_err(damaged)?, upload, begun: Stamp(upload.0) })
}
