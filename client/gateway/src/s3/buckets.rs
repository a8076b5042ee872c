//! Buckets: made, looked at, listed, removed.

use super::acl;
use super::dto;
use super::error::{self, error, unsupported};
use super::service::Caller;
use cairn_common::error::ErrorKind;
use cairn_common::limits::{BUCKETS_MAX, LIST_MAX_KEYS};
use cairn_common::name::{BucketName, FilePath};
use cairn_common::wire::command::MultipartRef;
use cairn_common::wire::master::BucketInfo;
use http::HeaderValue;
use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput,
};
use s3s::{S3ErrorCode, S3Response, S3Result};

/// The region in which a bucket has no location constraint.
const CLASSIC: &str = "us-east-1";

/// Makes a bucket.
pub(crate) async fn create_bucket(
    caller: &Caller,
    input: CreateBucketInput,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let name = dto::bucket(&input.bucket)?;
    acl::in_headers(&caller.headers)?;
    if input.object_ownership.as_ref().is_some_and(|ownership| ownership.as_str() != "BucketOwnerEnforced") {
        return Err(unsupported("An object ownership other than BucketOwnerEnforced"));
    }
    if let Some(configuration) = input.create_bucket_configuration {
        if configuration.bucket.is_some() || configuration.location.is_some() {
            return Err(unsupported("A directory bucket"));
        }
        let constraint = configuration.location_constraint;
        let region = constraint.as_ref().map_or("", BucketLocationConstraint::as_str);
        if !region.is_empty() && region != caller.front.options.region {
            let message =
                format!("The location constraint is not the region of this cluster, {}", caller.front.options.region);
            return Err(error(S3ErrorCode::InvalidLocationConstraint, message));
        }
    }
    let made = match input.object_lock_enabled_for_bucket {
        Some(true) => caller.client.create_lockable_bucket(&name).await,
        _ => caller.client.create_bucket(&name, None).await,
    };
    made.map_err(error::operation)?;
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")) }))
}

/// Removes an empty bucket.
pub(crate) async fn delete_bucket(
    caller: &Caller,
    input: DeleteBucketInput,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    if info.usage.files == 0 && info.usage.versions == 0 && info.usage.uploads > 0 {
        give_uploads_up(caller, &info.name).await?;
    }
    caller.client.delete_bucket(&info.name).await.map_err(error::operation)?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

/// Gives up the open uploads of a bucket that is about to be removed: to S3 they are no content, and clients leave them behind.
/// The removal itself is still refused if a file was made meanwhile.
async fn give_uploads_up(caller: &Caller, bucket: &BucketName) -> S3Result<()> {
    loop {
        let page = caller.client.uploads(bucket, "", None, None, LIST_MAX_KEYS).await.map_err(error::operation)?;
        for info in page.uploads {
            let path = FilePath { bucket: bucket.clone(), key: info.key };
            match caller.client.abort_multipart(&MultipartRef { path, upload: info.upload }).await {
                Ok(()) => {}
                // Somebody ended it.
                Err(problem) if problem.kind() == ErrorKind::NotFound => {}
                Err(problem) => return Err(error::operation(problem)),
            }
        }
        if page.next.is_none() {
            return Ok(());
        }
    }
}

/// Whether a bucket is there.
pub(crate) async fn head_bucket(caller: &Caller, input: HeadBucketInput) -> S3Result<S3Response<HeadBucketOutput>> {
    look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let region = caller.front.options.region.clone();
    let mut response = S3Response::new(HeadBucketOutput::default());
    let value = HeaderValue::from_str(&region);
    response.headers.extend(value.map(|value| (http::HeaderName::from_static("x-amz-bucket-region"), value)));
    Ok(response)
}

/// The region of a bucket.
pub(crate) async fn get_bucket_location(
    caller: &Caller,
    input: GetBucketLocationInput,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let region = caller.front.options.region.as_str();
    let location_constraint = (region != CLASSIC).then(|| BucketLocationConstraint::from(region.to_owned()));
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

/// The caller's buckets, in pages if it wants pages.
pub(crate) async fn list_buckets(caller: &Caller, input: ListBucketsInput) -> S3Result<S3Response<ListBucketsOutput>> {
    let limit = match input.max_buckets {
        None => BUCKETS_MAX as usize,
        Some(limit @ 1..=10_000) => limit as usize,
        Some(_) => return Err(error(S3ErrorCode::InvalidArgument, "max-buckets must be from 1 to 10,000")),
    };
    let prefix = input.prefix.clone().unwrap_or_default();
    let after = input.continuation_token.unwrap_or_default();
    let elsewhere = input.bucket_region.is_some_and(|region| region != caller.front.options.region);
    let all = caller.client.buckets().await.map_err(error::operation)?;
    let wanted = |info: &BucketInfo| {
        let name = info.name.as_str();
        !elsewhere && name.starts_with(&prefix) && name > after.as_str()
    };
    let mut found = all.into_iter().filter(wanted).peekable();
    let mut buckets: Vec<Bucket> = Vec::new();
    while buckets.len() < limit
        && let Some(info) = found.next()
    {
        buckets.push(Bucket {
            bucket_region: Some(caller.front.options.region.clone()),
            creation_date: Some(dto::time(info.created)),
            name: Some(info.name.into()),
        });
    }
    // Names are their own tokens: buckets are listed in the order of their names.
    let continuation_token = found.peek().and(buckets.last()).and_then(|last| last.name.clone());
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets),
        continuation_token,
        owner: Some(dto::owner(caller.tenant())),
        prefix: input.prefix,
    }))
}

/// A bucket that must be there, and the caller's if it says so.
pub(crate) async fn look(caller: &Caller, name: &str, expected_owner: Option<&str>) -> S3Result<BucketInfo> {
    let name = dto::bucket(name)?;
    let info = caller.client.bucket(&name).await.map_err(error::operation)?;
    dto::expect_owner(expected_owner, info.tenant)?;
    Ok(info)
}
