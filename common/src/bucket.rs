//! What a bucket is configured with, and the labels that buckets and files carry.
//!
//! Each of these settings is kept by itself, because each is read by other people: the quota by every write, what is public
//! by strangers, the tags by tools that account for costs.

use crate::cors::{CorsError, CorsRule, check_cors};
use crate::lifecycle::{LifecycleError, LifecycleRule, check_rules};
use crate::limits::{
    BUCKET_TAGS_MAX, FILE_TAGS_MAX, KEY_MAX_BYTES, PUBLIC_PREFIXES_MAX, TAG_NAME_MAX_CHARS, TAG_VALUE_MAX_CHARS,
};
use crate::version::{ObjectLock, Versioning};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Labels: names and values that mean nothing to Cairn.
pub type Tags = BTreeMap<String, String>;

/// How a bucket is configured.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BucketSettings {
    /// How much it may hold.
    pub quota: Quota,
    /// Whose files anybody may read: those below these prefixes, which end at a `/` like those of grants. `""`: all.
    pub public: Vec<String>,
    /// Its labels.
    pub tags: Tags,
    /// Whether it keeps earlier versions.
    pub versioning: Versioning,
    /// Whether its versions can be locked.
    pub lock: Option<ObjectLock>,
    /// What ends by itself.
    pub lifecycle: Vec<LifecycleRule>,
    /// Which scripts browsers let at it.
    pub cors: Vec<CorsRule>,
    /// What keeps it from being shown to everybody.
    pub public_access_block: Option<PublicAccessBlock>,
    /// Whether it was said that its owner owns what is in it, as is the case anyway.
    pub owner_enforced: bool,
}

/// What keeps a bucket from being shown to everybody, in S3's words. There are no ACLs, so two of these block what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PublicAccessBlock {
    /// No public ACL can be given.
    pub block_acls: bool,
    /// Public ACLs do not count.
    pub ignore_acls: bool,
    /// It cannot be configured to show more to everybody.
    pub block_policy: bool,
    /// Nobody but its tenant sees anything, whatever is configured.
    pub restrict: bool,
}

/// What is said about whom a bucket is shown to, beside its public prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sharing {
    /// What is blocked.
    pub block: Option<PublicAccessBlock>,
    /// Whether ownership was configured.
    pub owner_enforced: bool,
}

/// How much a bucket may hold. Counted are its files in all their versions and whatever open uploads have sent so far, so a started upload has
/// its room, and two writers can never both get the last of it. Lowering a quota below what is there removes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of files and open uploads; `None`: any number.
    pub bytes: Option<u64>,
    /// Files; `None`: any number.
    pub files: Option<u64>,
}

/// New settings of a bucket; `None`: as it was.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BucketChange {
    /// How many bytes it may hold; `Some(None)`: any number.
    pub quota_bytes: Option<Option<u64>>,
    /// How many files it may hold; `Some(None)`: any number.
    pub quota_files: Option<Option<u64>>,
    /// What anybody may read.
    pub public: Option<Vec<String>>,
    /// Its labels, all of them.
    pub tags: Option<Tags>,
    /// Whether it keeps earlier versions; never off again.
    pub versioning: Option<Versioning>,
    /// That its versions can be locked, for good. Only of a bucket that keeps versions.
    pub lock: Option<ObjectLock>,
    /// What ends by itself, all rules of it.
    pub lifecycle: Option<Vec<LifecycleRule>>,
    /// Which scripts browsers let at it, all rules.
    pub cors: Option<Vec<CorsRule>>,
    /// What keeps it from being shown to everybody; `Some(None)`: nothing.
    pub public_access_block: Option<Option<PublicAccessBlock>>,
    /// Whether it says that its owner owns what is in it.
    pub owner_enforced: Option<bool>,
}

/// Settings beyond what may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SettingsError {
    /// Too many labels.
    #[error("{given} tags are too many; at most {max} are kept")]
    TagCount {
        /// How many.
        given: u32,
        /// How many there may be.
        max: u32,
    },
    /// The name of a label is empty or too long.
    #[error("the name of a tag has 1 to {TAG_NAME_MAX_CHARS} characters")]
    TagName,
    /// The value of a label is too long.
    #[error("the value of a tag has at most {TAG_VALUE_MAX_CHARS} characters")]
    TagValue,
    /// Too many public prefixes.
    #[error("{given} public prefixes are too many; at most {PUBLIC_PREFIXES_MAX} are kept")]
    PublicCount {
        /// How many.
        given: u32,
    },
    /// A public prefix that no key can have.
    #[error("a public prefix has at most {KEY_MAX_BYTES} bytes")]
    PublicLength,
    /// A retention of no time, or of too much.
    #[error("a default retention is from one day to a hundred years")]
    LockPeriod,
    /// Rules that cannot be kept.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// Rules for cross-origin access that cannot be kept.
    #[error(transparent)]
    Cors(#[from] CorsError),
    /// Public prefixes of a bucket that blocks them.
    #[error("the bucket's public access block lets nothing be made public")]
    PublicBlocked,
}

