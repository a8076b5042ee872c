//! DeleteObject and DeleteObjects: each removal by itself. Without a version an object is removed as its bucket has it, for good
//! or under a mark; a version that is named is removed for good.

use super::dto;
use super::error::{self, error, precondition_failed};
use super::service::Caller;
use cairn_common::file::Condition;
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::{BucketName, Key};
use cairn_common::version::VersionId;
use cairn_common::wire::command::Deleted;
use cairn_common::wire::master::MasterError;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
    Error, ObjectIdentifier, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

/// Removes an object or a version of it. One that is not there is as good as removed.
pub(crate) async fn delete_object(
    caller: &Caller,
    input: DeleteObjectInput,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let version = dto::version(input.version_id.as_deref())?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let path = dto::path(&input.bucket, &input.key)?;
    let condition = condition(input.if_match, input.if_match_size, input.if_match_last_modified_time)?;
    let wanted = Wanted { key: path.key, version, condition };
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    let deleted = run(caller, &path.bucket, vec![wanted], bypass).await?.pop();
    let deleted = deleted.map(|outcome| outcome.ok_or_else(error::denied)).transpose()?;
    let (delete_marker, version_id) = match (deleted, version) {
        (Some(Deleted::ConditionFailed), _) => return Err(precondition_failed()),
        (Some(Deleted::Locked), _) => return Err(locked()),
        (Some(Deleted::Marked(id)), _) => (Some(true), Some(id)),
        (Some(Deleted::MarkRemoved), id) => (Some(true), id),
        (Some(Deleted::Removed | Deleted::Absent) | None, id) => (None, id),
    };
    let version_id = dto::version_id(version_id);
    Ok(S3Response::new(DeleteObjectOutput { delete_marker, version_id, ..DeleteObjectOutput::default() }))
}

/// Removes up to 1,000 objects and versions; each answer is by itself.
pub(crate) async fn delete_objects(
    caller: &Caller,
    input: DeleteObjectsInput,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let bucket = dto::bucket(&input.bucket)?;
    let quiet = input.delete.quiet.unwrap_or(false);
    let objects = input.delete.objects;
    if objects.is_empty() || objects.len() > LIST_MAX_KEYS as usize {
        let message = "A batch names 1 to 1,000 objects";
        return Err(error(S3ErrorCode::MalformedXML, message));
    }
    let (mut files, mut others, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for object in objects {
        let (name, version) = (object.key.clone(), object.version_id.clone());
        match check(object) {
            Ok(file) if caller.is_granted_removal(&bucket, file.key.as_str()) => files.push(file),
            // What only the policy may allow is asked for apart, so that it takes nothing else down.
            Ok(file) => others.push(file),
            Err(problem) => errors.push(failed(name, version, &problem)),
        }
    }
    let mut deleted = Vec::new();
    if files.is_empty() && others.is_empty() {
        // The bucket must exist even if nothing in it may be removed.
        caller.client.bucket(&bucket).await.map_err(error::operation)?;
    }
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    for batch in [files, others] {
        let names: Vec<_> = batch.iter().map(|file| (file.key.clone(), file.version)).collect();
        let outcomes = run(caller, &bucket, batch, bypass).await?;
        for ((key, version), outcome) in names.into_iter().zip(outcomes) {
            match answer(key, version, outcome) {
                Ok(removed) if !quiet => deleted.push(removed),
                Ok(_) => {}
                Err(problem) => errors.push(problem),
            }
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..DeleteObjectsOutput::default()
    }))
}

/// One removal that was asked for and understood.
struct Wanted {
    key: Key,
    version: Option<VersionId>,
    condition: Condition,
}

/// Removes what was asked for; the answers are in the same order. `None`: the caller may not.
async fn run(
    caller: &Caller,
    bucket: &BucketName,
    wanted: Vec<Wanted>,
    bypass: bool,
) -> S3Result<Vec<Option<Deleted>>> {
    let mut outcomes = vec![None; wanted.len()];
    let (versions, files): (Vec<_>, Vec<_>) =
        wanted.into_iter().enumerate().partition(|(_, wanted)| wanted.version.is_some());
    for (places, batch) in [files.into_iter().unzip(), versions.into_iter().unzip()] {
        let (places, batch): (Vec<usize>, Vec<Wanted>) = (places, batch);
        let deleted = each(caller, bucket, &batch, bypass).await?;
        places.into_iter().zip(deleted).for_each(|(place, deleted)| outcomes[place] = deleted);
    }
    Ok(outcomes)
}

