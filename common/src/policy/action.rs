//! What policies can speak about: the actions of S3, by name.
//!
//! All actions on buckets and objects are here, also those of features that Cairn does not have: policies that were written for
//! S3 name them, and a name that is not here is a mistake that must be found when the policy is given. ("Actions, resources, and
//! condition keys for Amazon S3", AWS Service Authorization Reference.)

use serde::{Deserialize, Serialize};

/// What an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The bucket itself.
    Bucket,
    /// An object in it.
    Object,
}

macro_rules! actions {
    ($($name:ident $level:ident,)*) => {
        /// An action of S3. Variants are only ever appended: they travel by number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "they are the names of S3, which documents them")]
        pub enum Action { $($name,)* }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Action] = &[$(Action::$name,)*];

            /// Its name, without `s3:`.
            pub fn name(self) -> &'static str {
                match self { $(Action::$name => stringify!($name),)* }
            }

            /// What it is done to.
            pub fn level(self) -> Level {
                match self { $(Action::$name => Level::$level,)* }
            }
        }
    };
}

actions! {
    AbortMultipartUpload Object,
    BypassGovernanceRetention Object,
    DeleteObject Object,
    DeleteObjectTagging Object,
    DeleteObjectVersion Object,
    DeleteObjectVersionTagging Object,
    GetObject Object,
    GetObjectAcl Object,
    GetObjectAttributes Object,
    GetObjectLegalHold Object,
    GetObjectRetention Object,
    GetObjectTagging Object,
    GetObjectTorrent Object,
    GetObjectVersion Object,
    GetObjectVersionAcl Object,
    GetObjectVersionAttributes Object,
    GetObjectVersionForReplication Object,
    GetObjectVersionTagging Object,
    GetObjectVersionTorrent Object,
    ListMultipartUploadParts Object,
    ObjectOwnerOverrideToBucketOwner Object,
    PutObject Object,
    PutObjectAcl Object,
    PutObjectLegalHold Object,
    PutObjectRetention Object,
    PutObjectTagging Object,
    PutObjectVersionAcl Object,
    PutObjectVersionTagging Object,
    ReplicateDelete Object,
    ReplicateObject Object,
    ReplicateTags Object,
    RestoreObject Object,
    CreateBucket Bucket,
    DeleteBucket Bucket,
    DeleteBucketPolicy Bucket,
    DeleteBucketWebsite Bucket,
    GetAccelerateConfiguration Bucket,
    GetAnalyticsConfiguration Bucket,
    GetBucketAcl Bucket,
    GetBucketCORS Bucket,
    GetBucketLocation Bucket,
    GetBucketLogging Bucket,
    GetBucketNotification Bucket,
    GetBucketObjectLockConfiguration Bucket,
    GetBucketOwnershipControls Bucket,
    GetBucketPolicy Bucket,
    GetBucketPolicyStatus Bucket,
    GetBucketPublicAccessBlock Bucket,
    GetBucketRequestPayment Bucket,
    GetBucketTagging Bucket,
    GetBucketVersioning Bucket,
    GetBucketWebsite Bucket,
    GetEncryptionConfiguration Bucket,
    GetIntelligentTieringConfiguration Bucket,
    GetInventoryConfiguration Bucket,
    GetLifecycleConfiguration Bucket,
    GetMetricsConfiguration Bucket,
    GetReplicationConfiguration Bucket,
    ListBucket Bucket,
    ListBucketMultipartUploads Bucket,
    ListBucketVersions Bucket,
    PutAccelerateConfiguration Bucket,
    PutAnalyticsConfiguration Bucket,
    PutBucketAcl Bucket,
    PutBucketCORS Bucket,
    PutBucketLogging Bucket,
    PutBucketNotification Bucket,
    PutBucketObjectLockConfiguration Bucket,
    PutBucketOwnershipControls Bucket,
    PutBucketPolicy Bucket,
    PutBucketPublicAccessBlock Bucket,
    PutBucketRequestPayment Bucket,
    PutBucketTagging Bucket,
    PutBucketVersioning Bucket,
    PutBucketWebsite Bucket,
    PutEncryptionConfiguration Bucket,
    PutIntelligentTieringConfiguration Bucket,
    PutInventoryConfiguration Bucket,
    PutLifecycleConfiguration Bucket,
    PutMetricsConfiguration Bucket,
    PutReplicationConfiguration Bucket,
}

impl Action {
    /// Whether it reads, replaces or removes the policy of a bucket itself.
    pub fn is_of_policy(self) -> bool {
        matches!(self, Action::GetBucketPolicy | Action::PutBucketPolicy | Action::DeleteBucketPolicy)
    }
}
