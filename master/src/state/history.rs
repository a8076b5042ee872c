//! Earlier versions: what becomes of a version that another one takes the place of, and removing one for good.
//!
//! The current version of a key is the newest there is, and has the row that listings read; all others have rows in the history.
//! If the newest is a mark of removal, there is no current row. An earlier version keeps its hold on its bytes, so their
//! chunks are referenced as long as it is there, and copies of it cost nothing.

use super::bucket::{self, UsageChange, signed};
use super::file;
use super::tx::{Step, Tx};
use super::{body, lock};
use crate::store::key::{
    AttributesKey, BucketRow, CurrentKey, CurrentRow, HistoryKey, HistoryRow, KeptFile, NullVersionKey,
};
use crate::store::{KeyRange, Located, LocatedFile, StoreError, earlier, locate};
use cairn_common::file::{Attributes, Condition, ConditionOutcome};
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::version::{VersionId, Versioning};
use cairn_common::wire::command::{Deleted, Done, Refusal};

/// A version that must be there, and on which `condition` must hold.
pub(super) fn find(
    tx: &Tx<'_>,
    path: &FilePath,
    version: Option<VersionId>,
    condition: &Condition,
) -> Step<(BucketRow, LocatedFile)> {
    let bucket = bucket::find(tx, &path.bucket)?;
    let found = locate(tx.view(), &bucket, path.key.as_str(), version)?.file(path, version)?;
    file::judge(condition, Some(&found.row), path)?;
    Ok((bucket, found))
}

/// Stores other attributes with a version. Its stamp and tags stay.
pub(super) fn amend(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    key: &Key,
    found: &LocatedFile,
    attributes: Attributes,
) -> Result<(), StoreError> {
    let (place, LocatedFile { row, current, .. }) = (CurrentKey { bucket: bucket.id, key: key.as_str() }, found);
    if !current {
        let place = HistoryKey { bucket: bucket.id, key: key.as_str().to_owned(), stamp: row.stamp };
        tx.put(&place, &kept(row, attributes));
        return Ok(());
    }
    tx.put(&place, &CurrentRow { attributes: !attributes.is_empty(), ..*row });
    match attributes.is_empty() {
        false => tx.put(&AttributesKey(place), &attributes),
        true if row.attributes => tx.delete(&AttributesKey(place)),
        true => {}
    }
    Ok(())
}

/// Takes the current version out of its place, where another one or a mark will be put: into the history, or away, as the bucket
/// has it. Answers what that changes of the bucket's counters.
pub(super) fn make_room(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    place: CurrentKey<'_>,
    current: Option<&CurrentRow>,
) -> Result<UsageChange, StoreError> {
    let mut change = UsageChange::default();
    if let Some(old) = current {
        (change.files, change.bytes) = (-1, -signed(old.length));
        let replaced = match bucket.versioning {
            Versioning::Off => true,
            Versioning::Enabled => false,
            Versioning::Suspended => !old.versioned,
        };
        if replaced {
            body::drop_one(tx, old.body)?;
        } else {
            keep(tx, place, old)?;
            (change.versions, change.version_bytes) = (1, signed(old.length));
        }
        if old.attributes {
            tx.delete(&AttributesKey(place));
        }
    }
    if bucket.versioning == Versioning::Suspended {
        drop_null(tx, bucket, place, &mut change)?;
    }
    Ok(change)
}

/// Makes an earlier version of the current one; its hold on its bytes goes along.
fn keep(tx: &mut Tx<'_>, place: CurrentKey<'_>, old: &CurrentRow) -> Result<(), StoreError> {
    let attributes = file::attributes_of(tx, place, old)?;
    let (bucket, key) = (place.bucket, place.key.to_owned());
    if !old.versioned {
        tx.put(&NullVersionKey { bucket, key: key.clone() }, &old.stamp);
    }
    tx.put(&HistoryKey { bucket, key, stamp: old.stamp }, &kept(old, attributes));
    Ok(())
}

fn kept(row: &CurrentRow, attributes: Attributes) -> HistoryRow {
    let CurrentRow { length, tags, body, versioned, .. } = *row;
    HistoryRow { versioned, file: Some(Box::new(KeptFile { length, tags, body, attributes })) }
}

/// Lets go of the `null` version, if it is an earlier one: a new one takes its place.
fn drop_null(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    place: CurrentKey<'_>,
    change: &mut UsageChange,
) -> Result<(), StoreError> {
    let Some(null) = earlier(tx.view(), bucket, place.key, VersionId::Null)? else { return Ok(()) };
    let row = tx.expect(&null)?;
    take_out(tx, &null, &row, change)?;
    if let Some(file) = row.file {
        body::drop_one(tx, file.body)?;
    }
    Ok(())
}

/// Removes the rows of an earlier version; its bytes are still held.
fn take_out(tx: &mut Tx<'_>, place: &HistoryKey, row: &HistoryRow, change: &mut UsageChange) -> Result<(), StoreError> {
    tx.delete(place);
    if !row.versioned {
        tx.delete(&NullVersionKey { bucket: place.bucket, key: place.key.clone() });
    }
    change.versions -= 1;
    change.version_bytes -= row.file.as_ref().map_or(0, |file| signed(file.length));
    Ok(())
}

