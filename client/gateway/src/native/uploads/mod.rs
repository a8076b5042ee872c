//! Resumable uploads: tus 1.0, over an upload of the masters that is appended to.
//!
//! `POST /v1/uploads/BUCKET/KEY` begins one, `PATCH` appends, `HEAD` tells how far it is, `DELETE` gives it up. A gateway holds
//! nothing of it, so any gateway goes on where another stopped. Two that append at the same place cannot both succeed: the masters
//! take parts in order, each once. The last byte makes the file, with the conditions that its request has.
//!
//! ([`headers`]: what is said; [`append`]: how bytes become parts.)

mod append;
mod headers;

pub(crate) use headers::{mark, meant};

use self::append::{Arriving, End, Manner};
use self::headers::Progress;
use super::Call;
use super::auth::may;
use super::conditions;
use super::files;
use super::problem::{Outcome, Problem, bad_request, internal};
use super::representation;
use super::target::{location, upload_location};
use crate::front::content_length;
use crate::upload::{BodyInspector, Expected, IncomingBody, UploadBody};
use axum::body::Body;
use axum::response::Response;
use cairn_client::{Client, PutError, PutOptions};
use cairn_common::chunk::Chunking;
use cairn_common::file::{Attributes, Condition};
use cairn_common::ids::UploadId;
use cairn_common::limits::APPENDED_PARTS_MAX;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::wire::command::{Committed, MultipartRef, Refusal};
use cairn_common::wire::master::{MasterError, PartsPage};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::Instrument as _;

/// What this can do.
pub(crate) fn options() -> Response {
    answer(StatusCode::NO_CONTENT, headers::abilities())
}

/// Begins an upload. Without a key in the address, its metadata names it: `key`, or `filename` as browsers send it.
pub(crate) async fn create(call: Call, bucket: BucketName, key: Option<Key>) -> Outcome<Response> {
    headers::check_version(&call.headers)?;
    let length = headers::length(&call.headers)?;
    if content_length(&call.headers).is_some_and(|length| length > 0) {
        return Err(bad_request("An upload is begun without a body; append to it with PATCH."));
    }
    let metadata = headers::metadata(&call.headers)?;
    let key = match key {
        Some(key) => key,
        None => {
            let named = metadata.get("key").or_else(|| metadata.get("filename"));
            let unnamed = || bad_request("Name the file: in the address, or as key or filename in Upload-Metadata.");
            Key::new(named.ok_or_else(unnamed)?.clone())?
        }
    };
    let path = FilePath { bucket, key };
    may(&call.identity, &path, |rights| rights.write)?;
    let attributes = headers::attributes(&metadata)?;
    let condition = conditions::of_write(&call.headers)?;
    // Conditions count when the upload ends; but what cannot succeed need not begin.
    if !condition.is_empty() {
        files::refuse_early(&call, &path, &condition).await?;
    }
    let upload = call.client.begin_appended(&path, attributes.clone(), length).await?;
    let mut made = headers::of_progress(&Progress { upload, offset: 0, length, attributes: Some(&attributes) });
    if length == 0 {
        // There is nothing to append: clients take such an upload for done.
        let named = MultipartRef { path: path.clone(), upload };
        let part = call.client.put_part(&named, 1, &b""[..], PutOptions::default()).await?;
        let parts = vec![(1, hex::encode(part.md5))];
        let committed = call.client.complete_multipart(&named, parts, condition, BTreeMap::new()).await?;
        made.extend(representation::of_commit(&committed, None));
    }
    let at = HeaderValue::from_str(&upload_location(&path, upload));
    made.extend(at.map(|at| (header::LOCATION, at)));
    Ok(answer(StatusCode::CREATED, made))
}

