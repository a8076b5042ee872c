//! The way through a gateway's HTTP API, for clients that reach the masters and not the chunkservers: `--direct`.
//!
//! Only bytes of files go this way; names, rights and manifests are still asked of the masters. So what comes back is checked here,
//! chunk by chunk, against the manifest that the masters gave. Of a part of a chunk no hash is known: there the gateway is believed.
//! What is sent carries its SHA-256, which the gateway compares before anything is visible.

pub(crate) mod kept;
mod verified;

pub(crate) use verified::verified;

use crate::failure::{Exit, Failure};
use crate::profile::Settings;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_common::name::FilePath;
use cairn_common::seam::{BodyStream, Clock as _, HttpTransport, SystemClock, TlsTrust, Transport as _};
use futures::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::time::Duration;

/// Bytes of a body that goes in one request; longer ones go in pieces of this size, as a resumable upload.
pub(crate) const PIECE_BYTES: u64 = 16 << 20;
/// Pieces that one upload may have, by the API's limit with some room.
const PIECES_MAX: u64 = cairn_common::limits::APPENDED_PARTS_MAX as u64 * 9 / 10;
/// How long an answer to one request may take, besides the sending of its body, and how long the body of an answer may stand still.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Slowest that a body is sent, in bytes a second.
const PACE_BYTES: u64 = 64 << 10;
/// Bytes of an error's body that are read.
const PROBLEM_MAX_BYTES: usize = 16 << 10;

/// Whether bytes go straight to and from the chunkservers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Direct {
    /// Straight; through the HTTP API where no chunkserver can be reached and --endpoint says where that is
    #[default]
    Auto,
    /// Straight, or not at all
    Always,
    /// Through the HTTP API at --endpoint
    Never,
}

/// A gateway's HTTP API.
pub(crate) struct Relay {
    transport: HttpTransport,
    clock: SystemClock,
    endpoint: String,
    authorization: Option<String>,
}

/// What a gateway says about a file that it stored.
pub(crate) struct Receipt {
    /// Its native tag.
    pub(crate) etag: String,
    /// Its version.
    pub(crate) version: Option<u64>,
    /// Durable copies of its least copied chunk.
    pub(crate) replicas_durable: Option<u8>,
}

/// How far an upload in pieces is.
pub(crate) enum Progress {
    /// So many bytes are there.
    At(u64),
    /// It is a file.
    Done(Receipt),
}

#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
    title: Option<String>,
}

impl Relay {
    /// The way that the settings name.
    pub(crate) fn new(settings: &Settings) -> Result<Relay, Failure> {
        let Some(endpoint) = &settings.endpoint else {
            let failure = Failure::new(Exit::Usage, "it is not said where the HTTP API is");
            return Err(
                failure.advise("use --endpoint http://HOST:PORT, set CAIRN_ENDPOINT, or write endpoint in the profile")
            );
        };
        let trust = settings.ca_file.clone().map_or(TlsTrust::System, TlsTrust::File);
        let transport = HttpTransport::new(&trust).map_err(|reason| Failure::new(Exit::Usage, reason))?;
        let credential = settings.credential.load()?;
        let authorization = credential.map(|(access, secret)| format!("Bearer {access}.{secret}"));
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Ok(Relay { transport, clock: SystemClock::new(), endpoint, authorization })
    }

    /// Reads a file from byte `from` on, if it is still the version with tag `etag`. The bytes are as the gateway says: see [`verified`].
    pub(crate) async fn get(&self, path: &FilePath, from: u64, etag: &str) -> Result<BodyStream, Failure> {
        let headers = [("range", format!("bytes={from}-")), ("if-match", format!("\"{etag}\""))];
        let answer = self.call(Method::GET, &target("objects", path), &headers, Bytes::new()).await?;
        Ok(answer.into_body())
    }

