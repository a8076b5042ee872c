//! Versions: listed, removed for good, locked.

use crate::client::{Client, wrong_reply};
use crate::error::Error;
use cairn_common::file::Condition;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::version::{LockChange, VersionId};
use cairn_common::wire::command::{Command, Deleted, Done};
use cairn_common::wire::master::{ListVersions, MasterReply, MasterRequest, VersionsPage};

impl Client {
    /// One page of all versions of a bucket's files, marks of removal among them. Shows every change that was acknowledged
    /// before it began (P2).
    pub async fn list_versions(&self, request: ListVersions) -> Result<VersionsPage, Error> {
        match self.ask(MasterRequest::ListVersions(request)).await? {
            MasterReply::Versions(page) => Ok(page),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Removes versions for good, at most 1,000, each by itself and on its own condition; the answers are in their order. `bypass`: also those that are
    /// locked in governance mode, which takes the right to configure the bucket.
    pub async fn delete_versions(
        &self,
        bucket: &BucketName,
        versions: Vec<(Key, VersionId, Condition)>,
        bypass: bool,
    ) -> Result<Vec<Deleted>, Error> {
        match self.write(Command::DeleteVersions { bucket: bucket.clone(), versions, bypass }).await? {
            Done::Deleted(deleted) => Ok(deleted),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Changes what keeps a version (`None`: the current one) from being removed. `bypass`: also what governance mode would
    /// refuse, which takes the right to configure the bucket, as does taking a hold off.
    pub async fn set_lock(
        &self,
        path: &FilePath,
        version: Option<VersionId>,
        change: LockChange,
        bypass: bool,
    ) -> Result<(), Error> {
        self.write(Command::SetLock { path: path.clone(), version, change, bypass }).await?;
        Ok(())
    }
}
