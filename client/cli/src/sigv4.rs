//! AWS Signature Version 4 in the query of a URL, as S3 clients and gateways know it ("Authenticating Requests: Using Query Parameters",
//! Amazon S3 API Reference). Pure: endpoint, key, time and request in, URL out.

use crate::failure::{Exit, Failure};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest::{SHA256, digest};
use ring::hmac;
use time::OffsetDateTime;

/// Longest time that a signed URL can be good for, in seconds.
pub(crate) const EXPIRES_MAX_SECONDS: u64 = 7 * 24 * 3600;

/// What RFC 3986 calls unreserved stays as it is.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// In a path slashes stay as well.
const PATH: &AsciiSet = &STRICT.remove(b'/');

/// Where an S3 API is: scheme and authority, nothing behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Host, and port if it is not the scheme's own.
    pub(crate) host: String,
}

impl Endpoint {
    /// Reads `http://HOST[:PORT]` or the same with `https`.
    pub(crate) fn parse(text: &str) -> Result<Endpoint, Failure> {
        let split = ["http", "https"].into_iter().find_map(|scheme| {
            let rest = text.strip_prefix(scheme)?.strip_prefix("://")?;
            Some((scheme, rest.strip_suffix('/').unwrap_or(rest)))
        });
        let sound = |host: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
            !host.is_empty() && host.bytes().all(plain)
        };
        match split {
            Some((scheme, host)) if sound(host) => {
                let own = if scheme == "http" { ":80" } else { ":443" };
                // Clients leave the scheme's own port out of the header that is signed.
                let host = host.strip_suffix(own).unwrap_or(host).to_owned();
                Ok(Endpoint { scheme, host })
            }
            _ => Err(Failure::new(Exit::Usage, format!("{text:?} is no endpoint")).advise("write http://HOST:PORT")),
        }
    }
}

/// Whose signature it is.
#[derive(Clone)]
pub(crate) struct Signer {
    /// Id of the access key.
    pub(crate) access: String,
    /// Its secret.
    pub(crate) secret: String,
    /// Which region the server believes to be.
    pub(crate) region: String,
}

/// What is asked of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// `GET`, `PUT`, …
    pub(crate) method: &'a str,
    /// Path, not encoded: `/bucket/key`.
    pub(crate) path: &'a str,
    /// Further parameters, not encoded.
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// How long the URL is good for, in seconds.
    pub(crate) expires: u64,
}

impl Signer {
    /// The URL for a request, good from `now_ms` (since 1970) on.
    pub(crate) fn presign(&self, endpoint: &Endpoint, request: &Request<'_>, now_ms: u64) -> String {
        let (path, query) = self.sign(&endpoint.host, request, now_ms);
        // Many programs fold `.` and `..` before they send a path, unless its slashes are hidden from them. What is signed is the
        // path with its slashes, as the server sees it after decoding.
        let folds = request.path.split('/').any(|segment| segment == "." || segment == "..");
        let sent = if folds { hide_slashes(request.path) } else { path };
        format!("{}://{}{sent}?{query}", endpoint.scheme, endpoint.host)
    }

    fn sign(&self, host: &str, request: &Request<'_>, now_ms: u64) -> (String, String) {
        let stamp = compact(now_ms);
        let day = &stamp[..8];
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let (credential, expires) = (format!("{}/{scope}", self.access), request.expires.to_string());
        let mut pairs: Vec<(String, String)> = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &stamp),
            ("X-Amz-Expires", &expires),
            ("X-Amz-SignedHeaders", "host"),
        ]
        .iter()
        .chain(request.query)
        .map(|(name, value)| (encode(name, STRICT), encode(value, STRICT)))
        .collect();
        pairs.sort();
        let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (query, path) = (query.join("&"), encode(request.path, PATH));
        let canonical = format!("{}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD", request.method);
        let hashed = hex::encode(digest(&SHA256, canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}");
        let signature = hex::encode(mac(&self.key(day), to_sign.as_bytes()));
        (path, format!("{query}&X-Amz-Signature={signature}"))
    }

    fn key(&self, day: &str) -> hmac::Tag {
        let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", self.secret).as_bytes());
        let start = hmac::sign(&first, day.as_bytes());
        [self.region.as_str(), "s3", "aws4_request"].iter().fold(start, |key, part| mac(&key, part.as_bytes()))
    }
}

fn mac(key: &hmac::Tag, text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), text)
}

fn encode(text: &str, set: &'static AsciiSet) -> String {
    utf8_percent_encode(text, set).to_string()
}

/// `/bucket/key` with the slashes inside the key encoded.
fn hide_slashes(path: &str) -> String {
    let bucket_end = path[1..].find('/').map_or(path.len(), |at| at + 2);
    format!("{}{}", encode(&path[..bucket_end], PATH), encode(&path[bucket_end..], STRICT))
}

/// `YYYYMMDDTHHMMSSZ`.
fn compact(now_ms: u64) -> String {
    let seconds = i64::try_from(now_ms / 1000).unwrap_or_default();
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (moment.date(), moment.time());
    let month = u8::from(date.month());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{:04}{month:02}{:02}T{hour:02}{minute:02}{second:02}Z", date.year(), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer {
            access: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
        }
    }

    /// The example of the reference: a GET of /test.txt, good for a day.
    #[test]
    fn the_signature_is_that_of_the_reference() {
        let endpoint = Endpoint::parse("https://examplebucket.s3.amazonaws.com").unwrap();
        let request = Request { method: "GET", path: "/test.txt", query: &[], expires: 86400 };
        let url = signer().presign(&endpoint, &request, 1_369_353_600_000);
        let signature = "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert!(url.ends_with(signature), "{url}");
        assert!(url.starts_with("https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"));
        assert!(url.contains("X-Amz-Date=20130524T000000Z"));
    }

    #[test]
    fn endpoints_are_scheme_and_authority() {
        let url = |endpoint: Endpoint| format!("{}://{}", endpoint.scheme, endpoint.host);
        let parse = |text| Endpoint::parse(text).map(url);
        assert_eq!(parse("http://127.0.0.1:9000/").unwrap(), "http://127.0.0.1:9000");
        assert_eq!(parse("https://s3.example.org:443").unwrap(), "https://s3.example.org");
        assert_eq!(parse("http://[::1]:9000").unwrap(), "http://[::1]:9000");
        for bad in ["", "s3.example.org", "ftp://x", "http://", "http://x/y", "http://a@b", "http://x?y"] {
            assert_eq!(Endpoint::parse(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn keys_stay_what_they_are_on_the_way() {
        let endpoint = Endpoint::parse("http://h").unwrap();
        let path = |path| {
            let url = signer().presign(&endpoint, &Request { method: "GET", path, query: &[], expires: 1 }, 0);
            url[8..].split('?').next().unwrap().to_owned()
        };
        assert_eq!(path("/b/a b/ü+&=?"), "/b/a%20b/%C3%BC%2B%26%3D%3F");
        assert_eq!(path("/b/a//b/"), "/b/a//b/");
        assert_eq!(path("/b/a/../c"), "/b/a%2F..%2Fc");
        assert_eq!(path("/b"), "/b");
    }
}
