//! Files: stored, read, looked at, removed.

use super::Call;
use super::conditions;
use super::digest;
use super::problem::{Outcome, Problem, bad_request, no_such_file, precondition_failed};
use super::representation;
use super::target::location;
use crate::checksum::Algorithm;
use crate::front::{content_length, expects_continue};
use crate::s3::report;
use crate::upload::{BodyInspector, IncomingBody, UploadBody, Value};
use axum::body::Body;
use axum::response::Response;
use cairn_client::{GetError, GetOptions, GetOutcome, PutOptions};
use cairn_common::chunk::Chunking;
use cairn_common::error::ErrorKind;
use cairn_common::file::{Condition, ConditionOutcome, FileInfo};
use cairn_common::limits::FILE_MAX_BYTES;
use cairn_common::name::FilePath;
use cairn_common::wire::command::Deleted;
use cairn_common::wire::master::{Found, MasterError, RangeWanted};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderValue, StatusCode, header};
use std::sync::Arc;

/// Stores a file. Nothing is visible before the whole body was there and its digest right.
pub(crate) async fn put(call: Call, body: IncomingBody, path: FilePath) -> Outcome<Response> {
    if call.headers.contains_key(header::CONTENT_RANGE) {
        return Err(bad_request("A file is stored whole: PUT takes no Content-Range."));
    }
    let attributes = representation::attributes(&call.headers)?;
    let mut expected = representation::expected(&call.headers)?;
    if digest::wants_repr(&call.headers) {
        expected.checksums.entry(Algorithm::Sha256).or_insert(Value::Unstated);
    }
    let condition = conditions::of_write(&call.headers)?;
    let length = content_length(&call.headers);
    if let Some(most) = call.body_max {
        let detail = format!("The link is good for files of at most {most} bytes, of a length that is stated.");
        let too_large = |status| Problem::new(status, "too-large", "The file is too large", detail);
        match length {
            None => return Err(too_large(StatusCode::LENGTH_REQUIRED)),
            Some(length) if length > most => return Err(too_large(StatusCode::PAYLOAD_TOO_LARGE)),
            Some(_) => {}
        }
    }
    if length.is_some_and(|length| length > FILE_MAX_BYTES) {
        return Err(cairn_client::PutError::TooLarge.into());
    }
    if expects_continue(&call.headers) {
        refuse_early(&call, &path, &condition).await?;
    }
    let md5 = expected.md5.is_some();
    let inspector = (md5 || !expected.checksums.is_empty()).then(|| BodyInspector::new(expected, Arc::default()));
    let computed = inspector.as_ref().map(BodyInspector::computed);
    let options = PutOptions {
        attributes,
        condition,
        chunking: Some(Chunking::FIXED),
        length,
        md5,
        inspector: inspector.map(|inspector| Box::new(inspector) as _),
        progress: None,
    };
    let committed = call.client.put(&path, UploadBody::plain(body), options).await?;
    let digests = computed.as_ref().and_then(|computed| computed.get());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = if committed.replaced { StatusCode::OK } else { StatusCode::CREATED };
    *response.headers_mut() = representation::of_commit(&committed, digests);
    response.headers_mut().extend(HeaderValue::from_str(&location(&path)).map(|value| (header::LOCATION, value)));
    Ok(response)
}

/// Refuses, before the client is asked for its body, what the masters would refuse in the end. The commit judges again, and
/// exactly.
pub(crate) async fn refuse_early(call: &Call, path: &FilePath, condition: &Condition) -> Outcome<()> {
    if condition.is_empty() {
        return bucket_exists(call, path).await;
    }
    let found = match call.client.stat(path, Condition::default()).await {
        Ok(Found::Here(info)) => Some(info),
        Ok(Found::NotModified(info)) => Some(*info),
        // The bucket may be what is missing; then the question below says so.
        Err(problem) if problem.kind() == ErrorKind::NotFound => {
            bucket_exists(call, path).await?;
            None
        }
        // It may write the file and not read it: then the commit judges alone.
        Err(cairn_client::Error::Master(MasterError::Denied)) => return Ok(()),
        Err(problem) => return Err(problem.into()),
    };
    match condition.judge(found.as_ref().map(FileInfo::facts)) {
        ConditionOutcome::Holds => Ok(()),
        ConditionOutcome::Failed | ConditionOutcome::NotModified => Err(precondition_failed()),
    }
}

