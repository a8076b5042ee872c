//! Errors as S3 clients expect them: one `match` from ours to codes.
//!
//! Messages say what happened and what to do, in our words; what went wrong inside is logged here and never sent.

use crate::credentials::CredentialError;
use crate::upload::{BodyError, ChunkedError, DigestError};
use cairn_client::{Error, GetError, PutError};
use cairn_common::bucket::SettingsError;
use cairn_common::error::ErrorKind;
use cairn_common::file::AttributesError;
use cairn_common::limits::PART_MAX_BYTES;
use cairn_common::name::NameError;
use cairn_common::policy::PolicyError;
use cairn_common::version::VersionId;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::MasterError;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode};
use std::borrow::Cow;

/// An error with a code of `s3s` and a message.
pub(crate) fn error(code: S3ErrorCode, message: impl Into<Cow<'static, str>>) -> S3Error {
    S3Error::with_message(code, message)
}

/// An error whose code `s3s` does not know.
pub(crate) fn custom(code: &'static str, status: StatusCode, message: impl Into<Cow<'static, str>>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// Something that Cairn does not do, said so instead of done half.
pub(crate) fn unsupported(what: &str) -> S3Error {
    error(S3ErrorCode::NotImplemented, format!("{what} is not implemented"))
}

/// The caller may not do this, whether or not it exists.
pub(crate) fn denied() -> S3Error {
    error(S3ErrorCode::AccessDenied, "Access Denied")
}

/// What a broken condition is answered with.
pub(crate) fn precondition_failed() -> S3Error {
    error(S3ErrorCode::PreconditionFailed, "At least one of the preconditions you specified did not hold")
}

/// What a name that cannot be is answered with.
pub(crate) fn name(name: &NameError) -> S3Error {
    let code = match name {
        NameError::Bucket { .. } => S3ErrorCode::InvalidBucketName,
        NameError::KeyLength { length: 0 } => S3ErrorCode::InvalidArgument,
        NameError::KeyLength { .. } => S3ErrorCode::KeyTooLongError,
    };
    error(code, name.to_string())
}

/// What no credential is answered with.
pub(crate) fn credential(problem: CredentialError) -> S3Error {
    match problem {
        CredentialError::Unknown => {
            error(S3ErrorCode::InvalidAccessKeyId, "The access key id you provided does not exist, or has expired")
        }
        CredentialError::WrongSecret => error(S3ErrorCode::SignatureDoesNotMatch, MISMATCH),
        CredentialError::Master(problem) => master(problem),
    }
}

/// For a signature that is not the one calculated.
pub(crate) const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your \
                                   secret access key and signing method";

/// What is to be stored with an object is too much.
pub(crate) fn attributes(problem: AttributesError) -> S3Error {
    let code = match problem {
        AttributesError::Tags(_) => S3ErrorCode::InvalidTag,
        AttributesError::UserMetadata { .. } | AttributesError::Total { .. } => S3ErrorCode::MetadataTooLarge,
    };
    error(code, sentence(&problem.to_string()))
}

/// An operation on names failed.
pub(crate) fn operation(Error::Master(problem): Error) -> S3Error {
    master(problem)
}

/// A call to the masters failed.
pub(crate) fn master(problem: MasterError) -> S3Error {
    match problem {
        MasterError::Refused(refusal) => refused(refusal),
        MasterError::Denied => denied(),
        MasterError::BadRequest(what) => {
            tracing::warn!(what, "a master took a request of the gateway for wrong");
            error(S3ErrorCode::InvalidRequest, "The request contradicts itself")
        }
        MasterError::BadTicket => unavailable("The right to read this object has run out; try again"),
        MasterError::Overloaded => error(S3ErrorCode::SlowDown, "Please reduce your request rate"),
        MasterError::NotLeader { .. } | MasterError::Unavailable(_) => {
            tracing::warn!(%problem, "the masters cannot serve");
            unavailable("The service cannot serve now; try again")
        }
        MasterError::Unknown => {
            tracing::warn!("the outcome of a command is not known");
            error(S3ErrorCode::InternalError, "No answer came: the operation may or may not have happened; try again")
        }
        MasterError::Bug(_) => {
            tracing::error!(%problem, "a bug");
            internal()
        }
    }
}

fn refused(refusal: Refusal) -> S3Error {
    let code = match &refusal {
        Refusal::NoSuchBucket(_) => S3ErrorCode::NoSuchBucket,
        Refusal::BucketExists { same_tenant: true, .. } => S3ErrorCode::BucketAlreadyOwnedByYou,
        Refusal::BucketExists { same_tenant: false, .. } => S3ErrorCode::BucketAlreadyExists,
        Refusal::BucketNotEmpty(_) => S3ErrorCode::BucketNotEmpty,
        Refusal::TooManyBuckets => S3ErrorCode::TooManyBuckets,
        Refusal::NoSuchFile(_) => S3ErrorCode::NoSuchKey,
        Refusal::ConditionFailed { .. } => return precondition_failed(),
        Refusal::NoSuchVersion { .. } => S3ErrorCode::NoSuchVersion,
        Refusal::FileRemoved { mark, .. } => {
            return marked(error(S3ErrorCode::NoSuchKey, sentence(&refusal.to_string())), *mark);
        }
        Refusal::RemovalMark { version, .. } => {
            let message = "The specified method is not allowed against this resource";
            return marked(error(S3ErrorCode::MethodNotAllowed, message), *version);
        }
        Refusal::Locked { .. } => S3ErrorCode::AccessDenied,
        Refusal::NoObjectLock(_) => {
            return error(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration");
        }
        Refusal::LockInThePast => S3ErrorCode::InvalidArgument,
        Refusal::LockNeedsVersions => S3ErrorCode::InvalidBucketState,
        Refusal::NoSuchUpload(_) => S3ErrorCode::NoSuchUpload,
        Refusal::InvalidPart(_) => S3ErrorCode::InvalidPart,
        Refusal::InvalidPartOrder(_) => S3ErrorCode::InvalidPartOrder,
        Refusal::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
        Refusal::InvalidRange { .. } => S3ErrorCode::InvalidRange,
        Refusal::BadAttributes(problem) => return attributes(*problem),
        // S3 has no quotas; the answer is that of Ceph's gateway, which clients do not repeat the request after.
        Refusal::QuotaBytes { .. } | Refusal::QuotaFiles { .. } => {
            return custom("QuotaExceeded", StatusCode::FORBIDDEN, sentence(&refusal.to_string()));
        }
        Refusal::BadSettings(SettingsError::Lifecycle(_) | SettingsError::LockPeriod) => S3ErrorCode::InvalidArgument,
        Refusal::BadSettings(SettingsError::Cors(_)) => S3ErrorCode::InvalidRequest,
        Refusal::BadSettings(SettingsError::PublicBlocked) | Refusal::BadPolicy(PolicyError::Public) => {
            return denied();
        }
        Refusal::BadPolicy(_) => S3ErrorCode::MalformedPolicy,
        Refusal::BadSettings(_) => S3ErrorCode::InvalidTag,
        Refusal::Unsupported(_) => S3ErrorCode::NotImplemented,
        Refusal::BadJoinToken => return denied(),
        Refusal::NoSuchKey(_) => S3ErrorCode::InvalidAccessKeyId,
        Refusal::KeyExists(_) => S3ErrorCode::OperationAborted,
        Refusal::Invalid(_) => S3ErrorCode::InvalidArgument,
        Refusal::ShortOfQuorum { .. }
        | Refusal::WindowEnded
        | Refusal::SessionCrowded
        | Refusal::TooManySessions
        | Refusal::TooManyEpochs => {
            tracing::warn!(%refusal, "a write was not durable in time");
            return unavailable("The write could not be made durable now; try again");
        }
        Refusal::SessionEnded => return master(MasterError::Unknown),
        // None of these is an answer to anything a gateway asks, or leaves unanswered itself.
        Refusal::SourceInline(_)
        | Refusal::WrongDomain
        | Refusal::BadManifest(_)
        | Refusal::RootMismatch
        | Refusal::InlineTooLarge { .. }
        | Refusal::SegmentOrder { .. }
        | Refusal::NoSuchNode(_)
        | Refusal::NodeExists(_)
        | Refusal::TooFewNodes { .. }
        | Refusal::NodeInRing(_)
        | Refusal::StaleVolume { .. }
        | Refusal::NoSuchVolume { .. }
        | Refusal::StaleBoot { .. }
        | Refusal::AlreadyInitialised => {
            tracing::error!(%refusal, "a refusal that a gateway should never meet");
            return internal();
        }
    };
    error(code, sentence(&refusal.to_string()))
}

/// The answer to who met a version that says only that the object was removed.
fn marked(mut error: S3Error, version: VersionId) -> S3Error {
    let name = HeaderName::from_static;
    let mut headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/xml")),
        (name("x-amz-delete-marker"), HeaderValue::from_static("true")),
        (header::ALLOW, HeaderValue::from_static("DELETE")),
    ]);
    let id = HeaderValue::from_str(&version.to_string());
    headers.extend(id.map(|id| (name("x-amz-version-id"), id)));
    error.set_headers(headers);
    error
}

