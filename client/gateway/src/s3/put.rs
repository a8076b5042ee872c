//! PutObject, and what it shares with UploadPart: refusing early, reading the body, storing it.

use super::arrival::Arrival;
use super::dto::{self, Sums};
use super::error::{self, error};
use super::refuse;
use super::service::Caller;
use crate::checksum::Algorithm;
use crate::front::expects_continue;
use cairn_client::{Client, PutError, PutOptions};
use cairn_common::chunk::Chunking;
use cairn_common::file::{Attributes, Condition, ConditionOutcome, FileInfo};
use cairn_common::limits::INLINE_MAX_BYTES;
use cairn_common::name::FilePath;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::{Found, MasterError};
use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

/// Stores an object. Nothing is visible before the whole body, every signature and every checksum was found right.
pub(crate) async fn put_object(caller: &Caller, input: PutObjectInput) -> S3Result<S3Response<PutObjectOutput>> {
    let path = dto::path(&input.bucket, &input.key)?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    refuse::in_write(&caller.headers)?;
    let attributes = dto::attributes(&caller.headers, input.metadata)?;
    attributes.check().map_err(error::attributes)?;
    let condition = dto::write_condition(input.if_match, input.if_none_match);
    let arrival = caller.arrival()?;
    refuse_early(caller, arrival, &path, &condition).await?;
    let must_exist = condition.if_match.is_some();
    let upload = arrival.open(caller.secret(), Algorithm::Crc64Nvme)?;
    let computed = upload.inspector.computed();
    let options = PutOptions {
        attributes,
        condition,
        chunking: Some(Chunking::FIXED),
        length: Some(upload.length),
        // The tag that S3 clients expect; it also answers `Content-MD5`.
        md5: true,
        inspector: Some(Box::new(upload.inspector)),
        progress: None,
    };
    let committed = match caller.client.put(&path, upload.body, options).await {
        Ok(committed) => committed,
        Err(problem) => return Err(write_refused(&caller.client, &path, must_exist, problem).await),
    };
    let sums = Sums::of(&computed.get().cloned().unwrap_or_default());
    Ok(S3Response::new(PutObjectOutput {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
        e_tag: Some(dto::tag(&committed.tags)),
        version_id: dto::made(committed.version),
        ..PutObjectOutput::default()
    }))
}

/// Refuses what the masters would refuse in the end, before a large body is received. The commit judges again, and exactly.
async fn refuse_early(caller: &Caller, arrival: &Arrival, path: &FilePath, condition: &Condition) -> S3Result<()> {
    let large = arrival.length().is_some_and(|length| length > INLINE_MAX_BYTES);
    if !large {
        return Ok(());
    }
    if condition.is_empty() {
        // A client that sends without being asked is stopped when the first chunks are to be written.
        if expects_continue(&caller.headers) {
            return caller.bucket_exists(&path.bucket).await;
        }
        return Ok(());
    }
    let found = match caller.client.stat(path, Condition::default()).await {
        Ok(Found::Here(info)) => Some(info),
        Ok(Found::NotModified(info)) => Some(*info),
        Err(cairn_client::Error::Master(problem)) if is_absent(&problem) => None,
        // It may write the file and not read it: then the commit judges alone.
        Err(cairn_client::Error::Master(MasterError::Denied)) => return Ok(()),
        Err(problem) => return Err(error::operation(problem)),
    };
    match condition.judge(found.as_ref().map(FileInfo::facts)) {
        ConditionOutcome::Holds => Ok(()),
        ConditionOutcome::Failed | ConditionOutcome::NotModified if found.is_none() => Err(no_such_key(path)),
        ConditionOutcome::Failed | ConditionOutcome::NotModified => Err(error::precondition_failed()),
    }
}

/// The answer to a write that failed. `If-Match` on an object that does not exist is "no such key" in S3.
pub(crate) async fn write_refused(client: &Client, path: &FilePath, must_exist: bool, problem: PutError) -> S3Error {
    let failed = matches!(&problem, PutError::Master(MasterError::Refused(Refusal::ConditionFailed { .. })));
    if failed && must_exist {
        let found = client.stat(path, Condition::default()).await;
        if matches!(&found, Err(cairn_client::Error::Master(problem)) if is_absent(problem)) {
            return no_such_key(path);
        }
    }
    error::put(problem)
}

/// Whether an error says that there is no file, and not that something else is missing.
fn is_absent(problem: &MasterError) -> bool {
    matches!(problem, MasterError::Refused(Refusal::NoSuchFile(_) | Refusal::FileRemoved { .. }))
}

fn no_such_key(path: &FilePath) -> S3Error {
    error(S3ErrorCode::NoSuchKey, format!("There is no object {path}"))
}

/// What is stored beside an object besides its checksums, for copies.
pub(crate) fn with_checksums(attributes: Attributes, from: &FileInfo) -> Attributes {
    Attributes { checksums: from.attributes.checksums.clone(), ..attributes }
}
