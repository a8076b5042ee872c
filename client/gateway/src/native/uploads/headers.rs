//! The headers of tus 1.0, read and written. Pure.
//!
//! <https://tus.io/protocols/resumable-upload>: the core protocol with the extensions [`EXTENSIONS`].

use super::super::problem::{Outcome, Problem, bad_request};
use crate::checksum::Algorithm;
use crate::upload::{Expected, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_common::file::Attributes;
use cairn_common::ids::{Stamp, UploadId};
use cairn_common::limits::{APPENDED_MAX_BYTES, APPENDED_UPLOAD_MS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// The version that is spoken.
const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,expiration,checksum,termination";
const CHECKSUMS: &str = "md5,sha1,sha256,crc32,crc32c";
/// The media type of what is appended.
const OCTETS: &str = "application/offset+octet-stream";

pub(crate) const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const OVERRIDE: &str = "x-http-method-override";

/// Says on an answer which version is spoken.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.insert(RESUMABLE, HeaderValue::from_static(VERSION));
}

/// What the server can do, for those that ask with OPTIONS.
pub(crate) fn abilities() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TUS_VERSION, HeaderValue::from_static(VERSION));
    headers.insert("tus-extension", HeaderValue::from_static(EXTENSIONS));
    headers.insert("tus-checksum-algorithm", HeaderValue::from_static(CHECKSUMS));
    headers.insert("tus-max-size", HeaderValue::from(APPENDED_MAX_BYTES));
    headers
}

/// The method that is meant: behind some proxies only GET and POST pass, and a header says what the POST stands for.
pub(crate) fn meant(method: &Method, headers: &HeaderMap) -> Outcome<Method> {
    let Some(value) = headers.get(OVERRIDE).filter(|_| method == Method::POST) else { return Ok(method.clone()) };
    let found = Method::from_bytes(value.as_bytes()).ok();
    let allowed = [Method::POST, Method::PATCH, Method::DELETE, Method::HEAD];
    let wrong = || bad_request("X-HTTP-Method-Override is none of POST, PATCH, DELETE and HEAD.");
    found.filter(|method| allowed.contains(method)).ok_or_else(wrong)
}

/// Refuses clients that speak another version, or do not say which.
pub(crate) fn check_version(headers: &HeaderMap) -> Outcome<()> {
    if headers.get(RESUMABLE).is_some_and(|value| value == VERSION) {
        return Ok(());
    }
    let detail = format!("Send Tus-Resumable: {VERSION}. Uploads here follow the tus protocol of that version.");
    let status = StatusCode::PRECONDITION_FAILED;
    Err(Problem::new(status, "tus-version", "The version of the protocol is not spoken here", detail)
        .with(TUS_VERSION, VERSION))
}

/// `Upload-Length`: of a new upload, which must say how long it will be.
pub(crate) fn length(headers: &HeaderMap) -> Outcome<u64> {
    let length = number(headers, &LENGTH)?.ok_or_else(|| {
        bad_request("Send Upload-Length: uploads of a length that is not known yet are not taken here.")
    })?;
    if length <= APPENDED_MAX_BYTES {
        return Ok(length);
    }
    let detail = format!("A resumable upload has at most {APPENDED_MAX_BYTES} bytes (Tus-Max-Size).");
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The file is too large", detail))
}

/// `Upload-Offset`: where what follows begins.
pub(crate) fn offset(headers: &HeaderMap) -> Outcome<u64> {
    number(headers, &OFFSET)?.ok_or_else(|| bad_request("Send Upload-Offset: where the bytes that follow begin."))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Outcome<Option<u64>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok()).filter(|_| values.next().is_none());
    number.map(Some).ok_or_else(|| bad_request(format!("{name} is not one number of bytes.")))
}

/// The body of an append must be marked as one.
pub(crate) fn check_type(headers: &HeaderMap) -> Outcome<()> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(OCTETS) {
        return Ok(());
    }
    let detail = format!("What is appended has the Content-Type {OCTETS}.");
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(status, "media-type", "The body is of another type", detail))
}

