//! DeleteObject and DeleteObjects: each removal by itself, in one commit.

use super::dto;
use super::error::{self, error, precondition_failed, unsupported};
use super::service::Caller;
use cairn_common::file::Condition;
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::Key;
use cairn_common::wire::command::Deleted;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
    Error, ObjectIdentifier,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

/// Removes an object. One that is not there is as good as removed.
pub(crate) async fn delete_object(
    caller: &Caller,
    input: DeleteObjectInput,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    dto::version(input.version_id.as_deref())?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    if input.if_match_last_modified_time.is_some() {
        return Err(unsupported("A condition on the time of an object that is removed"));
    }
    let path = dto::path(&input.bucket, &input.key)?;
    let condition = Condition { size: size(input.if_match_size)?, ..dto::write_condition(input.if_match, None) };
    let deleted = caller.client.delete(&path.bucket, vec![(path.key, condition)]).await.map_err(error::operation)?;
    match deleted.as_slice() {
        [Deleted::ConditionFailed] => Err(precondition_failed()),
        _ => Ok(S3Response::new(DeleteObjectOutput::default())),
    }
}

/// Removes up to 1,000 objects; each answer is by itself.
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
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for object in objects {
        let name = object.key.clone();
        let checked = check(object).and_then(|file| {
            caller.must(&bucket, file.0.as_str(), |rights| rights.delete)?;
            Ok(file)
        });
        match checked {
            Ok(file) => files.push(file),
            Err(problem) => errors.push(failed(name, &problem)),
        }
    }
    let mut deleted = Vec::new();
    if files.is_empty() {
        // The bucket must exist even if nothing in it may be removed.
        caller.client.bucket(&bucket).await.map_err(error::operation)?;
    } else {
        let keys: Vec<Key> = files.iter().map(|(key, _)| key.clone()).collect();
        let outcomes = caller.client.delete(&bucket, files).await.map_err(error::operation)?;
        for (key, outcome) in keys.into_iter().zip(outcomes) {
            match outcome {
                Deleted::ConditionFailed => errors.push(failed(key.into(), &precondition_failed())),
                Deleted::Removed | Deleted::Absent if quiet => {}
                Deleted::Removed | Deleted::Absent => {
                    deleted.push(DeletedObject { key: Some(key.into()), ..DeletedObject::default() });
                }
            }
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..DeleteObjectsOutput::default()
    }))
}

fn check(object: ObjectIdentifier) -> S3Result<(Key, Condition)> {
    dto::version(object.version_id.as_deref())?;
    if object.last_modified_time.is_some() {
        return Err(unsupported("A condition on the time of an object that is removed"));
    }
    let key = Key::new(object.key).map_err(|problem| error::name(&problem))?;
    // In a document, too, `*` stands for any version.
    let tag = object.e_tag.map(|tag| if tag.value() == "*" { ETagCondition::Any } else { ETagCondition::ETag(tag) });
    Ok((key, Condition { size: size(object.size)?, ..dto::write_condition(tag, None) }))
}

fn size(size: Option<i64>) -> S3Result<Option<u64>> {
    let invalid = |_| error(S3ErrorCode::InvalidArgument, "A size is not negative");
    size.map(u64::try_from).transpose().map_err(invalid)
}

fn failed(key: String, problem: &S3Error) -> Error {
    Error {
        code: Some(problem.code().as_str().to_owned()),
        key: Some(key),
        message: problem.message().map(str::to_owned),
        version_id: None,
    }
}
