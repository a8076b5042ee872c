//! Buckets, and the counters of what is in them.

use super::tx::{Step, Tx};
use crate::store::StoreError;
use crate::store::key::RowKey;
use crate::store::key::{
    BucketKey, BucketOfTenantKey, BucketRow, BucketTagsKey, CorsKey, LifecycleKey, PolicyKey, PolicyRow, Present,
    PublicKey, QuotaKey, SharingKey, TenantKey, TenantRow, UsageKey,
};
use cairn_common::bucket::{BucketChange, Quota, SettingsError};
use cairn_common::ids::{BucketId, TenantId};
use cairn_common::limits::{BUCKETS_MAX, REPLICAS_MAX};
use cairn_common::name::BucketName;
use cairn_common::policy::{Policy, PolicyError};
use cairn_common::version::{ObjectLock, Versioning};
use cairn_common::wire::command::{Done, Refusal};
use cairn_common::wire::master::Usage;

pub(super) fn create(
    tx: &mut Tx<'_>,
    name: &BucketName,
    tenant: TenantId,
    replicas: Option<u8>,
    lock: bool,
) -> Step<Done> {
    if let Some(row) = tx.get(&BucketKey(name))? {
        return Err(Refusal::BucketExists { name: name.clone(), same_tenant: row.tenant == tenant }.into());
    }
    if let Some(replicas) = replicas {
        check_replicas(replicas)?;
    }
    let owner = tx.get(&TenantKey(tenant))?.unwrap_or_default();
    if owner.buckets >= BUCKETS_MAX {
        return Err(Refusal::TooManyBuckets.into());
    }
    // A stamp is never given twice, so a new bucket sees nothing of an earlier one of its name.
    let id = BucketId(tx.stamp().0);
    let (versioning, lock) = match lock {
        true => (Versioning::Enabled, Some(ObjectLock::default())),
        false => (Versioning::Off, None),
    };
    tx.put(&BucketKey(name), &BucketRow { id, tenant, created: tx.stamp(), replicas, versioning, lock });
    tx.put(&BucketOfTenantKey { tenant, name: name.clone() }, &Present);
    tx.put(&UsageKey(id), &Usage::default());
    tx.put(&TenantKey(tenant), &TenantRow { buckets: owner.buckets + 1 });
    tx.totals(|totals| totals.buckets += 1)?;
    Ok(Done::Bucket { bucket: id })
}

/// Removes a bucket without files, earlier versions and open multipart uploads. A staged upload into it can no longer be committed and ends in
/// its time.
pub(super) fn delete(tx: &mut Tx<'_>, name: &BucketName) -> Step<Done> {
    let row = find(tx, name)?;
    let usage = tx.get(&UsageKey(row.id))?.unwrap_or_default();
    if usage.files > 0 || usage.versions > 0 || usage.uploads > 0 {
        return Err(Refusal::BucketNotEmpty(name.clone()).into());
    }
    let owner = tx.get(&TenantKey(row.tenant))?.unwrap_or_default();
    tx.delete(&BucketKey(name));
    tx.delete(&BucketOfTenantKey { tenant: row.tenant, name: name.clone() });
    tx.delete(&UsageKey(row.id));
    tx.delete(&QuotaKey(row.id));
    tx.delete(&PublicKey(row.id));
    tx.delete(&BucketTagsKey(row.id));
    tx.delete(&LifecycleKey(row.id));
    tx.delete(&CorsKey(row.id));
    tx.delete(&SharingKey(row.id));
    tx.delete(&PolicyKey(row.id));
    tx.put(&TenantKey(row.tenant), &TenantRow { buckets: owner.buckets.saturating_sub(1) });
    tx.totals(|totals| totals.buckets = totals.buckets.saturating_sub(1))?;
    Ok(Done::Nothing)
}

/// Configures a bucket. A setting that says nothing has no row.
pub(super) fn set(tx: &mut Tx<'_>, name: &BucketName, change: &BucketChange) -> Step<Done> {
    change.check()?;
    let row = find(tx, name)?;
    set_versioning(tx, name, row, change)?;
    let before = tx.get(&QuotaKey(row.id))?.unwrap_or_default();
    set_row(tx, &QuotaKey(row.id), &change.quota(before));
    let sharing = change.sharing(tx.get(&SharingKey(row.id))?.unwrap_or_default());
    set_row(tx, &SharingKey(row.id), &sharing);
    if let Some(public) = &change.public {
        if !public.is_empty() && sharing.block.is_some_and(|block| block.block_policy) {
            return Err(SettingsError::PublicBlocked.into());
        }
        set_row(tx, &PublicKey(row.id), public);
    }
    if let Some(tags) = &change.tags {
        set_row(tx, &BucketTagsKey(row.id), tags);
    }
    if let Some(rules) = &change.lifecycle {
        set_row(tx, &LifecycleKey(row.id), rules);
    }
    if let Some(rules) = &change.cors {
        set_row(tx, &CorsKey(row.id), rules);
    }
    Ok(Done::Nothing)
}