/// Storing a body failed.
pub(crate) fn put(problem: PutError) -> S3Error {
    match problem {
        PutError::Source(problem) => source(&problem),
        PutError::Length { stated, found } => {
            error(S3ErrorCode::IncompleteBody, format!("The body has {found} bytes; {stated} were stated"))
        }
        PutError::TooLarge => too_large(),
        PutError::Refused(problem) => match problem.downcast_ref::<DigestError>() {
            Some(problem) => digest(*problem),
            None => error(S3ErrorCode::BadDigest, sentence(&problem.to_string())),
        },
        PutError::ShortOfQuorum { .. } if problem.kind() == ErrorKind::NoSpace => {
            tracing::warn!(%problem, "the chunkservers are full");
            custom("InsufficientStorage", StatusCode::INSUFFICIENT_STORAGE, "There is no room for the object")
        }
        PutError::ShortOfQuorum { .. } => {
            tracing::warn!(%problem, "too few chunkservers took a chunk");
            unavailable("Too few chunkservers can store the object now; try again")
        }
        PutError::Master(problem) => master(problem),
    }
}

/// The bytes to store could not be read: they came from the client, or from another object.
fn source(problem: &std::io::Error) -> S3Error {
    if let Some(problem) = BodyError::of(problem) {
        return body(problem);
    }
    match problem.get_ref().and_then(|inner| inner.downcast_ref::<GetError>()) {
        Some(problem) => get(problem.clone()),
        None => {
            tracing::error!(%problem, "a body failed in a way that is not known");
            internal()
        }
    }
}

