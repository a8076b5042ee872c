//! Tags of objects and buckets: labels that mean nothing to Cairn, for tools that account for costs or look for their own.
//!
//! The tags of an object belong to its version and go with its copies; changing them makes no new version.

use super::buckets::look;
use super::dto;
use super::error::{self, error};
use super::service::Caller;
use cairn_common::bucket::{BucketChange, Tags, check_file_tags};
use cairn_common::file::AttributesError;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput, DeleteObjectTaggingOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Tag, TagSet,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

/// The tags of a new object, from its `x-amz-tagging` header: `NAME=VALUE&…`, in the encoding of forms.
pub(crate) fn of_headers(headers: &HeaderMap) -> S3Result<Tags> {
    let Some(value) = headers.get("x-amz-tagging") else { return Ok(Tags::new()) };
    let invalid = || invalid("The x-amz-tagging header is not NAME=VALUE&… in the encoding of forms");
    let text = value.to_str().map_err(|_| invalid())?;
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| invalid())
    };
    let mut tags = Tags::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        add(&mut tags, decode(name)?, decode(value)?)?;
    }
    checked(tags)
}

/// How many tags an object has, as its answers say it: nothing for none.
pub(crate) fn count(tags: &Tags) -> Option<i32> {
    i32::try_from(tags.len()).ok().filter(|count| *count > 0)
}

/// The tags of an object.
pub(crate) async fn object(
    caller: &Caller,
    input: GetObjectTaggingInput,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let version = dto::version(input.version_id.as_deref())?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let info = caller.stat_version(&dto::path(&input.bucket, &input.key)?, version).await?;
    let version_id = dto::version_id(info.version);
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: set(info.attributes.tags), version_id }))
}

/// Gives an object other tags.
pub(crate) async fn put_object(
    caller: &Caller,
    input: PutObjectTaggingInput,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let version = dto::version(input.version_id.as_deref())?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let tags = checked(read(input.tagging.tag_set)?)?;
    caller.client.set_tags(&dto::path(&input.bucket, &input.key)?, version, tags).await.map_err(error::operation)?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id: dto::version_id(version) }))
}

/// Takes all tags off an object.
pub(crate) async fn delete_object(
    caller: &Caller,
    input: DeleteObjectTaggingInput,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let version = dto::version(input.version_id.as_deref())?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    caller
        .client
        .set_tags(&dto::path(&input.bucket, &input.key)?, version, Tags::new())
        .await
        .map_err(error::operation)?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id: dto::version_id(version) }))
}

/// The tags of a bucket; having none is an error.
pub(crate) async fn bucket(
    caller: &Caller,
    input: GetBucketTaggingInput,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    if info.settings.tags.is_empty() {
        return Err(error(S3ErrorCode::NoSuchTagSet, "The TagSet does not exist"));
    }
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set: set(info.settings.tags) }))
}

/// Gives a bucket other tags.
pub(crate) async fn put_bucket(
    caller: &Caller,
    input: PutBucketTaggingInput,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let change = BucketChange { tags: Some(read(input.tagging.tag_set)?), ..BucketChange::default() };
    change.check().map_err(|problem| invalid(problem.to_string()))?;
    caller.client.set_bucket(&info.name, change).await.map_err(error::operation)?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}

/// Takes all tags off a bucket.
pub(crate) async fn delete_bucket(
    caller: &Caller,
    input: DeleteBucketTaggingInput,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let change = BucketChange { tags: Some(Tags::new()), ..BucketChange::default() };
    caller.client.set_bucket(&info.name, change).await.map_err(error::operation)?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

pub(crate) fn read(set: TagSet) -> S3Result<Tags> {
    let mut tags = Tags::new();
    for Tag { key, value } in set {
        let missing = || error(S3ErrorCode::MalformedXML, "A tag has a Key and a Value");
        add(&mut tags, key.ok_or_else(missing)?, value.ok_or_else(missing)?)?;
    }
    Ok(tags)
}

fn add(tags: &mut Tags, name: String, value: String) -> S3Result<()> {
    match tags.insert(name, value) {
        None => Ok(()),
        Some(_) => Err(invalid("Cannot provide multiple Tags with the same key")),
    }
}

fn checked(tags: Tags) -> S3Result<Tags> {
    match check_file_tags(&tags) {
        Ok(()) => Ok(tags),
        Err(problem) => Err(error::attributes(AttributesError::Tags(problem))),
    }
}

fn set(tags: Tags) -> TagSet {
    tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    error(S3ErrorCode::InvalidTag, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> S3Result<Tags> {
        let name = http::HeaderName::from_static("x-amz-tagging");
        of_headers(&HeaderMap::from_iter([(name, http::HeaderValue::from_str(text).unwrap())]))
    }

    #[test]
    fn a_header_has_tags_in_the_encoding_of_forms() {
        let tags = header("a+b=c%3Dd&e&f=%C3%A9").unwrap();
        let wanted = [("a b", "c=d"), ("e", ""), ("f", "é")];
        assert_eq!(tags, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert!(header("").unwrap().is_empty() && of_headers(&HeaderMap::new()).unwrap().is_empty());
        for bad in ["a=1&a=2", "=x", "a=%ff", &"k=v&".repeat(2), &format!("{}=x", "k".repeat(129))] {
            assert_eq!(header(bad).unwrap_err().code(), &S3ErrorCode::InvalidTag, "{bad}");
        }
    }
}
