//! Parts of a multipart upload: sent, or copied by reference.

use super::find;
use crate::state::body::{self, Stored};
use crate::state::bucket::{self, UsageChange, signed};
use crate::state::history;
use crate::state::manifest::{self, Composite};
use crate::state::staging;
use crate::state::tx::{Step, Tx};
use crate::store::StoreError;
use crate::store::key::{Body, BucketRow, CurrentRow, ManifestKey, PartKey, PartRow};
use cairn_common::file::{Attributes, Checksum, Condition, S3Tag};
use cairn_common::ids::{ManifestId, UploadId};
use cairn_common::limits::{APPENDED_PARTS_MAX, PART_MAX_BYTES, PARTS_MAX};
use cairn_common::manifest::RootHasher;
use cairn_common::name::FilePath;
use cairn_common::version::VersionId;
use cairn_common::wire::command::{CommitPart, Done, MultipartRef, NewContent, Refusal};
use std::collections::BTreeMap;

pub(in crate::state) fn commit_part(tx: &mut Tx<'_>, part: &CommitPart) -> Step<Done> {
    let bucket = check_place(tx, &part.upload, part.number)?;
    check_length(part.length)?;
    Attributes { checksums: part.checksums.clone(), ..Attributes::default() }.check()?;
    let NewContent::Chunks(chunks) = &part.content else {
        // A file is inline as a whole or not at all: manifests refer to chunks only.
        return Err(Refusal::Unsupported("parts are kept in chunks".to_owned()).into());
    };
    let stored = staging::close(tx, &bucket, chunks, part.root, part.length)?;
    let row = PartRow {
        body: stored.body,
        composite: false,
        root: stored.root,
        length: stored.length,
        md5: part.md5,
        copies: stored.copies,
        stamp: tx.stamp(),
        checksums: part.checksums.clone(),
    };
    put(tx, &bucket, &part.upload, part.number, row)
}

/// Whose bytes a part is made of.
pub(in crate::state) struct Source<'a> {
    pub(in crate::state) path: &'a FilePath,
    /// `None`: the current version.
    pub(in crate::state) version: Option<VersionId>,
    pub(in crate::state) condition: &'a Condition,
}

pub(in crate::state) fn copy_part(
    tx: &mut Tx<'_>,
    upload: &MultipartRef,
    number: u32,
    from: &Source<'_>,
    range: Option<(u64, u64)>,
) -> Step<Done> {
    let bucket = check_place(tx, upload, number)?;
    let (from_bucket, found) = history::find(tx, from.path, from.version, from.condition)?;
    let source = found.row;
    if from_bucket.tenant.domain() != bucket.tenant.domain() {
        return Err(Refusal::WrongDomain.into());
    }
    let (start, end) = range.unwrap_or((0, source.length));
    if end > source.length || (start >= end && range.is_some()) {
        return Err(Refusal::InvalidRange { length: source.length }.into());
    }
    check_length(end - start)?;
    let whole = (start, end) == (0, source.length);
    let row = match source.body {
        Body::Inline(_) => return Err(Refusal::SourceInline(from.path.clone()).into()),
        Body::Empty => empty(tx),
        Body::Manifest(id) if whole => whole_of(tx, id, &source, found.attributes)?,
        Body::Manifest(id) => range_of(tx, &bucket, id, start, end)?,
    };
    put(tx, &bucket, upload, number, row)
}

/// The bucket of an open upload, if `number` can be a part of it.
fn check_place(tx: &Tx<'_>, upload: &MultipartRef, number: u32) -> Step<BucketRow> {
    let (bucket, _, row) = find(tx, upload)?;
    let Some(row) = row else { return Err(Refusal::NoSuchUpload(upload.upload).into()) };
    let in_range = match row.length {
        None => (1..=PARTS_MAX).contains(&number),
        Some(_) => (1..=APPENDED_PARTS_MAX).contains(&number) && is_next(tx, upload.upload, number)?,
    };
    if in_range { Ok(bucket) } else { Err(Refusal::InvalidPartOrder(number).into()) }
}