/// `Upload-Checksum`: of the bytes of one request.
pub(crate) fn checksum(headers: &HeaderMap) -> Outcome<Option<Expected>> {
    let Some(value) = headers.get(CHECKSUM) else { return Ok(None) };
    let malformed = || bad_request(format!("Upload-Checksum is not ALGORITHM BASE64 with one of {CHECKSUMS}."));
    let (name, value) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    let mut expected = Expected::default();
    if name.eq_ignore_ascii_case("md5") {
        let md5 = STANDARD.decode(value).ok().and_then(|md5| md5.try_into().ok());
        expected.md5 = Some(md5.ok_or_else(malformed)?);
    } else {
        let algorithm = Algorithm::from_name(name).filter(|_| CHECKSUMS.split(',').any(|known| known == name));
        let algorithm = algorithm.ok_or_else(malformed)?;
        expected.checksums =
            BTreeMap::from([(algorithm, Value::Given(algorithm.decode(value).ok_or_else(malformed)?))]);
    }
    Ok(Some(expected))
}

/// `Upload-Metadata`: names with values, as texts. A name must come once.
pub(crate) fn metadata(headers: &HeaderMap) -> Outcome<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let Some(value) = headers.get(METADATA) else { return Ok(found) };
    let malformed = |what: &str| bad_request(format!("Upload-Metadata {what}."));
    let text = value.to_str().map_err(|_| malformed("is not ASCII"))?;
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = STANDARD.decode(value).map_err(|_| malformed("has a value that is not base64"))?;
        let value = String::from_utf8(value).map_err(|_| malformed("has a value that is not UTF-8"))?;
        if found.insert(name.to_owned(), value).is_some() {
            return Err(malformed("has a name twice"));
        }
    }
    Ok(found)
}

/// What is stored with a file of such metadata: its type, and everything else as `X-Meta-…`.
pub(crate) fn attributes(metadata: &BTreeMap<String, String>) -> Outcome<Attributes> {
    let mut attributes = Attributes::default();
    for (name, value) in metadata {
        if name == "filetype" {
            attributes.content_type = Some(value.clone()).filter(|kind| !kind.is_empty());
            continue;
        }
        let header = HeaderName::from_bytes(format!("x-meta-{name}").as_bytes()).is_ok();
        if !header || HeaderValue::from_bytes(value.as_bytes()).is_err() {
            return Err(bad_request(format!("Upload-Metadata has {name:?}, which cannot be kept as a header.")));
        }
        if attributes.user.insert(name.to_ascii_lowercase(), value.clone()).is_some() {
            return Err(bad_request(format!("Upload-Metadata has {name:?} twice, in different case.")));
        }
    }
    attributes.check()?;
    Ok(attributes)
}

/// How far an upload is.
#[derive(Clone, Debug)]
pub(crate) struct Progress<'a> {
    pub(crate) upload: UploadId,
    /// Bytes that are durable.
    pub(crate) offset: u64,
    /// Bytes of the whole.
    pub(crate) length: u64,
    /// What it came with, if it is still open.
    pub(crate) attributes: Option<&'a Attributes>,
}

