//! What is put under load: any S3 endpoint, by signed URLs, or Cairn itself through the client library, straight to the chunkservers.

use crate::sigv4::{Endpoint, Request, Signer};
use bytes::Bytes;
use cairn_client::{Client, GetOptions, PutOptions, StreamSource};
use cairn_common::file::Condition;
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::seam::{Clock, HttpTransport, SystemClock, Transport as _};
use cairn_common::wire::master::{ListAfter, ListRequest, RangeWanted};
use futures::{StreamExt as _, TryStreamExt as _};
use std::convert::Infallible;

/// How long a signed URL is good for, in seconds.
const EXPIRES: u64 = 900;
/// Bytes of an answer that is an error that are shown.
const SHOWN_BYTES: usize = 300;

/// Where the load goes.
pub(super) enum Target {
    /// Over S3.
    S3(Box<S3>),
    /// Through the library.
    Direct(Client, BucketName),
}

/// An S3 endpoint with a bucket.
pub(super) struct S3 {
    pub(super) transport: HttpTransport,
    pub(super) endpoint: Endpoint,
    pub(super) signer: Signer,
    pub(super) bucket: String,
    pub(super) clock: SystemClock,
}

/// What went wrong with one operation, for people.
pub(super) type Problem = String;

impl Target {
    /// Makes the bucket, if it is not there.
    pub(super) async fn prepare(&self) -> Result<(), Problem> {
        let Target::S3(s3) = self else { return Ok(()) };
        match s3.call("PUT", "", &[], Bytes::new(), None).await {
            Err(problem) if problem.contains("BucketAlready") => Ok(()),
            made => made.map(drop),
        }
    }

    /// Stores an object.
    pub(super) async fn put(&self, key: &str, body: Bytes) -> Result<(), Problem> {
        match self {
            Target::S3(s3) => s3.call("PUT", key, &[], body, None).await.map(drop),
            Target::Direct(client, bucket) => {
                let options = PutOptions { length: Some(body.len() as u64), ..PutOptions::default() };
                let body = StreamSource(futures::stream::iter([Ok::<_, Infallible>(body)]));
                client.put(&path(bucket, key)?, body, options).await.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// Fetches an object, or `range` of it: first byte and one past the last.
    pub(super) async fn get(&self, key: &str, range: Option<(u64, u64)>) -> Result<Vec<Bytes>, Problem> {
        match self {
            Target::S3(s3) => s3.call("GET", key, &[], Bytes::new(), range).await,
            Target::Direct(client, bucket) => {
                let range = range.map_or(RangeWanted::All, |(start, end)| RangeWanted::FromTo(start, end));
                let options = GetOptions { range, ..GetOptions::default() };
                let file = client.get(&path(bucket, key)?, options).await.and_then(|outcome| outcome.into_file());
                let file = file.map_err(|error| error.to_string())?;
                file.try_collect().await.map_err(|error| error.to_string())
            }
        }
    }

    /// Asks about an object.
    pub(super) async fn head(&self, key: &str) -> Result<(), Problem> {
        match self {
            Target::S3(s3) => s3.call("HEAD", key, &[], Bytes::new(), None).await.map(drop),
            Target::Direct(client, bucket) => {
                let found = client.stat(&path(bucket, key)?, Condition::default()).await;
                found.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// Lists everything below `prefix`, page after page; returns how many there are.
    pub(super) async fn list(&self, prefix: &str) -> Result<u64, Problem> {
        match self {
            Target::S3(s3) => s3.list(prefix).await,
            Target::Direct(client, bucket) => {
                let (mut after, mut found) = (ListAfter::Start, 0);
                loop {
                    let (bucket, prefix) = (bucket.clone(), prefix.to_owned());
                    let request = ListRequest { bucket, prefix, delimiter: None, after, limit: LIST_MAX_KEYS };
                    let page = client.list(request).await.map_err(|error| error.to_string())?;
                    found += page.files.len() as u64;
                    match page.next {
                        Some(next) => after = ListAfter::Token(next),
                        None => return Ok(found),
                    }
                }
            }
        }
    }

    /// Removes an object.
    pub(super) async fn delete(&self, key: &str) -> Result<(), Problem> {
        match self {
            Target::S3(s3) => s3.call("DELETE", key, &[], Bytes::new(), None).await.map(drop),
            Target::Direct(client, bucket) => {
                let key = Key::new(key).map_err(|error| error.to_string())?;
                let removed = client.delete(bucket, vec![(key, Condition::default())]).await;
                removed.map(drop).map_err(|error| error.to_string())
            }
        }
    }
}

fn path(bucket: &BucketName, key: &str) -> Result<FilePath, Problem> {
    let key = Key::new(key).map_err(|error| error.to_string())?;
    Ok(FilePath { bucket: bucket.clone(), key })
}

impl S3 {
    /// One request. The whole body of the answer, or what is wrong.
    async fn call(
        &self,
        method: &str,
        key: &str,
        query: &[(&str, &str)],
        body: Bytes,
        range: Option<(u64, u64)>,
    ) -> Result<Vec<Bytes>, Problem> {
        let path = if key.is_empty() { format!("/{}", self.bucket) } else { format!("/{}/{key}", self.bucket) };
        let request = Request { method, path: &path, query, expires: EXPIRES };
        let url = self.signer.presign(&self.endpoint, &request, self.clock.wall_ms());
        let address = format!("{}://{}", self.endpoint.scheme, self.endpoint.host);
        let mut request = http::Request::builder().method(method).uri(&url[address.len()..]);
        if let Some((start, end)) = range {
            request = request.header(http::header::RANGE, format!("bytes={start}-{}", end - 1));
        }
        let request = request.body(body).map_err(|error| error.to_string())?;
        let answer = self.transport.http(&address, request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let mut pieces = Vec::new();
        let mut body = answer.into_body();
        while let Some(piece) = body.next().await {
            pieces.push(piece.map_err(|error| error.to_string())?);
        }
        if status.is_success() {
            return Ok(pieces);
        }
        let text = pieces.concat();
        Err(format!("{status} {}", String::from_utf8_lossy(&text[..text.len().min(SHOWN_BYTES)])))
    }

    async fn list(&self, prefix: &str) -> Result<u64, Problem> {
        let (mut token, mut found) = (None::<String>, 0);
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix)];
            query.extend(token.as_deref().map(|token| ("continuation-token", token)));
            let page = self.call("GET", "", &query, Bytes::new(), None).await?.concat();
            let page = String::from_utf8_lossy(&page);
            found += page.matches("<Contents>").count() as u64;
            token = next_token(&page);
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}

/// The token of the next page of a listing. Enough of XML for this one field.
fn next_token(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("<NextContinuationToken>")?;
    let (token, _) = rest.split_once("</NextContinuationToken>")?;
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#43;", "+"), ("&amp;", "&")];
    Some(named.iter().fold(token.to_owned(), |token, (name, character)| token.replace(name, character)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_of_a_listing_is_found() {
        let page = "<R><NextContinuationToken>a&amp;b&lt;c</NextContinuationToken></R>";
        assert_eq!(next_token(page).as_deref(), Some("a&b<c"));
        assert_eq!(next_token("<R><IsTruncated>false</IsTruncated></R>"), None);
    }
}
