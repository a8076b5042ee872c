//! Files without their bytes: look, list, remove, copy, move, and where their chunks are.

use crate::client::{Client, wrong_reply};
use crate::error::Error;
use cairn_common::auth::ReadToken;
use cairn_common::bucket::Tags;
use cairn_common::file::{Attributes, Condition, FileInfo};
use cairn_common::ids::NodeId;
use cairn_common::manifest::Extent;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::version::VersionId;
use cairn_common::wire::chunk::{ChunkError, ChunkStat, StatChunk};
use cairn_common::wire::command::{Command, Committed, CopyFile, Deleted, Done};
use cairn_common::wire::master::{
    FilePartsPage, Found, ListRequest, Listed, MasterReply, MasterRequest, WhereEntry, WherePage,
};

impl Client {
    /// The current version of a file, or that the caller has it by its condition. Linearizable (P2).
    pub async fn stat(&self, path: &FilePath, condition: Condition) -> Result<Found<FileInfo>, Error> {
        self.stat_version(path, None, condition).await
    }

    /// As [`Client::stat`], of any version; `None`: the current one.
    pub async fn stat_version(
        &self,
        path: &FilePath,
        version: Option<VersionId>,
        condition: Condition,
    ) -> Result<Found<FileInfo>, Error> {
        match self.ask(MasterRequest::Stat { path: path.clone(), version, condition }).await? {
            MasterReply::File(found) => Ok(*found),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Lengths of the parts that a version of a file (`None`: the current one) was made of, behind number `after`, at most `limit`
    /// of up to 1,000. Linearizable (P2).
    pub async fn file_parts(
        &self,
        path: &FilePath,
        version: Option<VersionId>,
        after: u32,
        limit: u32,
    ) -> Result<FilePartsPage, Error> {
        match self.ask(MasterRequest::FileParts { path: path.clone(), version, after, limit }).await? {
            MasterReply::FileParts(page) => Ok(*page),
            _ => Err(wrong_reply().into()),
        }
    }

    /// One page of a bucket's files. Shows every change that was acknowledged before it began (P2).
    pub async fn list(&self, request: ListRequest) -> Result<Listed, Error> {
        match self.ask(MasterRequest::List(request)).await? {
            MasterReply::Listed(listed) => Ok(listed),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Removes files of one bucket, at most 1,000, each by itself; the answers are in the order of the files. Where the bucket
    /// keeps versions, they stay, under a mark.
    pub async fn delete(&self, bucket: &BucketName, files: Vec<(Key, Condition)>) -> Result<Vec<Deleted>, Error> {
        match self.write(Command::DeleteFiles { bucket: bucket.clone(), files }).await? {
            Done::Deleted(deleted) => Ok(deleted),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Makes a new version of `to` with the bytes of `from`, without moving any, whatever their number. `attributes`: what is
    /// stored with it; `None`: what the source has.
    pub async fn copy(
        &self,
        from: &FilePath,
        from_condition: Condition,
        to: &FilePath,
        condition: Condition,
        attributes: Option<Attributes>,
    ) -> Result<Committed, Error> {
        let (from, to) = (from.clone(), to.clone());
        self.copy_version(CopyFile { from, from_version: None, from_condition, to, condition, attributes }).await
    }

    /// As [`Client::copy`], of any version.
    pub async fn copy_version(&self, copy: CopyFile) -> Result<Committed, Error> {
        self.committed(Command::CopyFile(Box::new(copy))).await
    }

    /// Moves a file within its bucket, in one step that no reader sees half of.
    pub async fn rename(
        &self,
        from: &FilePath,
        from_condition: Condition,
        to: &Key,
        condition: Condition,
    ) -> Result<Committed, Error> {
        self.committed(Command::RenameFile { from: from.clone(), to: to.clone(), from_condition, condition }).await
    }

    /// Gives a version of a file (`None`: the current one) other labels. It stays the same version, with the same tag and time.
    pub async fn set_tags(&self, path: &FilePath, version: Option<VersionId>, tags: Tags) -> Result<(), Error> {
        self.write(Command::SetTags { path: path.clone(), version, tags }).await?;
        Ok(())
    }

    /// Where the chunks of a file are, at most 1,000 entries from `offset` on.
    pub async fn locate(&self, path: &FilePath, offset: u64) -> Result<WherePage, Error> {
        match self.ask(MasterRequest::Where { path: path.clone(), offset }).await? {
            MasterReply::Where(page) => Ok(page),
            _ => Err(wrong_reply().into()),
        }
    }

    /// What the nodes that may hold a chunk say about it themselves, for an entry of [`Client::locate`]; in the order of its
    /// tokens. A node that does not answer is an error of kind `Unavailable` or `Unknown`: it says nothing about the copy.
    pub async fn copies(&self, entry: &WhereEntry) -> Vec<(NodeId, Result<ChunkStat, ChunkError>)> {
        let Extent::Chunk { address, .. } = entry.entry.extent else { return Vec::new() };
        let view = self.view();
        let ask = |(node, token): &(NodeId, ReadToken)| {
            let (node, request) = (*node, StatChunk { address, token: token.clone() });
            let service = self.inner.directory.chunkserver(&view, node);
            async move {
                match service {
                    Some(service) => (node, service.stat(request).await),
                    None => (node, Err(ChunkError::Unavailable("the node is not known".to_owned()))),
                }
            }
        };
        futures::future::join_all(entry.tokens.iter().map(ask)).await
    }

    async fn committed(&self, command: Command) -> Result<Committed, Error> {
        match self.write(command).await? {
            Done::Committed(committed) => Ok(committed),
            _ => Err(wrong_reply().into()),
        }
    }
}
