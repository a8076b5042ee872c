//! Files: making, copying, moving and removing versions.
//!
//! Conditions are judged here, against the row that the command replaces, so they are exact. Copy and move are steps of
//! constant size: a version refers to its bytes, and only who holds them changes.

use super::body::{self, Stored};
use super::bucket::{self, UsageChange, signed};
use super::staging;
use super::tx::{Step, Tx};
use super::{history, lock};
use crate::store::StoreError;
use crate::store::key::{AttributesKey, BucketRow, CurrentKey, CurrentRow};
use cairn_common::bucket::Tags;
use cairn_common::file::{Attributes, Condition, ConditionOutcome, ETags, S3Tag};
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::version::{Lock, VersionId, Versioning};
use cairn_common::wire::command::{CommitFile, Committed, CopyFile, Deleted, Done, NewContent, Refusal};
use std::borrow::Cow;

pub(super) fn commit(tx: &mut Tx<'_>, commit: &CommitFile) -> Step<Done> {
    let bucket = bucket::find(tx, &commit.path.bucket)?;
    let place = Place::of(tx, &bucket, &commit.path)?;
    judge(&commit.condition, place.current.as_ref(), &commit.path)?;
    commit.attributes.check()?;
    lock::check(tx, &bucket, &commit.path.bucket, commit.attributes.lock)?;
    let stored = match &commit.content {
        NewContent::Inline(bytes) => body::store_inline(tx, bytes, commit.root, commit.length)?,
        NewContent::Chunks(chunks) => staging::close(tx, &bucket, chunks, commit.root, commit.length)?,
    };
    Ok(Done::Committed(place.put(tx, &stored, commit.tag, &commit.attributes)?))
}

pub(super) fn copy(tx: &mut Tx<'_>, copy: &CopyFile) -> Step<Done> {
    let to_bucket = bucket::find(tx, &copy.to.bucket)?;
    let (from_bucket, source) = history::find(tx, &copy.from, copy.from_version, &copy.from_condition)?;
    if from_bucket.tenant.domain() != to_bucket.tenant.domain() {
        return Err(Refusal::WrongDomain.into());
    }
    let place = Place::of(tx, &to_bucket, &copy.to)?;
    judge(&copy.condition, place.current.as_ref(), &copy.to)?;
    let attributes = match &copy.attributes {
        Some(attributes) => {
            attributes.check()?;
            lock::check(tx, &to_bucket, &copy.to.bucket, attributes.lock)?;
            attributes.clone()
        }
        None => Attributes { lock: Lock::default(), ..source.attributes },
    };
    let stored = hold(tx, &source.row)?;
    Ok(Done::Committed(place.put(tx, &stored, source.row.tags.s3, &attributes)?))
}

pub(super) fn rename(
    tx: &mut Tx<'_>,
    from: &FilePath,
    to: &Key,
    from_condition: &Condition,
    condition: &Condition,
) -> Step<Done> {
    let (bucket, found) = history::find(tx, from, None, from_condition)?;
    let source = found.row;
    let to = FilePath { bucket: from.bucket.clone(), key: to.clone() };
    let place = Place::of(tx, &bucket, &to)?;
    judge(condition, place.current.as_ref(), &to)?;
    if to.key == from.key {
        let replicas_durable = copies(tx, &source)?;
        let (CurrentRow { stamp, length, tags, .. }, version) = (source, shown(&bucket, &source));
        return Ok(Done::Committed(Committed { stamp, version, length, tags, replicas_durable, replaced: false }));
    }
    let attributes = Attributes { lock: Lock::default(), ..found.attributes };
    // Held at its new place before it leaves the old one: its count never falls to zero on the way.
    let stored = hold(tx, &source)?;
    // Before it is counted at its new place: a move within a full bucket takes no room.
    leave(tx, &bucket, CurrentKey { bucket: bucket.id, key: from.key.as_str() }, &source)?;
    Ok(Done::Committed(place.put(tx, &stored, source.tags.s3, &attributes)?))
}

pub(super) fn delete(tx: &mut Tx<'_>, bucket: &BucketName, files: &[(Key, Condition)]) -> Step<Done> {
    if files.len() > LIST_MAX_KEYS as usize {
        return Err(Refusal::Unsupported(format!("at most {LIST_MAX_KEYS} files are removed at once")).into());
    }
    let bucket = bucket::find(tx, bucket)?;
    let mut outcomes = Vec::with_capacity(files.len());
    for (key, condition) in files {
        let key = CurrentKey { bucket: bucket.id, key: key.as_str() };
        outcomes.push(match tx.get(&key)? {
            None => history::mark_again(tx, &bucket, key, condition)?,
            Some(current) if condition.judge(Some(current.facts())) != ConditionOutcome::Holds => {
                Deleted::ConditionFailed
            }
            Some(current) => leave(tx, &bucket, key, &current)?,
        });
    }
    Ok(Done::Deleted(outcomes))
}