/// How far an upload is. One that has all of its bytes and is no file yet (whoever sent the last ones did not hear of it, nor
/// did the masters) becomes one now: clients take it for done.
pub(crate) async fn head(call: Call, path: FilePath, upload: UploadId) -> Outcome<Response> {
    headers::check_version(&call.headers)?;
    let named = MultipartRef { path, upload };
    let condition = conditions::of_write(&call.headers)?;
    let (found, committed) = match State::of(&call.client, &named).await {
        Ok(state) if state.offset < state.length => return Ok(answer(StatusCode::OK, state.headers(upload))),
        Ok(state) => {
            let committed = state.complete(&call.client, &named, condition).await?;
            (state.headers(upload), committed)
        }
        Err(problem) => {
            let committed = finished(&call.client, &named).await?.ok_or(problem)?;
            let (offset, length) = (committed.length, committed.length);
            (headers::of_progress(&Progress { upload, offset, length, attributes: None }), committed)
        }
    };
    Ok(answer(StatusCode::OK, done(found, &named.path, &committed)))
}

/// Appends. What came is durable when the answer says so, also that of a body that broke off; a client that heard no answer asks
/// with HEAD.
pub(crate) async fn append(call: Call, body: IncomingBody, path: FilePath, upload: UploadId) -> Outcome<Response> {
    headers::check_version(&call.headers)?;
    headers::check_type(&call.headers)?;
    let named = MultipartRef { path, upload };
    let offset = headers::offset(&call.headers)?;
    let checksum = headers::checksum(&call.headers)?;
    let condition = conditions::of_write(&call.headers)?;
    let state = State::of(&call.client, &named).await?;
    if offset != state.offset {
        return Err(elsewhere(state.offset));
    }
    let room = state.room();
    if content_length(&call.headers).is_some_and(|length| length > room) {
        return Err(too_long(room));
    }
    let manner = if checksum.is_some() { Manner::AllOrNothing } else { Manner::AsTheyCome };
    let arriving = Arriving::new(UploadBody::plain(body), manner, room);
    // A task of its own: it goes on to store what came when the connection, and with it this request, is gone.
    let client = call.client.clone();
    let storing = async move { store(&client, &named, state, arriving, checksum, condition).await };
    let storing = tokio::spawn(storing.in_current_span());
    let stopped = |error| {
        tracing::error!(%error, "storing what was appended ended early");
        internal()
    };
    storing.await.map_err(stopped)?
}

/// Gives an upload up.
pub(crate) async fn delete(call: Call, path: FilePath, upload: UploadId) -> Outcome<Response> {
    headers::check_version(&call.headers)?;
    let named = MultipartRef { path, upload };
    State::of(&call.client, &named).await?;
    call.client.abort_multipart(&named).await?;
    Ok(answer(StatusCode::NO_CONTENT, HeaderMap::new()))
}

/// An open upload.
struct State {
    length: u64,
    offset: u64,
    attributes: Attributes,
    /// Numbers and tags of its parts.
    parts: Vec<(u32, String)>,
}

impl State {
    /// Bytes that it still takes: none, if parts that came through S3 made it longer than it was to be.
    fn room(&self) -> u64 {
        self.length.saturating_sub(self.offset)
    }

    async fn of(client: &Client, named: &MultipartRef) -> Outcome<State> {
        let PartsPage { parts, appended, .. } = client.parts(named, 0, 0).await?;
        // An upload of S3 is none of these: its parts come in any order.
        let (length, attributes) = appended.ok_or(MasterError::Refused(Refusal::NoSuchUpload(named.upload)))?;
        let offset = parts.iter().map(|part| part.length).sum();
        let parts = parts.iter().map(|part| (part.number, hex::encode(part.md5))).collect();
        Ok(State { length, offset, attributes, parts })
    }

    fn headers(&self, upload: UploadId) -> HeaderMap {
        let attributes = Some(&self.attributes).filter(|_| self.offset < self.length);
        headers::of_progress(&Progress { upload, offset: self.offset, length: self.length, attributes })
    }

    async fn complete(&self, client: &Client, named: &MultipartRef, condition: Condition) -> Outcome<Committed> {
        Ok(client.complete_multipart(named, self.parts.clone(), condition, BTreeMap::new()).await?)
    }
}

/// What an upload became that ended less than a day ago. (The parts of an open one are named for its end: none of them would be
/// an error.)
async fn finished(client: &Client, named: &MultipartRef) -> Outcome<Option<Committed>> {
    match client.complete_multipart(named, Vec::new(), Condition::default(), BTreeMap::new()).await {
        Ok(committed) => Ok(Some(committed)),
        Err(cairn_client::Error::Master(MasterError::Refused(_))) => Ok(None),
        Err(problem) => Err(problem.into()),
    }
}