/// Puts a mark of removal over the versions of a key.
pub(super) fn mark(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    place: CurrentKey<'_>,
    current: Option<&CurrentRow>,
) -> Result<VersionId, StoreError> {
    let mut change = make_room(tx, bucket, place, current)?;
    if current.is_some() {
        tx.delete(&place);
    }
    let versioned = bucket.versioning == Versioning::Enabled;
    let mark = HistoryKey { bucket: bucket.id, key: place.key.to_owned(), stamp: tx.stamp() };
    let row = HistoryRow { versioned, file: None };
    // A batch may name a key twice: then its mark is there.
    if tx.get(&mark)?.is_none() {
        tx.put(&mark, &row);
        change.versions += 1;
    }
    if !versioned {
        tx.put(&NullVersionKey { bucket: bucket.id, key: place.key.to_owned() }, &mark.stamp);
    }
    bucket::count(tx, bucket.id, change)?;
    Ok(mark.id(&row))
}

/// Removes a file without a current version: puts a mark over its others, or over nothing. A condition holds on a mark only if it
/// asks for nothing more than that there is something.
pub(super) fn mark_again(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    place: CurrentKey<'_>,
    condition: &Condition,
) -> Result<Deleted, StoreError> {
    let marked = matches!(locate(tx.view(), bucket, place.key, None)?, Located::Mark(_));
    if bucket.versioning == Versioning::Off || !(marked || condition.is_empty()) {
        return Ok(Deleted::Absent);
    }
    if !condition.is_empty() && !condition.is_any() {
        return Ok(Deleted::ConditionFailed);
    }
    Ok(Deleted::Marked(mark(tx, bucket, place, None)?))
}

/// Removes versions for good, each by itself.
pub(super) fn delete(
    tx: &mut Tx<'_>,
    bucket: &BucketName,
    versions: &[(Key, VersionId, Condition)],
    bypass: bool,
) -> Step<Done> {
    if versions.len() > LIST_MAX_KEYS as usize {
        return Err(Refusal::Unsupported(format!("at most {LIST_MAX_KEYS} versions are removed at once")).into());
    }
    let bucket = bucket::find(tx, bucket)?;
    let mut outcomes = Vec::with_capacity(versions.len());
    for (key, version, condition) in versions {
        outcomes.push(delete_one(tx, &bucket, (key.as_str(), *version), condition, bypass)?);
    }
    Ok(Done::Deleted(outcomes))
}

pub(super) fn delete_one(
    tx: &mut Tx<'_>,
    bucket: &BucketRow,
    (key, version): (&str, VersionId),
    condition: &Condition,
    bypass: bool,
) -> Result<Deleted, StoreError> {
    let place = CurrentKey { bucket: bucket.id, key };
    let mut change = UsageChange::default();
    let deleted = match locate(tx.view(), bucket, key, Some(version))? {
        Located::Nothing => return Ok(Deleted::Absent),
        Located::File(found) if condition.judge(Some(found.row.facts())) != ConditionOutcome::Holds => {
            return Ok(Deleted::ConditionFailed);
        }
        Located::Mark(_) if !condition.is_empty() && !condition.is_any() => return Ok(Deleted::ConditionFailed),
        Located::File(found) if lock::holds(tx, &found.attributes, bypass) => return Ok(Deleted::Locked),
        Located::File(found) if found.current => {
            file::remove(tx, &place, &found.row)?;
            Deleted::Removed
        }
        Located::File(found) => {
            let place = HistoryKey { bucket: bucket.id, key: key.to_owned(), stamp: found.row.stamp };
            let row = tx.expect(&place)?;
            take_out(tx, &place, &row, &mut change)?;
            body::drop_one(tx, found.row.body)?;
            Deleted::Removed
        }
        Located::Mark(_) => {
            let place = earlier(tx.view(), bucket, key, version)?.expect("it was found a moment ago");
            let row = tx.expect(&place)?;
            take_out(tx, &place, &row, &mut change)?;
            Deleted::MarkRemoved
        }
    };
    if tx.get(&place)?.is_none() {
        promote(tx, place, &mut change)?;
    }
    bucket::count(tx, bucket.id, change)?;
    Ok(deleted)
}

/// Makes the newest version of a key that has no current one current, unless it is a mark.
fn promote(tx: &mut Tx<'_>, place: CurrentKey<'_>, change: &mut UsageChange) -> Result<(), StoreError> {
    let of_key = KeyRange::prefix(HistoryKey::of(place.bucket, place.key));
    let Some((newest, row)) = tx.list::<HistoryKey>(of_key, 1)?.pop() else { return Ok(()) };
    let Some(file) = &row.file else { return Ok(()) };
    take_out(tx, &newest, &row, change)?;
    tx.put(&place, &file.as_current(newest.stamp, row.versioned));
    if !file.attributes.is_empty() {
        tx.put(&AttributesKey(place), &file.attributes);
    }
    change.files += 1;
    change.bytes += signed(file.length);
    Ok(())
}
