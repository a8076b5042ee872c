//! Features that Cairn does not have, asked about: answered as S3 answers where they are not configured, so that tools that look
//! at everything (Terraform, consoles) go on. Configuring them is refused.
//!
//! The bucket or the object must be there: these answers say something about it.

use super::buckets::look;
use super::error::error;
use super::service::Caller;
use s3s::dto::{
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput, GetBucketEncryptionInput,
    GetBucketEncryptionOutput, GetBucketLoggingInput, GetBucketLoggingOutput, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, GetBucketReplicationInput, GetBucketReplicationOutput,
    GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput, GetBucketWebsiteInput, GetBucketWebsiteOutput, Payer,
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