/// A body larger than may be sent at once.
pub(crate) fn too_large() -> S3Error {
    error(
        S3ErrorCode::EntityTooLarge,
        format!("At most {PART_MAX_BYTES} bytes can be sent in one request; use a multipart upload"),
    )
}

/// A body was not what its client said.
pub(crate) fn digest(problem: DigestError) -> S3Error {
    let code = match problem {
        DigestError::Md5 | DigestError::Checksum(_) => S3ErrorCode::BadDigest,
        DigestError::TrailerValue(_) => S3ErrorCode::InvalidRequest,
        DigestError::Payload => {
            return custom("XAmzContentSHA256Mismatch", StatusCode::BAD_REQUEST, sentence(&problem.to_string()));
        }
    };
    error(code, sentence(&problem.to_string()))
}

/// A body could not be read.
pub(crate) fn body(problem: &BodyError) -> S3Error {
    let code = match problem {
        BodyError::TooSlow => S3ErrorCode::RequestTimeout,
        BodyError::BrokenOff => S3ErrorCode::IncompleteBody,
        BodyError::Chunked(problem) => match problem {
            ChunkedError::Incomplete { .. } | ChunkedError::NoLastChunk => S3ErrorCode::IncompleteBody,
            ChunkedError::Malformed(_) => S3ErrorCode::InvalidRequest,
            ChunkedError::Signature => return error(S3ErrorCode::SignatureDoesNotMatch, MISMATCH),
            ChunkedError::SmallChunk => {
                return custom("InvalidChunkSizeError", StatusCode::FORBIDDEN, sentence(&problem.to_string()));
            }
            ChunkedError::Trailer { .. } => {
                return custom("MalformedTrailerError", StatusCode::BAD_REQUEST, sentence(&problem.to_string()));
            }
        },
    };
    error(code, sentence(&problem.to_string()))
}

/// Reading an object failed before its first byte was sent.
pub(crate) fn get(problem: GetError) -> S3Error {
    match problem {
        GetError::Unsatisfiable { length } => unsatisfiable(length),
        GetError::ChunkUnreadable { ref path, .. } if problem.kind() != ErrorKind::Corrupt => {
            tracing::warn!(%problem, "a chunk is not available");
            unavailable(format!("Not every part of {} can be read now; try again", path.key))
        }
        GetError::ChunkUnreadable { ref path, .. }
        | GetError::InlineDamaged { ref path }
        | GetError::ManifestDamaged { ref path, .. } => {
            tracing::error!(%problem, "a file is damaged");
            let message = format!("{} is damaged: no intact copy of all its bytes was found", path.key);
            error(S3ErrorCode::InternalError, message)
        }
        GetError::Master(problem) => master(problem),
    }
}

/// The range asked for does not lie in the object.
pub(crate) fn unsatisfiable(length: u64) -> S3Error {
    let mut error = error(S3ErrorCode::InvalidRange, "The requested range does not lie in the object");
    let range = HeaderValue::from_str(&format!("bytes */{length}"));
    // These replace all headers of the answer, the type of its body too.
    let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"))]);
    headers.extend(range.map(|range| (header::CONTENT_RANGE, range)));
    error.set_headers(headers);
    error
}

fn unavailable(message: impl Into<Cow<'static, str>>) -> S3Error {
    error(S3ErrorCode::ServiceUnavailable, message)
}

fn internal() -> S3Error {
    error(S3ErrorCode::InternalError, "We met an internal error; it was logged under the id of this request")
}

/// The text with a capital at its start.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
