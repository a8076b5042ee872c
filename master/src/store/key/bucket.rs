//! Buckets, by name and by owner, and what is in them.

use super::{KeyBytes, KeyReader, KeyWriter, Present, RowKey, ScannedKey, SystemKind, postcard_records};
use crate::store::Table;
use cairn_common::bucket::{Quota, Sharing, Tags};
use cairn_common::cors::CorsRule;
use cairn_common::ids::{BucketId, Stamp, TenantId};
use cairn_common::lifecycle::LifecycleRule;
use cairn_common::name::BucketName;
use cairn_common::version::{ObjectLock, Versioning};
use cairn_common::wire::master::Usage;
use serde::{Deserialize, Serialize};

/// A bucket: its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketKey<'a>(pub &'a BucketName);

/// A bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRow {
    /// Its number, which its files have in their keys. Never used again, so a new bucket of the same name sees nothing of it.
    pub id: BucketId,
    /// Its owner.
    pub tenant: TenantId,
    /// When it was made.
    pub created: Stamp,
    /// Copies of its chunks; `None`: the cluster's number, whatever it becomes.
    pub replicas: Option<u8>,
    /// Whether it keeps earlier versions.
    pub versioning: Versioning,
    /// Whether versions can be locked.
    pub lock: Option<ObjectLock>,
}

/// A bucket of a tenant: tenant, name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketOfTenantKey {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub name: BucketName,
}

/// What is in a bucket: its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageKey(pub BucketId);

/// How much a bucket may hold: its number. No row: anything. Rows of their own, and not part of the bucket's, because staged uploads
/// know the number of their bucket and not its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaKey(pub BucketId);

/// The prefixes of a bucket whose files anybody may read: its number. No row: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub BucketId);

/// The labels of a bucket: its number. No row: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketTagsKey(pub BucketId);

/// What ends by itself in a bucket: its number. No row: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecycleKey(pub BucketId);

/// Which scripts browsers let at a bucket: its number. No row: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorsKey(pub BucketId);

/// Whom a bucket is shown to, beside its public prefixes: its number. No row: nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharingKey(pub BucketId);

/// The policy of a bucket: its number. No row: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyKey(pub BucketId);

/// The policy of a bucket, as it was given.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PolicyRow {
    /// Its text. It was understood when it was given.
    pub text: String,
}

/// A tenant: its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantKey(pub TenantId);

/// A tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TenantRow {
    /// How many buckets it has.
    pub buckets: u32,
}

impl RowKey for BucketKey<'_> {
    const TABLE: Table = Table::System;
    type Row = BucketRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::Bucket).last(self.0.as_str().as_bytes()).finish()
    }
}

impl BucketKey<'_> {
    /// What the keys of all buckets start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::Bucket).prefix()
    }
}

impl BucketOfTenantKey {
    /// What the keys of a tenant's buckets start with.
    pub(crate) fn of(tenant: TenantId) -> Vec<u8> {
        KeyWriter::system(SystemKind::BucketOfTenant).u32(tenant.0).prefix()
    }
}

impl RowKey for BucketOfTenantKey {
    const TABLE: Table = Table::System;
    type Row = Present;

    fn encode(&self) -> KeyBytes {
        let writer = KeyWriter::system(SystemKind::BucketOfTenant).u32(self.tenant.0);
        writer.last(self.name.as_str().as_bytes()).finish()
    }
}

impl ScannedKey for BucketOfTenantKey {
    fn decode(bytes: &[u8]) -> Option<BucketOfTenantKey> {
        let mut reader = KeyReader::system(bytes, SystemKind::BucketOfTenant)?;
        let tenant = TenantId(reader.u32()?);
        Some(BucketOfTenantKey { tenant, name: BucketName::new(reader.last_text()?).ok()? })
    }
}

impl RowKey for UsageKey {
    const TABLE: Table = Table::System;
    type Row = Usage;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::Usage).u64(self.0.0).finish()
    }
}

impl UsageKey {
    /// What the keys of all usages start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::Usage).prefix()
    }
}

impl ScannedKey for UsageKey {
    fn decode(bytes: &[u8]) -> Option<UsageKey> {
        let mut reader = KeyReader::system(bytes, SystemKind::Usage)?;
        let id = BucketId(reader.u64()?);
        reader.end(UsageKey(id))
    }
}

/// Rows that a bucket's number is the whole key of.
macro_rules! settings {
    ($($key:ident = $kind:ident -> $row:ty;)*) => {$(
        impl RowKey for $key {
            const TABLE: Table = Table::System;
            type Row = $row;

            fn encode(&self) -> KeyBytes {
                KeyWriter::system(SystemKind::$kind).u64(self.0.0).finish()
            }
        }

        impl $key {
            /// What the keys of all such rows start with.
            pub(crate) fn all() -> Vec<u8> {
                KeyWriter::system(SystemKind::$kind).prefix()
            }
        }

        impl ScannedKey for $key {
            fn decode(bytes: &[u8]) -> Option<$key> {
                let mut reader = KeyReader::system(bytes, SystemKind::$kind)?;
                let id = BucketId(reader.u64()?);
                reader.end($key(id))
            }
        }
    )*};
}

settings! {
    QuotaKey = Quota -> Quota;
    PublicKey = Public -> Vec<String>;
    BucketTagsKey = BucketTags -> Tags;
    LifecycleKey = Lifecycle -> Vec<LifecycleRule>;
    CorsKey = Cors -> Vec<CorsRule>;
    SharingKey = Sharing -> Sharing;
    PolicyKey = Policy -> PolicyRow;
}

impl RowKey for TenantKey {
    const TABLE: Table = Table::System;
    type Row = TenantRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::Tenant).u32(self.0.0).finish()
    }
}

postcard_records!(
    BucketRow,
    Usage,
    TenantRow,
    Quota,
    Vec<String>,
    Tags,
    Vec<LifecycleRule>,
    Vec<CorsRule>,
    Sharing,
    PolicyRow
);
