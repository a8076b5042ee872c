//! Files, small bodies, uploads, and the counters of buckets.

use super::{Violation, each, versions};
use crate::store::key::{
    AttributesKey, Body, BucketKey, BucketRow, BucketTagsKey, CorsKey, CurrentKey, CurrentRow, HoldersKey, InlineId,
    InlineRow, LifecycleKey, MultipartKey, PartKey, PolicyKey, PublicKey, QuotaKey, Record, RowKey, ScannedKey,
    SharingKey, StagingKey, UsageKey,
};
use crate::store::{KeyRange, MetaView, Order, StoreError, Table};
use cairn_common::ids::{BucketId, ManifestId, UploadId};
use cairn_common::wire::DecodeError;
use cairn_common::wire::master::Usage;
use std::collections::{BTreeMap, BTreeSet};

/// Who holds which manifest, and how often.
pub(super) type Holders = BTreeMap<ManifestId, u64>;

/// What is found on the way.
#[derive(Default)]
pub(super) struct Found {
    pub(super) usage: BTreeMap<BucketId, Usage>,
    manifests: Holders,
    inline: BTreeMap<InlineId, u64>,
}

impl Found {
    pub(super) fn hold(&mut self, body: Body) {
        match body {
            Body::Empty => {}
            Body::Inline(id) => *self.inline.entry(id).or_default() += 1,
            Body::Manifest(id) => *self.manifests.entry(id).or_default() += 1,
        }
    }
}

/// Checks all of them; answers who holds manifests.
pub(super) fn check(view: &dyn MetaView, violations: &mut Vec<Violation>) -> Result<Holders, StoreError> {
    let mut found = Found::default();
    buckets(view, &mut found)?;
    settings::<QuotaKey>(view, QuotaKey::all(), &found, violations, |key| key.0)?;
    settings::<PublicKey>(view, PublicKey::all(), &found, violations, |key| key.0)?;
    settings::<BucketTagsKey>(view, BucketTagsKey::all(), &found, violations, |key| key.0)?;
    settings::<LifecycleKey>(view, LifecycleKey::all(), &found, violations, |key| key.0)?;
    settings::<CorsKey>(view, CorsKey::all(), &found, violations, |key| key.0)?;
    settings::<SharingKey>(view, SharingKey::all(), &found, violations, |key| key.0)?;
    settings::<PolicyKey>(view, PolicyKey::all(), &found, violations, |key| key.0)?;
    current(view, &mut found, violations)?;
    attributes(view, violations)?;
    versions::check(view, &mut found, violations)?;
    uploads(view, &mut found, violations)?;
    inline(view, &found, violations)?;
    each::<UsageKey>(view, UsageKey::all(), |UsageKey(bucket), stored| {
        let counted = found.usage.remove(&bucket);
        if counted != Some(stored) {
            let counted = counted.unwrap_or_default();
            violations.push(Violation::Usage { bucket, stored: Some(stored), counted });
        }
        Ok(())
    })?;
    for (bucket, counted) in found.usage {
        violations.push(Violation::Usage { bucket, stored: None, counted });
    }
    Ok(found.manifests)
}

fn buckets(view: &dyn MetaView, found: &mut Found) -> Result<(), StoreError> {
    let mut cursor = view.scan(Table::System, KeyRange::prefix(BucketKey::all()), Order::Forward)?;
    while let Some((key, value)) = cursor.row() {
        let row = BucketRow::from_slice(value).map_err(|reason| StoreError::row(Table::System, key, reason))?;
        found.usage.insert(row.id, Usage::default());
        cursor.advance()?;
    }
    Ok(())
}

/// Settings are those of buckets that are there.
fn settings<K: ScannedKey>(
    view: &dyn MetaView,
    prefix: Vec<u8>,
    found: &Found,
    violations: &mut Vec<Violation>,
    bucket: impl Fn(&K) -> BucketId,
) -> Result<(), StoreError> {
    each::<K>(view, prefix, |key, _| {
        if !found.usage.contains_key(&bucket(&key)) {
            violations.push(Violation::Orphan { table: Table::System, key: hex::encode(key.encode()) });
        }
        Ok(())
    })
}

