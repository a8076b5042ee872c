//! Buckets.

use crate::client::{Client, wrong_reply};
use crate::error::Error;
use cairn_common::bucket::BucketChange;
use cairn_common::cors::CorsRule;
use cairn_common::ids::{BucketId, TenantId};
use cairn_common::name::BucketName;
use cairn_common::policy::Action;
use cairn_common::wire::command::{Command, Done};
use cairn_common::wire::master::{BucketInfo, MasterReply, MasterRequest, Right};

impl Client {
    /// Makes a bucket. `replicas`: copies of its chunks; `None`: the cluster's number, whatever it becomes. The bucket belongs
    /// to the tenant of the key that asks.
    pub async fn create_bucket(&self, name: &BucketName, replicas: Option<u8>) -> Result<BucketId, Error> {
        self.make_bucket(name, replicas, false).await
    }

    /// Makes a bucket with Object Lock: it keeps every version from the start, and they can be locked.
    pub async fn create_lockable_bucket(&self, name: &BucketName) -> Result<BucketId, Error> {
        self.make_bucket(name, None, true).await
    }

    async fn make_bucket(&self, name: &BucketName, replicas: Option<u8>, lock: bool) -> Result<BucketId, Error> {
        // The masters put in the tenant of whoever asks.
        let command = Command::CreateBucket { name: name.clone(), tenant: TenantId::FIRST, replicas, lock };
        match self.write(command).await? {
            Done::Bucket { bucket } => Ok(bucket),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Removes an empty bucket.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), Error> {
        self.write(Command::DeleteBucket { name: name.clone() }).await?;
        Ok(())
    }

    /// Configures a bucket; what `change` does not name stays as it was. In force for every write that begins afterwards.
    pub async fn set_bucket(&self, name: &BucketName, change: BucketChange) -> Result<(), Error> {
        self.write(Command::SetBucket { name: name.clone(), change }).await?;
        Ok(())
    }

    /// A bucket with its exact counts.
    pub async fn bucket(&self, name: &BucketName) -> Result<BucketInfo, Error> {
        match self.ask(MasterRequest::Bucket { name: name.clone() }).await? {
            MasterReply::Bucket(info) => Ok(info),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Gateways only: the rules for cross-origin access of a bucket; none, if it is not there.
    pub async fn cors(&self, name: &BucketName) -> Result<Vec<CorsRule>, Error> {
        match self.ask(MasterRequest::Cors { bucket: name.clone() }).await? {
            MasterReply::Cors(rules) => Ok(rules),
            _ => Err(wrong_reply().into()),
        }
    }

    /// The policy of a bucket, as it was given, if it has one.
    pub async fn policy(&self, name: &BucketName) -> Result<Option<String>, Error> {
        match self.ask(MasterRequest::Policy { bucket: name.clone() }).await? {
            MasterReply::Policy(policy) => Ok(policy),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Gives a bucket a policy, or takes it off. In force for every request that begins afterwards.
    pub async fn set_policy(&self, name: &BucketName, policy: Option<String>) -> Result<(), Error> {
        self.write(Command::SetPolicy { bucket: name.clone(), policy }).await?;
        Ok(())
    }

    /// Whether something may be done with a file, below a prefix, or with the bucket itself, as far as can be said before it is tried;
    /// an error of kind `Denied` if not. Answers whose the bucket is, if it is there.
    pub async fn may(
        &self,
        name: &BucketName,
        key: Option<&str>,
        right: Right,
        action: Action,
    ) -> Result<Option<TenantId>, Error> {
        let (bucket, key) = (name.clone(), key.map(str::to_owned));
        match self.ask(MasterRequest::May { bucket, key, right, action }).await? {
            MasterReply::Allowed(owner) => Ok(owner),
            _ => Err(wrong_reply().into()),
        }
    }

    /// The buckets that the key may see, by name.
    pub async fn buckets(&self) -> Result<Vec<BucketInfo>, Error> {
        match self.ask(MasterRequest::Buckets).await? {
            MasterReply::Buckets(buckets) => Ok(buckets),
            _ => Err(wrong_reply().into()),
        }
    }
}
