//! The policy of a bucket: shown, given, taken off. What it does, the masters do.

use super::dto;
use super::error::{self, error};
use super::service::Caller;
use cairn_common::name::BucketName;
use cairn_common::policy::Policy;
use s3s::dto::{
    DeleteBucketPolicyInput, DeleteBucketPolicyOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, PolicyStatus, PutBucketPolicyInput, PutBucketPolicyOutput,
};
use s3s::{S3ErrorCode, S3Response, S3Result};

/// The policy, as it was given.
pub(crate) async fn get(caller: &Caller, input: GetBucketPolicyInput) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    let (_, policy) = of(caller, &input.bucket).await?;
    Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(policy) }))
}

/// Whether the policy shows the bucket to everybody.
pub(crate) async fn status(
    caller: &Caller,
    input: GetBucketPolicyStatusInput,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    let (bucket, policy) = of(caller, &input.bucket).await?;
    // One that cannot be read any more lets nobody in.
    let is_public = Policy::parse(&policy, &bucket).is_ok_and(|policy| policy.is_public());
    let policy_status = Some(PolicyStatus { is_public: Some(is_public) });
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
}

/// Gives the bucket a policy in place of any other.
pub(crate) async fn put(caller: &Caller, input: PutBucketPolicyInput) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    let bucket = dto::bucket(&input.bucket)?;
    caller.client.set_policy(&bucket, Some(input.policy)).await.map_err(error::operation)?;
    Ok(S3Response::new(PutBucketPolicyOutput::default()))
}

/// Takes the policy off; one that is not there is as good as gone.
pub(crate) async fn delete(
    caller: &Caller,
    input: DeleteBucketPolicyInput,
) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
    let bucket = dto::bucket(&input.bucket)?;
    caller.client.set_policy(&bucket, None).await.map_err(error::operation)?;
    Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
}

async fn of(caller: &Caller, bucket: &str) -> S3Result<(BucketName, String)> {
    let bucket = dto::bucket(bucket)?;
    let policy = caller.client.policy(&bucket).await.map_err(error::operation)?;
    let missing = || error(S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist");
    Ok((bucket, policy.ok_or_else(missing)?))
}
