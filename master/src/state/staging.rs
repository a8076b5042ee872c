//! Staged uploads: files of more than one segment, which come in one segment at a time.
//!
//! Each segment turns its chunks into references as it is appended, so an upload may take days while its windows take an hour.
//! The id of the upload is that of the manifest it becomes: nothing moves when it is committed.

use super::body::{self, Stored};
use super::bucket::{self, UsageChange, signed};
use super::chunks::{self, Policy};
use super::tx::{Step, Tx};
use super::{manifest, session};
use crate::store::StoreError;
use crate::store::key::{
    BucketRow, Due, DueKey, ManifestRow, RowKey, SegmentKey, SegmentRow, StagingKey, StagingRow, UsageKey, decode_row,
};
use crate::store::{KeyRange, Order};
use cairn_common::chunk::Chunking;
use cairn_common::ids::{ManifestId, UploadId};
use cairn_common::limits::{FILE_MAX_BYTES, SEGMENT_ENTRIES, STAGED_UPLOAD_MS};
use cairn_common::manifest::{Entry, ManifestError, Root, RootHasher};
use cairn_common::name::BucketName;
use cairn_common::wire::command::{ChunkReceipts, Done, NewChunks, Refusal};

pub(super) fn begin(tx: &mut Tx<'_>, bucket: &BucketName, chunking: Chunking) -> Step<Done> {
    let bucket = bucket::find(tx, bucket)?;
    let upload = UploadId(tx.stamp().0);
    let row = StagingRow {
        bucket: bucket.id,
        tenant: bucket.tenant,
        replicas: bucket.replicas,
        owner: session::owner(tx)?,
        chunking,
        hasher: RootHasher::new(),
        copies: None,
        touched: tx.stamp(),
    };
    tx.put(&StagingKey(upload), &row);
    tx.put(&DueKey { due: tx.stamp().plus_ms(STAGED_UPLOAD_MS), what: Due::Staging(upload) }, &tx.stamp());
    Ok(Done::Upload(upload))
}

/// The staged upload of an id, if it is the caller's own and its bucket is still there.
fn find(tx: &Tx<'_>, upload: UploadId) -> Step<StagingRow> {
    match tx.get(&StagingKey(upload))? {
        Some(row) if row.owner == session::owner(tx)? && tx.get(&UsageKey(row.bucket))?.is_some() => Ok(row),
        _ => Err(Refusal::NoSuchUpload(upload).into()),
    }
}

pub(super) fn append(
    tx: &mut Tx<'_>,
    upload: UploadId,
    index: u32,
    entries: &[Entry],
    receipts: &[ChunkReceipts],
) -> Step<Done> {
    let mut row = find(tx, upload)?;
    if entries.len() != SEGMENT_ENTRIES {
        return Err(ManifestError::Segment { entries: entries.len() }.into());
    }
    let have = segments(&row);
    let manifest = StagingKey(upload).manifest();
    if index < have && stored_segment(tx, manifest, &row, index)?.entries == entries {
        return Ok(Done::Appended { segments: have });
    }
    if index != have {
        return Err(Refusal::SegmentOrder { have, given: index }.into());
    }
    let policy = Policy::of(tx.members(), row.tenant, row.replicas);
    let copies = chunks::refer(tx, &policy, manifest, entries, receipts)?;
    row.copies = row.copies.into_iter().chain(copies).min();
    let start = row.hasher.length();
    row.hasher.segment(entries);
    if row.hasher.length() > FILE_MAX_BYTES {
        return Err(ManifestError::TooLarge.into());
    }
    tx.put(&SegmentKey { manifest, start }, &SegmentRow { index, entries: entries.to_vec() });
    let pending_bytes = signed(row.hasher.length() - start);
    bucket::grow(tx, row.bucket, UsageChange { pending_bytes, ..UsageChange::default() })?;
    row.touched = tx.stamp();
    tx.put(&StagingKey(upload), &row);
    Ok(Done::Appended { segments: have + 1 })
}

fn segments(row: &StagingRow) -> u32 {
    u32::try_from(row.hasher.entries() / SEGMENT_ENTRIES as u64).expect("an upload has far fewer segments")
}

