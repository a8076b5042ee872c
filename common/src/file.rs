//! What a file version is, beside its bytes: attributes, tags of identity, and conditions on them.

use crate::bucket::{SettingsError, Tags, check_file_tags};
use crate::ids::Stamp;
use crate::limits::{ATTRIBUTES_MAX_BYTES, USER_METADATA_MAX_BYTES};
use crate::manifest::Root;
use crate::version::{Lock, VersionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Headers and metadata that are given with a file and returned with it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Expires`, as given.
    pub expires: Option<String>,
    /// User metadata (`x-amz-meta-*`, `X-Meta-*`), names in lower case.
    pub user: BTreeMap<String, String>,
    /// Checksums that were given and verified, by algorithm name as S3 spells it.
    pub checksums: BTreeMap<String, Checksum>,
    /// Labels, which can be changed without making another version.
    pub tags: Tags,
    /// What keeps the version from being removed; changed like its labels. A copy does not take it along.
    pub lock: Lock,
}

/// A verified checksum of a whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// The value, raw.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Parts it is composed of; `None` for a checksum of the whole body.
    pub parts: Option<u32>,
}

/// Attributes beyond what may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum AttributesError {
    /// User metadata is too large.
    #[error("user metadata has {bytes} bytes; at most {USER_METADATA_MAX_BYTES} are kept")]
    UserMetadata {
        /// Names and values together, in bytes.
        bytes: usize,
    },
    /// All together is too large.
    #[error("attributes have {bytes} bytes; at most {ATTRIBUTES_MAX_BYTES} are kept")]
    Total {
        /// All together, in bytes.
        bytes: usize,
    },
    /// A label that cannot be kept.
    #[error(transparent)]
    Tags(#[from] SettingsError),
}

impl Attributes {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Attributes::default()
    }

    /// The first broken limit, if any.
    pub fn check(&self) -> Result<(), AttributesError> {
        let user: usize = self.user.iter().map(|(name, value)| name.len() + value.len()).sum();
        if user > USER_METADATA_MAX_BYTES {
            return Err(AttributesError::UserMetadata { bytes: user });
        }
        check_file_tags(&self.tags)?;
        let headers = [
            &self.content_type,
            &self.content_encoding,
            &self.content_language,
            &self.content_disposition,
            &self.cache_control,
            &self.expires,
        ];
        let total = user
            + headers.into_iter().flatten().map(String::len).sum::<usize>()
            + self.checksums.iter().map(|(name, checksum)| name.len() + checksum.value.len()).sum::<usize>();
        if total > ATTRIBUTES_MAX_BYTES { Err(AttributesError::Total { bytes: total }) } else { Ok(()) }
    }
}

/// The tag that S3 shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum S3Tag {
    /// MD5 of the body: a single PUT through a gateway, which computed it.
    Md5([u8; 16]),
    /// MD5 of the parts' MD5s, and how many parts.
    Multipart([u8; 16], u32),
    /// No MD5 was computed by anyone we trust: the first half of the root is shown, with `-1`, the form that clients do not
    /// take for an MD5.
    Root,
}

/// What identifies the bytes of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ETags {
    /// Root of its manifest.
    pub root: Root,
    /// What S3 shows.
    pub s3: S3Tag,
}

impl ETags {
    /// The native tag, without quotes: `b3-<64 hex digits>`.
    pub fn native(&self) -> String {
        format!("b3-{}", self.root)
    }

    /// The S3 tag, without quotes.
    pub fn s3(&self) -> String {
        match self.s3 {
            S3Tag::Md5(md5) => hex::encode(md5),
            S3Tag::Multipart(md5, parts) => format!("{}-{parts}", hex::encode(md5)),
            S3Tag::Root => format!("{}-1", hex::encode(&self.root.0[..16])),
        }
    }

    /// Whether a tag given by a client (without quotes, of either form) is one of these.
    pub fn matches(&self, tag: &str) -> bool {
        tag == self.s3() || tag == self.native()
    }
}

/// A condition on the current version of a key, judged in the commit itself, so it is exact.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Condition {
    /// `If-Match`.
    pub if_match: Option<TagCondition>,
    /// `If-None-Match`.
    pub if_none_match: Option<TagCondition>,
    /// `If-Unmodified-Since`, in milliseconds since 1970.
    pub unmodified_since_ms: Option<u64>,
    /// `If-Modified-Since`, in milliseconds since 1970. For reads.
    pub modified_since_ms: Option<u64>,
    /// `x-amz-if-match-size`, in bytes. For conditional deletes.
    pub size: Option<u64>,
    /// `x-amz-if-match-last-modified-time`, in milliseconds since 1970. For conditional deletes.
    pub modified_at_ms: Option<u64>,
}

/// `*` or a list of tags without quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TagCondition {
    /// Any version.
    Any,
    /// One of these.
    OneOf(Vec<String>),
}

impl TagCondition {
    fn holds(&self, tags: &ETags) -> bool {
        match self {
            TagCondition::Any => true,
            TagCondition::OneOf(list) => list.iter().any(|tag| tags.matches(tag)),
        }
    }
}

/// How a condition turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionOutcome {
    /// Go on.
    Holds,
    /// Refuse: 412.
    Failed,
    /// For reads: the client has this version already: 304.
    NotModified,
}

/// The facts of a version that a condition looks at.
#[derive(Clone, Copy, Debug)]
pub struct VersionFacts<'a> {
    /// Its tags.
    pub tags: &'a ETags,
    /// When it was committed.
    pub stamp: Stamp,
    /// Its length, in bytes.
    pub length: u64,
}

impl Condition {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Condition::default()
    }

    /// Whether it asks only that there is anything at all.
    pub fn is_any(&self) -> bool {
        *self == Condition { if_match: Some(TagCondition::Any), ..Condition::default() }
    }

    /// Judges the condition in the order of RFC 9110, section 13.2.2. Times have a resolution of one second, as in HTTP.
    pub fn judge(&self, current: Option<VersionFacts<'_>>) -> ConditionOutcome {
        use ConditionOutcome::{Failed, Holds, NotModified};
        let seconds = |ms: u64| ms / 1000;
        if let Some(wanted) = &self.if_match {
            if !current.is_some_and(|version| wanted.holds(version.tags)) {
                return Failed;
            }
        } else if let (Some(since), Some(version)) = (self.unmodified_since_ms, current)
            && seconds(version.stamp.ms()) > seconds(since)
        {
            return Failed;
        }
        if let (Some(size), Some(version)) = (self.size, current)
            && size != version.length
        {
            return Failed;
        }
        if let (Some(at), Some(version)) = (self.modified_at_ms, current)
            && seconds(at) != seconds(version.stamp.ms())
        {
            return Failed;
        }
        if let Some(unwanted) = &self.if_none_match {
            if current.is_some_and(|version| unwanted.holds(version.tags)) {
                return NotModified;
            }
        } else if let (Some(since), Some(version)) = (self.modified_since_ms, current)
            && seconds(version.stamp.ms()) <= seconds(since)
        {
            return NotModified;
        }
        Holds
    }
}

/// A committed version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// When it was committed.
    pub stamp: Stamp,
    /// Its id, in a bucket that keeps versions or kept some.
    pub version: Option<VersionId>,
    /// Length in bytes.
    pub length: u64,
    /// What identifies its bytes.
    pub tags: ETags,
    /// What was given with it.
    pub attributes: Attributes,
}

impl FileInfo {
    /// The facts a condition looks at.
    pub fn facts(&self) -> VersionFacts<'_> {
        VersionFacts { tags: &self.tags, stamp: self.stamp, length: self.length }
    }
}

impl fmt::Display for FileInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {}", self.length, self.tags.native())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGS: ETags = ETags { root: Root([0xab; 32]), s3: S3Tag::Md5([0xcd; 16]) };

    fn version() -> Option<VersionFacts<'static>> {
        Some(VersionFacts { tags: &TAGS, stamp: Stamp::from_ms(5_500), length: 10 })
    }

    fn one_of(tag: &str) -> Option<TagCondition> {
        Some(TagCondition::OneOf(vec![tag.to_owned()]))
    }

    #[test]
    fn tags_have_the_forms_that_clients_expect() {
        assert_eq!(TAGS.s3(), "cd".repeat(16));
        assert_eq!(TAGS.native(), format!("b3-{}", "ab".repeat(32)));
        assert_eq!(ETags { s3: S3Tag::Multipart([1; 16], 12), ..TAGS }.s3(), format!("{}-12", "01".repeat(16)));
        assert_eq!(ETags { s3: S3Tag::Root, ..TAGS }.s3(), format!("{}-1", "ab".repeat(16)));
    }

    #[test]
    fn conditions_are_judged_as_rfc_9110_says() {
        use ConditionOutcome::{Failed, Holds, NotModified};
        let (s3, native) = (TAGS.s3(), TAGS.native());
        let judge = |condition: Condition| (condition.judge(version()), condition.judge(None));
        let none = Condition::default;
        assert_eq!(judge(none()), (Holds, Holds));
        assert_eq!(judge(Condition { if_match: Some(TagCondition::Any), ..none() }), (Holds, Failed));
        assert_eq!(judge(Condition { if_match: one_of(&s3), ..none() }), (Holds, Failed));
        assert_eq!(judge(Condition { if_match: one_of(&native), ..none() }), (Holds, Failed));
        assert_eq!(judge(Condition { if_match: one_of("x"), ..none() }), (Failed, Failed));
        assert_eq!(judge(Condition { if_none_match: Some(TagCondition::Any), ..none() }), (NotModified, Holds));
        assert_eq!(judge(Condition { if_none_match: one_of("x"), ..none() }), (Holds, Holds));
        assert_eq!(judge(Condition { unmodified_since_ms: Some(4_999), ..none() }), (Failed, Holds));
        assert_eq!(judge(Condition { unmodified_since_ms: Some(5_000), ..none() }), (Holds, Holds));
        assert_eq!(judge(Condition { modified_since_ms: Some(5_000), ..none() }), (NotModified, Holds));
        assert_eq!(judge(Condition { modified_since_ms: Some(4_999), ..none() }), (Holds, Holds));
        assert_eq!(judge(Condition { size: Some(10), ..none() }), (Holds, Holds));
        assert_eq!(judge(Condition { size: Some(9), ..none() }), (Failed, Holds));
        assert_eq!(judge(Condition { modified_at_ms: Some(5_999), ..none() }), (Holds, Holds));
        assert_eq!(judge(Condition { modified_at_ms: Some(4_999), ..none() }), (Failed, Holds));
        // If-Match wins over If-Unmodified-Since, If-None-Match over If-Modified-Since.
        let both = Condition { if_match: one_of(&s3), unmodified_since_ms: Some(0), ..none() };
        assert_eq!(both.judge(version()), Holds);
        let both = Condition { if_none_match: one_of("x"), modified_since_ms: Some(9_000), ..none() };
        assert_eq!(both.judge(version()), Holds);
    }

    #[test]
    fn attributes_are_bounded() {
        let user = |length: usize| Attributes {
            user: BTreeMap::from([("k".to_owned(), "v".repeat(length - 1))]),
            ..Attributes::default()
        };
        assert_eq!(user(USER_METADATA_MAX_BYTES).check(), Ok(()));
        assert!(user(USER_METADATA_MAX_BYTES + 1).check().is_err());
        let header = |length| Attributes { expires: Some("x".repeat(length)), ..Attributes::default() };
        assert_eq!(header(ATTRIBUTES_MAX_BYTES).check(), Ok(()));
        assert!(header(ATTRIBUTES_MAX_BYTES + 1).check().is_err());
    }
}