fn current(view: &dyn MetaView, found: &mut Found, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
    let mut cursor = view.scan(Table::Current, KeyRange::default(), Order::Forward)?;
    while let Some((bytes, value)) = cursor.row() {
        let damaged = |reason| StoreError::row(Table::Current, bytes, reason);
        let key = CurrentKey::decode(bytes).ok_or_else(|| damaged(DecodeError::Malformed))?;
        let row = CurrentRow::from_slice(value).map_err(damaged)?;
        found.hold(row.body);
        let has_attributes = view.row(&AttributesKey(key))?.is_some();
        match found.usage.get_mut(&key.bucket) {
            Some(usage) if has_attributes == row.attributes && (row.length == 0) == (row.body == Body::Empty) => {
                usage.files += 1;
                usage.bytes += row.length;
            }
            _ => violations.push(Violation::Orphan { table: Table::Current, key: hex::encode(bytes) }),
        }
        cursor.advance()?;
    }
    Ok(())
}

fn attributes(view: &dyn MetaView, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
    let mut cursor = view.scan(Table::Attributes, KeyRange::default(), Order::Forward)?;
    while let Some((bytes, _)) = cursor.row() {
        if view.get(Table::Current, bytes)?.is_none() {
            violations.push(Violation::Orphan { table: Table::Attributes, key: hex::encode(bytes) });
        }
        cursor.advance()?;
    }
    Ok(())
}

fn uploads(view: &dyn MetaView, found: &mut Found, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
    let mut open: BTreeMap<UploadId, BucketId> = BTreeMap::new();
    let mut without_bucket = BTreeSet::new();
    each::<MultipartKey>(view, MultipartKey::all(), |key, _| {
        open.insert(key.upload, key.bucket);
        match found.usage.get_mut(&key.bucket) {
            Some(usage) => usage.uploads += 1,
            None => drop(without_bucket.insert(key.upload)),
        }
        Ok(())
    })?;
    violations.extend(without_bucket.into_iter().map(Violation::Upload));
    each::<PartKey>(view, PartKey::all(), |key, row| {
        found.hold(row.body);
        let bucket = open.get(&key.upload);
        match bucket.and_then(|bucket| found.usage.get_mut(bucket)) {
            Some(usage) => usage.pending_bytes += row.length,
            None => violations.push(Violation::Orphan { table: Table::System, key: hex::encode(key.encode()) }),
        }
        Ok(())
    })?;
    // A staged upload may outlive its bucket: then nobody counts it.
    each::<StagingKey>(view, StagingKey::all(), |_, row| {
        if let Some(usage) = found.usage.get_mut(&row.bucket) {
            usage.pending_bytes += row.hasher.length();
        }
        Ok(())
    })
}

fn inline(view: &dyn MetaView, found: &Found, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
    let mut held = found.inline.clone();
    each::<HoldersKey>(view, HoldersKey::all(), |key, more| {
        let HoldersKey::Inline(id) = key else { return Ok(()) };
        let counted = held.get(&id).copied().unwrap_or(0);
        if counted != more + 1 {
            violations.push(Violation::InlineCount { inline: id.0, stored: more + 1, counted });
        }
        Ok(())
    })?;
    let mut cursor = view.scan(Table::Inline, KeyRange::default(), Order::Forward)?;
    while let Some((bytes, value)) = cursor.row() {
        let damaged = |reason| StoreError::row(Table::Inline, bytes, reason);
        let id = <[u8; 8]>::try_from(bytes).map_err(|_| damaged(DecodeError::Malformed))?;
        let inline = u64::from_be_bytes(id);
        let row = InlineRow::from_slice(value).map_err(damaged)?;
        let counted = held.remove(&InlineId(inline)).unwrap_or(0);
        let shared = view.row(&HoldersKey::Inline(InlineId(inline)))?.is_some();
        if counted == 0 || (counted > 1 && !shared) {
            violations.push(Violation::InlineCount { inline, stored: 1, counted });
        }
        if blake3::hash(&row.bytes) != row.hash {
            violations.push(Violation::InlineHash(inline));
        }
        cursor.advance()?;
    }
    let missing = |(InlineId(inline), counted)| Violation::InlineCount { inline, stored: 0, counted };
    violations.extend(held.into_iter().map(missing));
    Ok(())
}