/// Segment `index` of an upload that has it. Segments are kept by offset, so its place is found by halving.
fn stored_segment(tx: &Tx<'_>, manifest: ManifestId, row: &StagingRow, index: u32) -> Result<SegmentRow, StoreError> {
    let key = |start| SegmentKey { manifest, start }.encode().into_vec();
    let (mut low, mut high) = (0, row.hasher.length());
    loop {
        let middle = low + high.saturating_sub(low) / 2;
        let range = KeyRange { start: key(0), end: Some(key(middle + 1)) };
        let cursor = tx.view().scan(SegmentKey::TABLE, range, Order::Backward)?;
        let segment = decode_row::<SegmentKey>(&*cursor)?.filter(|_| low < high);
        let Some((found, segment)) = segment else {
            return Err(StoreError::Missing { table: SegmentKey::TABLE, key: format!("{manifest} segment {index}") });
        };
        match segment.index.cmp(&index) {
            std::cmp::Ordering::Equal => return Ok(segment),
            std::cmp::Ordering::Less => low = found.start + manifest::length_of(&segment.entries),
            std::cmp::Ordering::Greater => high = found.start,
        }
    }
}

/// The caller gives a staged upload up; fine if it is gone.
pub(super) fn abort(tx: &mut Tx<'_>, upload: UploadId) -> Step<Done> {
    match tx.get(&StagingKey(upload))? {
        Some(row) if row.owner == session::owner(tx)? => end(tx, upload, &row)?,
        _ => {}
    }
    Ok(Done::Nothing)
}

/// Ends a staged upload. No reader ever saw it, so its references are let go as soon as the queue comes to it.
pub(super) fn end(tx: &mut Tx<'_>, upload: UploadId, row: &StagingRow) -> Result<(), StoreError> {
    tx.delete(&StagingKey(upload));
    let pending_bytes = -signed(row.hasher.length());
    bucket::count(tx, row.bucket, UsageChange { pending_bytes, ..UsageChange::default() })?;
    if row.hasher.entries() == 0 {
        return Ok(());
    }
    manifest::queue(tx, StagingKey(upload).manifest(), tx.stamp(), tx.stamp())
}

/// Makes a manifest of new chunks, held once; `root` and `length` are what the client states.
pub(super) fn close(tx: &mut Tx<'_>, bucket: &BucketRow, new: &NewChunks, root: Root, length: u64) -> Step<Stored> {
    if new.tail.len() >= SEGMENT_ENTRIES {
        return Err(ManifestError::Segment { entries: new.tail.len() }.into());
    }
    let staged = match new.staging {
        Some(upload) => Some(take(tx, bucket, upload, new.chunking)?),
        None => None,
    };
    let id = staged.as_ref().map_or(ManifestId(tx.stamp().0), |(key, _)| key.manifest());
    let policy = Policy::of(tx.members(), bucket.tenant, bucket.replicas);
    let copies = chunks::refer(tx, &policy, id, &new.tail, &new.receipts)?;
    let staged_copies = staged.as_ref().and_then(|(_, row)| row.copies);
    let hasher = staged.map_or_else(RootHasher::new, |(_, row)| row.hasher);
    let true_length = hasher.length() + manifest::length_of(&new.tail);
    if true_length > FILE_MAX_BYTES {
        return Err(ManifestError::TooLarge.into());
    }
    body::check(root, length, hasher.finish(&new.tail), true_length)?;
    let row = ManifestRow {
        root,
        length,
        entries: hasher.entries() + new.tail.len() as u64,
        chunking: Some(new.chunking),
        domain: policy.domain,
        replicas: bucket.replicas,
        copies: copies.into_iter().chain(staged_copies).min().unwrap_or_else(|| tx.members().log_copies()),
        composite: false,
        embedded: Vec::new(),
    };
    let stored = body::of_manifest(id, &row);
    if length > 0 {
        manifest::close(tx, id, row, new.tail.clone());
    }
    Ok(stored)
}

/// Takes a staged upload to be closed.
fn take(tx: &mut Tx<'_>, bucket: &BucketRow, upload: UploadId, chunking: Chunking) -> Step<(StagingKey, StagingRow)> {
    let row = find(tx, upload)?;
    if row.bucket != bucket.id || row.chunking != chunking {
        return Err(Refusal::NoSuchUpload(upload).into());
    }
    tx.delete(&StagingKey(upload));
    let pending_bytes = -signed(row.hasher.length());
    bucket::count(tx, row.bucket, UsageChange { pending_bytes, ..UsageChange::default() })?;
    Ok((StagingKey(upload), row))
}