/// Whether a part is the one behind all that are there. Those have no gaps: each was the next one when it came.
fn is_next(tx: &Tx<'_>, upload: UploadId, number: u32) -> Result<bool, StoreError> {
    let there = |number| Ok::<bool, StoreError>(tx.get(&PartKey { upload, number })?.is_some());
    Ok(!there(number)? && (number == 1 || there(number - 1)?))
}

fn check_length(length: u64) -> Result<(), Refusal> {
    if length <= PART_MAX_BYTES {
        Ok(())
    } else {
        Err(Refusal::Invalid(format!("a part has at most {PART_MAX_BYTES} bytes; this one has {length}")))
    }
}

/// A part that is a whole file: it refers to the same manifest.
fn whole_of(tx: &mut Tx<'_>, id: ManifestId, source: &CurrentRow, attributes: Attributes) -> Step<PartRow> {
    let manifest = manifest::hold(tx, id)?;
    let md5 = match source.tags.s3 {
        S3Tag::Md5(md5) => md5,
        S3Tag::Multipart(..) | S3Tag::Root => tag_of_root(&manifest.root.0),
    };
    // A checksum that is composed of parts is not one of the bytes.
    let of_bytes = |(_, checksum): &(String, Checksum)| checksum.parts.is_none();
    let checksums: BTreeMap<String, Checksum> = attributes.checksums.into_iter().filter(of_bytes).collect();
    let stored = body::of_manifest(id, &manifest);
    Ok(part_row(tx, stored, manifest.composite, md5, checksums))
}

/// A part that is a stretch of a file: a manifest of its own, of ranges of those that the file has.
fn range_of(tx: &mut Tx<'_>, bucket: &BucketRow, id: ManifestId, start: u64, end: u64) -> Step<PartRow> {
    let copies = tx.expect(&ManifestKey(id))?.copies;
    let entries = manifest::ranges(tx, id, start, end)?;
    let own = ManifestId(tx.stamp().0);
    let composite = Composite { domain: bucket.tenant.domain(), replicas: bucket.replicas, copies };
    let row = manifest::compose(tx, own, composite, entries);
    let stored = body::of_manifest(own, &row);
    Ok(part_row(tx, stored, true, tag_of_root(&row.root.0), BTreeMap::new()))
}

fn empty(tx: &Tx<'_>) -> PartRow {
    let root = RootHasher::of(&[]);
    let stored = Stored { body: Body::Empty, root, length: 0, copies: tx.members().log_copies() };
    part_row(tx, stored, false, tag_of_root(&root.0), BTreeMap::new())
}

/// The tag of a part whose MD5 nobody computed: copied by reference, its bytes went through no gateway. Clients give it back
/// when they complete the upload, and take it for nothing else.
fn tag_of_root(root: &[u8; 32]) -> [u8; 16] {
    let (first, _) = root.split_first_chunk().expect("a root has 32 bytes");
    *first
}

fn part_row(
    tx: &Tx<'_>,
    stored: Stored,
    composite: bool,
    md5: [u8; 16],
    checksums: BTreeMap<String, Checksum>,
) -> PartRow {
    let Stored { body, root, length, copies } = stored;
    PartRow { body, composite, root, length, md5, copies, stamp: tx.stamp(), checksums }
}

/// Makes or replaces a part whose bytes are held.
fn put(tx: &mut Tx<'_>, bucket: &BucketRow, upload: &MultipartRef, number: u32, row: PartRow) -> Step<Done> {
    let key = PartKey { upload: upload.upload, number };
    let replaced = tx.get(&key)?;
    let mut pending_bytes = signed(row.length);
    if let Some(old) = replaced {
        body::drop_one(tx, old.body)?;
        pending_bytes -= signed(old.length);
    }
    bucket::grow(tx, bucket.id, UsageChange { pending_bytes, ..UsageChange::default() })?;
    let done = Done::Part { md5: row.md5, length: row.length, stamp: row.stamp };
    tx.put(&key, &row);
    Ok(done)
}