async fn store(
    client: &Client,
    named: &MultipartRef,
    mut state: State,
    mut arriving: Arriving,
    checksum: Option<Expected>,
    condition: Condition,
) -> Outcome<Response> {
    let md5 = checksum.as_ref().is_some_and(|expected| expected.md5.is_some());
    let mut inspector = checksum.map(|expected| BodyInspector::new(expected, Arc::default()));
    // A body that is to match something is looked at even if it is empty.
    while arriving.more().await || inspector.is_some() {
        let number = state.parts.len() as u32 + 1;
        if number > APPENDED_PARTS_MAX {
            let detail = format!("An upload is sent with at most {APPENDED_PARTS_MAX} requests; send more with each.");
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "too-many-parts",
                "The upload is in too many pieces",
                detail,
            ));
        }
        let room = state.room();
        let options = PutOptions {
            chunking: Some(Chunking::FIXED),
            md5,
            inspector: inspector.take().map(|inspector| Box::new(inspector) as _),
            ..PutOptions::default()
        };
        let stored = client.put_part(named, number, arriving.part(state.length), options).await;
        let part = stored.map_err(|problem| refused(problem, arriving.end(), room))?;
        state.offset += part.length;
        state.parts.push((number, hex::encode(part.md5)));
    }
    if let Some(End::Broken(broken)) = arriving.end() {
        return Err(broken.clone().into());
    }
    let shown = state.headers(named.upload);
    if state.offset < state.length {
        return Ok(answer(StatusCode::NO_CONTENT, shown));
    }
    let committed = state.complete(client, named, condition).await?;
    Ok(answer(StatusCode::NO_CONTENT, done(shown, &named.path, &committed)))
}

/// What an append that was not stored is answered with.
fn refused(problem: PutError, end: Option<&End>, room: u64) -> Problem {
    match problem {
        PutError::Source(_) if end == Some(&End::TooLong) => too_long(room),
        PutError::Refused(_) => {
            let status = StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST);
            let detail = "The bytes do not match Upload-Checksum. None of them was kept; send them again.";
            Problem::new(status, "checksum-mismatch", "The bytes do not match their checksum", detail)
        }
        PutError::Master(MasterError::Refused(Refusal::InvalidPartOrder(_))) => {
            let detail = "Somebody else appended at the same place. Ask with HEAD how far the upload is.";
            Problem::new(StatusCode::CONFLICT, "offset-mismatch", "The upload is elsewhere", detail)
        }
        problem => problem.into(),
    }
}

fn elsewhere(offset: u64) -> Problem {
    let detail = format!("The upload has {offset} bytes; what is appended begins there.");
    Problem::new(StatusCode::CONFLICT, "offset-mismatch", "The upload is elsewhere", detail)
}

fn too_long(room: u64) -> Problem {
    let detail = format!("The upload has room for {room} more bytes (5 GiB in a request with a checksum).");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "More bytes came than there is room for", detail)
}

/// The answer about an upload that is a file: with its receipt.
fn done(mut headers: HeaderMap, path: &FilePath, committed: &Committed) -> HeaderMap {
    headers.extend(representation::of_commit(committed, None));
    headers.extend(HeaderValue::from_str(&location(path)).map(|at| (header::CONTENT_LOCATION, at)));
    headers
}

fn answer(status: StatusCode, headers: HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Every header of resumable uploads, with this value.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_header(value: &HeaderValue) {
    let mut given = HeaderMap::new();
    for name in ["upload-offset", "upload-length", "upload-metadata", "upload-checksum", "tus-resumable"] {
        given.insert(http::HeaderName::from_static(name), value.clone());
    }
    let _ =
        (headers::offset(&given), headers::length(&given), headers::checksum(&given), headers::check_version(&given));
    if let Ok(attributes) = headers::metadata(&given).and_then(|found| headers::attributes(&found)) {
        let progress = Progress { upload: UploadId(1 << 40), offset: 0, length: 1, attributes: Some(&attributes) };
        assert!(headers::metadata(&headers::of_progress(&progress)).is_ok(), "what was kept cannot be shown");
    }
}
