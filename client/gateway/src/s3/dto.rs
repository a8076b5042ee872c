//! Between the types of `s3s` and ours: names, times, conditions, attributes, checksums.

use super::error::{self, denied, error, unsupported};
use super::{lock, tagging};
use crate::checksum::{Algorithm, encode};
use cairn_common::file::{Attributes, Checksum, Condition, ETags, FileInfo, TagCondition};
use cairn_common::ids::{Stamp, TenantId};
use cairn_common::name::{BucketName, FilePath};
use cairn_common::version::VersionId;
use cairn_common::wire::master::RangeWanted;
use http::{HeaderMap, HeaderValue, header};
use s3s::dto::{ChecksumType, CopySource, ETag, ETagCondition, Metadata, Owner, Range, Timestamp};
use s3s::{S3ErrorCode, S3Result};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// What S3 answers for a file that came without a type.
pub(crate) const DEFAULT_TYPE: &str = "binary/octet-stream";

/// A bucket's name.
pub(crate) fn bucket(name: &str) -> S3Result<BucketName> {
    BucketName::new(name).map_err(|problem| error::name(&problem))
}

/// A file's path.
pub(crate) fn path(bucket: &str, key: &str) -> S3Result<FilePath> {
    FilePath::new(bucket, key).map_err(|problem| error::name(&problem))
}

/// The file that a copy is made of, and which version of it.
pub(crate) fn source(source: &CopySource) -> S3Result<(FilePath, Option<VersionId>)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => Ok((path(bucket, key)?, version(version_id.as_deref())?)),
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => Err(unsupported("A copy from an access point")),
    }
}

/// Which version is asked for; `None`: the current one.
pub(crate) fn version(id: Option<&str>) -> S3Result<Option<VersionId>> {
    let invalid = |_| error(S3ErrorCode::InvalidArgument, "Invalid version id specified");
    id.map(str::parse).transpose().map_err(invalid)
}

/// The id of a version, as answers have it.
pub(crate) fn version_id(version: Option<VersionId>) -> Option<String> {
    version.map(|version| version.to_string())
}

/// The id of a version that was made. S3 does not name those that replace each other.
pub(crate) fn made(version: Option<VersionId>) -> Option<String> {
    version_id(version.filter(|version| *version != VersionId::Null))
}

/// When a version was made.
pub(crate) fn time(stamp: Stamp) -> Timestamp {
    time_ms(stamp.ms())
}

/// The last moment that S3 can write: the end of the year 9999.
const TIME_MAX_MS: u64 = 253_402_300_799_999;

/// Milliseconds since 1970 as a time; what lies behind the last one that S3 can write is shown as that.
pub(crate) fn time_ms(ms: u64) -> Timestamp {
    (UNIX_EPOCH + Duration::from_millis(ms.min(TIME_MAX_MS))).into()
}

/// A time, in milliseconds since 1970.
pub(crate) fn milliseconds(time: Timestamp) -> S3Result<u64> {
    let nanos = time::OffsetDateTime::from(time).unix_timestamp_nanos();
    let outside = || error(S3ErrorCode::InvalidArgument, "The time lies before 1970 or behind the year 9999");
    u64::try_from(nanos / 1_000_000).ok().filter(|ms| *ms <= TIME_MAX_MS).ok_or_else(outside)
}

/// The tag that S3 shows.
pub(crate) fn tag(tags: &ETags) -> ETag {
    ETag::Strong(tags.s3())
}

/// How a tenant is shown where S3 shows an account: 64 digits, as its canonical ids have.
pub(crate) fn owner_id(tenant: TenantId) -> String {
    format!("{:064x}", tenant.0)
}

/// The tenant of an owner's id; of what is none: one that owns nothing.
pub(crate) fn tenant_of(owner: &str) -> Option<TenantId> {
    let number = Some(owner).filter(|owner| owner.len() == 64).and_then(|owner| u32::from_str_radix(owner, 16).ok());
    Some(number.map_or(TenantId(0), TenantId))
}

/// A tenant as the owner of something.
pub(crate) fn owner(tenant: TenantId) -> Owner {
    Owner { display_name: Some(format!("tenant-{}", tenant.0)), id: Some(owner_id(tenant)) }
}

/// `x-amz-expected-bucket-owner`.
pub(crate) fn expect_owner(expected: Option<&str>, tenant: TenantId) -> S3Result<()> {
    if expected.is_none_or(|expected| expected == owner_id(tenant)) { Ok(()) } else { Err(denied()) }
}

fn tags(condition: ETagCondition) -> TagCondition {
    match condition {
        ETagCondition::Any => TagCondition::Any,
        ETagCondition::ETag(tag) => TagCondition::OneOf(vec![tag.into_value()]),
    }
}

/// The condition of a write.
pub(crate) fn write_condition(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> Condition {
    Condition { if_match: if_match.map(tags), if_none_match: if_none_match.map(tags), ..Condition::default() }
}

/// The condition of a read. Times are taken from the headers: a time that is none is no condition (RFC 9110, 13.1.3).
pub(crate) fn read_condition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    headers: &HeaderMap,
    [modified, unmodified]: [&str; 2],
) -> Condition {
    let time = |name: &str| date_ms(headers.get(name)?);
    Condition {
        modified_since_ms: time(modified),
        unmodified_since_ms: time(unmodified),
        ..write_condition(if_match, if_none_match)
    }
}

