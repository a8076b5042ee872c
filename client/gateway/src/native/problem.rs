//! Errors of the native API: RFC 9457 documents that a program can match on and a person can act on.
//!
//! `type` is a URN that never changes; `detail` says what happened and what to do next. What went wrong inside is logged under
//! the request's id and never sent.

use crate::credentials::CredentialError;
use crate::limits::RETRY_AFTER_S;
use crate::observe::RequestLog;
use crate::upload::{BodyError, DigestError};
use axum::body::Body;
use axum::response::Response;
use cairn_client::{Error, GetError, PutError};
use cairn_common::error::ErrorKind;
use cairn_common::file::AttributesError;
use cairn_common::name::NameError;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::MasterError;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

/// An answer that says why not. One pointer: most functions return one in their rarest case.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    /// Last part of the URN.
    kind: &'static str,
    title: &'static str,
    detail: String,
    headers: HeaderMap,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
}

/// What a function of the API comes to.
pub(crate) type Outcome<T> = Result<T, Problem>;

impl Problem {
    /// A problem of one kind. The kind and its title belong together for ever.
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem(Box::new(Parts { status, kind, title, detail: detail.into(), headers: HeaderMap::new() }))
    }

    /// Whether it says that the caller may not do this.
    pub(crate) fn is_denial(&self) -> bool {
        self.0.status == StatusCode::FORBIDDEN
    }

    /// The same with a header on its answer.
    pub(crate) fn with(mut self, name: header::HeaderName, value: impl AsRef<str>) -> Problem {
        self.0.headers.extend(HeaderValue::from_str(value.as_ref()).map(|value| (name, value)));
        self
    }

    /// The answer, under the id of its request.
    pub(crate) fn into_response(self, log: &RequestLog) -> Response {
        let Parts { status, kind, title, detail, headers } = *self.0;
        let document = Document {
            r#type: format!("urn:cairn:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: &detail,
            request_id: &log.id,
        };
        // A document of texts and a number is never refused.
        let mut body = serde_json::to_vec_pretty(&document).unwrap_or_default();
        body.push(b'\n');
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

/// The request is wrong; `detail` says how.
pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", "The request is not valid", detail)
}

/// Who asks is not known.
pub(crate) fn unauthorized(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "An access key is needed", detail)
        .with(header::WWW_AUTHENTICATE, "Basic realm=\"cairn\", charset=\"UTF-8\", Bearer realm=\"cairn\"")
}

/// Who asks may not do this, whether or not what is named exists.
pub(crate) fn forbidden() -> Problem {
    let detail = "Your access key does not allow this. Ask an administrator for a grant on this bucket or prefix.";
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "Access denied", detail)
}

/// A condition in the request's headers does not hold.
pub(crate) fn precondition_failed() -> Problem {
    let detail = "The file is not (or no longer) as the request's conditions want it. Read it again before you decide.";
    Problem::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", "A precondition does not hold", detail)
}

/// Too many requests are being served.
pub(crate) fn busy() -> Problem {
    let detail = "Too many requests are being served; try again in a moment.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "The gateway is busy", detail)
}

/// There is no such file.
pub(crate) fn no_such_file(name: impl std::fmt::Display) -> Problem {
    let detail = format!("There is no file {name}. Names are compared byte by byte; list the bucket to see them.");
    Problem::new(StatusCode::NOT_FOUND, "no-such-file", "The file does not exist", detail)
}

/// The range asked for does not lie in the file.
pub(crate) fn unsatisfiable(length: u64) -> Problem {
    let detail = format!("The file has {length} bytes; the range asked for starts behind its end.");
    Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range-not-satisfiable",
        "The range does not lie in the file",
        detail,
    )
    .with(header::CONTENT_RANGE, format!("bytes */{length}"))
}

fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The cluster cannot do this now", detail)
}

/// Something is wrong inside.
pub(crate) fn internal() -> Problem {
    let detail = "Something is wrong inside. It was logged under the id of this request; please report it.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "An internal error", detail)
}

