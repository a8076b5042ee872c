//! Features that Cairn does not have, asked about: answered as S3 answers where they are not configured, so that tools that look
//! at everything (Terraform, consoles) go on. Configuring them is refused.
//!
//! The bucket or the object must be there: these answers say something about it.

use super::buckets::look;
use super::dto;
use super::error::error;
use super::service::Caller;
use s3s::dto::{
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput, GetBucketAclInput,
    GetBucketAclOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput, GetBucketLoggingInput,
    GetBucketLoggingOutput, GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput,
    GetBucketPolicyInput, GetBucketPolicyOutput, GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput,
    GetBucketReplicationInput, GetBucketReplicationOutput, GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput,
    GetBucketWebsiteInput, GetBucketWebsiteOutput, GetObjectAclInput, GetObjectAclOutput, Grant, Grantee, Payer,
    Permission, Type,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

/// Questions about a bucket that have an (empty) answer.
macro_rules! empty {
    ($($(#[$doc:meta])* $name:ident($input:ident) -> $output:ident $(= $value:expr)?;)*) => {$(
        $(#[$doc])*
        pub(crate) async fn $name(caller: &Caller, input: $input) -> S3Result<S3Response<$output>> {
            look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
            #[allow(unused_mut, unused_assignments, reason = "only some have a value")]
            let mut output = $output::default();
            $(output = $value;)?
            Ok(S3Response::new(output))
        }
    )*};
}

empty! {
    /// Not enabled.
    logging(GetBucketLoggingInput) -> GetBucketLoggingOutput;
    /// None are sent.
    notification(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput;
    /// Not enabled.
    accelerate(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput;
    /// The owner pays.
    request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput =
        GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) };
}

/// Questions about a bucket whose answer is that there is nothing.
macro_rules! absent {
    ($($(#[$doc:meta])* $name:ident($input:ident) -> $output:ident = $error:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) async fn $name(caller: &Caller, input: $input) -> S3Result<S3Response<$output>> {
            look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
            Err($error)
        }
    )*};
}

absent! {
    /// No policy.
    policy(GetBucketPolicyInput) -> GetBucketPolicyOutput =
        nothing(S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist");
    /// No policy.
    policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput =
        nothing(S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist");
    /// No rule.
    encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput =
        nothing(
            S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError,
            "The server side encryption configuration was not found"
        );
    /// No website.
    website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput =
        nothing(S3ErrorCode::NoSuchWebsiteConfiguration, "The specified bucket does not have a website configuration");
    /// Not replicated.
    replication(GetBucketReplicationInput) -> GetBucketReplicationOutput =
        nothing(S3ErrorCode::ReplicationConfigurationNotFoundError, "The replication configuration was not found");
}

fn nothing(code: S3ErrorCode, message: &'static str) -> S3Error {
    error(code, message)
}

/// The owner may do everything, and nobody else anything.
pub(crate) async fn bucket_acl(caller: &Caller, input: GetBucketAclInput) -> S3Result<S3Response<GetBucketAclOutput>> {
    look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let output =
        GetBucketAclOutput { grants: Some(vec![full_control(caller)]), owner: Some(dto::owner(caller.tenant())) };
    Ok(S3Response::new(output))
}

/// The owner may do everything, and nobody else anything.
pub(crate) async fn object_acl(caller: &Caller, input: GetObjectAclInput) -> S3Result<S3Response<GetObjectAclOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    exists(caller, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let (grants, owner) = (Some(vec![full_control(caller)]), Some(dto::owner(caller.tenant())));
    Ok(S3Response::new(GetObjectAclOutput { grants, owner, ..GetObjectAclOutput::default() }))
}

async fn exists(caller: &Caller, bucket: &str, key: &str, version: Option<&str>) -> S3Result<()> {
    caller.stat_version(&dto::path(bucket, key)?, dto::version(version)?).await?;
    Ok(())
}

fn full_control(caller: &Caller) -> Grant {
    let owner = dto::owner(caller.tenant());
    let grantee = Grantee {
        display_name: owner.display_name,
        email_address: None,
        id: owner.id,
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }
}
