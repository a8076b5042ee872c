//! Who asks, and whether they may: checked when the head of a request is known and before any of its body was read.
//!
//! Every operation that `s3s` can route has a line in [`needs`]; one without a line is refused, so a new release of `s3s` opens
//! nothing. What the grants of a key do not allow, the policy of the bucket may, for other tenants and for nobody too: then the
//! masters are asked. They check each call again.

use super::asking;
use super::error::{self, denied};
use crate::front::{Front, Identity};
use crate::observe::RequestLog;
use async_trait::async_trait;
use cairn_common::name::BucketName;
use cairn_common::policy::Action;
use cairn_common::wire::command::Rights;
use cairn_common::wire::master::{KeyInfo, Right};
use s3s::S3Result;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use std::sync::Arc;

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// A key, whatever it allows; or the operation asks for each of its keys by itself.
    AnyKey,
    /// To read the object.
    Read,
    /// To write the object.
    Write,
    /// To delete the object.
    Delete,
    /// To list the bucket below the prefix asked for.
    List,
    /// To make, remove and configure the bucket.
    Admin,
}

/// The operation's name, for ever, and what it needs. `None`: nobody may.
pub(crate) fn needs(operation: &str) -> Option<(&'static str, Needs)> {
    OPERATIONS.iter().copied().find(|(name, _)| *name == operation)
}

const OPERATIONS: &[(&str, Needs)] = &[
    ("GetObject", Needs::Read),
    ("HeadObject", Needs::Read),
    ("PutObject", Needs::Write),
    ("UploadPart", Needs::Write),
    ("ListObjectsV2", Needs::List),
    ("ListObjects", Needs::List),
    ("DeleteObject", Needs::Delete),
    ("DeleteObjects", Needs::AnyKey),
    ("GetObjectAttributes", Needs::Read),
    // Reading the source is checked with the source's name, in the operations.
    ("CopyObject", Needs::Write),
    ("UploadPartCopy", Needs::Write),
    ("CreateMultipartUpload", Needs::Write),
    ("CompleteMultipartUpload", Needs::Write),
    ("AbortMultipartUpload", Needs::Write),
    ("ListParts", Needs::Write),
    ("ListMultipartUploads", Needs::List),
    ("ListBuckets", Needs::AnyKey),
    ("HeadBucket", Needs::AnyKey),
    ("GetBucketLocation", Needs::AnyKey),
    ("CreateBucket", Needs::Admin),
    ("DeleteBucket", Needs::Admin),
    // What objects and buckets are set to. For a feature that is not here, reading says that it is not configured.
    ("GetObjectAcl", Needs::Read),
    ("GetObjectTagging", Needs::Read),
    ("GetObjectLegalHold", Needs::Read),
    ("GetObjectRetention", Needs::Read),
    ("GetObjectTorrent", Needs::Read),
    ("ListObjectVersions", Needs::List),
    ("GetBucketAccelerateConfiguration", Needs::AnyKey),
    ("GetBucketAcl", Needs::AnyKey),
    ("GetBucketAnalyticsConfiguration", Needs::AnyKey),
    ("GetBucketCors", Needs::AnyKey),
    ("GetBucketEncryption", Needs::AnyKey),
    ("GetBucketIntelligentTieringConfiguration", Needs::AnyKey),
    ("GetBucketInventoryConfiguration", Needs::AnyKey),
    ("GetBucketLifecycleConfiguration", Needs::AnyKey),
    ("GetBucketLogging", Needs::AnyKey),
    ("GetBucketMetadataTableConfiguration", Needs::AnyKey),
    ("GetBucketMetricsConfiguration", Needs::AnyKey),
    ("GetBucketNotificationConfiguration", Needs::AnyKey),
    ("GetBucketOwnershipControls", Needs::AnyKey),
    ("GetBucketPolicy", Needs::AnyKey),
    ("GetBucketPolicyStatus", Needs::AnyKey),
    ("GetBucketReplication", Needs::AnyKey),
    ("GetBucketRequestPayment", Needs::AnyKey),
    ("GetBucketTagging", Needs::AnyKey),
    ("GetBucketVersioning", Needs::AnyKey),
    ("GetBucketWebsite", Needs::AnyKey),
    ("GetObjectLockConfiguration", Needs::AnyKey),
    ("GetPublicAccessBlock", Needs::AnyKey),
    ("ListBucketAnalyticsConfigurations", Needs::AnyKey),
    ("ListBucketIntelligentTieringConfigurations", Needs::AnyKey),
    ("ListBucketInventoryConfigurations", Needs::AnyKey),
    ("ListBucketMetricsConfigurations", Needs::AnyKey),
    // Setting it. That something cannot be set is told only to those who might set it.
    ("PutObjectAcl", Needs::Write),
    ("PutObjectTagging", Needs::Write),
    ("PutObjectLegalHold", Needs::Write),
    ("PutObjectRetention", Needs::Write),
    ("DeleteObjectTagging", Needs::Write),
    ("RestoreObject", Needs::Write),
    ("SelectObjectContent", Needs::Read),
    ("PutBucketAccelerateConfiguration", Needs::Admin),
    ("PutBucketAcl", Needs::Admin),
    ("PutBucketAnalyticsConfiguration", Needs::Admin),
    ("PutBucketCors", Needs::Admin),
    ("PutBucketEncryption", Needs::Admin),
    ("PutBucketIntelligentTieringConfiguration", Needs::Admin),
    ("PutBucketInventoryConfiguration", Needs::Admin),
    ("PutBucketLifecycleConfiguration", Needs::Admin),
    ("PutBucketLogging", Needs::Admin),
    ("PutBucketMetricsConfiguration", Needs::Admin),
    ("PutBucketNotificationConfiguration", Needs::Admin),
    ("PutBucketOwnershipControls", Needs::Admin),
    ("PutBucketPolicy", Needs::Admin),
    ("PutBucketReplication", Needs::Admin),
    ("PutBucketRequestPayment", Needs::Admin),
    ("PutBucketTagging", Needs::Admin),
    ("PutBucketVersioning", Needs::Admin),
    ("PutBucketWebsite", Needs::Admin),
    ("PutObjectLockConfiguration", Needs::Admin),
    ("PutPublicAccessBlock", Needs::Admin),
    ("DeleteBucketAnalyticsConfiguration", Needs::Admin),
    ("DeleteBucketCors", Needs::Admin),
    ("DeleteBucketEncryption", Needs::Admin),
    ("DeleteBucketIntelligentTieringConfiguration", Needs::Admin),
    ("DeleteBucketInventoryConfiguration", Needs::Admin),
    ("DeleteBucketLifecycle", Needs::Admin),
    ("DeleteBucketMetricsConfiguration", Needs::Admin),
    ("DeleteBucketOwnershipControls", Needs::Admin),
    ("DeleteBucketPolicy", Needs::Admin),
    ("DeleteBucketReplication", Needs::Admin),
    ("DeleteBucketTagging", Needs::Admin),
    ("DeleteBucketWebsite", Needs::Admin),
    ("DeletePublicAccessBlock", Needs::Admin),
];

