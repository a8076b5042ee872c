//! What keeps a bucket from being shown to everybody, and who owns its objects.
//!
//! There are no ACLs here: the owner of a bucket owns all that is in it, which S3 calls `BucketOwnerEnforced`, and only what a
//! bucket shows to everybody is public. A block of public access holds that back in the masters.

use super::buckets::look;
use super::dto;
use super::error::{self, custom, error, unsupported};
use super::service::Caller;
use cairn_common::bucket::{BucketChange, PublicAccessBlock};
use http::StatusCode;
use s3s::dto::{
    DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput, DeletePublicAccessBlockInput,
    DeletePublicAccessBlockOutput, GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput,
    GetPublicAccessBlockInput, GetPublicAccessBlockOutput, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    PublicAccessBlockConfiguration, PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput,
    PutPublicAccessBlockInput, PutPublicAccessBlockOutput,
};
use s3s::{S3ErrorCode, S3Response, S3Result};

/// What is blocked.
pub(crate) async fn get_block(
    caller: &Caller,
    input: GetPublicAccessBlockInput,
) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let block = info.settings.public_access_block.ok_or_else(|| {
        let message = "The public access block configuration was not found";
        custom("NoSuchPublicAccessBlockConfiguration", StatusCode::NOT_FOUND, message)
    })?;
    let configuration = PublicAccessBlockConfiguration {
        block_public_acls: Some(block.block_acls),
        block_public_policy: Some(block.block_policy),
        ignore_public_acls: Some(block.ignore_acls),
        restrict_public_buckets: Some(block.restrict),
    };
    Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration: Some(configuration) }))
}

/// Blocks public access.
pub(crate) async fn put_block(
    caller: &Caller,
    input: PutPublicAccessBlockInput,
) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let wanted = input.public_access_block_configuration;
    let block = PublicAccessBlock {
        block_acls: wanted.block_public_acls.unwrap_or(false),
        ignore_acls: wanted.ignore_public_acls.unwrap_or(false),
        block_policy: wanted.block_public_policy.unwrap_or(false),
        restrict: wanted.restrict_public_buckets.unwrap_or(false),
    };
    set(caller, &input.bucket, BucketChange { public_access_block: Some(Some(block)), ..BucketChange::default() })
        .await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
}

/// Blocks nothing any more.
pub(crate) async fn delete_block(
    caller: &Caller,
    input: DeletePublicAccessBlockInput,
) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    set(caller, &input.bucket, BucketChange { public_access_block: Some(None), ..BucketChange::default() }).await?;
    Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
}

/// Who owns objects, if that was configured.
pub(crate) async fn get_ownership(
    caller: &Caller,
    input: GetBucketOwnershipControlsInput,
) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    if !info.settings.owner_enforced {
        let message = "The bucket ownership controls were not found";
        return Err(error(S3ErrorCode::OwnershipControlsNotFoundError, message));
    }
    let object_ownership = ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
    let controls = OwnershipControls { rules: vec![OwnershipControlsRule { object_ownership }] };
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls: Some(controls) }))
}

/// Says what is the case anyway; nothing else can be.
pub(crate) async fn put_ownership(
    caller: &Caller,
    input: PutBucketOwnershipControlsInput,
) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let rules = input.ownership_controls.rules;
    let [rule] = rules.as_slice() else {
        return Err(error(S3ErrorCode::MalformedXML, "Ownership controls have one rule"));
    };
    if rule.object_ownership.as_str() != ObjectOwnership::BUCKET_OWNER_ENFORCED {
        return Err(unsupported("An object ownership other than BucketOwnerEnforced"));
    }
    set(caller, &input.bucket, BucketChange { owner_enforced: Some(true), ..BucketChange::default() }).await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
}

/// Says nothing of it any more.
pub(crate) async fn delete_ownership(
    caller: &Caller,
    input: DeleteBucketOwnershipControlsInput,
) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    set(caller, &input.bucket, BucketChange { owner_enforced: Some(false), ..BucketChange::default() }).await?;
    Ok(S3Response::new(DeleteBucketOwnershipControlsOutput::default()))
}

async fn set(caller: &Caller, bucket: &str, change: BucketChange) -> S3Result<()> {
    caller.client.set_bucket(&dto::bucket(bucket)?, change).await.map_err(error::operation)
}