impl From<NameError> for Problem {
    fn from(problem: NameError) -> Problem {
        bad_request(format!("{problem}."))
    }
}

impl From<AttributesError> for Problem {
    fn from(problem: AttributesError) -> Problem {
        let detail = format!("{problem}. Keep what is longer in a file of its own.");
        Problem::new(StatusCode::BAD_REQUEST, "metadata-too-large", "Headers are too large to be kept", detail)
    }
}

impl From<CredentialError> for Problem {
    fn from(problem: CredentialError) -> Problem {
        match problem {
            // One answer for both: which keys exist is not told.
            CredentialError::Unknown | CredentialError::WrongSecret => {
                unauthorized("The access key or its secret is wrong, or the key has expired.")
            }
            CredentialError::Master(problem) => problem.into(),
        }
    }
}

impl From<Error> for Problem {
    fn from(Error::Master(problem): Error) -> Problem {
        problem.into()
    }
}

impl From<MasterError> for Problem {
    fn from(problem: MasterError) -> Problem {
        match problem {
            MasterError::Refused(refusal) => refusal.into(),
            MasterError::Denied => forbidden(),
            MasterError::BadRequest(what) => {
                tracing::warn!(what, "a master took a request of the gateway for wrong");
                bad_request("The request contradicts itself.")
            }
            MasterError::BadTicket => unavailable("The right to read this file has run out; open it again."),
            MasterError::Overloaded => unavailable("The masters have too much to do; try again more slowly."),
            MasterError::NotLeader { .. } | MasterError::Unavailable(_) => {
                tracing::warn!(%problem, "the masters cannot serve");
                unavailable("No master can serve now; try again.")
            }
            MasterError::Unknown => {
                tracing::warn!("the outcome of a command is not known");
                let detail = "No answer came from the masters: the change may or may not have been made. Look, or send it again.";
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "outcome-unknown", "The outcome is not known", detail)
            }
            MasterError::Bug(_) => {
                tracing::error!(%problem, "a bug");
                internal()
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let status = StatusCode::CONFLICT;
        match refusal {
            Refusal::NoSuchBucket(name) => {
                let detail = format!("There is no bucket {name}. Make it with PUT /v1/buckets/{name}.");
                Problem::new(StatusCode::NOT_FOUND, "no-such-bucket", "The bucket does not exist", detail)
            }
            Refusal::NoSuchFile(path) => no_such_file(path),
            Refusal::FileRemoved { path, .. }
            | Refusal::NoSuchVersion { path, .. }
            | Refusal::RemovalMark { path, .. } => no_such_file(path),
            Refusal::Locked { .. } => forbidden(),
            Refusal::BucketExists { name, same_tenant: true } => {
                Problem::new(status, "bucket-exists", "The bucket exists", format!("You have a bucket {name} already."))
            }
            Refusal::BucketExists { name, same_tenant: false } => {
                let detail = format!("The name {name} is taken by another tenant; choose another one.");
                Problem::new(status, "bucket-name-taken", "The name of the bucket is taken", detail)
            }
            Refusal::BucketNotEmpty(name) => {
                let detail = format!("Bucket {name} holds files, earlier versions or open uploads. Remove them first.");
                Problem::new(status, "bucket-not-empty", "The bucket is not empty", detail)
            }
            Refusal::TooManyBuckets => {
                Problem::new(status, "too-many-buckets", "No more buckets can be made", format!("{refusal}."))
            }
            Refusal::QuotaBytes { .. } | Refusal::QuotaFiles { .. } => Problem::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "quota-exceeded",
                "The quota of the bucket is used up",
                format!("{refusal}. Remove files, or ask for a higher quota."),
            ),
            Refusal::BadSettings(_)
            | Refusal::BadPolicy(_)
            | Refusal::LockNeedsVersions
            | Refusal::LockInThePast
            | Refusal::NoObjectLock(_) => bad_request(format!("{refusal}.")),
            Refusal::ConditionFailed { .. } => precondition_failed(),
            Refusal::BadAttributes(problem) => problem.into(),
            Refusal::Unsupported(_) | Refusal::Invalid(_) | Refusal::InvalidRange { .. } => {
                bad_request(format!("{refusal}."))
            }
            Refusal::NoSuchUpload(_) => Problem::new(
                StatusCode::NOT_FOUND,
                "no-such-upload",
                "The upload does not exist",
                format!("{refusal}."),
            ),
            Refusal::BadJoinToken => forbidden(),
            Refusal::ShortOfQuorum { .. }
            | Refusal::WindowEnded
            | Refusal::SessionCrowded
            | Refusal::TooManySessions
            | Refusal::TooManyEpochs => {
                tracing::warn!(%refusal, "a write was not durable in time");
                unavailable("The write could not be made durable now; try again.")
            }
            Refusal::SessionEnded => MasterError::Unknown.into(),
            // None of these is an answer to anything this API asks.
            Refusal::SourceInline(_)
            | Refusal::InvalidPart(_)
            | Refusal::InvalidPartOrder(_)
            | Refusal::PartTooSmall { .. }
            | Refusal::NoSuchKey(_)
            | Refusal::KeyExists(_)
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
                internal()
            }
        }
    }
}

