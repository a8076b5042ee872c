//! Multipart uploads: beginning and giving up. Parts are in [`part`], completion in [`complete`].
//!
//! Parts hold references from the moment they are made, so an upload may stay open for years and costs no lease. How an upload
//! ended is remembered for a day, for the client whose answer was lost.
//!
//! An upload may be one that is appended to: its length is known, its parts come in order and are never replaced. Then the sum of
//! the parts is where the next byte belongs, whatever clients do at once: one of two that append at the same place is refused.

mod complete;
mod part;

pub(super) use complete::complete;
pub(super) use part::{Source, commit_part, copy_part};

use super::bucket::{self, UsageChange, signed};
use super::tx::{Step, Stop, Tx};
use super::{body, lock};
use crate::store::key::{
    AppendedKey, AppendedRow, BucketRow, Due, DueKey, FinishedKey, FinishedRow, MultipartKey, MultipartRow, PartKey,
    PartRow,
};
use crate::store::{KeyRange, StoreError};
use cairn_common::file::Attributes;
use cairn_common::ids::UploadId;
use cairn_common::limits::{APPENDED_MAX_BYTES, APPENDED_UPLOAD_MS, PARTS_MAX, TEXT_MAX_BYTES, UPLOAD_RESULT_MS};
use cairn_common::manifest::ManifestError;
use cairn_common::name::FilePath;
use cairn_common::wire::command::{Committed, Done, MultipartRef, Refusal};

pub(super) fn begin(
    tx: &mut Tx<'_>,
    path: &FilePath,
    attributes: &Attributes,
    checksum: &Option<(String, bool)>,
    length: Option<u64>,
) -> Step<Done> {
    let bucket = bucket::find(tx, &path.bucket)?;
    attributes.check()?;
    lock::check(tx, &bucket, &path.bucket, attributes.lock)?;
    if length.is_some_and(|length| length > APPENDED_MAX_BYTES) {
        return Err(ManifestError::TooLarge.into());
    }
    if checksum.as_ref().is_some_and(|(name, _)| name.len() > TEXT_MAX_BYTES) {
        return Err(Refusal::Invalid("no checksum algorithm has such a long name".to_owned()).into());
    }
    let upload = UploadId(tx.stamp().0);
    let key = key_of(&bucket, path, upload);
    if length.is_some() {
        tx.put(&AppendedKey(upload), &AppendedRow { bucket: bucket.id, key: key.key.clone() });
        let due = tx.stamp().plus_ms(APPENDED_UPLOAD_MS);
        tx.put(&DueKey { due, what: Due::Appended(upload) }, &tx.stamp());
    }
    tx.put(&key, &MultipartRow { attributes: attributes.clone(), checksum: checksum.clone(), length });
    bucket::count(tx, bucket.id, UsageChange { uploads: 1, ..UsageChange::default() })?;
    Ok(Done::Upload(upload))
}

pub(super) fn abort(tx: &mut Tx<'_>, upload: &MultipartRef) -> Step<Done> {
    let bucket = bucket::find(tx, &upload.path.bucket)?;
    let key = key_of(&bucket, &upload.path, upload.upload);
    if tx.get(&key)?.is_none() {
        return match finished(tx, &key)? {
            Some(FinishedRow { committed: None, .. }) => Ok(Done::Nothing),
            _ => Err(Refusal::NoSuchUpload(upload.upload).into()),
        };
    }
    give_up(tx, &key)?;
    Ok(Done::Nothing)
}

/// Ends an upload that is appended to, if it is still open: its time is over.
pub(super) fn end_appended(tx: &mut Tx<'_>, upload: UploadId) -> Result<(), StoreError> {
    let Some(AppendedRow { bucket, key }) = tx.get(&AppendedKey(upload))? else { return Ok(()) };
    give_up(tx, &MultipartKey { bucket, key, upload })
}

/// Lets the parts of an open upload go, and ends it.
fn give_up(tx: &mut Tx<'_>, key: &MultipartKey) -> Result<(), StoreError> {
    let mut pending_bytes = 0;
    for (part_key, part) in parts(tx, key.upload)? {
        tx.delete(&part_key);
        body::drop_one(tx, part.body)?;
        pending_bytes -= signed(part.length);
    }
    bucket::count(tx, key.bucket, UsageChange { pending_bytes, ..UsageChange::default() })?;
    finish(tx, key, None)
}

/// Gives an upload up that may have ended meanwhile.
pub(super) fn abort_if_open(tx: &mut Tx<'_>, upload: &MultipartRef) -> Step<()> {
    match abort(tx, upload) {
        Err(Stop::Refused(Refusal::NoSuchUpload(_))) => Ok(()),
        done => done.map(drop),
    }
}

fn key_of(bucket: &BucketRow, path: &FilePath, upload: UploadId) -> MultipartKey {
    MultipartKey { bucket: bucket.id, key: path.key.as_str().to_owned(), upload }
}

/// An open upload: its bucket, its key, and what was asked for. Its id counts for its own file only.
fn find(tx: &Tx<'_>, upload: &MultipartRef) -> Step<(BucketRow, MultipartKey, Option<MultipartRow>)> {
    let bucket = bucket::find(tx, &upload.path.bucket)?;
    let key = key_of(&bucket, &upload.path, upload.upload);
    let row = tx.get(&key)?;
    Ok((bucket, key, row))
}

/// All parts of an upload, in order.
fn parts(tx: &Tx<'_>, upload: UploadId) -> Result<Vec<(PartKey, PartRow)>, StoreError> {
    tx.list(KeyRange::prefix(PartKey::of(upload)), PARTS_MAX as usize)
}

/// How the upload of `key` ended, if that is remembered.
fn finished(tx: &Tx<'_>, key: &MultipartKey) -> Result<Option<FinishedRow>, StoreError> {
    let row = tx.get(&FinishedKey(key.upload))?;
    Ok(row.filter(|row| row.bucket == key.bucket && row.key == key.key))
}

/// Ends an upload whose parts are gone, and remembers how.
fn finish(tx: &mut Tx<'_>, key: &MultipartKey, committed: Option<Committed>) -> Result<(), StoreError> {
    tx.delete(key);
    tx.delete(&AppendedKey(key.upload));
    let row = FinishedRow { bucket: key.bucket, key: key.key.clone(), committed };
    tx.put(&FinishedKey(key.upload), &row);
    let due = tx.stamp().plus_ms(UPLOAD_RESULT_MS);
    tx.put(&DueKey { due, what: Due::Finished(key.upload) }, &tx.stamp());
    bucket::count(tx, key.bucket, UsageChange { uploads: -1, ..UsageChange::default() })
}
