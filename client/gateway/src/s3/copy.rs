//! CopyObject: by reference, whatever the size. Only a checksum that nobody has computed yet makes it read the bytes.

use super::dto::{self, Sums};
use super::error::{self, error, precondition_failed};
use super::lock;
use super::put::{with_checksums, write_refused};
use super::refuse;
use super::service::Caller;
use super::tagging;
use crate::checksum::Algorithm;
use crate::upload::{BodyInspector, Expected, Value};
use cairn_client::{GetError, GetOptions, PutError, PutOptions, StreamSource};
use cairn_common::bucket::Tags;
use cairn_common::chunk::Chunking;
use cairn_common::error::ErrorKind;
use cairn_common::file::{Attributes, Condition, FileInfo, TagCondition};
use cairn_common::name::FilePath;
use cairn_common::version::{Lock, VersionId};
use cairn_common::wire::command::{Committed, CopyFile, Refusal};
use cairn_common::wire::master::{Found, MasterError, RangeWanted};
use http::HeaderMap;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, ETagCondition, MetadataDirective, TaggingDirective,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Headers with times on the source of a copy.
pub(crate) const SOURCE_TIMES: [&str; 2] =
    ["x-amz-copy-source-if-modified-since", "x-amz-copy-source-if-unmodified-since"];

/// How often a copy is begun again because its source was replaced meanwhile.
const TRIES: usize = 5;

/// Makes a new version of an object with the bytes of another.
pub(crate) async fn copy_object(caller: &Caller, input: CopyObjectInput) -> S3Result<S3Response<CopyObjectOutput>> {
    let to = dto::path(&input.bucket, &input.key)?;
    let (from, version) = dto::source(&input.copy_source)?;
    caller.must_read(&from, version).await?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    dto::expect_owner(input.expected_source_bucket_owner.as_deref(), caller.tenant())?;
    refuse::in_write(&caller.headers)?;
    let attributes = replaced(&input, &caller.headers)?;
    let tags = replaced_tags(&input, &caller.headers)?;
    let lock = lock::of_headers(&caller.headers)?;
    if from == to && version.is_none() && attributes.is_none() && tags.is_none() && input.storage_class.is_none() {
        let message = "This copy request is illegal because it is trying to copy an object to itself without changing the \
                       object's metadata, storage class, website redirect location or encryption attributes";
        return Err(error(S3ErrorCode::InvalidRequest, message));
    }
    let algorithm = input.checksum_algorithm.as_ref().map(|name| algorithm(name.as_str())).transpose()?;
    let copy = Copy {
        from,
        version,
        lock,
        to,
        from_condition: dto::read_condition(
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            &caller.headers,
            SOURCE_TIMES,
        ),
        condition: target_condition(&caller.headers)?,
        attributes,
        tags,
        algorithm,
    };
    let (committed, checksums, source_version) = copy.run(caller).await?;
    let sums = Sums::of(&checksums);
    let result = CopyObjectResult {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
        e_tag: Some(dto::tag(&committed.tags)),
        last_modified: Some(dto::time(committed.stamp)),
    };
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: dto::version_id(source_version),
        version_id: dto::made(committed.version),
        ..CopyObjectOutput::default()
    }))
}

type Checksums = BTreeMap<String, cairn_common::file::Checksum>;

/// A copy that was understood.
struct Copy {
    from: FilePath,
    /// Which version of the source; `None`: the current one.
    version: Option<VersionId>,
    /// What the copy asks to be kept by; that of its source does not count.
    lock: Lock,
    to: FilePath,
    from_condition: Condition,
    condition: Condition,
    /// What the copy gets instead of what its source has, but for its tags.
    attributes: Option<Attributes>,
    /// The tags that the copy gets instead of those of its source.
    tags: Option<Tags>,
    /// A checksum that the copy must have.
    algorithm: Option<Algorithm>,
}

impl Copy {
    /// Looks at the source, and copies exactly what it saw: attributes and checksums of one version never go with the bytes of
    /// another.
    async fn run(self, caller: &Caller) -> S3Result<(Committed, Checksums, Option<VersionId>)> {
        let mut tries = 1;
        loop {
            let source = match caller.client.stat_version(&self.from, self.version, self.from_condition.clone()).await {
                Ok(Found::Here(info)) => info,
                Ok(Found::NotModified(_)) => return Err(precondition_failed()),
                Err(problem) => return Err(error::operation(problem)),
            };
            let outcome = match self.algorithm {
                Some(algorithm) if !has_full(&source, algorithm) => self.stream(caller, &source, algorithm).await,
                _ => match self.refer(caller, &source).await {
                    // Two tenants never share a copy of their bytes, whoever lets the other read.
                    Err(PutError::Master(MasterError::Refused(Refusal::WrongDomain))) => {
                        self.stream(caller, &source, self.algorithm.unwrap_or(Algorithm::Crc64Nvme)).await
                    }
                    outcome => outcome,
                },
            };
            match outcome {
                // Its source was replaced, or the condition on the target does not hold; if the latter, the next try says so.
                Err(problem) if problem.kind() == ErrorKind::Conflict && tries < TRIES => tries += 1,
                Err(problem) => return Err(self.refused(caller, problem).await),
                Ok((committed, checksums)) => return Ok((committed, checksums, source.version)),
            }
            if self.target_fails(caller).await? {
                return Err(precondition_failed());
            }
        }
    }

