//! Buckets.

use super::QueryError;
use crate::state::Members;
use crate::store::key::{
    BucketKey, BucketOfTenantKey, BucketRow, BucketTagsKey, CorsKey, LifecycleKey, PolicyKey, PublicKey, QuotaKey,
    SharingKey, UsageKey, decode_row,
};
use crate::store::{KeyRange, MetaView, Order, StoreError, Table};
use cairn_common::bucket::{BucketSettings, covers};
use cairn_common::cors::CorsRule;
use cairn_common::ids::{BucketId, TenantId};
use cairn_common::name::{BucketName, FilePath};
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::BucketInfo;

/// What is known about a bucket.
pub fn bucket(view: &dyn MetaView, members: &Members, name: &BucketName) -> Result<BucketInfo, QueryError> {
    let row = find(view, name)?;
    Ok(info(view, members, name, row)?)
}

/// All buckets of a tenant, by name, without their rules for lifecycle and cross-origin access.
pub fn buckets(view: &dyn MetaView, members: &Members, tenant: TenantId) -> Result<Vec<BucketInfo>, QueryError> {
    let mut buckets = Vec::new();
    let mut cursor = view.scan(Table::System, KeyRange::prefix(BucketOfTenantKey::of(tenant)), Order::Forward)?;
    while let Some((BucketOfTenantKey { name, .. }, _)) = decode_row(&*cursor)? {
        let row = view.expect_row(&BucketKey(&name))?;
        let mut bucket = info(view, members, &name, row)?;
        // Rules of many buckets would be more than an answer can have.
        (bucket.settings.lifecycle, bucket.settings.cors) = (Vec::new(), Vec::new());
        buckets.push(bucket);
        cursor.advance()?;
    }
    Ok(buckets)
}

/// Whether anybody may read a file of this name, be it there or not. In a bucket that is not there, nothing is public.
pub fn is_public(view: &dyn MetaView, path: &FilePath) -> Result<bool, QueryError> {
    let Some(bucket) = view.row(&BucketKey(&path.bucket))? else { return Ok(false) };
    let public = view.row(&PublicKey(bucket.id))?.unwrap_or_default();
    let sharing = view.row(&SharingKey(bucket.id))?.unwrap_or_default();
    let shown = !sharing.block.is_some_and(|block| block.restrict);
    Ok(shown && public.iter().any(|prefix| covers(prefix, path.key.as_str())))
}

/// The rules for cross-origin access of a bucket; none, if it is not there.
pub fn cors(view: &dyn MetaView, name: &BucketName) -> Result<Vec<CorsRule>, QueryError> {
    let Some(bucket) = view.row(&BucketKey(name))? else { return Ok(Vec::new()) };
    Ok(view.row(&CorsKey(bucket.id))?.unwrap_or_default())
}

/// Who may do what with a bucket, as far as the bucket itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRules {
    /// Its number.
    pub id: BucketId,
    /// Its owner.
    pub tenant: TenantId,
    /// Its policy, as it was given.
    pub policy: Option<String>,
    /// Whether what is public is for nobody but the owner.
    pub restricted: bool,
}

/// Who may do what with a bucket, if it is there.
pub fn rules(view: &dyn MetaView, name: &BucketName) -> Result<Option<BucketRules>, QueryError> {
    let Some(row) = view.row(&BucketKey(name))? else { return Ok(None) };
    let policy = view.row(&PolicyKey(row.id))?.map(|policy| policy.text);
    let restricted = match policy {
        Some(_) => view.row(&SharingKey(row.id))?.unwrap_or_default().block.is_some_and(|block| block.restrict),
        None => false,
    };
    Ok(Some(BucketRules { id: row.id, tenant: row.tenant, policy, restricted }))
}

/// The policy of a bucket, as it was given, if it has one.
pub fn policy(view: &dyn MetaView, name: &BucketName) -> Result<Option<String>, QueryError> {
    Ok(view.row(&PolicyKey(find(view, name)?.id))?.map(|policy| policy.text))
}

/// The row of a bucket that must be there.
pub(super) fn find(view: &dyn MetaView, name: &BucketName) -> Result<BucketRow, QueryError> {
    view.row(&BucketKey(name))?.ok_or_else(|| Refusal::NoSuchBucket(name.clone()).into())
}

fn info(view: &dyn MetaView, members: &Members, name: &BucketName, row: BucketRow) -> Result<BucketInfo, StoreError> {
    let sharing = view.row(&SharingKey(row.id))?.unwrap_or_default();
    Ok(BucketInfo {
        name: name.clone(),
        id: row.id,
        tenant: row.tenant,
        created: row.created,
        replicas: members.replicas(row.replicas),
        replicas_follow: row.replicas.is_none(),
        usage: view.row(&UsageKey(row.id))?.unwrap_or_default(),
        settings: BucketSettings {
            quota: view.row(&QuotaKey(row.id))?.unwrap_or_default(),
            public: view.row(&PublicKey(row.id))?.unwrap_or_default(),
            tags: view.row(&BucketTagsKey(row.id))?.unwrap_or_default(),
            versioning: row.versioning,
            lock: row.lock,
            cors: view.row(&CorsKey(row.id))?.unwrap_or_default(),
            public_access_block: sharing.block,
            owner_enforced: sharing.owner_enforced,
            lifecycle: view.row(&LifecycleKey(row.id))?.unwrap_or_default(),
        },
    })
}