/// Whether the bucket is there. A key that may write files need not be one that may look at their bucket.
async fn bucket_exists(call: &Call, path: &FilePath) -> Outcome<()> {
    match call.client.bucket(&path.bucket).await {
        Ok(_) | Err(cairn_client::Error::Master(MasterError::Denied)) => Ok(()),
        Err(problem) => Err(problem.into()),
    }
}

/// Streams a file, or a range of it. The first piece is read before the answer begins, so that a file that cannot be read is an
/// error and not a broken connection.
pub(crate) async fn get(call: Call, path: FilePath) -> Outcome<Response> {
    let condition = conditions::of_read(&call.headers)?;
    let (opened, partial) = open_wanted(&call, &path, &condition).await?;
    let mut reader = match opened {
        GetOutcome::File(reader) => reader,
        GetOutcome::NotModified(info) => return Ok(not_modified(&info)),
    };
    let (start, end) = reader.range();
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = representation::of_version(reader.info());
    show_range(&mut response, partial, (start, end), reader.info().length);
    let first = reader.try_next().await?;
    let whole = digest::Whole { all: end - start == reader.info().length, bytes: end - start, first: first.as_ref() };
    digest::show(&call.headers, response.headers_mut(), &whole);
    let pieces = futures::stream::iter(first.map(Ok)).chain(reader).inspect_err(report);
    *response.body_mut() = Body::from_stream(pieces);
    Ok(response)
}

/// Opens the range that is asked for, or the whole if the version is another than `If-Range` names; and which of them it is.
async fn open_wanted(call: &Call, path: &FilePath, condition: &Condition) -> Outcome<(GetOutcome, bool)> {
    let open = |range| call.client.get(path, GetOptions { range, version: None, condition: condition.clone() });
    let wanted = conditions::range(&call.headers);
    if wanted == RangeWanted::All || !call.headers.contains_key(header::IF_RANGE) {
        return Ok((open(wanted).await?, wanted != RangeWanted::All));
    }
    // Which version it is shows only when it is open; seldom is it another one.
    match open(wanted).await {
        Ok(GetOutcome::File(reader)) if !conditions::if_range_holds(&call.headers, reader.info()) => {}
        // Refused before its version was seen.
        Err(GetError::Unsatisfiable { .. }) if !is_wanted_version(call, path).await? => {}
        opened => return Ok((opened?, true)),
    }
    Ok((open(RangeWanted::All).await?, false))
}

async fn is_wanted_version(call: &Call, path: &FilePath) -> Outcome<bool> {
    let found = call.client.stat(path, Condition::default()).await?;
    Ok(matches!(found, Found::Here(info) if conditions::if_range_holds(&call.headers, &info)))
}

/// As `get`, without the bytes.
pub(crate) async fn head(call: Call, path: FilePath) -> Outcome<Response> {
    let condition = conditions::of_read(&call.headers)?;
    let info = match call.client.stat(&path, condition).await? {
        Found::Here(info) => info,
        Found::NotModified(info) => return Ok(not_modified(&info)),
    };
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = representation::of_version(&info);
    // Ranges are defined for GET alone (RFC 9110, 14.2).
    show_range(&mut response, false, (0, info.length), info.length);
    Ok(response)
}

/// Removes a file. One that is not there is as good as removed, unless `?strict` asks.
pub(crate) async fn delete(call: Call, path: FilePath) -> Outcome<Response> {
    let condition = conditions::of_write(&call.headers)?;
    let deleted = call.client.delete(&path.bucket, vec![(path.key.clone(), condition)]).await?;
    match deleted.as_slice() {
        [Deleted::ConditionFailed] => Err(precondition_failed()),
        [Deleted::Absent] if call.query.has("strict") => Err(no_such_file(path)),
        _ => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
    }
}

fn show_range(response: &mut Response, partial: bool, (start, end): (u64, u64), length: u64) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    if partial && end > start {
        let range = HeaderValue::from_str(&format!("bytes {start}-{}/{length}", end - 1));
        headers.extend(range.map(|range| (header::CONTENT_RANGE, range)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
}

fn not_modified(info: &FileInfo) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = representation::of_version(info);
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

/// Where the chunks of a file are; for people who want to know whether it is safe.
pub(crate) async fn locate(call: Call, path: FilePath) -> Outcome<Response> {
    let offset = match call.query.get("offset") {
        None => 0,
        Some(text) => text.parse().map_err(|_| bad_request("offset is a number of bytes."))?,
    };
    let page = call.client.locate(&path, offset).await?;
    Ok(super::whereabouts::answer(&call, &path, &page))
}
