//! A file's attributes as headers of requests and answers.

use super::conditions::quoted;
use super::problem::{Outcome, bad_request};
use crate::checksum::Algorithm;
use crate::upload::{Expected, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_common::file::{Attributes, Checksum, FileInfo};
use cairn_common::version::Lock;
use cairn_common::wire::command::Committed;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// User metadata: `X-Meta-NAME`.
const META: &str = "x-meta-";
pub(crate) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const COMMIT: HeaderName = HeaderName::from_static("x-commit");
const REPLICAS: HeaderName = HeaderName::from_static("x-replicas-durable");

/// What a PUT stores with its file.
pub(crate) fn attributes(headers: &HeaderMap) -> Outcome<Attributes> {
    let text = |name: HeaderName| -> Outcome<Option<String>> {
        let mut values = headers.get_all(&name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let text = std::str::from_utf8(value.as_bytes()).ok().filter(|_| values.next().is_none());
        let text = text.ok_or_else(|| bad_request(format!("{name} must come once, in UTF-8.")))?;
        Ok((!text.is_empty()).then(|| text.to_owned()))
    };
    let mut user = BTreeMap::new();
    for (name, value) in headers {
        let Some(short) = name.as_str().strip_prefix(META) else { continue };
        let value = std::str::from_utf8(value.as_bytes());
        let value = value.map_err(|_| bad_request(format!("The value of {name} is not UTF-8.")))?;
        if short.is_empty() || user.insert(short.to_owned(), value.to_owned()).is_some() {
            return Err(bad_request(format!("{name} must have a name behind its prefix, and come once.")));
        }
    }
    let attributes = Attributes {
        tags: Default::default(),
        content_type: text(header::CONTENT_TYPE)?,
        content_encoding: text(header::CONTENT_ENCODING)?,
        content_language: text(header::CONTENT_LANGUAGE)?,
        content_disposition: text(header::CONTENT_DISPOSITION)?,
        cache_control: text(header::CACHE_CONTROL)?,
        expires: text(header::EXPIRES)?,
        user,
        checksums: BTreeMap::new(),
        lock: Lock::default(),
    };
    attributes.check()?;
    Ok(attributes)
}

/// What a PUT says its body is (RFC 9530; `Content-MD5` for old tools).
pub(crate) fn expected(headers: &HeaderMap) -> Outcome<Expected> {
    let mut expected = Expected::default();
    for name in [REPR_DIGEST, CONTENT_DIGEST] {
        let mut given = false;
        for value in headers.get_all(&name) {
            given = true;
            let text = value.to_str().map_err(|_| bad_request(format!("{name} is not ASCII.")))?;
            for member in text.split(',').map(str::trim) {
                let Some(value) = member.strip_prefix("sha-256=") else { continue };
                let value = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
                let value = value.and_then(|value| Algorithm::Sha256.decode(value));
                let malformed = || bad_request(format!("{name} has a sha-256 that is not :BASE64: of 32 bytes."));
                let value = Value::Given(value.ok_or_else(malformed)?);
                let before = expected.checksums.insert(Algorithm::Sha256, value.clone());
                if before.is_some_and(|before| before != value) {
                    return Err(bad_request("Two different sha-256 digests are stated."));
                }
            }
        }
        if given && expected.checksums.is_empty() {
            // Whoever sends a digest wants it checked.
            return Err(bad_request(format!("{name} states no sha-256, the only algorithm that is checked.")));
        }
    }
    if let Some(value) = headers.get("content-md5") {
        let md5 = STANDARD.decode(value.as_bytes()).ok().and_then(|md5| md5.try_into().ok());
        expected.md5 = Some(md5.ok_or_else(|| bad_request("Content-MD5 is not base64 of 16 bytes."))?);
    }
    Ok(expected)
}

/// Headers that show a version: of GET, HEAD and 304.
pub(crate) fn of_version(info: &FileInfo) -> HeaderMap {
    let attributes = &info.attributes;
    let mut headers = HeaderMap::with_capacity(16);
    let mut put = |name: HeaderName, value: Option<HeaderValue>| {
        headers.extend(value.map(|value| (name, value)));
    };
    let text = |value: &Option<String>| value.as_ref().and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
    let kind = text(&attributes.content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    put(header::CONTENT_TYPE, Some(kind));
    put(header::CONTENT_ENCODING, text(&attributes.content_encoding));
    put(header::CONTENT_LANGUAGE, text(&attributes.content_language));
    put(header::CONTENT_DISPOSITION, text(&attributes.content_disposition));
    put(header::CACHE_CONTROL, text(&attributes.cache_control));
    put(header::EXPIRES, text(&attributes.expires));
    put(header::ETAG, quoted(&info.tags.native()));
    put(header::LAST_MODIFIED, HeaderValue::from_str(&http_date(info.stamp.ms())).ok());
    put(header::ACCEPT_RANGES, Some(HeaderValue::from_static("bytes")));
    put(COMMIT, Some(HeaderValue::from(info.stamp.0)));
    put(REPR_DIGEST, repr_digest(&attributes.checksums));
    // What users store must not act as a page of this origin, where they sign in.
    put(header::X_CONTENT_TYPE_OPTIONS, Some(HeaderValue::from_static("nosniff")));
    put(header::CONTENT_SECURITY_POLICY, Some(HeaderValue::from_static("sandbox; default-src 'none'")));
    for (name, value) in &attributes.user {
        let name = HeaderName::from_bytes(format!("{META}{name}").as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            put(name, Some(value));
        }
    }
    headers
}

/// Headers that show what a write made: its receipt.
pub(crate) fn of_commit(committed: &Committed, digests: Option<&BTreeMap<String, Checksum>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.extend(quoted(&committed.tags.native()).map(|tag| (header::ETAG, tag)));
    headers.insert(COMMIT, HeaderValue::from(committed.stamp.0));
    headers.insert(REPLICAS, HeaderValue::from(u16::from(committed.replicas_durable)));
    headers.extend(digests.and_then(repr_digest).map(|digest| (REPR_DIGEST, digest)));
    headers
}

fn repr_digest(checksums: &BTreeMap<String, Checksum>) -> Option<HeaderValue> {
    let sha256 = checksums.get(Algorithm::Sha256.name()).filter(|checksum| checksum.parts.is_none())?;
    sha256_field(&sha256.value)
}

/// A SHA-256 as RFC 9530 writes it.
pub(crate) fn sha256_field(sum: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("sha-256=:{}:", STANDARD.encode(sum))).ok()
}

/// A time as HTTP writes it.
fn http_date(ms: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::file::{ETags, S3Tag};
    use cairn_common::ids::Stamp;
    use cairn_common::manifest::Root;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn what_was_stored_with_a_file_comes_back_with_it() {
        let given = headers(&[
            ("content-type", "text/plain; charset=utf-8"),
            ("cache-control", "max-age=60"),
            ("x-meta-colour", "blau"),
            ("x-meta-name", "Zoë"),
            ("x-other", "not kept"),
        ]);
        let attributes = attributes(&given).unwrap();
        assert_eq!(attributes.user.len(), 2);
        let tags = ETags { root: Root([1; 32]), s3: S3Tag::Root };
        let info = FileInfo { stamp: Stamp::from_ms(784_111_777_000), version: None, length: 3, tags, attributes };
        let shown = of_version(&info);
        for name in ["content-type", "cache-control", "x-meta-colour", "x-meta-name"] {
            assert_eq!(shown.get(name), given.get(name), "{name}");
        }
        assert_eq!(shown["last-modified"], "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(shown["etag"], format!("\"b3-{}\"", "01".repeat(32)));
        assert!(shown.get("x-other").is_none() && shown.get("repr-digest").is_none());
    }

    #[test]
    fn metadata_beyond_its_limits_is_refused() {
        assert!(attributes(&headers(&[("x-meta-", "v")])).is_err());
        assert!(attributes(&headers(&[("x-meta-a", "1"), ("x-meta-a", "2")])).is_err());
        assert!(attributes(&headers(&[("x-meta-a", &"v".repeat(2047))])).is_ok());
        assert!(attributes(&headers(&[("x-meta-a", &"v".repeat(2048))])).is_err());
    }

    #[test]
    fn digests_are_read_and_written_as_rfc_9530_has_them() {
        let sum = "sha-256=:4REjxQ4yrqUVicfSKYNO/cF9zNj5ANbzgDZt3/h3Qxo=:";
        let read = |list: &[(&'static str, &str)]| expected(&headers(list)).map(|expected| expected.checksums);
        let one = read(&[("repr-digest", sum)]).unwrap();
        let Some(Value::Given(value)) = one.get(&Algorithm::Sha256).cloned() else { panic!("{one:?}") };
        let stored = BTreeMap::from([("SHA256".to_owned(), Checksum { value, parts: None })]);
        assert_eq!(repr_digest(&stored).unwrap(), sum);
        assert_eq!(read(&[("content-digest", &format!("sha-512=:AA==:, {sum}"))]).unwrap(), one);
        assert!(read(&[]).unwrap().is_empty());
        for bad in ["sha-512=:AA==:", "sha-256=:AA==:", "sha-256=AA", "md5=:AA==:", ""] {
            assert!(read(&[("repr-digest", bad)]).is_err(), "{bad}");
        }
        assert!(expected(&headers(&[("content-md5", "AA==")])).is_err());
    }
}
