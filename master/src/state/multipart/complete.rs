//! The end of a multipart upload: its parts become a file, in steps of one for each part, whatever their size.

use super::{find, finish, finished, parts};
use crate::state::body::{self, Stored};
use crate::state::bucket::{self, UsageChange, signed};
use crate::state::file::{self, Place};
use crate::state::manifest::{self, Composite};
use crate::state::tx::{Step, Tx};
use crate::store::key::{Body, BucketRow, FilePartsKey, FilePartsRow, FinishedRow, PartKey, PartRow};
use cairn_common::file::S3Tag;
use cairn_common::ids::ManifestId;
use cairn_common::limits::{FILE_MAX_BYTES, PART_MIN_BYTES, PARTS_MAX, RANGES_MAX};
use cairn_common::manifest::{Entry, ManifestError, RootHasher};
use cairn_common::wire::command::{CompleteMultipart, Done, Refusal};
use md5::{Digest, Md5};
use std::collections::BTreeMap;

pub(in crate::state) fn complete(tx: &mut Tx<'_>, complete: &CompleteMultipart) -> Step<Done> {
    let (bucket, key, row) = find(tx, &complete.upload)?;
    let Some(row) = row else {
        return match finished(tx, &key)? {
            Some(FinishedRow { committed: Some(committed), .. }) => Ok(Done::Committed(committed)),
            _ => Err(Refusal::NoSuchUpload(key.upload).into()),
        };
    };
    let upload = complete.upload.upload;
    let mut uploaded: BTreeMap<u32, PartRow> =
        parts(tx, upload)?.into_iter().map(|(key, part)| (key.number, part)).collect();
    let numbers: Vec<u32> = uploaded.keys().copied().collect();
    let pending: u64 = uploaded.values().map(|part| part.length).sum();
    let chosen = choose(&mut uploaded, &complete.parts, row.length)?;
    let place = Place::of(tx, &bucket, &complete.upload.path)?;
    file::judge(&complete.condition, place.current.as_ref(), &complete.upload.path)?;
    let mut attributes = row.attributes;
    attributes.checksums.extend(complete.checksums.clone());
    attributes.check()?;

    let tag = tag(&chosen);
    for part in uploaded.into_values() {
        body::drop_one(tx, part.body)?;
    }
    for number in numbers {
        tx.delete(&PartKey { upload, number });
    }
    let stored = join(tx, &bucket, chosen)?;
    // What was pending becomes the file: it has its room already.
    bucket::count(tx, bucket.id, UsageChange { pending_bytes: -signed(pending), ..UsageChange::default() })?;
    let committed = place.put(tx, &stored, tag, &attributes)?;
    finish(tx, &key, Some(committed.clone()))?;
    Ok(Done::Committed(committed))
}

/// Takes the parts that the client names out of those that were uploaded. `whole`: the length that they must come to, of an
/// upload that is appended to; its parts may be small.
fn choose(uploaded: &mut BTreeMap<u32, PartRow>, named: &[(u32, String)], whole: Option<u64>) -> Step<Vec<PartRow>> {
    check_order(named)?;
    let mut chosen = Vec::with_capacity(named.len());
    let mut length = 0;
    for (position, (number, tag)) in named.iter().enumerate() {
        let matches = |part: &PartRow| hex::encode(part.md5).eq_ignore_ascii_case(tag);
        let part = uploaded.remove(number).filter(matches).ok_or(Refusal::InvalidPart(*number))?;
        if whole.is_none() && part.length < PART_MIN_BYTES && position + 1 < named.len() {
            return Err(Refusal::PartTooSmall { number: *number, length: part.length }.into());
        }
        length += part.length;
        chosen.push(part);
    }
    if whole.is_some_and(|whole| whole != length) {
        let whole = whole.unwrap_or_default();
        return Err(Refusal::Invalid(format!("the upload has {length} of {whole} bytes")).into());
    }
    if length > FILE_MAX_BYTES { Err(ManifestError::TooLarge.into()) } else { Ok(chosen) }
}

/// Numbers grow and lie in their range; so there are not too many, either.
fn check_order(named: &[(u32, String)]) -> Result<(), Refusal> {
    let mut before = 0;
    for (number, _) in named {
        if *number <= before || *number > PARTS_MAX {
            return Err(Refusal::InvalidPartOrder(*number));
        }
        before = *number;
    }
    if named.is_empty() { Err(Refusal::InvalidPart(0)) } else { Ok(()) }
}

/// MD5 of the parts' MD5s, and their number.
fn tag(parts: &[PartRow]) -> S3Tag {
    let mut hasher = Md5::new();
    for part in parts {
        hasher.update(part.md5);
    }
    S3Tag::Multipart(hasher.finalize().into(), u32::try_from(parts.len()).expect("there are at most 10,000"))
}

/// Makes one body of parts, which give what they hold to it, and notes how long each was.
fn join(tx: &mut Tx<'_>, bucket: &BucketRow, mut parts: Vec<PartRow>) -> Step<Stored> {
    let copies = parts.iter().map(|part| part.copies).min().unwrap_or(1);
    let lengths: Vec<u64> = parts.iter().map(|part| part.length).collect();
    parts.retain(|part| part.length > 0);
    if parts.is_empty() {
        return Ok(Stored { body: Body::Empty, root: RootHasher::of(&[]), length: 0, copies });
    }
    if let ([_], [part]) = (&lengths[..], &parts[..]) {
        // One part is the file already. Of several it is not, even if the others are empty: others may hold its manifest,
        // which has not these parts.
        return Ok(Stored { body: part.body, root: part.root, length: part.length, copies });
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(parts.len());
    for part in &parts {
        let Body::Manifest(id) = part.body else { continue };
        if part.composite {
            entries.extend(manifest::ranges(tx, id, 0, part.length)?);
            manifest::drop_one(tx, id)?;
        } else {
            entries.push(manifest::range_of(id, part.root, 0, part.length));
        }
        if entries.len() as u64 > RANGES_MAX {
            return Err(manifest::too_many_ranges().into());
        }
    }
    let id = ManifestId(tx.stamp().0);
    let composite = Composite { domain: bucket.tenant.domain(), replicas: bucket.replicas, copies };
    let row = manifest::compose(tx, id, composite, entries);
    tx.put(&FilePartsKey(id), &FilePartsRow(lengths));
    Ok(body::of_manifest(id, &row))
}
