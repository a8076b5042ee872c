//! Listings: a page as JSON, or everything as lines of JSON, streamed.

use super::Call;
use super::json;
use super::problem::{Outcome, bad_request};
use super::target::encode;
use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use cairn_client::{Client, Error};
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::BucketName;
use cairn_common::wire::master::{ListAfter, ListRequest, Listed, ListedFile};
use futures::TryStreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

const NDJSON: &str = "application/x-ndjson";

#[derive(Serialize)]
struct File {
    key: String,
    size: u64,
    etag: String,
    modified: String,
    commit: u64,
}

impl From<ListedFile> for File {
    fn from(file: ListedFile) -> File {
        let (etag, modified, commit) = (file.tags.native(), json::time(file.stamp), file.stamp.0);
        File { key: file.key.into(), size: file.length, etag, modified, commit }
    }
}

#[derive(Serialize)]
struct Page<'a> {
    bucket: &'a str,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    files: Vec<File>,
    prefixes: Vec<String>,
    /// To go on with: `?cursor=`.
    cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    File(File),
    Prefix { prefix: String },
    End,
}

/// The files of a bucket, in the order of their keys.
pub(crate) async fn list(call: Call, bucket: BucketName) -> Outcome<Response> {
    let limit = match call.query.get("limit") {
        None => None,
        Some(text) => Some(limit(text)?),
    };
    let request = ListRequest {
        bucket,
        prefix: call.query.get("prefix").unwrap_or_default().to_owned(),
        delimiter: call.query.get("delimiter").filter(|delimiter| !delimiter.is_empty()).map(str::to_owned),
        after: match call.query.get("cursor").filter(|cursor| !cursor.is_empty()) {
            None => ListAfter::Start,
            Some(cursor) => ListAfter::Token(read_cursor(cursor)?),
        },
        limit: limit.unwrap_or(LIST_MAX_KEYS),
    };
    let first = call.client.list(request.clone()).await?;
    if wants_lines(&call.headers) {
        return Ok(lines(call.client, request, first, limit));
    }
    let cursor = first.next.as_deref().map(|next| URL_SAFE_NO_PAD.encode(next));
    let next = cursor.as_deref().map(|cursor| next_link(&request, cursor));
    let page = Page {
        bucket: request.bucket.as_str(),
        prefix: &request.prefix,
        delimiter: request.delimiter.as_deref(),
        files: first.files.into_iter().map(File::from).collect(),
        prefixes: first.prefixes,
        cursor,
    };
    let mut response = json::answer(StatusCode::OK, &page);
    let next = next.and_then(|next| HeaderValue::from_str(&next).ok());
    response.headers_mut().extend(next.map(|next| (header::LINK, next)));
    Ok(response)
}

/// `Link: <…>; rel="next"` (RFC 8288).
fn next_link(request: &ListRequest, cursor: &str) -> String {
    let delimiter = request.delimiter.as_ref().map_or(String::new(), |it| format!("&delimiter={}", encode(it)));
    let (bucket, prefix, limit) = (&request.bucket, encode(&request.prefix), request.limit);
    format!("</v1/objects/{bucket}?list&prefix={prefix}{delimiter}&limit={limit}&cursor={cursor}>; rel=\"next\"")
}

/// The whole listing, or its first `limit` entries, page after page as the client takes them. Ends with a line that says so: a
/// listing without it was broken off.
fn lines(client: Client, request: ListRequest, first: Listed, limit: Option<u32>) -> Response {
    let state = Some((Some(first), request));
    let pages = futures::stream::try_unfold((client, state), move |(client, state)| async move {
        let Some((page, mut request)) = state else { return Ok::<_, Error>(None) };
        let page = match page {
            Some(page) => page,
            None => client.list(request.clone()).await?,
        };
        let next = page.next.clone().filter(|_| limit.is_none());
        let bytes = write_lines(page, next.is_none());
        let state = next.map(|next| {
            request.after = ListAfter::Token(next);
            (None, request)
        });
        Ok(Some((bytes, (client, state))))
    });
    let pages = pages.inspect_err(|problem| tracing::warn!(%problem, "a listing is broken off"));
    let mut response = Response::new(Body::from_stream(pages));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response
}

/// Entries of a page in order, files and prefixes mixed as they lie in the bucket.
fn write_lines(page: Listed, last: bool) -> Bytes {
    let mut bytes = Vec::new();
    let mut prefixes = page.prefixes.into_iter().peekable();
    let mut line = |line: Line| {
        // Documents of texts and numbers are written to memory without fail.
        let _ = serde_json::to_writer(&mut bytes, &line);
        bytes.push(b'\n');
    };
    for file in page.files {
        while let Some(prefix) = prefixes.next_if(|prefix| prefix.as_str() < file.key.as_str()) {
            line(Line::Prefix { prefix });
        }
        line(Line::File(file.into()));
    }
    prefixes.for_each(|prefix| line(Line::Prefix { prefix }));
    if last {
        line(Line::End);
    }
    Bytes::from(bytes)
}

fn wants_lines(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split([',', ';']).any(|kind| kind.trim().eq_ignore_ascii_case(NDJSON))
}

fn limit(text: &str) -> Outcome<u32> {
    let limit = text.parse().ok().filter(|limit| (1..=LIST_MAX_KEYS).contains(limit));
    limit.ok_or_else(|| bad_request(format!("limit is a number from 1 to {LIST_MAX_KEYS}.")))
}

fn read_cursor(cursor: &str) -> Outcome<String> {
    let name = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|name| String::from_utf8(name).ok());
    name.ok_or_else(|| bad_request("The cursor is not one that a listing gave."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::file::{ETags, S3Tag};
    use cairn_common::ids::Stamp;
    use cairn_common::manifest::Root;
    use cairn_common::name::Key;

    #[test]
    fn lines_are_in_the_order_of_names_and_say_when_they_are_all() {
        let file = |key: &str| ListedFile {
            key: Key::new(key).unwrap(),
            stamp: Stamp::from_ms(0),
            length: 1,
            tags: ETags { root: Root([0; 32]), s3: S3Tag::Root },
        };
        let page = || Listed {
            files: vec![file("b"), file("d")],
            prefixes: vec!["a/".to_owned(), "c/".to_owned(), "e/".to_owned()],
            next: None,
        };
        let text = String::from_utf8(write_lines(page(), true).to_vec()).unwrap();
        let names: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["key"].as_str().or(line["prefix"].as_str()).unwrap_or("end").to_owned())
            .collect();
        assert_eq!(names, ["a/", "b", "c/", "d", "e/", "end"]);
        assert!(!String::from_utf8(write_lines(page(), false).to_vec()).unwrap().contains("end"));
    }

    #[test]
    fn limits_and_cursors_are_checked() {
        assert_eq!((limit("1").unwrap(), limit("1000").unwrap()), (1, 1000));
        for bad in ["0", "1001", "-1", "x", ""] {
            assert!(limit(bad).is_err(), "{bad}");
        }
        assert_eq!(read_cursor(&URL_SAFE_NO_PAD.encode("ä/\0")).unwrap(), "ä/\0");
        assert!(read_cursor("*").is_err());
    }
}
