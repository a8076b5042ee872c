//! Multipart uploads: parts in any order and at once, then one commit.

use crate::client::{Client, wrong_reply};
use crate::error::{Error, PutError};
use crate::options::PutOptions;
use crate::put::Reading;
use crate::source::ByteSource;
use cairn_common::file::{Attributes, Checksum, Condition};
use cairn_common::ids::UploadId;
use cairn_common::name::{BucketName, FilePath};
use cairn_common::version::VersionId;
use cairn_common::wire::command::{Command, CommitPart, Committed, CompleteMultipart, Done, MultipartRef};
use cairn_common::wire::master::{MasterReply, MasterRequest, PartInfo, PartsPage, UploadsPage};
use std::collections::BTreeMap;

impl Client {
    /// Begins a multipart upload. `checksum`: the algorithm asked for, as S3 spells it, and whether of the full object.
    pub async fn begin_multipart(
        &self,
        path: &FilePath,
        attributes: Attributes,
        checksum: Option<(String, bool)>,
    ) -> Result<UploadId, Error> {
        match self.write(Command::BeginMultipart { path: path.clone(), attributes, checksum, length: None }).await? {
            Done::Upload(upload) => Ok(upload),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Begins an upload of `length` bytes that is appended to: each part follows the one before, whatever its size, and never
    /// replaces one. It ends by itself after [`APPENDED_UPLOAD_MS`](cairn_common::limits::APPENDED_UPLOAD_MS).
    pub async fn begin_appended(
        &self,
        path: &FilePath,
        attributes: Attributes,
        length: u64,
    ) -> Result<UploadId, Error> {
        let begin = Command::BeginMultipart { path: path.clone(), attributes, checksum: None, length: Some(length) };
        match self.write(begin).await? {
            Done::Upload(upload) => Ok(upload),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Stores a part, or replaces the one of that number. Durable when it returns. Of `options`, those that concern the body
    /// count; its MD5 is always computed.
    pub async fn put_part(
        &self,
        upload: &MultipartRef,
        number: u32,
        body: impl ByteSource,
        options: PutOptions,
    ) -> Result<PartInfo, PutError> {
        let PutOptions { chunking, length, inspector, progress, .. } = options;
        let bucket = &upload.path.bucket;
        let stored = self
            .store(bucket, body, Reading { chunking, length, md5: true, inspector, progress, may_inline: false })
            .await?;
        let md5 = stored.md5.ok_or_else(wrong_reply)?;
        let (root, length, checksums) = (stored.root, stored.length, stored.checksums.clone());
        let commit = |content| {
            let (upload, checksums) = (upload.clone(), checksums.clone());
            Command::CommitPart(Box::new(CommitPart { upload, number, content, root, length, md5, checksums }))
        };
        match self.commit_stored(bucket, stored, commit).await? {
            Done::Part { md5, length, stamp } => Ok(PartInfo { number, stamp, length, md5, checksums }),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Makes a part of bytes of a version of another file (`None`: the current one), without moving any. `range`: first byte and one past the last; `None`: all.
    pub async fn copy_part(
        &self,
        upload: &MultipartRef,
        number: u32,
        (from, from_version): (&FilePath, Option<VersionId>),
        from_condition: Condition,
        range: Option<(u64, u64)>,
    ) -> Result<PartInfo, Error> {
        let (upload, from) = (upload.clone(), from.clone());
        match self.write(Command::CopyPart { upload, number, from, from_version, from_condition, range }).await? {
            Done::Part { md5, length, stamp } => {
                Ok(PartInfo { number, stamp, length, md5, checksums: BTreeMap::new() })
            }
            _ => Err(wrong_reply().into()),
        }
    }

    /// Makes the file. Repeating it within 24 hours gives the first answer again.
    pub async fn complete_multipart(
        &self,
        upload: &MultipartRef,
        parts: Vec<(u32, String)>,
        condition: Condition,
        checksums: BTreeMap<String, Checksum>,
    ) -> Result<Committed, Error> {
        let complete = CompleteMultipart { upload: upload.clone(), parts, condition, checksums };
        match self.write(Command::CompleteMultipart(Box::new(complete))).await? {
            Done::Committed(committed) => Ok(committed),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Gives an upload up and lets its parts go.
    pub async fn abort_multipart(&self, upload: &MultipartRef) -> Result<(), Error> {
        self.write(Command::AbortMultipart { upload: upload.clone() }).await?;
        Ok(())
    }

    /// Parts of an upload after number `after`, at most `limit` (0: all).
    pub async fn parts(&self, upload: &MultipartRef, after: u32, limit: u32) -> Result<PartsPage, Error> {
        let request = MasterRequest::Parts { path: upload.path.clone(), upload: upload.upload, after, limit };
        match self.ask(request).await? {
            MasterReply::Parts(page) => Ok(page),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Open multipart uploads of a bucket.
    pub async fn uploads(
        &self,
        bucket: &BucketName,
        prefix: &str,
        delimiter: Option<String>,
        after: Option<(String, Option<UploadId>)>,
        limit: u32,
    ) -> Result<UploadsPage, Error> {
        let (bucket, prefix) = (bucket.clone(), prefix.to_owned());
        match self.ask(MasterRequest::Uploads { bucket, prefix, delimiter, after, limit }).await? {
            MasterReply::Uploads(page) => Ok(page),
            _ => Err(wrong_reply().into()),
        }
    }
}