impl From<PutError> for Problem {
    fn from(problem: PutError) -> Problem {
        match problem {
            PutError::Source(problem) => match BodyError::of(&problem) {
                Some(problem) => problem.clone().into(),
                None => {
                    tracing::error!(%problem, "a body failed in a way that is not known");
                    internal()
                }
            },
            PutError::Length { stated, found } => bad_request(format!(
                "The body has {found} bytes and Content-Length says {stated}. Nothing was stored; send it again."
            )),
            PutError::TooLarge => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The file is too large", format!("{problem}."))
            }
            PutError::Refused(problem) => {
                if problem.downcast_ref::<DigestError>().is_none() {
                    tracing::error!(%problem, "a body was refused by nobody we know");
                }
                let detail = format!(
                    "{problem}. Nothing was stored; the bytes were altered on their way, or the digest is of others."
                );
                Problem::new(StatusCode::BAD_REQUEST, "digest-mismatch", "The body does not match its digest", detail)
            }
            PutError::ShortOfQuorum { .. } if problem.kind() == ErrorKind::NoSpace => {
                tracing::warn!(%problem, "the chunkservers are full");
                let detail = "There is no room for the file. Remove files, or add disks or nodes.";
                Problem::new(StatusCode::INSUFFICIENT_STORAGE, "no-space", "The cluster is full", detail)
            }
            PutError::ShortOfQuorum { .. } => {
                tracing::warn!(%problem, "too few chunkservers took a chunk");
                unavailable("Too few chunkservers can store the file now. Nothing was stored; try again.")
            }
            PutError::Master(problem) => problem.into(),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(problem: BodyError) -> Problem {
        match problem {
            BodyError::TooSlow => {
                let detail = "The body stopped coming, or came too slowly. Nothing was stored.";
                Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The body did not arrive in time", detail)
                    .with(header::CONNECTION, "close")
            }
            BodyError::BrokenOff => bad_request("The body broke off before its end. Nothing was stored."),
            BodyError::Chunked(_) => bad_request(format!("{problem}.")),
        }
    }
}

impl From<GetError> for Problem {
    fn from(problem: GetError) -> Problem {
        match problem {
            GetError::Unsatisfiable { length } => unsatisfiable(length),
            GetError::ChunkUnreadable { ref path, .. } if problem.kind() != ErrorKind::Corrupt => {
                tracing::warn!(%problem, "a chunk is not available");
                unavailable(format!("Not every part of {path} can be read now; try again."))
            }
            GetError::ChunkUnreadable { ref path, .. }
            | GetError::InlineDamaged { ref path }
            | GetError::ManifestDamaged { ref path, .. } => {
                tracing::error!(%problem, "a file is damaged");
                let detail = format!("No intact copy of all bytes of {path} was found. Restore it from elsewhere.");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "file-damaged", "The file is damaged", detail)
            }
            GetError::Master(problem) => problem.into(),
        }
    }
}