/// Gives a bucket a policy, or takes it off. One that is not understood, or that its block of public access refuses, is never kept.
pub(super) fn set_policy(tx: &mut Tx<'_>, name: &BucketName, policy: Option<&str>) -> Step<Done> {
    let row = find(tx, name)?;
    let text = policy.unwrap_or_default().to_owned();
    if policy.is_some() {
        let parsed = Policy::parse(&text, name)?;
        let block = tx.get(&SharingKey(row.id))?.unwrap_or_default().block;
        if parsed.is_public() && block.is_some_and(|block| block.block_policy) {
            return Err(PolicyError::Public.into());
        }
    }
    set_row(tx, &PolicyKey(row.id), &PolicyRow { text });
    Ok(Done::Nothing)
}

/// Switches versioning and Object Lock. Both only ever come: a bucket that kept versions has some that it must go on showing.
fn set_versioning(tx: &mut Tx<'_>, name: &BucketName, row: BucketRow, change: &BucketChange) -> Step<()> {
    let versioning = change.versioning.unwrap_or(row.versioning);
    let lock = change.lock.or(row.lock);
    if versioning == Versioning::Off && row.versioning != Versioning::Off {
        return Err(Refusal::Invalid("versioning can be suspended, not switched off".to_owned()).into());
    }
    if lock.is_some() && versioning != Versioning::Enabled {
        return Err(Refusal::LockNeedsVersions.into());
    }
    let new = BucketRow { versioning, lock, ..row };
    if new != row {
        tx.put(&BucketKey(name), &new);
    }
    Ok(())
}

fn set_row<K: RowKey>(tx: &mut Tx<'_>, key: &K, row: &K::Row)
where
    K::Row: Default + PartialEq,
{
    if *row == K::Row::default() { tx.delete(key) } else { tx.put(key, row) }
}

/// The bucket of a name.
pub(super) fn find(tx: &Tx<'_>, name: &BucketName) -> Step<BucketRow> {
    tx.get(&BucketKey(name))?.ok_or_else(|| Refusal::NoSuchBucket(name.clone()).into())
}

pub(super) fn check_replicas(replicas: u8) -> Result<(), Refusal> {
    if (1..=REPLICAS_MAX).contains(&replicas) {
        Ok(())
    } else {
        Err(Refusal::Invalid(format!("{replicas} copies: 1 to {REPLICAS_MAX} are possible")))
    }
}

/// By how much the counters of a bucket change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UsageChange {
    pub(super) files: i64,
    pub(super) bytes: i64,
    pub(super) uploads: i64,
    pub(super) pending_bytes: i64,
    pub(super) versions: i64,
    pub(super) version_bytes: i64,
}

impl UsageChange {
    /// Bytes that a quota counts.
    fn all_bytes(self) -> i64 {
        self.bytes + self.pending_bytes + self.version_bytes
    }

    /// Files that a quota counts.
    fn all_files(self) -> i64 {
        self.files + self.versions
    }
}

/// Changes the counters of a bucket for something that makes it larger, if its quota has room for it. Whatever the same command
/// takes away must have been counted before.
pub(super) fn grow(tx: &mut Tx<'_>, bucket: BucketId, change: UsageChange) -> Step<()> {
    if change.all_bytes() > 0 || change.all_files() > 0 {
        let quota = tx.get(&QuotaKey(bucket))?.unwrap_or_default();
        if quota != Quota::default() {
            check_quota(quota, tx.get(&UsageKey(bucket))?.unwrap_or_default(), bucket, change)?;
        }
    }
    Ok(count(tx, bucket, change)?)
}

fn check_quota(quota: Quota, usage: Usage, bucket: BucketId, change: UsageChange) -> Result<(), Refusal> {
    let (more_bytes, more_files) = (change.all_bytes(), change.all_files());
    let bytes = usage.bytes.saturating_add(usage.pending_bytes).saturating_add(usage.version_bytes);
    let bytes = bytes.saturating_add_signed(more_bytes);
    let files = usage.files.saturating_add(usage.versions).saturating_add_signed(more_files);
    match quota {
        Quota { bytes: Some(limit), .. } if more_bytes > 0 && bytes > limit => {
            Err(Refusal::QuotaBytes { bucket, limit })
        }
        Quota { files: Some(limit), .. } if more_files > 0 && files > limit => {
            Err(Refusal::QuotaFiles { bucket, limit })
        }
        _ => Ok(()),
    }
}

/// Changes the counters of a bucket, whatever its quota. One that is gone has none. A counter never falls below zero: that would be a broken
/// invariant, which [`check()`](super::check()) finds, and no reason to stop every master.
pub(super) fn count(tx: &mut Tx<'_>, bucket: BucketId, change: UsageChange) -> Result<(), StoreError> {
    let Some(usage) = tx.get(&UsageKey(bucket))? else { return Ok(()) };
    let usage = Usage {
        files: usage.files.saturating_add_signed(change.files),
        bytes: usage.bytes.saturating_add_signed(change.bytes),
        uploads: usage.uploads.saturating_add_signed(change.uploads),
        pending_bytes: usage.pending_bytes.saturating_add_signed(change.pending_bytes),
        versions: usage.versions.saturating_add_signed(change.versions),
        version_bytes: usage.version_bytes.saturating_add_signed(change.version_bytes),
    };
    tx.put(&UsageKey(bucket), &usage);
    Ok(())
}

/// A size as a change of a counter.
pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("files are far below 8 EiB")
}