/// Gives `s3s` the secrets that signatures are checked with.
pub(crate) struct Secrets(pub(crate) Arc<Front>);

#[async_trait]
impl S3Auth for Secrets {
    async fn get_secret_key(&self, access: &str) -> S3Result<SecretKey> {
        let credential = self.0.credentials.find(access).await.map_err(error::credential)?;
        Ok(SecretKey::from(credential.secret.clone()))
    }
}

/// Decides whether a request whose signature is right may go on.
pub(crate) struct Access(pub(crate) Arc<Front>);

#[async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some((operation, needs)) = needs(context.s3_op().name()) else { return Err(denied()) };
        if let Some(log) = context.extensions_mut().get::<Arc<RequestLog>>() {
            log.set_operation(operation);
        }
        let credential = match context.credentials() {
            // Found a moment ago, for the signature; at most this repeats the question.
            Some(credentials) => {
                Some(self.0.credentials.find(&credentials.access_key).await.map_err(error::credential)?)
            }
            None => None,
        };
        let asking = asking::asking(operation, credential.as_ref().map(|credential| &credential.key), context);
        let action = asking.action;
        let identity = Identity::asking(credential, asking);
        let query = context.uri().query().unwrap_or_default();
        let granted = !identity.is_nobody() && is_allowed(identity.key(), needs, context.s3_path(), query);
        if !granted && !is_judged_later(operation) {
            self.ask(&identity, action, needs, context.s3_path(), query).await?;
        }
        context.extensions_mut().insert(identity);
        Ok(())
    }
}

