//! The operations, as `s3s` calls them: each hands on to a function of its own module.

use super::arrival::Arrival;
use super::error::{self, denied, error};
use super::{
    acl, buckets, copy, cors, delete, get, lifecycle, list, lock, multipart, policy, put, sharing, tagging, unset,
    versioning,
};
use crate::front::{Front, Identity};
use async_trait::async_trait;
use cairn_client::Client;
use cairn_common::file::{Condition, FileInfo};
use cairn_common::ids::TenantId;
use cairn_common::name::{BucketName, FilePath};
use cairn_common::policy::Action;
use cairn_common::version::VersionId;
use cairn_common::wire::master::{Found, MasterError, Right};
use http::HeaderMap;
use s3s::dto;
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result};
use std::sync::Arc;

/// The operations of S3.
pub(crate) struct Service {
    front: Arc<Front>,
}

/// Who calls an operation, and with what beside its parameters.
pub(crate) struct Caller {
    /// Asks the cluster in the caller's name.
    pub(crate) client: Client,
    /// The headers of the request.
    pub(crate) headers: HeaderMap,
    pub(crate) front: Arc<Front>,
    identity: Identity,
    arrival: Option<Arrival>,
}

impl Caller {
    /// The caller's tenant.
    pub(crate) fn tenant(&self) -> TenantId {
        self.identity.key().tenant
    }

    /// The secret that the request was signed with.
    pub(crate) fn secret(&self) -> &str {
        &self.identity.credential.secret
    }

    /// Whether the caller's grants allow it to remove a file. If not, the bucket's policy may.
    pub(crate) fn is_granted_removal(&self, bucket: &BucketName, key: &str) -> bool {
        self.identity.key().allows(bucket, Some(key), |rights| rights.delete)
    }

    /// Whether the caller may read a file other than the one the request names.
    pub(crate) async fn must_read(&self, path: &FilePath, version: Option<VersionId>) -> S3Result<()> {
        let key = path.key.as_str();
        if self.identity.key().allows(&path.bucket, Some(key), |rights| rights.read) {
            return Ok(());
        }
        let action = if version.is_some() { Action::GetObjectVersion } else { Action::GetObject };
        self.client.may(&path.bucket, Some(key), Right::Read, action).await.map_err(error::operation)?;
        Ok(())
    }

    /// The body of an upload.
    pub(crate) fn arrival(&self) -> S3Result<&Arrival> {
        self.arrival.as_ref().ok_or_else(|| {
            tracing::error!("an upload was routed as something else");
            error(S3ErrorCode::InternalError, "The body of the request was lost")
        })
    }

    /// Whether a bucket is there. A key that may write files need not be one that may look at their bucket.
    pub(crate) async fn bucket_exists(&self, bucket: &BucketName) -> S3Result<()> {
        match self.client.bucket(bucket).await {
            Ok(_) | Err(cairn_client::Error::Master(MasterError::Denied)) => Ok(()),
            Err(problem) => Err(error::operation(problem)),
        }
    }

    /// A version of a file; `None`: the current one.
    pub(crate) async fn stat_version(&self, path: &FilePath, version: Option<VersionId>) -> S3Result<FileInfo> {
        match self.client.stat_version(path, version, Condition::default()).await.map_err(error::operation)? {
            Found::Here(info) => Ok(info),
            Found::NotModified(info) => Ok(*info),
        }
    }
}

impl Service {
    pub(crate) fn new(front: Arc<Front>) -> Service {
        Service { front }
    }

    fn caller<T>(&self, mut request: S3Request<T>) -> S3Result<(Caller, T)> {
        // Put there by the check of the rights, without which no operation is called.
        let identity = request.extensions.remove::<Identity>().ok_or_else(denied)?;
        let caller = Caller {
            client: self.front.client_of(&identity),
            headers: request.headers,
            front: Arc::clone(&self.front),
            identity,
            arrival: request.extensions.remove(),
        };
        Ok((caller, request.input))
    }
}

/// Hands operations on to functions of the same parameters.
macro_rules! operations {
    ($($operation:ident($input:ident) -> $output:ident = $function:path;)*) => {
        #[async_trait]
        impl S3 for Service {
            $(async fn $operation(
                &self,
                request: S3Request<dto::$input>,
            ) -> S3Result<S3Response<dto::$output>> {
                let (caller, input) = self.caller(request)?;
                $function(&caller, input).await
            })*
        }
    };
}

operations! {
    get_object(GetObjectInput) -> GetObjectOutput = get::get_object;
    head_object(HeadObjectInput) -> HeadObjectOutput = get::head_object;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = get::get_object_attributes;
    put_object(PutObjectInput) -> PutObjectOutput = put::put_object;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::copy_object;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete::delete_object;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete::delete_objects;
    list_objects(ListObjectsInput) -> ListObjectsOutput = list::list_objects;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list::list_objects_v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = versioning::list;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    upload_part(UploadPartInput) -> UploadPartOutput = multipart::upload_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = multipart::upload_part_copy;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    list_parts(ListPartsInput) -> ListPartsOutput = multipart::list_parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = multipart::list_uploads;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create_bucket;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete_bucket;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head_bucket;
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list_buckets;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::get_bucket_location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = versioning::get;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = versioning::put;
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = acl::get_bucket;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput = acl::put_bucket;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = acl::get_object;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput = acl::put_object;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tagging::object;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tagging::put_object;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = tagging::delete_object;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = tagging::put_bucket;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = tagging::delete_bucket;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput = lock::legal_hold;
    put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput = lock::put_legal_hold;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput = lock::retention;
    put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput = lock::put_retention;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = lifecycle::get;
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput = lifecycle::put;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = lifecycle::delete;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = policy::get;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = policy::status;
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = policy::put;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = policy::delete;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = tagging::bucket;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = cors::get;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = cors::put;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = cors::delete;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = unset::encryption;
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = lock::configuration;
    put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput = lock::configure;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = sharing::get_block;
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput = sharing::put_block;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput = sharing::delete_block;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = sharing::get_ownership;
    put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput = sharing::put_ownership;
    delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput = sharing::delete_ownership;
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput = unset::website;
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput = unset::logging;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput = unset::notification;
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = unset::request_payment;
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput = unset::accelerate;
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput = unset::replication;
}
