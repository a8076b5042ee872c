//! JSON in and out.

use super::problem::{Outcome, Problem, bad_request};
use crate::limits::JSON_MAX_BYTES;
use crate::upload::IncomingBody;
use axum::body::Body;
use axum::response::Response;
use bytes::BytesMut;
use cairn_common::ids::Stamp;
use http::{HeaderValue, StatusCode, header};
use s3s::dto::{Timestamp, TimestampFormat};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, UNIX_EPOCH};

/// Reads a document; `None` if there is no body.
pub(crate) async fn read<T: DeserializeOwned>(mut body: IncomingBody) -> Outcome<Option<T>> {
    let mut document = BytesMut::new();
    while let Some(piece) = body.next().await? {
        if document.len() + piece.len() > JSON_MAX_BYTES {
            let detail = format!("A JSON document has at most {JSON_MAX_BYTES} bytes here.");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The document is too large", detail));
        }
        document.extend_from_slice(&piece);
    }
    if document.is_empty() {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(&document);
    parsed.map(Some).map_err(|problem| bad_request(format!("The JSON document is not as it should be: {problem}.")))
}

/// An answer with a document.
pub(crate) fn answer(status: StatusCode, document: &impl Serialize) -> Response {
    // Documents are made of texts, numbers and lists: writing one to memory does not fail.
    let mut body = serde_json::to_vec_pretty(document).unwrap_or_default();
    body.push(b'\n');
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A time as JSON documents have it: RFC 3339, in UTC, to the millisecond.
pub(crate) fn time(stamp: Stamp) -> String {
    let time = Timestamp::from(UNIX_EPOCH + Duration::from_millis(stamp.ms()));
    let mut text = Vec::new();
    // Writing to memory does not fail, and stamps have years of four digits.
    let _ = time.format(TimestampFormat::DateTime, &mut text);
    String::from_utf8(text).unwrap_or_default()
}