/// The headers that say it.
pub(crate) fn of_progress(progress: &Progress<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(OFFSET, HeaderValue::from(progress.offset));
    headers.insert(LENGTH, HeaderValue::from(progress.length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(attributes) = progress.attributes {
        let kind = attributes.content_type.iter().map(|kind| ("filetype", kind));
        let pairs = kind.chain(attributes.user.iter().map(|(name, value)| (name.as_str(), value)));
        let text: Vec<String> = pairs.map(|(name, value)| format!("{name} {}", STANDARD.encode(value))).collect();
        if !text.is_empty() {
            headers.extend(HeaderValue::from_str(&text.join(",")).map(|value| (METADATA, value)));
        }
        headers.extend(expires(progress.upload).map(|value| (EXPIRES, value)));
    }
    headers
}

/// `Upload-Expires` of an upload that goes on being open.
fn expires(upload: UploadId) -> Option<HeaderValue> {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(Stamp(upload.0).ms().saturating_add(APPENDED_UPLOAD_MS)))?;
    HeaderValue::from_str(&httpdate::fmt_http_date(at)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn metadata_is_kept_with_the_file_and_shown_again() {
        let given = headers(&[("upload-metadata", "filetype dGV4dC9wbGFpbg==,name Wm/Dqw==, empty")]);
        let attributes = attributes(&metadata(&given).unwrap()).unwrap();
        assert_eq!(attributes.content_type.as_deref(), Some("text/plain"));
        assert_eq!(attributes.user["name"], "Zoë");
        let upload = UploadId(Stamp::from_ms(1_795_000_000_000).0);
        let progress = Progress { upload, offset: 3, length: 9, attributes: Some(&attributes) };
        let shown = of_progress(&progress);
        assert_eq!(metadata(&shown).unwrap(), metadata(&given).unwrap());
        assert_eq!((&shown["upload-offset"], &shown["upload-length"]), (&HeaderValue::from(3), &HeaderValue::from(9)));
        assert_eq!(shown["upload-expires"], "Wed, 25 Nov 2026 11:06:40 GMT");
        for bad in ["a !", "a YQ==,a YQ==", "a /w==", "a YQ==,A YQ==", "ä YQ==", "a Cg=="] {
            let given = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
            let given = HeaderMap::from_iter([(METADATA, given)]);
            assert!(metadata(&given).and_then(|found| super::attributes(&found)).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_digits_alone_and_come_once() {
        assert_eq!(offset(&headers(&[("upload-offset", "70")])).unwrap(), 70);
        for bad in ["", "-1", "+1", "1 ", "0x1", "99999999999999999999999"] {
            assert!(offset(&headers(&[("upload-offset", bad)])).is_err(), "{bad}");
        }
        let mut twice = headers(&[("upload-offset", "1")]);
        twice.append(OFFSET, HeaderValue::from_static("1"));
        assert!(offset(&twice).is_err() && offset(&HeaderMap::new()).is_err());
        assert!(length(&headers(&[("upload-length", &APPENDED_MAX_BYTES.to_string())])).is_ok());
        assert!(length(&headers(&[("upload-length", &(APPENDED_MAX_BYTES + 1).to_string())])).is_err());
    }

    #[test]
    fn checksums_of_the_algorithms_that_are_offered_are_understood() {
        let of = |text: &str| checksum(&headers(&[("upload-checksum", text)]));
        assert!(checksum(&HeaderMap::new()).unwrap().is_none());
        assert!(of("md5 AAAAAAAAAAAAAAAAAAAAAA==").unwrap().unwrap().md5.is_some());
        assert_eq!(of("sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap().unwrap().checksums.len(), 1);
        assert_eq!(of("crc32 AAAAAA==").unwrap().unwrap().checksums.len(), 1);
        for bad in ["", "sha1", "sha1 AAAA", "md4 AAAAAA==", "crc64nvme AAAAAAAAAAA=", "sha1  AAAA"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_post_may_stand_for_another_method_of_uploads_and_for_no_other() {
        let with = |value: &str| meant(&Method::POST, &headers(&[("x-http-method-override", value)]));
        assert_eq!(with("PATCH").unwrap(), Method::PATCH);
        assert!(with("PUT").is_err() && with("GET").is_err());
        assert_eq!(meant(&Method::HEAD, &headers(&[("x-http-method-override", "DELETE")])).unwrap(), Method::HEAD);
    }

    proptest! {
        #[test]
        fn no_header_panics(text in "[ -~]{0,60}") {
            let given = headers(&[("upload-metadata", &text), ("upload-checksum", &text), ("upload-offset", &text)]);
            let _ = metadata(&given).and_then(|found| attributes(&found));
            let _ = (checksum(&given), offset(&given));
        }
    }
}
