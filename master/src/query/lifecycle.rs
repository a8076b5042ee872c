//! Where the rules of lifecycles have something to end: looked for by the leader, a stretch of keys at a time.

use super::{QueryError, bucket};
use crate::state::ended;
use crate::store::key::decode_row;
use crate::store::key::{BucketKey, BucketRow, CurrentKey, HistoryKey, LifecycleKey, MultipartKey, Record, RowKey};
use crate::store::{KeyRange, MetaView, Order, StoreError, Table, successor};
use cairn_common::ids::{BucketId, Stamp, UploadId};
use cairn_common::lifecycle::LifecycleRule;
use cairn_common::limits::{EXPIRED_AT_ONCE_MAX, LIFECYCLE_WALK_MAX};
use cairn_common::name::{BucketName, Key};
use cairn_common::wire::DecodeError;

/// What was found in a stretch of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LifecycleWork {
    /// Keys of which something has ended.
    pub keys: Vec<Key>,
    /// Uploads that have ended; looked for in the first stretch.
    pub uploads: Vec<(Key, UploadId)>,
    /// The last key of the stretch; `None`: the bucket is at its end.
    pub next: Option<String>,
}

/// The buckets that have rules, by name.
pub fn lifecycle_buckets(view: &dyn MetaView) -> Result<Vec<BucketName>, QueryError> {
    let mut names = Vec::new();
    let all = BucketKey::all();
    let mut cursor = view.scan(Table::System, KeyRange::prefix(all.clone()), Order::Forward)?;
    while let Some((key, value)) = cursor.row() {
        let damaged = |reason| StoreError::row(Table::System, key, reason);
        let row = BucketRow::from_slice(value).map_err(damaged)?;
        if view.row(&LifecycleKey(row.id))?.is_some() {
            let name = key.get(all.len()..).and_then(|name| std::str::from_utf8(name).ok());
            let name = name.and_then(|name| BucketName::new(name).ok());
            names.push(name.ok_or_else(|| damaged(DecodeError::Malformed))?);
        }
        cursor.advance()?;
    }
    Ok(names)
}

/// Looks at up to `limit` keys of a bucket behind `after`.
pub fn lifecycle_work(
    view: &dyn MetaView,
    name: &BucketName,
    after: Option<&str>,
    limit: usize,
    now: Stamp,
) -> Result<LifecycleWork, QueryError> {
    let bucket = bucket::find(view, name)?;
    let rules = view.row(&LifecycleKey(bucket.id))?.unwrap_or_default();
    let mut work = LifecycleWork::default();
    if rules.is_empty() {
        return Ok(work);
    }
    if after.is_none() {
        work.uploads = uploads(view, bucket.id, &rules, now)?;
    }
    let mut last = after.map(str::to_owned);
    for _ in 0..limit {
        let Some(key) = next_key(view, bucket.id, last.as_deref())? else { return Ok(work) };
        if !ended(view, &bucket, &rules, &key, now)?.is_empty() {
            work.keys.push(Key::new(key.clone()).map_err(|_| damaged())?);
        }
        last = Some(key);
        if work.keys.len() == EXPIRED_AT_ONCE_MAX {
            break;
        }
    }
    work.next = last;
    Ok(work)
}

/// The first key behind `after` that has any version.
fn next_key(view: &dyn MetaView, bucket: BucketId, after: Option<&str>) -> Result<Option<String>, StoreError> {
    let mut current = KeyRange::prefix(CurrentKey { bucket, key: "" }.encode().into_vec());
    let mut history = KeyRange::prefix(HistoryKey::prefix(bucket, ""));
    if let Some(after) = after {
        current.start = [&CurrentKey { bucket, key: after }.encode()[..], &[0]].concat();
        match successor(&HistoryKey::of(bucket, after)) {
            Some(behind) => history.start = behind,
            None => return Ok(None),
        }
    }
    let current = view.scan(CurrentKey::TABLE, current, Order::Forward)?;
    let current =
        current.row().map(|(key, _)| CurrentKey::decode(key).map(|key| key.key.to_owned()).ok_or_else(damaged));
    let current = current.transpose()?;
    let history = decode_row::<HistoryKey>(&*view.scan(HistoryKey::TABLE, history, Order::Forward)?)?;
    Ok(match (current, history.map(|(place, _)| place.key)) {
        (Some(current), Some(history)) => Some(current.min(history)),
        (current, history) => current.or(history),
    })
}

fn uploads(
    view: &dyn MetaView,
    bucket: BucketId,
    rules: &[LifecycleRule],
    now: Stamp,
) -> Result<Vec<(Key, UploadId)>, StoreError> {
    let mut due = Vec::new();
    let mut cursor = view.scan(Table::System, KeyRange::prefix(MultipartKey::prefix(bucket, "")), Order::Forward)?;
    let mut walked = 0;
    while walked < LIFECYCLE_WALK_MAX
        && due.len() < EXPIRED_AT_ONCE_MAX
        && let Some((key, _)) = decode_row::<MultipartKey>(&*cursor)?
    {
        walked += 1;
        if rules.iter().any(|rule| rule.ends_upload(&key.key, Stamp(key.upload.0), now)) {
            due.push((Key::new(key.key).map_err(|_| damaged())?, key.upload));
        }
        cursor.advance()?;
    }
    Ok(due)
}

fn damaged() -> StoreError {
    StoreError::row(CurrentKey::TABLE, &[], DecodeError::Malformed)
}