impl BucketChange {
    /// The quota that follows on `before`.
    pub fn quota(&self, before: Quota) -> Quota {
        Quota { bytes: self.quota_bytes.unwrap_or(before.bytes), files: self.quota_files.unwrap_or(before.files) }
    }

    /// What is said about sharing that follows on `before`.
    pub fn sharing(&self, before: Sharing) -> Sharing {
        Sharing {
            block: self.public_access_block.unwrap_or(before.block),
            owner_enforced: self.owner_enforced.unwrap_or(before.owner_enforced),
        }
    }

    /// The first broken limit, if any.
    pub fn check(&self) -> Result<(), SettingsError> {
        if let Some(public) = &self.public {
            if public.len() > PUBLIC_PREFIXES_MAX {
                return Err(SettingsError::PublicCount { given: count(public.len()) });
            }
            if public.iter().any(|prefix| prefix.len() > KEY_MAX_BYTES) {
                return Err(SettingsError::PublicLength);
            }
        }
        check_cors(self.cors.as_deref().unwrap_or_default())?;
        check_rules(self.lifecycle.as_deref().unwrap_or_default())?;
        let period = self.lock.and_then(|lock| lock.default).map(|default| default.period);
        if period.is_some_and(|period| period.days().is_none()) {
            return Err(SettingsError::LockPeriod);
        }
        self.tags.as_ref().map_or(Ok(()), |tags| check_tags(tags, BUCKET_TAGS_MAX))
    }
}

/// The first limit that the labels of a file break, if any.
pub fn check_file_tags(tags: &Tags) -> Result<(), SettingsError> {
    check_tags(tags, FILE_TAGS_MAX)
}

fn check_tags(tags: &Tags, max: u32) -> Result<(), SettingsError> {
    let given = count(tags.len());
    if given > max {
        return Err(SettingsError::TagCount { given, max });
    }
    for (name, value) in tags {
        if !(1..=TAG_NAME_MAX_CHARS).contains(&name.chars().count()) {
            return Err(SettingsError::TagName);
        }
        if value.chars().count() > TAG_VALUE_MAX_CHARS {
            return Err(SettingsError::TagValue);
        }
    }
    Ok(())
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Whether `key` lies below `prefix`, by component: `a/b` covers `a/b` and `a/b/…`, not `a/bc`.
pub fn covers(prefix: &str, key: &str) -> bool {
    prefix.is_empty()
        || key
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_cover_by_component() {
        for (prefix, key) in [("", "a"), ("a", "a"), ("a", "a/b"), ("a/", "a/"), ("a/", "a/b"), ("a/b", "a/b/c")] {
            assert!(covers(prefix, key), "{prefix} {key}");
        }
        for (prefix, key) in [("a", "ab"), ("a/", "a"), ("a/b", "a/bc"), ("A", "a"), ("b", "a/b")] {
            assert!(!covers(prefix, key), "{prefix} {key}");
        }
    }

    #[test]
    fn settings_are_bounded() {
        let tags = |count: u32, name: usize, value: usize| -> Tags {
            (0..count).map(|n| (format!("{n:0name$}"), "é".repeat(value))).collect()
        };
        assert_eq!(check_file_tags(&tags(FILE_TAGS_MAX, TAG_NAME_MAX_CHARS, TAG_VALUE_MAX_CHARS)), Ok(()));
        let given = FILE_TAGS_MAX + 1;
        assert_eq!(check_file_tags(&tags(given, 3, 0)), Err(SettingsError::TagCount { given, max: FILE_TAGS_MAX }));
        assert_eq!(check_file_tags(&tags(1, TAG_NAME_MAX_CHARS + 1, 0)), Err(SettingsError::TagName));
        assert_eq!(check_file_tags(&tags(1, 1, TAG_VALUE_MAX_CHARS + 1)), Err(SettingsError::TagValue));
        assert_eq!(check_file_tags(&Tags::from([(String::new(), String::new())])), Err(SettingsError::TagName));
        let bucket = |tags| BucketChange { tags: Some(tags), ..BucketChange::default() }.check();
        assert_eq!(bucket(tags(BUCKET_TAGS_MAX, 3, 1)), Ok(()));
        assert!(bucket(tags(BUCKET_TAGS_MAX + 1, 3, 1)).is_err());
        let public = |count: usize, length: usize| {
            BucketChange { public: Some(vec!["x".repeat(length); count]), ..BucketChange::default() }.check()
        };
        assert_eq!(public(PUBLIC_PREFIXES_MAX, KEY_MAX_BYTES), Ok(()));
        assert!(public(PUBLIC_PREFIXES_MAX + 1, 1).is_err() && public(1, KEY_MAX_BYTES + 1).is_err());
    }
}