    /// Stores a body of at most [`PIECE_BYTES`]. `headers`: what is kept with it, and conditions.
    pub(crate) async fn put(
        &self,
        path: &FilePath,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Receipt, Failure> {
        let digest = ("repr-digest", format!("sha-256=:{}:", sha256(&body)));
        let headers: Vec<_> = headers.iter().cloned().chain([digest]).collect();
        let answer = self.call(Method::PUT, &target("objects", path), &headers, body).await?;
        Ok(receipt(answer.headers()))
    }

    /// Begins an upload in pieces; returns where it goes on, and how large each piece is to be.
    pub(crate) async fn begin(
        &self,
        path: &FilePath,
        headers: &[(&str, String)],
        metadata: &[(String, String)],
        length: u64,
    ) -> Result<(String, u64), Failure> {
        let piece = length.div_ceil(PIECES_MAX).max(PIECE_BYTES);
        if piece > 16 * PIECE_BYTES {
            let failure = Failure::new(Exit::Unsupported, "it is too large to go through the HTTP API");
            return Err(failure.advise("store it from a machine that reaches the chunkservers, or over S3").at(path));
        }
        let named = metadata.iter().map(|(name, value)| format!("{name} {}", STANDARD.encode(value)));
        let metadata = named.collect::<Vec<_>>().join(",");
        let mut all = vec![("tus-resumable", "1.0.0".to_owned()), ("upload-length", length.to_string())];
        if !metadata.is_empty() {
            all.push(("upload-metadata", metadata));
        }
        all.extend(headers.iter().cloned());
        let answer = self.call(Method::POST, &target("uploads", path), &all, Bytes::new()).await?;
        let place = answer.headers().get(http::header::LOCATION).and_then(|place| place.to_str().ok());
        let place =
            place.ok_or_else(|| Failure::new(Exit::Other, "the gateway did not say where the upload goes on"))?;
        let place = place.strip_prefix(self.endpoint.as_str()).unwrap_or(place);
        match place.starts_with('/') {
            true => Ok((place.to_owned(), piece)),
            false => Err(Failure::new(Exit::Other, format!("the gateway sends the upload elsewhere: {place}"))),
        }
    }

    /// Sends a piece of an upload; the last one makes the file, and only its conditions count.
    pub(crate) async fn piece(
        &self,
        place: &str,
        conditions: &[(&str, String)],
        (offset, piece): (u64, Bytes),
    ) -> Result<Receipt, Failure> {
        let mut headers = vec![
            ("tus-resumable", "1.0.0".to_owned()),
            ("upload-offset", offset.to_string()),
            ("upload-checksum", format!("sha256 {}", sha256(&piece))),
            ("content-type", "application/offset+octet-stream".to_owned()),
        ];
        headers.extend(conditions.iter().cloned());
        let answer = self.call(Method::PATCH, place, &headers, piece).await?;
        Ok(receipt(answer.headers()))
    }

    /// How far an upload is; `None`: it has ended. One that has all bytes becomes the file, under these conditions.
    pub(crate) async fn progress(
        &self,
        place: &str,
        conditions: &[(&str, String)],
    ) -> Result<Option<Progress>, Failure> {
        let mut headers = vec![("tus-resumable", "1.0.0".to_owned())];
        headers.extend(conditions.iter().cloned());
        let answer = match self.call(Method::HEAD, place, &headers, Bytes::new()).await {
            Err(failure) if failure.exit == Exit::NotFound => return Ok(None),
            answer => answer?,
        };
        if answer.headers().contains_key(http::header::ETAG) {
            return Ok(Some(Progress::Done(receipt(answer.headers()))));
        }
        let offset = answer.headers().get("upload-offset").and_then(|offset| offset.to_str().ok()?.parse().ok());
        offset.map(|offset| Some(Progress::At(offset))).ok_or_else(|| {
            Failure::new(Exit::Other, "the gateway did not say how far the upload is").advise("check --endpoint")
        })
    }

    /// Gives an upload up. One that cannot be given up now ends by itself.
    pub(crate) async fn give_up(&self, place: &str) {
        let headers = [("tus-resumable", "1.0.0".to_owned())];
        if let Err(failure) = self.call(Method::DELETE, place, &headers, Bytes::new()).await {
            tracing::debug!(reason = failure.message, "an upload cannot be given up");
        }
    }

    async fn call(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<http::Response<BodyStream>, Failure> {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        let patience = PATIENCE + Duration::from_secs(body.len() as u64 / PACE_BYTES);
        let request = request.body(body).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let answer = tokio::select! {
            biased;
            answer = self.transport.http(&self.endpoint, request) => answer.map_err(|error| {
                Failure::new(Exit::Network, error.to_string()).advise("check --endpoint; cairn doctor looks at everything")
            })?,
            () = self.clock.sleep(patience) => {
                let failure = Failure::new(Exit::Network, "the HTTP API does not answer");
                return Err(failure.advise("what was sent may be stored all the same: see cairn stat, then repeat it"));
            }
        };
        if answer.status().is_success() { Ok(answer) } else { Err(refused(answer).await) }
    }
}

/// The path of a file in the API. As a parameter: nothing between here and there folds it.
fn target(kind: &str, path: &FilePath) -> String {
    format!("/v1/{kind}/{}?key={}", path.bucket, utf8_percent_encode(path.key.as_str(), NON_ALPHANUMERIC))
}

fn sha256(bytes: &[u8]) -> String {
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, bytes))
}

fn receipt(headers: &HeaderMap) -> Receipt {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Receipt {
        etag: text("etag").unwrap_or_default().trim_matches('"').to_owned(),
        version: text("x-commit").and_then(|text| text.parse().ok()),
        replicas_durable: text("x-replicas-durable").and_then(|text| text.parse().ok()),
    }
}

async fn refused(answer: http::Response<BodyStream>) -> Failure {
    let status = answer.status();
    let mut text = Vec::new();
    let mut body = answer.into_body();
    while let Some(Ok(piece)) = body.next().await
        && text.len() < PROBLEM_MAX_BYTES
    {
        text.extend_from_slice(&piece);
    }
    let problem: Option<Problem> = serde_json::from_slice(&text).ok();
    let said = problem.and_then(|problem| problem.detail.or(problem.title)).unwrap_or_default();
    Failure::new(exit_of(status), format!("the HTTP API answers {status}: {said}"))
}

fn exit_of(status: StatusCode) -> Exit {
    match status.as_u16() {
        401 | 403 => Exit::Denied,
        404 => Exit::NotFound,
        409 | 412 | 428 => Exit::Conflict,
        413 | 507 => Exit::NoSpace,
        429 | 500..=599 => Exit::Network,
        _ => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_parameter_whatever_is_in_it() {
        let path = FilePath::new("abc", "a/../ü +&").unwrap();
        assert_eq!(target("objects", &path), "/v1/objects/abc?key=a%2F%2E%2E%2F%C3%BC%20%2B%26");
    }

    #[test]
    fn answers_become_exit_codes() {
        let exit = |status| exit_of(StatusCode::from_u16(status).unwrap());
        assert_eq!((exit(403), exit(404), exit(412)), (Exit::Denied, Exit::NotFound, Exit::Conflict));
        assert_eq!((exit(503), exit(507), exit(400)), (Exit::Network, Exit::NoSpace, Exit::Usage));
    }
}
