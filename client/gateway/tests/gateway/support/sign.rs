//! Signature Version 4 as a client makes it, with every step open to being done wrong.

use super::http::Request;
use super::{ACCESS, SECRET};
use cairn_common::seam::{Clock as _, SystemClock};
use ring::{digest, hmac};
use std::net::SocketAddr;

/// How a request is signed.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    pub(crate) access: String,
    pub(crate) secret: String,
    pub(crate) region: String,
    /// `YYYYMMDDTHHMMSSZ`.
    pub(crate) time: String,
}

impl Default for Signer {
    fn default() -> Signer {
        Signer { access: ACCESS.to_owned(), secret: SECRET.to_owned(), region: "us-east-1".to_owned(), time: time(0) }
    }
}

/// The time now, and so many seconds later.
pub(crate) fn time(later_s: i64) -> String {
    let seconds = (SystemClock::new().wall_ms() / 1000) as i64 + later_s;
    let days = seconds.div_euclid(86_400);
    let second = seconds.rem_euclid(86_400);
    // Civil date from days since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Hex of the SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

impl Signer {
    fn date(&self) -> &str {
        &self.time[..8]
    }

    pub(crate) fn scope(&self) -> String {
        format!("{}/{}/s3/aws4_request", self.date(), self.region)
    }

    fn key(&self) -> hmac::Key {
        let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let first = key(format!("AWS4{}", self.secret).as_bytes());
        let parts = [self.date(), &self.region, "s3", "aws4_request"];
        parts.into_iter().fold(first, |last, part| key(hmac::sign(&last, part.as_bytes()).as_ref()))
    }

    pub(crate) fn hmac(&self, text: &str) -> String {
        hex::encode(hmac::sign(&self.key(), text.as_bytes()))
    }

    /// Signs a request whose body is covered as `payload` says (a hash, or one of the words).
    pub(crate) fn sign(&self, request: Request, to: SocketAddr, payload: &str) -> Request {
        let mut request = request.with("x-amz-date", self.time.clone()).with("x-amz-content-sha256", payload);
        if request.find("host").is_none() {
            request = request.with("host", to.to_string());
        }
        let names = signed_names(&request);
        let signature = self.signature(&request, &names, payload);
        let credential = format!("{}/{}", self.access, self.scope());
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={}, Signature={signature}",
            names.join(";")
        );
        request.with("authorization", value)
    }

    /// The signature of a request over the headers in `names`.
    pub(crate) fn signature(&self, request: &Request, names: &[String], payload: &str) -> String {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
            .collect();
        pairs.sort();
        let headers: String =
            names.iter().map(|name| format!("{name}:{}\n", request.find(name).unwrap_or_default().trim())).collect();
        let canonical =
            format!("{}\n{path}\n{}\n{headers}\n{}\n{payload}", request.method, pairs.join("&"), names.join(";"));
        let text = format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.time, self.scope(), sha256(canonical.as_bytes()));
        self.hmac(&text)
    }

    /// A URL that is good for `seconds`.
    pub(crate) fn presign(&self, method: &str, target: &str, to: SocketAddr, seconds: i64) -> Request {
        let credential = format!("{}/{}", self.access, self.scope()).replace('/', "%2F");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = if query.is_empty() { String::new() } else { format!("{query}&") };
        let target = format!(
            "{path}?{query}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={}&\
             X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host",
            self.time
        );
        let mut request = Request::new(method, &target).with("host", to.to_string());
        let signature = self.signature(&request, &["host".to_owned()], "UNSIGNED-PAYLOAD");
        request.target.push_str(&format!("&X-Amz-Signature={signature}"));
        request
    }

    /// A body of signed chunks behind a head whose signature is `seed`, with trailers if there are any.
    pub(crate) fn chunks(&self, seed: &str, chunks: &[&[u8]], trailers: &[(&str, &str)]) -> Vec<u8> {
        let mut previous = seed.to_owned();
        let mut body = Vec::new();
        for chunk in chunks.iter().copied().chain([&[][..]]) {
            let text = format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{}\n{}",
                self.time,
                self.scope(),
                sha256(b""),
                sha256(chunk)
            );
            previous = self.hmac(&text);
            body.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).as_bytes());
            if !chunk.is_empty() {
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
        }
        if !trailers.is_empty() {
            let lines: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
            let hash = sha256(lines.as_bytes());
            let text = format!("AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{previous}\n{hash}", self.time, self.scope());
            for (name, value) in trailers {
                body.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            }
            body.extend_from_slice(format!("x-amz-trailer-signature:{}\r\n", self.hmac(&text)).as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        body
    }
}

/// Headers that are signed: the host and everything of Amazon's, by name.
fn signed_names(request: &Request) -> Vec<String> {
    let names = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    let mut names: Vec<String> = names.filter(|name| name == "host" || name.starts_with("x-amz-")).collect();
    names.sort();
    names
}

/// The signature in a signed request's header.
pub(crate) fn seed(request: &Request) -> String {
    request.find("authorization").unwrap().rsplit_once("Signature=").unwrap().1.to_owned()
}

/// A body in unsigned chunks with a trailer.
pub(crate) fn unsigned_chunks(chunks: &[&[u8]], trailer: Option<(&str, &str)>) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n");
    if let Some((name, value)) = trailer {
        body.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    body.extend_from_slice(b"\r\n");
    body
}