/// Changes the labels of a version. Its stamp and tag stay: its bytes and headers are what they were.
pub(super) fn set_tags(tx: &mut Tx<'_>, path: &FilePath, version: Option<VersionId>, tags: &Tags) -> Step<Done> {
    let (bucket, found) = history::find(tx, path, version, &Condition::default())?;
    let attributes = Attributes { tags: tags.clone(), ..found.attributes.clone() };
    attributes.check()?;
    history::amend(tx, &bucket, &path.key, &found, attributes)?;
    Ok(Done::Nothing)
}

/// The id of a version, if its bucket shows ids.
pub(super) fn shown(bucket: &BucketRow, row: &CurrentRow) -> Option<VersionId> {
    (bucket.versioning != Versioning::Off).then(|| row.id())
}

/// For what writes, a version that is not modified fails the condition like any other.
pub(super) fn judge(condition: &Condition, current: Option<&CurrentRow>, path: &FilePath) -> Result<(), Refusal> {
    match condition.judge(current.map(CurrentRow::facts)) {
        ConditionOutcome::Holds => Ok(()),
        ConditionOutcome::Failed | ConditionOutcome::NotModified => {
            Err(Refusal::ConditionFailed { path: path.clone() })
        }
    }
}

/// The attributes of a current version.
pub(super) fn attributes_of(tx: &Tx<'_>, key: CurrentKey<'_>, current: &CurrentRow) -> Result<Attributes, StoreError> {
    if current.attributes { tx.expect(&AttributesKey(key)) } else { Ok(Attributes::default()) }
}

/// Adds a holder to the bytes of a version.
fn hold(tx: &mut Tx<'_>, version: &CurrentRow) -> Result<Stored, StoreError> {
    let copies = body::hold(tx, version.body)?;
    Ok(Stored { body: version.body, root: version.tags.root, length: version.length, copies })
}

fn copies(tx: &Tx<'_>, version: &CurrentRow) -> Result<u8, StoreError> {
    let manifest = body::manifest_of(tx, version.body)?;
    Ok(manifest.map_or_else(|| tx.members().log_copies(), |(_, row)| row.copies))
}

/// Removes a file as its bucket has it: for good, or under a mark.
pub(super) fn leave(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    key: CurrentKey<'_>,
    current: &CurrentRow,
) -> Result<Deleted, StoreError> {
    if bucket.versioning == Versioning::Off {
        remove(tx, &key, current)?;
        return Ok(Deleted::Removed);
    }
    Ok(Deleted::Marked(history::mark(tx, bucket, key, Some(current))?))
}

/// Removes a current version for good.
pub(super) fn remove(tx: &mut Tx<'_>, key: &CurrentKey<'_>, current: &CurrentRow) -> Result<(), StoreError> {
    tx.delete(key);
    if current.attributes {
        tx.delete(&AttributesKey(*key));
    }
    body::drop_one(tx, current.body)?;
    let change = UsageChange { files: -1, bytes: -signed(current.length), ..UsageChange::default() };
    bucket::count(tx, key.bucket, change)
}

/// Where a new version goes, and what is there now.
pub(super) struct Place<'a> {
    bucket: BucketRow,
    key: CurrentKey<'a>,
    pub(super) current: Option<CurrentRow>,
}

impl<'a> Place<'a> {
    pub(super) fn of(tx: &Tx<'_>, bucket: &BucketRow, path: &'a FilePath) -> Result<Place<'a>, StoreError> {
        let key = CurrentKey { bucket: bucket.id, key: path.key.as_str() };
        Ok(Place { bucket: *bucket, key, current: tx.get(&key)? })
    }

    /// Puts a new version there, whose holder of the bytes is in place; the one that was current becomes an earlier one or is let
    /// go of. It gets the lock that it asks for, or its bucket's.
    pub(super) fn put(&self, tx: &mut Tx<'_>, stored: &Stored, tag: S3Tag, attributes: &Attributes) -> Step<Committed> {
        let mut change = history::make_room(tx, &self.bucket, self.key, self.current.as_ref())?;
        let lock = lock::of_new(tx, &self.bucket, attributes.lock);
        let attributes = match lock == attributes.lock {
            true => Cow::Borrowed(attributes),
            false => Cow::Owned(Attributes { lock, ..attributes.clone() }),
        };
        let tags = ETags { root: stored.root, s3: tag };
        let row = CurrentRow {
            stamp: tx.stamp(),
            length: stored.length,
            tags,
            body: stored.body,
            attributes: !attributes.is_empty(),
            versioned: self.bucket.versioning == Versioning::Enabled,
        };
        tx.put(&self.key, &row);
        if row.attributes {
            tx.put(&AttributesKey(self.key), &attributes);
        }
        change.files += 1;
        change.bytes += signed(stored.length);
        bucket::grow(tx, self.key.bucket, change)?;
        Ok(Committed {
            stamp: row.stamp,
            version: shown(&self.bucket, &row),
            length: row.length,
            tags,
            replicas_durable: stored.copies,
            replaced: self.current.is_some(),
        })
    }
}