/// Removes all at once; one by one, if the masters refuse them together because the policy denies some.
async fn each(caller: &Caller, bucket: &BucketName, batch: &[Wanted], bypass: bool) -> S3Result<Vec<Option<Deleted>>> {
    match remove(caller, bucket, batch, bypass).await {
        Err(MasterError::Denied) => {}
        deleted => return Ok(deleted.map_err(error::master)?.into_iter().map(Some).collect()),
    }
    if batch.len() == 1 {
        return Ok(vec![None]);
    }
    let mut outcomes = Vec::with_capacity(batch.len());
    for one in batch {
        match remove(caller, bucket, std::slice::from_ref(one), bypass).await {
            Err(MasterError::Denied) => outcomes.push(None),
            deleted => outcomes.push(deleted.map_err(error::master)?.pop()),
        }
    }
    Ok(outcomes)
}

/// Removes files, or versions: either all are named with one or none is.
async fn remove(
    caller: &Caller,
    bucket: &BucketName,
    batch: &[Wanted],
    bypass: bool,
) -> Result<Vec<Deleted>, MasterError> {
    let file = |wanted: &Wanted| (wanted.key.clone(), wanted.condition.clone());
    let version = |wanted: &Wanted| Some((wanted.key.clone(), wanted.version?, wanted.condition.clone()));
    let versions: Vec<_> = batch.iter().filter_map(version).collect();
    let deleted = match (batch, versions.as_slice()) {
        ([], _) => return Ok(Vec::new()),
        (_, []) => caller.client.delete(bucket, batch.iter().map(file).collect()).await,
        _ => caller.client.delete_versions(bucket, versions, bypass).await,
    };
    deleted.map_err(|cairn_client::Error::Master(problem)| problem)
}

/// How a batch answers for one of its objects.
fn answer(key: Key, version: Option<VersionId>, outcome: Option<Deleted>) -> Result<DeletedObject, Error> {
    let id = dto::version_id(version);
    let removed = DeletedObject { key: Some(key.clone().into()), version_id: id.clone(), ..DeletedObject::default() };
    let mark = |mark: Option<String>| (Some(true), mark);
    let Some(outcome) = outcome else { return Err(failed(key.into(), id, &error::denied())) };
    let (delete_marker, delete_marker_version_id) = match outcome {
        Deleted::ConditionFailed => return Err(failed(key.into(), id, &precondition_failed())),
        Deleted::Locked => return Err(failed(key.into(), id, &locked())),
        Deleted::Removed | Deleted::Absent => (None, None),
        Deleted::Marked(made) => mark(Some(made.to_string())),
        Deleted::MarkRemoved => mark(id),
    };
    Ok(DeletedObject { delete_marker, delete_marker_version_id, ..removed })
}

fn check(object: ObjectIdentifier) -> S3Result<Wanted> {
    let version = dto::version(object.version_id.as_deref())?;
    let key = Key::new(object.key).map_err(|problem| error::name(&problem))?;
    // In a document, too, `*` stands for any version.
    let tag = object.e_tag.map(|tag| if tag.value() == "*" { ETagCondition::Any } else { ETagCondition::ETag(tag) });
    Ok(Wanted { key, version, condition: condition(tag, object.size, object.last_modified_time)? })
}

fn locked() -> S3Error {
    error(S3ErrorCode::AccessDenied, "Access Denied because object protected by object lock.")
}

/// The condition of a removal. A time has a resolution of one second, as answers show it.
fn condition(tag: Option<ETagCondition>, size: Option<i64>, time: Option<Timestamp>) -> S3Result<Condition> {
    let invalid = |_| error(S3ErrorCode::InvalidArgument, "A size is not negative");
    let size = size.map(u64::try_from).transpose().map_err(invalid)?;
    let modified_at_ms = time.map(dto::milliseconds).transpose()?;
    Ok(Condition { size, modified_at_ms, ..dto::write_condition(tag, None) })
}

fn failed(key: String, version_id: Option<String>, problem: &S3Error) -> Error {
    Error {
        code: Some(problem.code().as_str().to_owned()),
        key: Some(key),
        message: problem.message().map(str::to_owned),
        version_id,
    }
}