    /// What is stored with the copy, but for its checksums.
    fn attributes_of(&self, source: &FileInfo) -> Attributes {
        let attributes = self.attributes.as_ref().unwrap_or(&source.attributes).clone();
        let tags = self.tags.as_ref().unwrap_or(&source.attributes.tags).clone();
        Attributes { tags, lock: self.lock, ..attributes }
    }

    async fn refer(&self, caller: &Caller, source: &FileInfo) -> Result<(Committed, Checksums), PutError> {
        let changed = self.attributes.is_some() || self.tags.is_some() || self.lock != Lock::default();
        let attributes = changed.then(|| with_checksums(self.attributes_of(source), source));
        let copy = CopyFile {
            from: self.from.clone(),
            from_version: self.version,
            from_condition: pinned(source),
            to: self.to.clone(),
            condition: self.condition.clone(),
            attributes,
        };
        let copied = caller.client.copy_version(copy).await;
        let committed = copied.map_err(|cairn_client::Error::Master(problem)| PutError::Master(problem))?;
        Ok((committed, source.attributes.checksums.clone()))
    }

    async fn stream(
        &self,
        caller: &Caller,
        source: &FileInfo,
        algorithm: Algorithm,
    ) -> Result<(Committed, Checksums), PutError> {
        let (range, version) = (RangeWanted::All, self.version);
        let options = GetOptions { range, version, condition: pinned(source) };
        let opened = caller.client.get(&self.from, options).await.and_then(cairn_client::GetOutcome::into_file);
        let reader = opened.map_err(|problem| match problem {
            GetError::Master(problem) => PutError::Master(problem),
            problem => PutError::Source(std::io::Error::other(problem)),
        })?;
        let expected = Expected { checksums: BTreeMap::from([(algorithm, Value::Unstated)]), ..Expected::default() };
        let inspector = BodyInspector::new(expected, Arc::default());
        let computed = inspector.computed();
        let attributes = self.attributes_of(source);
        let options = PutOptions {
            attributes: Attributes { checksums: BTreeMap::new(), ..attributes },
            condition: self.condition.clone(),
            chunking: Some(Chunking::FIXED),
            length: Some(source.length),
            md5: true,
            inspector: Some(Box::new(inspector)),
            progress: None,
        };
        let committed = caller.client.put(&self.to, StreamSource(reader), options).await?;
        Ok((committed, computed.get().cloned().unwrap_or_default()))
    }

    /// Whether it is the condition on the target that does not hold.
    async fn target_fails(&self, caller: &Caller) -> S3Result<bool> {
        if self.condition.is_empty() {
            return Ok(false);
        }
        let found = match caller.client.stat(&self.to, Condition::default()).await {
            Ok(Found::Here(info)) => Some(info),
            Ok(Found::NotModified(info)) => Some(*info),
            Err(problem) if problem.kind() == ErrorKind::NotFound => None,
            Err(problem) => return Err(error::operation(problem)),
        };
        let outcome = self.condition.judge(found.as_ref().map(FileInfo::facts));
        Ok(outcome != cairn_common::file::ConditionOutcome::Holds)
    }

    async fn refused(&self, caller: &Caller, problem: PutError) -> S3Error {
        write_refused(&caller.client, &self.to, self.condition.if_match.is_some(), problem).await
    }
}

/// The condition that the source is still what was looked at.
fn pinned(source: &FileInfo) -> Condition {
    let tag = TagCondition::OneOf(vec![source.tags.native()]);
    Condition { if_match: Some(tag), ..Condition::default() }
}

fn has_full(source: &FileInfo, algorithm: Algorithm) -> bool {
    source.attributes.checksums.get(algorithm.name()).is_some_and(|checksum| checksum.parts.is_none())
}

/// A checksum algorithm by its name.
pub(crate) fn algorithm(name: &str) -> S3Result<Algorithm> {
    let unknown = || error(S3ErrorCode::InvalidRequest, "The checksum algorithm is not known");
    Algorithm::from_name(name).ok_or_else(unknown)
}

/// What the copy gets instead of what its source has, if anything.
fn replaced(input: &CopyObjectInput, headers: &HeaderMap) -> S3Result<Option<Attributes>> {
    let attributes = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => return Ok(None),
        Some(MetadataDirective::REPLACE) => dto::attributes(headers, input.metadata.clone())?,
        Some(_) => return Err(error(S3ErrorCode::InvalidArgument, "The metadata directive must be COPY or REPLACE")),
    };
    attributes.check().map_err(error::attributes)?;
    Ok(Some(attributes))
}

/// The tags that the copy gets instead of those of its source, if any.
fn replaced_tags(input: &CopyObjectInput, headers: &HeaderMap) -> S3Result<Option<Tags>> {
    match input.tagging_directive.as_ref().map(TaggingDirective::as_str) {
        None | Some(TaggingDirective::COPY) => Ok(None),
        Some(TaggingDirective::REPLACE) => tagging::of_headers(headers).map(Some),
        Some(_) => Err(error(S3ErrorCode::InvalidArgument, "The tagging directive must be COPY or REPLACE")),
    }
}

/// `If-Match` and `If-None-Match` on the target, which `s3s` does not read here.
fn target_condition(headers: &HeaderMap) -> S3Result<Condition> {
    let tag = |name: &str| {
        let invalid = |_| error(S3ErrorCode::InvalidArgument, format!("The {name} header is not valid"));
        let value = headers.get(name).map(|value| ETagCondition::parse_http_header(value.as_bytes()));
        value.transpose().map_err(invalid)
    };
    Ok(dto::write_condition(tag("if-match")?, tag("if-none-match")?))
}