/// An HTTP date, in milliseconds since 1970.
pub(crate) fn date_ms(value: &HeaderValue) -> Option<u64> {
    let date = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    u64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// Which bytes are wanted.
pub(crate) fn range(range: Option<Range>) -> RangeWanted {
    match range {
        None => RangeWanted::All,
        Some(Range::Int { first, last: None }) => RangeWanted::From(first),
        Some(Range::Int { first, last: Some(last) }) => RangeWanted::FromTo(first, last.saturating_add(1)),
        Some(Range::Suffix { length }) => RangeWanted::Last(length),
    }
}

/// `Content-Range` of bytes out of a file.
pub(crate) fn content_range((start, end): (u64, u64), length: u64) -> String {
    format!("bytes {start}-{}/{length}", end.saturating_sub(1))
}

/// What is stored with an object: headers as they were sent, without the framing that was taken off.
pub(crate) fn attributes(headers: &HeaderMap, metadata: Option<Metadata>) -> S3Result<Attributes> {
    let text = |name: header::HeaderName| {
        let value = headers.get(name)?;
        std::str::from_utf8(value.as_bytes()).ok().filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let lower = |(name, value): (String, String)| (name.to_ascii_lowercase(), value);
    Ok(Attributes {
        content_type: text(header::CONTENT_TYPE),
        content_encoding: text(header::CONTENT_ENCODING).and_then(|encoding| without_framing(&encoding)),
        content_language: text(header::CONTENT_LANGUAGE),
        content_disposition: text(header::CONTENT_DISPOSITION),
        cache_control: text(header::CACHE_CONTROL),
        expires: text(header::EXPIRES),
        user: metadata.unwrap_or_default().into_iter().map(lower).collect(),
        checksums: BTreeMap::new(),
        tags: tagging::of_headers(headers)?,
        lock: lock::of_headers(headers)?,
    })
}

/// The codings of a representation, without `aws-chunked`, which is one of the transfer.
fn without_framing(encoding: &str) -> Option<String> {
    let codings = encoding.split(',').map(str::trim).filter(|coding| !coding.eq_ignore_ascii_case("aws-chunked"));
    let codings: Vec<&str> = codings.filter(|coding| !coding.is_empty()).collect();
    (!codings.is_empty()).then(|| codings.join(", "))
}

/// User metadata as `s3s` wants it.
pub(crate) fn metadata(attributes: &Attributes) -> Option<Metadata> {
    (!attributes.user.is_empty()).then(|| attributes.user.clone().into_iter().collect())
}

/// Checksums as the fields of many answers have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
    /// Of all of them: S3 keeps one for an object.
    pub(crate) kind: Option<ChecksumType>,
}

impl Sums {
    pub(crate) fn of(checksums: &BTreeMap<String, Checksum>) -> Sums {
        let value = |algorithm: Algorithm| checksums.get(algorithm.name()).map(encode);
        let kind = |checksum: &Checksum| match checksum.parts {
            None => ChecksumType::FULL_OBJECT,
            Some(_) => ChecksumType::COMPOSITE,
        };
        Sums {
            crc32: value(Algorithm::Crc32),
            crc32c: value(Algorithm::Crc32c),
            crc64nvme: value(Algorithm::Crc64Nvme),
            sha1: value(Algorithm::Sha1),
            sha256: value(Algorithm::Sha256),
            kind: checksums.values().next().map(|checksum| ChecksumType::from_static(kind(checksum))),
        }
    }

    /// Those of a file, if the client wants to see them.
    pub(crate) fn shown(info: &FileInfo, wanted: bool) -> Sums {
        if wanted { Sums::of(&info.attributes.checksums) } else { Sums::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_chunked_is_no_coding_of_the_object() {
        assert_eq!(without_framing("aws-chunked"), None);
        assert_eq!(without_framing("AWS-chunked,"), None);
        assert_eq!(without_framing("gzip"), Some("gzip".to_owned()));
        assert_eq!(without_framing("aws-chunked, gzip,br"), Some("gzip, br".to_owned()));
    }

    #[test]
    fn dates_that_are_none_are_no_conditions() {
        let date = |text: &'static str| date_ms(&HeaderValue::from_static(text));
        assert_eq!(date("Thu, 01 Jan 1970 00:00:01 GMT"), Some(1000));
        assert_eq!(date("yesterday"), None);
        assert_eq!(date("Thu, 01 Jan 1969 00:00:01 GMT"), None);
    }

    #[test]
    fn times_that_s3_cannot_write_are_refused_and_never_shown() {
        let parse = |text| Timestamp::parse(s3s::dto::TimestampFormat::DateTime, text).unwrap();
        assert_eq!(milliseconds(parse("9999-12-31T23:59:59.999Z")).unwrap(), TIME_MAX_MS);
        assert!(milliseconds(parse("9999-12-31T23:59:59-12:00")).is_err());
        assert_eq!(time_ms(u64::MAX), time_ms(TIME_MAX_MS));
    }

    #[test]
    fn ranges_are_half_open_inside() {
        assert_eq!(range(Some(Range::Int { first: 2, last: Some(4) })), RangeWanted::FromTo(2, 5));
        assert_eq!(range(Some(Range::Int { first: 2, last: None })), RangeWanted::From(2));
        assert_eq!(range(Some(Range::Suffix { length: 3 })), RangeWanted::Last(3));
        assert_eq!(content_range((2, 5), 10), "bytes 2-4/10");
    }
}
