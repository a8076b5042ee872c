//! Buckets.

use crate::client::{Client, wrong_reply};
use crate::error::Error;
use cairn_common::bucket::BucketChange;
use cairn_common::cors::CorsRule;
use cairn_common::ids::{BucketId, TenantId};
use cairn_common::name::BucketName;
use cairn_common::wire::command::{Command, Done};
use cairn_common::wire::master::{BucketInfo, MasterReply, MasterRequest};

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

    /// The buckets that the key may see, by name.
    pub async fn buckets(&self) -> Result<Vec<BucketInfo>, Error> {
        match self.ask(MasterRequest::Buckets).await? {
            MasterReply::Buckets(buckets) => Ok(buckets),
            _ => Err(wrong_reply().into()),
        }
    }
}
