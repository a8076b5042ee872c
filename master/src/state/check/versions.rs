//! Earlier versions and marks of removal: that they are where they belong, and that the newest of a key is the current one.

use super::files::Found;
use super::{Violation, each};
use crate::store::key::{Body, CurrentRow};
use crate::store::key::{BucketKey, BucketRow, CurrentKey, HistoryKey, HistoryRow, NullVersionKey, Record, RowKey};
use crate::store::{KeyRange, MetaView, Order, StoreError, Table};
use cairn_common::ids::{BucketId, Stamp};
use cairn_common::version::Versioning;
use std::collections::BTreeMap;

/// Counts earlier versions and what they hold.
pub(super) fn check(view: &dyn MetaView, found: &mut Found, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
    let keeping = keeping(view)?;
    let mut nulls: BTreeMap<(BucketId, String), Stamp> = BTreeMap::new();
    each::<NullVersionKey>(view, NullVersionKey::all(), |key, stamp| {
        nulls.insert((key.bucket, key.key), stamp);
        Ok(())
    })?;
    let mut before: Option<(BucketId, String)> = None;
    each::<HistoryKey>(view, Vec::new(), |place, row| {
        if let Some(file) = &row.file {
            found.hold(file.body);
        }
        let key = (place.bucket, place.key.clone());
        let newest = before.as_ref() != Some(&key);
        let current = view.row(&CurrentKey { bucket: place.bucket, key: &place.key })?;
        let null = nulls.get(&key).copied();
        let in_order = is_in_order(&place, &row, newest, current.as_ref());
        let null_is_known = (null == Some(place.stamp)) != row.versioned;
        let one_null = row.versioned || current.is_none_or(|current| current.versioned);
        if null == Some(place.stamp) {
            nulls.remove(&key);
        }
        match found.usage.get_mut(&place.bucket) {
            Some(usage) if in_order && null_is_known && one_null && keeping.contains_key(&place.bucket) => {
                usage.versions += 1;
                usage.version_bytes += row.file.as_ref().map_or(0, |file| file.length);
            }
            _ => violations.push(Violation::Version { key: hex::encode(place.encode()) }),
        }
        before = Some(key);
        Ok(())
    })?;
    // Named a version that is not there.
    for (bucket, key) in nulls.into_keys() {
        violations.push(Violation::Version { key: hex::encode(NullVersionKey { bucket, key }.encode()) });
    }
    Ok(())
}

/// The current version is newer than all others; without one, the newest is a mark.
fn is_in_order(place: &HistoryKey, row: &HistoryRow, newest: bool, current: Option<&CurrentRow>) -> bool {
    let whole = row.file.as_ref().is_none_or(|file| (file.length == 0) == (file.body == Body::Empty));
    let behind = match current {
        Some(current) => place.stamp < current.stamp,
        None => !newest || row.file.is_none(),
    };
    whole && behind
}

/// Buckets that keep versions, or kept some.
fn keeping(view: &dyn MetaView) -> Result<BTreeMap<BucketId, Versioning>, StoreError> {
    let mut keeping = BTreeMap::new();
    let mut cursor = view.scan(Table::System, KeyRange::prefix(BucketKey::all()), Order::Forward)?;
    while let Some((key, value)) = cursor.row() {
        let row = BucketRow::from_slice(value).map_err(|reason| StoreError::row(Table::System, key, reason))?;
        if row.versioning != Versioning::Off {
            keeping.insert(row.id, row.versioning);
        }
        cursor.advance()?;
    }
    Ok(keeping)
}
