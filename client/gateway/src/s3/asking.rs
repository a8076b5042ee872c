//! A request in the words of bucket policies: which action it is, and what is known about it. The masters judge by it.
//!
//! The address is that of the connection's peer. What a proxy says of its own clients (`X-Forwarded-For`) is not believed: anybody
//! can write it.

use super::dto;
use super::head::pairs;
use cairn_common::listen::Peer;
use cairn_common::policy::{Action, Fact, HEADERS};
use cairn_common::wire::master::{Asking, KeyInfo};
use http::HeaderMap;
use s3s::access::S3AccessContext;

/// Operations whose action has another name.
const NAMES: &[(&str, Action)] = &[
    ("HeadObject", Action::GetObject),
    ("CopyObject", Action::PutObject),
    ("CreateMultipartUpload", Action::PutObject),
    ("UploadPart", Action::PutObject),
    ("UploadPartCopy", Action::PutObject),
    ("CompleteMultipartUpload", Action::PutObject),
    ("DeleteObjects", Action::DeleteObject),
    ("ListParts", Action::ListMultipartUploadParts),
    ("ListMultipartUploads", Action::ListBucketMultipartUploads),
    ("ListObjects", Action::ListBucket),
    ("ListObjectsV2", Action::ListBucket),
    ("ListObjectVersions", Action::ListBucketVersions),
    ("HeadBucket", Action::ListBucket),
    ("SelectObjectContent", Action::GetObject),
    ("GetBucketAccelerateConfiguration", Action::GetAccelerateConfiguration),
    ("PutBucketAccelerateConfiguration", Action::PutAccelerateConfiguration),
    ("GetBucketCors", Action::GetBucketCORS),
    ("PutBucketCors", Action::PutBucketCORS),
    ("DeleteBucketCors", Action::PutBucketCORS),
    ("GetBucketEncryption", Action::GetEncryptionConfiguration),
    ("PutBucketEncryption", Action::PutEncryptionConfiguration),
    ("DeleteBucketEncryption", Action::PutEncryptionConfiguration),
    ("GetBucketLifecycleConfiguration", Action::GetLifecycleConfiguration),
    ("PutBucketLifecycleConfiguration", Action::PutLifecycleConfiguration),
    ("DeleteBucketLifecycle", Action::PutLifecycleConfiguration),
    ("GetBucketNotificationConfiguration", Action::GetBucketNotification),
    ("PutBucketNotificationConfiguration", Action::PutBucketNotification),
    ("DeleteBucketOwnershipControls", Action::PutBucketOwnershipControls),
    ("GetBucketReplication", Action::GetReplicationConfiguration),
    ("PutBucketReplication", Action::PutReplicationConfiguration),
    ("DeleteBucketReplication", Action::PutReplicationConfiguration),
    ("DeleteBucketTagging", Action::PutBucketTagging),
    ("GetObjectLockConfiguration", Action::GetBucketObjectLockConfiguration),
    ("PutObjectLockConfiguration", Action::PutBucketObjectLockConfiguration),
    ("GetPublicAccessBlock", Action::GetBucketPublicAccessBlock),
    ("PutPublicAccessBlock", Action::PutBucketPublicAccessBlock),
    ("DeletePublicAccessBlock", Action::PutBucketPublicAccessBlock),
];

/// Actions that have another name for a version that is named.
const OF_VERSIONS: &[(Action, Action)] = &[
    (Action::GetObject, Action::GetObjectVersion),
    (Action::GetObjectAcl, Action::GetObjectVersionAcl),
    (Action::GetObjectAttributes, Action::GetObjectVersionAttributes),
    (Action::GetObjectTagging, Action::GetObjectVersionTagging),
    (Action::GetObjectTorrent, Action::GetObjectVersionTorrent),
    (Action::DeleteObject, Action::DeleteObjectVersion),
    (Action::DeleteObjectTagging, Action::DeleteObjectVersionTagging),
    (Action::PutObjectAcl, Action::PutObjectVersionAcl),
    (Action::PutObjectTagging, Action::PutObjectVersionTagging),
];

/// The action of an operation, if it is one that policies speak of.
fn action(operation: &str, of_version: bool) -> Option<Action> {
    let renamed = NAMES.iter().find(|(name, _)| *name == operation).map(|(_, action)| *action);
    let action = renamed.or_else(|| Action::ALL.iter().copied().find(|action| action.name() == operation))?;
    let version = OF_VERSIONS.iter().find(|(current, _)| of_version && *current == action);
    Some(version.map_or(action, |(_, version)| *version))
}

/// Who asks for an operation, and how.
pub(crate) fn asking(operation: &str, key: Option<&KeyInfo>, context: &mut S3AccessContext<'_>) -> Asking {
    let peer = context.extensions_mut().get::<Peer>().copied();
    let query = pairs(context.uri().query().unwrap_or_default());
    let in_query = |wanted: &str| query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let version = in_query("versionId").filter(|version| !version.is_empty());
    let headers = context.headers();
    let mut facts = of_connection(peer);
    let mut know = |fact, value: Option<String>| facts.extend(value.map(|value| (fact, value)));
    know(Fact::Prefix, in_query("prefix"));
    know(Fact::Delimiter, in_query("delimiter"));
    know(Fact::Referer, header(headers, "referer"));
    know(Fact::UserAgent, header(headers, "user-agent"));
    for name in HEADERS {
        know(Fact::Header((*name).to_owned()), header(headers, name));
    }
    if key.is_some() {
        let signed =
            if headers.contains_key(http::header::AUTHORIZATION) { "REST-HEADER" } else { "REST-QUERY-STRING" };
        know(Fact::AuthType, Some(signed.to_owned()));
        know(Fact::SignatureVersion, Some("AWS4-HMAC-SHA256".to_owned()));
    }
    for (name, value) in header(headers, "x-amz-tagging").map(|tags| pairs(&tags)).unwrap_or_default() {
        know(Fact::RequestTag(name), Some(value));
    }
    let action = action(operation, version.is_some());
    know(Fact::VersionId, version);
    let owner = header(headers, "x-amz-expected-bucket-owner").and_then(|owner| dto::tenant_of(&owner));
    Asking { access: key.map(|key| key.access.clone()), action, owner, facts }
}

/// What a connection says.
pub(crate) fn of_connection(peer: Option<Peer>) -> Vec<(Fact, String)> {
    let Some(peer) = peer else { return Vec::new() };
    vec![(Fact::SourceIp, peer.address.to_string()), (Fact::SecureTransport, peer.tls.to_string())]
}

/// All values of a header, as one.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::access::needs;

    #[test]
    fn operations_have_their_actions() {
        assert_eq!(action("HeadObject", false), Some(Action::GetObject));
        assert_eq!(action("HeadObject", true), Some(Action::GetObjectVersion));
        assert_eq!(action("PutObject", true), Some(Action::PutObject));
        assert_eq!(action("PutBucketPolicy", false), Some(Action::PutBucketPolicy));
        for nameless in ["ListBuckets", "GetBucketMetadataTableConfiguration"] {
            assert_eq!(action(nameless, false), None, "{nameless}");
        }
    }

    #[test]
    fn every_name_is_that_of_an_operation() {
        for (name, _) in NAMES {
            assert!(needs(name).is_some(), "{name}");
        }
    }
}
