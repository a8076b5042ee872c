//! Keys as they are shown, and what a new node gets.

use super::super::command::{Grant, Rights};
use crate::bucket::covers;
use crate::ids::{ClusterId, Generation, NodeId, Stamp, TenantId};
use crate::membership::Membership;
use crate::name::BucketName;
use serde::{Deserialize, Serialize};

/// An access key with its secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its public part.
    pub key: KeyInfo,
    /// Its secret.
    pub secret: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("key", &self.key).field("secret", &"…").finish()
    }
}

/// An access key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its id.
    pub access: String,
    /// Its name, for people.
    pub name: String,
    /// Whose buckets it sees.
    pub tenant: TenantId,
    /// Whether it may administer the cluster.
    pub cluster_admin: bool,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// When it was made.
    pub created: Stamp,
    /// When it ends.
    pub expires: Option<Stamp>,
}

impl KeyInfo {
    /// Whether the key may do something with `key` in `bucket`; without a key: with the bucket as a whole, or with any key
    /// in it for listings below `prefix`.
    pub fn allows(&self, bucket: &BucketName, key: Option<&str>, right: impl Fn(&Rights) -> bool) -> bool {
        self.grants.iter().any(|grant| {
            let in_bucket = grant.bucket.as_ref().is_none_or(|granted| granted == bucket);
            let below = match key {
                Some(key) => covers(&grant.prefix, key),
                None => grant.prefix.is_empty(),
            };
            in_bucket && below && right(&grant.rights)
        })
    }
}

/// Identity of a new node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Which cluster it is in.
    pub cluster: ClusterId,
    /// Which generation of it.
    pub generation: Generation,
    /// Its id.
    pub node: NodeId,
    /// Its key, sealed under the secret part of its join token.
    #[serde(with = "serde_bytes")]
    pub sealed_key: Vec<u8>,
    /// For a master: the cluster's key, sealed in the same way.
    pub sealed_cluster_key: Option<Vec<u8>>,
    /// The cluster that it joined.
    pub membership: Box<Membership>,
}

impl std::fmt::Debug for Joined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined").field("cluster", &self.cluster).field("node", &self.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::command::Rights;
    use super::*;

    #[test]
    fn grants_are_compared_by_component() {
        let grant = |bucket: Option<&str>, prefix: &str| Grant {
            bucket: bucket.map(|name| BucketName::new(name).unwrap()),
            prefix: prefix.to_owned(),
            rights: Rights { read: true, ..Rights::default() },
        };
        let key = |grants| KeyInfo {
            access: String::new(),
            name: String::new(),
            tenant: TenantId(1),
            cluster_admin: false,
            grants,
            created: Stamp(0),
            expires: None,
        };
        let bucket = BucketName::new("one").unwrap();
        let reads = |info: &KeyInfo, path: &str| info.allows(&bucket, Some(path), |rights| rights.read);
        let tenant1 = key(vec![grant(Some("one"), "tenant1")]);
        assert!(reads(&tenant1, "tenant1") && reads(&tenant1, "tenant1/x"));
        assert!(!reads(&tenant1, "tenant1234/x") && !reads(&tenant1, "tenant") && !reads(&tenant1, ""));
        assert!(!tenant1.allows(&bucket, Some("tenant1/x"), |rights| rights.write));
        assert!(!tenant1.allows(&bucket, None, |rights| rights.read));
        assert!(reads(&key(vec![grant(None, "")]), "anything"));
        assert!(!reads(&key(vec![grant(Some("two"), "")]), "anything"));
        assert!(reads(&key(vec![grant(None, "a/")]), "a/b") && !reads(&key(vec![grant(None, "a/")]), "a"));
        assert!(!reads(&key(Vec::new()), "anything"));
    }
}