impl Access {
    /// Whether the bucket's policy may allow what no grant allows. The masters judge again, and exactly.
    async fn ask(
        &self,
        identity: &Identity,
        action: Option<Action>,
        needs: Needs,
        path: &S3Path,
        query: &str,
    ) -> S3Result<()> {
        let (Some(action), Some(bucket)) = (action, path.get_bucket_name()) else { return Err(denied()) };
        let Ok(bucket) = BucketName::new(bucket) else { return Err(denied()) };
        let prefix = prefix(query);
        let (right, key) = match needs {
            Needs::Read => (Right::Read, path.get_object_key()),
            Needs::Write => (Right::Write, path.get_object_key()),
            Needs::Delete => (Right::Delete, path.get_object_key()),
            Needs::List => (Right::List, Some(prefix.as_deref().unwrap_or_default())),
            Needs::AnyKey => (Right::List, None),
            Needs::Admin => (Right::Admin, None),
        };
        self.0.client_of(identity).may(&bucket, key, right, action).await.map_err(error::operation)?;
        Ok(())
    }
}

fn prefix(query: &str) -> Option<String> {
    super::head::pairs(query).into_iter().find(|(name, _)| name == "prefix").map(|(_, prefix)| prefix)
}

/// Operations whose first question to the masters tells whether they are allowed: reading, which a bucket can show to everybody.
fn is_judged_later(operation: &str) -> bool {
    matches!(operation, "GetObject" | "HeadObject")
}

fn is_allowed(key: &KeyInfo, needs: Needs, path: &S3Path, query: &str) -> bool {
    let Some(bucket) = path.get_bucket_name() else { return needs == Needs::AnyKey };
    let Ok(bucket) = BucketName::new(bucket) else { return needs == Needs::AnyKey };
    let object = path.get_object_key();
    let allows = |key_or_prefix, right: fn(&Rights) -> bool| key.allows(&bucket, key_or_prefix, right);
    match needs {
        Needs::AnyKey => true,
        Needs::Read => object.is_some() && allows(object, |rights| rights.read),
        Needs::Write => object.is_some() && allows(object, |rights| rights.write),
        Needs::Delete => object.is_some() && allows(object, |rights| rights.delete),
        Needs::List => allows(prefix(query).as_deref(), |rights| rights.list),
        Needs::Admin => allows(None, |rights| rights.admin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::ids::{Stamp, TenantId};
    use cairn_common::wire::command::Grant;

    fn key(prefix: &str, rights: Rights) -> KeyInfo {
        let bucket = Some(BucketName::new("one").unwrap());
        KeyInfo {
            access: "AK".to_owned(),
            name: String::new(),
            tenant: TenantId(1),
            cluster_admin: false,
            grants: vec![Grant { bucket, prefix: prefix.to_owned(), rights }],
            created: Stamp(0),
            expires: None,
        }
    }

    #[test]
    fn each_right_opens_its_own_operations_and_no_others() {
        let rights = [
            (Needs::Read, Rights { read: true, ..Rights::default() }),
            (Needs::Write, Rights { write: true, ..Rights::default() }),
            (Needs::Delete, Rights { delete: true, ..Rights::default() }),
            (Needs::List, Rights { list: true, ..Rights::default() }),
            (Needs::Admin, Rights { admin: true, ..Rights::default() }),
        ];
        for (granted, right) in rights {
            for (needed, _) in rights {
                let path = match needed {
                    Needs::List | Needs::Admin => S3Path::bucket("one"),
                    _ => S3Path::object("one", "k"),
                };
                let allowed = is_allowed(&key("", right), needed, &path, "");
                assert_eq!(allowed, granted == needed, "{granted:?} for {needed:?}");
            }
        }
    }

    #[test]
    fn rights_end_at_the_bucket_and_the_prefix() {
        let reader = key("a", Rights::ALL);
        let reads = |bucket, object| is_allowed(&reader, Needs::Read, &S3Path::object(bucket, object), "");
        assert!(reads("one", "a") && reads("one", "a/b"));
        assert!(!reads("one", "ab") && !reads("two", "a"));
        let lists = |query| is_allowed(&reader, Needs::List, &S3Path::bucket("one"), query);
        assert!(lists("list-type=2&prefix=a%2F"));
        assert!(!lists("") && !lists("prefix=b"));
    }

    #[test]
    fn operations_without_a_line_are_refused() {
        assert_eq!(needs("WriteGetObjectResponse"), None);
        assert_eq!(needs("PostObject"), None);
        assert_eq!(needs("GetObject"), Some(("GetObject", Needs::Read)));
    }
}
