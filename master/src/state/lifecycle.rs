//! Lifecycle: what the rules of a bucket end, and ending it.
//!
//! The leader looks for keys of which something has ended, and proposes them. The command judges each of them again, by the rules
//! and the rows as they are then and by its own stamp, so whatever changed meanwhile counts. It never ends a locked version.

use super::bucket;
use super::tx::{Step, Tx};
use super::{file, history, multipart};
use crate::store::key::{
    AttributesKey, BucketRow, CurrentKey, CurrentRow, HistoryKey, HistoryRow, LifecycleKey, RowKey, decode_row,
};
use crate::store::{KeyRange, MetaView, Order, StoreError};
use cairn_common::bucket::Tags;
use cairn_common::file::Condition;
use cairn_common::ids::{Stamp, UploadId};
use cairn_common::lifecycle::{LifecycleRule, Subject};
use cairn_common::limits::{EXPIRED_AT_ONCE_MAX, LIFECYCLE_WALK_MAX, RELEASE_ROWS_MAX};
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::version::{VersionId, Versioning};
use cairn_common::wire::command::{Done, MultipartRef};

/// What has ended of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its current version: removed as its bucket has it, for good or under a mark.
    Current,
    /// An earlier version, or a mark: removed for good.
    Version(VersionId),
}

/// What has ended of a key at `now`, at most [`EXPIRED_AT_ONCE_MAX`] versions of it. Versions behind the newest
/// [`LIFECYCLE_WALK_MAX`] are not looked at.
pub fn ended(
    view: &dyn MetaView,
    bucket: &BucketRow,
    rules: &[LifecycleRule],
    key: &str,
    now: Stamp,
) -> Result<Vec<Ended>, StoreError> {
    let mut ended = Vec::new();
    let place = CurrentKey { bucket: bucket.id, key };
    let current = view.row(&place)?;
    if let Some(row) = &current {
        let tags = tags_of(view, place, row, rules)?;
        let subject = Subject { key, tags: &tags, length: row.length };
        if rules.iter().any(|rule| rule.ends_current(subject, row.stamp, now)) {
            ended.push(Ended::Current);
        }
    }
    if bucket.versioning == Versioning::Off {
        return Ok(ended);
    }
    let mut cursor = view.scan(HistoryKey::TABLE, KeyRange::prefix(HistoryKey::of(bucket.id, key)), Order::Forward)?;
    // When the version that is looked at was replaced; the newest of a key without a current version is a mark, and was not.
    let mut replaced = current.map(|row| row.stamp);
    let (mut newer, mut walked, mut lonely) = (0, 0, None);
    while walked < LIFECYCLE_WALK_MAX
        && ended.len() < EXPIRED_AT_ONCE_MAX
        && let Some((place, row)) = decode_row::<HistoryKey>(&*cursor)?
    {
        walked += 1;
        match replaced {
            None => lonely = Some((place.stamp, place.id(&row))),
            Some(replaced) => {
                if ends_earlier(&place, &row, rules, replaced, newer, now) {
                    ended.push(Ended::Version(place.id(&row)));
                }
                newer += 1;
            }
        }
        replaced = Some(place.stamp);
        cursor.advance()?;
    }
    if let Some((since, id)) = lonely
        && walked == 1
        && rules.iter().any(|rule| rule.ends_lonely_mark(key, since, now))
    {
        ended.push(Ended::Version(id));
    }
    Ok(ended)
}

/// The labels of a current version; not read where no rule asks for any.
fn tags_of(
    view: &dyn MetaView,
    place: CurrentKey<'_>,
    row: &CurrentRow,
    rules: &[LifecycleRule],
) -> Result<Tags, StoreError> {
    if !row.attributes || rules.iter().all(|rule| rule.scope.tags.is_empty()) {
        return Ok(Tags::new());
    }
    Ok(view.expect_row(&AttributesKey(place))?.tags)
}

fn ends_earlier(
    place: &HistoryKey,
    row: &HistoryRow,
    rules: &[LifecycleRule],
    replaced: Stamp,
    newer: u64,
    now: Stamp,
) -> bool {
    let none = Tags::new();
    let (tags, length, locked) = match &row.file {
        None => (&none, 0, false),
        Some(file) => (&file.attributes.tags, file.length, file.attributes.lock.holds(now, false)),
    };
    let subject = Subject { key: &place.key, tags, length };
    !locked && rules.iter().any(|rule| rule.ends_noncurrent(subject, replaced, newer, now))
}

/// Ends what has ended of these keys and uploads: at most [`EXPIRED_AT_ONCE_MAX`] versions, and as many uploads as fit into an
/// entry. The leader names the others again.
pub(super) fn expire(tx: &mut Tx<'_>, name: &BucketName, keys: &[Key], uploads: &[(Key, UploadId)]) -> Step<Done> {
    let bucket = bucket::find(tx, name)?;
    let rules = tx.get(&LifecycleKey(bucket.id))?.unwrap_or_default();
    let mut versions = 0;
    for key in keys {
        for what in ended(tx.view(), &bucket, &rules, key.as_str(), tx.stamp())? {
            if versions == EXPIRED_AT_ONCE_MAX {
                return Ok(Done::Expired { versions: versions as u64 });
            }
            end(tx, &bucket, key, what)?;
            versions += 1;
        }
    }
    let before = tx.changed();
    for (key, upload) in uploads {
        if tx.changed() - before > RELEASE_ROWS_MAX {
            break;
        }
        let due = |rule: &LifecycleRule| rule.ends_upload(key.as_str(), Stamp(upload.0), tx.stamp());
        if rules.iter().any(due) {
            let path = FilePath { bucket: name.clone(), key: key.clone() };
            multipart::abort_if_open(tx, &MultipartRef { path, upload: *upload })?;
        }
    }
    Ok(Done::Expired { versions: versions as u64 })
}

fn end(tx: &mut Tx<'_>, bucket: &BucketRow, key: &Key, what: Ended) -> Result<(), StoreError> {
    match what {
        Ended::Current => {
            let place = CurrentKey { bucket: bucket.id, key: key.as_str() };
            let current = tx.expect(&place)?;
            file::leave(tx, bucket, place, &current)?;
        }
        Ended::Version(version) => {
            history::delete_one(tx, bucket, (key.as_str(), version), &Condition::default(), false)?;
        }
    }
    Ok(())
}
