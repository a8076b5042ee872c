//! Versioning of buckets, and ListObjectVersions.
//!
//! Version ids are given out by the masters; clients hand them back as they are, and one that no master can have given out names
//! nothing.

use super::buckets::look;
use super::dto;
use super::error::{self, error, unsupported};
use super::get::signed;
use super::list::{Encoding, limit, prefixes, shown_delimiter, shown_limit};
use super::service::Caller;
use cairn_common::bucket::BucketChange;
use cairn_common::file::ETags;
use cairn_common::version::{VersionId, Versioning};
use cairn_common::wire::master::{ListVersions, Version, VersionsPage};
use s3s::dto::{
    BucketVersioningStatus, DeleteMarkerEntry, GetBucketVersioningInput, GetBucketVersioningOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, MFADelete, ObjectVersion, ObjectVersionStorageClass,
    PutBucketVersioningInput, PutBucketVersioningOutput,
};
use s3s::{S3ErrorCode, S3Response, S3Result};

/// Whether a bucket keeps versions; nothing for one that never did.
pub(crate) async fn get(
    caller: &Caller,
    input: GetBucketVersioningInput,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let status = match info.settings.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
}

/// Has a bucket keep versions, or suspends that.
pub(crate) async fn put(
    caller: &Caller,
    input: PutBucketVersioningInput,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let name = dto::bucket(&input.bucket)?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let wanted = input.versioning_configuration;
    if wanted.mfa_delete.is_some_and(|mfa| mfa.as_str() == MFADelete::ENABLED) {
        return Err(unsupported("Multi-factor authentication"));
    }
    let versioning = match wanted.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => return Err(error(S3ErrorCode::MalformedXML, "The status of versioning is Enabled or Suspended")),
    };
    let change = BucketChange { versioning: Some(versioning), ..BucketChange::default() };
    caller.client.set_bucket(&name, change).await.map_err(error::operation)?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

/// All versions of a bucket, marks of removal among them.
pub(crate) async fn list(
    caller: &Caller,
    input: ListObjectVersionsInput,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let encoding = Encoding::parse(input.encoding_type.as_ref())?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let request = ListVersions {
        bucket: dto::bucket(&input.bucket)?,
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
        after: after(input.key_marker.as_deref(), input.version_id_marker.as_deref())?,
        limit: limit(input.max_keys)?,
    };
    let page = caller.client.list_versions(request).await.map_err(error::operation)?;
    let (next_key_marker, next_version_id_marker) = match &page.next {
        None => (None, None),
        Some((key, id)) => (Some(encoding.name(key)), id.map(|id| id.to_string())),
    };
    let common_prefixes = Some(prefixes(&page.prefixes, encoding));
    let (versions, marks) = entries(caller, page, encoding)?;
    let output = ListObjectVersionsOutput {
        is_truncated: Some(next_key_marker.is_some()),
        next_key_marker,
        next_version_id_marker,
        versions: Some(versions),
        delete_markers: Some(marks),
        common_prefixes,
        name: Some(input.bucket),
        prefix: Some(encoding.name(input.prefix.as_deref().unwrap_or_default())),
        key_marker: Some(encoding.name(input.key_marker.as_deref().unwrap_or_default())),
        version_id_marker: input.version_id_marker.or_else(|| Some(String::new())),
        max_keys: Some(shown_limit(input.max_keys)),
        delimiter: shown_delimiter(input.delimiter, encoding),
        encoding_type: input.encoding_type,
        ..ListObjectVersionsOutput::default()
    };
    Ok(S3Response::new(output))
}

/// Where a page goes on. A marker of a version counts with that of its key only.
fn after(key: Option<&str>, version: Option<&str>) -> S3Result<Option<(String, Option<VersionId>)>> {
    let key = key.filter(|key| !key.is_empty());
    let version = version.filter(|version| !version.is_empty());
    let Some(key) = key else {
        let message = "A version-id marker cannot be specified without a key marker.";
        return if version.is_some() { Err(error(S3ErrorCode::InvalidArgument, message)) } else { Ok(None) };
    };
    let version = version.map(|version| dto::version(Some(version))).transpose()?.flatten();
    Ok(Some((key.to_owned(), version)))
}

fn entries(
    caller: &Caller,
    page: VersionsPage,
    encoding: Encoding,
) -> S3Result<(Vec<ObjectVersion>, Vec<DeleteMarkerEntry>)> {
    let owner = dto::owner(caller.tenant());
    let (mut versions, mut marks) = (Vec::new(), Vec::new());
    for Version { key, id, stamp, latest, file } in page.versions {
        let (key, id) = (Some(encoding.name(key.as_str())), Some(id.to_string()));
        let (is_latest, last_modified, owner) = (Some(latest), Some(dto::time(stamp)), Some(owner.clone()));
        match file {
            None => marks.push(DeleteMarkerEntry { is_latest, key, last_modified, owner, version_id: id }),
            Some((length, tags)) => {
                versions.push(version(
                    length,
                    &tags,
                    ObjectVersion { is_latest, key, last_modified, owner, version_id: id, ..ObjectVersion::default() },
                )?);
            }
        }
    }
    Ok((versions, marks))
}

fn version(length: u64, tags: &ETags, entry: ObjectVersion) -> S3Result<ObjectVersion> {
    Ok(ObjectVersion {
        e_tag: Some(dto::tag(tags)),
        size: Some(signed(length)?),
        storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
        ..entry
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_of_a_version_needs_one_of_its_key() {
        assert_eq!(after(None, None).unwrap(), None);
        assert_eq!(after(Some(""), Some("")).unwrap(), None);
        assert_eq!(after(Some("k"), None).unwrap(), Some(("k".to_owned(), None)));
        assert_eq!(after(Some("k"), Some("null")).unwrap(), Some(("k".to_owned(), Some(VersionId::Null))));
        assert!(after(None, Some("null")).is_err() && after(Some("k"), Some("nonsense")).is_err());
    }
}
