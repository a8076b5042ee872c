//! What the head of an S3 request says about who signed what: read once, before anything else looks at the request.
//!
//! `s3s` verifies the signature itself. This module refuses what it lets pass: two ways of signing at once, Signature Version 2,
//! other regions and algorithms, headers that should be signed and are not, URLs that are valid for longer than a week. Pure.
//! ("Authenticating requests (AWS Signature Version 4)", Amazon S3 API Reference.)

use super::error::{MISMATCH, denied, error, unsupported};
use crate::limits::PRESIGN_MAX_S;
use crate::upload::SignedHead;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result};

/// How a body is covered by the signature of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Not at all: `UNSIGNED-PAYLOAD`, and presigned URLs.
    Unsigned,
    /// By its SHA-256, which is signed.
    Hash([u8; 32]),
    /// In chunks that are signed.
    SignedChunks,
    /// In chunks and trailers that are signed.
    SignedChunksAndTrailers,
    /// Not at all; in chunks, with trailers.
    UnsignedChunksAndTrailers,
}

impl Payload {
    /// As the access log shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Payload::Unsigned => "unsigned",
            Payload::Hash(_) => "sha256",
            Payload::SignedChunks => "signed-chunks",
            Payload::SignedChunksAndTrailers => "signed-chunks-trailer",
            Payload::UnsignedChunksAndTrailers => "unsigned-chunks-trailer",
        }
    }

    pub(crate) fn is_chunked(self) -> bool {
        !matches!(self, Payload::Unsigned | Payload::Hash(_))
    }

    /// Whether a signature covers it.
    pub(crate) fn is_signed(self) -> bool {
        !matches!(self, Payload::Unsigned | Payload::UnsignedChunksAndTrailers)
    }

    fn parse(text: &str) -> Option<Payload> {
        Some(match text {
            "UNSIGNED-PAYLOAD" => Payload::Unsigned,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Payload::SignedChunks,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Payload::SignedChunksAndTrailers,
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Payload::UnsignedChunksAndTrailers,
            _ => {
                let mut hash = [0; 32];
                hex::decode_to_slice(text, &mut hash).ok()?;
                Payload::Hash(hash)
            }
        })
    }
}

/// Who signed a head, as stated; whether it is true is found out later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signer {
    /// Nobody.
    Nobody,
    /// This access key, in the `Authorization` header.
    Header {
        /// Its id.
        access: String,
        /// What signatures of chunks build on.
        head: SignedHead,
    },
    /// This access key, in the query.
    Query {
        /// Its id.
        access: String,
    },
}

/// A head that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Who signed it.
    pub(crate) signer: Signer,
    /// How the body is covered.
    pub(crate) payload: Payload,
}

/// Reads a head. `region`: the one that must have been signed for.
pub(crate) fn read(parts: &Parts, region: &str) -> S3Result<Head> {
    let query: Vec<(String, String)> = pairs(parts.uri.query().unwrap_or_default());
    let authorization = only(&parts.headers, header::AUTHORIZATION.as_str())?;
    let queried = query.iter().any(|(name, _)| name.starts_with("X-Amz-"));
    if query.iter().any(|(name, _)| name == "Signature" || name == "AWSAccessKeyId") {
        return Err(version_2());
    }
    // HTTP/1.1 demands it, and a signature that does not cover it could be replayed elsewhere.
    if only(&parts.headers, header::HOST.as_str())?.is_none() {
        return Err(error(S3ErrorCode::InvalidRequest, "The Host header is missing"));
    }
    if parts.headers.contains_key("x-amz-security-token") || has(&query, "X-Amz-Security-Token") {
        return Err(error(S3ErrorCode::InvalidToken, "There are no session tokens here; use an access key alone"));
    }
    let stated = only(&parts.headers, "x-amz-content-sha256")?;
    let payload = stated.map(|text| Payload::parse(text).ok_or_else(bad_payload)).transpose()?;
    match (authorization, queried) {
        (Some(_), true) => {
            Err(error(S3ErrorCode::InvalidArgument, "Only one way of signing is allowed, header or query"))
        }
        (Some(authorization), false) => {
            let signer = read_authorization(&parts.headers, authorization, region)?;
            let missing = || error(S3ErrorCode::InvalidRequest, "The x-amz-content-sha256 header is missing");
            Ok(Head { signer, payload: payload.ok_or_else(missing)? })
        }
        (None, true) => {
            if payload.is_some_and(Payload::is_chunked) {
                return Err(unsupported("A chunked body behind a presigned URL"));
            }
            let signer = read_query(&parts.headers, &query, region)?;
            Ok(Head { signer, payload: payload.unwrap_or(Payload::Unsigned) })
        }
        // Without a seed signature there is nothing that chunk signatures could build on.
        (None, false) if payload.is_some_and(Payload::is_chunked) => Err(denied()),
        (None, false) => Ok(Head { signer: Signer::Nobody, payload: payload.unwrap_or(Payload::Unsigned) }),
    }
}

fn read_authorization(headers: &HeaderMap, authorization: &str, region: &str) -> S3Result<Signer> {
    if authorization.starts_with("AWS ") {
        return Err(version_2());
    }
    let malformed = |what: &str| {
        let message = format!("The authorization header is malformed: {what}");
        error(S3ErrorCode::AuthorizationHeaderMalformed, message)
    };
    let (algorithm, fields) = authorization.split_once(' ').ok_or_else(|| malformed("it has no fields"))?;
    if algorithm != "AWS4-HMAC-SHA256" {
        return Err(malformed("the algorithm is not AWS4-HMAC-SHA256"));
    }
    let field = |name: &str| {
        let mut values = fields.split(',').filter_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
        values.next().filter(|_| values.next().is_none()).ok_or_else(|| malformed(&format!("{name} is not there once")))
    };
    let scope = Scope::parse(field("Credential")?, region).map_err(|what| malformed(&what))?;
    let signature = field("Signature")?;
    check_signed(headers, field("SignedHeaders")?)?;
    let time = only(headers, "x-amz-date")?.filter(|time| is_time(time));
    let time = time.ok_or_else(|| error(S3ErrorCode::AccessDenied, "A valid x-amz-date header is required"))?;
    if !time.starts_with(&scope.date) {
        return Err(malformed("the date of the credential is not that of x-amz-date"));
    }
    let head = SignedHead { time: time.to_owned(), region: region.to_owned(), signature: signature.to_owned() };
    Ok(Signer::Header { access: scope.access, head })
}

fn read_query(headers: &HeaderMap, query: &[(String, String)], region: &str) -> S3Result<Signer> {
    let wrong = |what: &str| error(S3ErrorCode::AuthorizationQueryParametersError, what.to_owned());
    let field = |name: &str| {
        let mut values = query.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let value = values.next().filter(|_| values.next().is_none());
        value.ok_or_else(|| wrong(&format!("{name} must be there once")))
    };
    if field("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(wrong("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let scope = Scope::parse(field("X-Amz-Credential")?, region).map_err(|what| wrong(&what))?;
    let time = field("X-Amz-Date")?;
    if !is_time(time) || !time.starts_with(&scope.date) {
        return Err(wrong("X-Amz-Date must be a time of the credential's date, in the form \"yyyyMMdd'T'HHmmss'Z'\""));
    }
    let expires = field("X-Amz-Expires")?;
    let digits = !expires.is_empty() && expires.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = Some(expires).filter(|_| digits).and_then(|expires| expires.parse::<u32>().ok());
    if !seconds.is_some_and(|seconds| (1..=PRESIGN_MAX_S).contains(&seconds)) {
        return Err(wrong("X-Amz-Expires must be a number of seconds from 1 to a week (604800)"));
    }
    field("X-Amz-Signature")?;
    check_signed(headers, field("X-Amz-SignedHeaders")?)?;
    Ok(Signer::Query { access: scope.access })
}

/// `ACCESS/DATE/REGION/s3/aws4_request`.
struct Scope {
    access: String,
    date: String,
}

impl Scope {
    fn parse(text: &str, region: &str) -> Result<Scope, String> {
        // From the end: an access key may have slashes in it.
        let mut fields = text.rsplitn(5, '/');
        let (end, service, given) = (fields.next(), fields.next(), fields.next());
        let (Some(date), Some(access)) = (fields.next(), fields.next()) else {
            return Err("the credential is not ACCESS/DATE/REGION/SERVICE/aws4_request".to_owned());
        };
        if end != Some("aws4_request") {
            return Err("the credential does not end with aws4_request".to_owned());
        }
        if service != Some("s3") {
            return Err("the service of the credential is not s3".to_owned());
        }
        if given != Some(region) {
            return Err(format!("the region '{}' is wrong; expecting '{region}'", given.unwrap_or_default()));
        }
        if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("the date of the credential is not YYYYMMDD".to_owned());
        }
        Ok(Scope { access: access.to_owned(), date: date.to_owned() })
    }
}

/// Everything that decides what a request does must be signed: the host, and every `x-amz-` header that was sent.
fn check_signed(headers: &HeaderMap, signed: &str) -> S3Result<()> {
    let signed: Vec<&str> = signed.split(';').collect();
    if !signed.contains(&"host") {
        return Err(unsigned("host"));
    }
    let sent = headers.keys().map(http::HeaderName::as_str);
    if let Some(name) = sent.filter(|name| name.starts_with("x-amz-")).find(|name| !signed.contains(name)) {
        return Err(unsigned(name));
    }
    let absent = signed.iter().any(|name| !headers.contains_key(*name));
    if absent { Err(error(S3ErrorCode::SignatureDoesNotMatch, MISMATCH)) } else { Ok(()) }
}

fn unsigned(name: &str) -> S3Error {
    error(S3ErrorCode::AccessDenied, format!("There were headers present in the request which were not signed: {name}"))
}

/// `YYYYMMDDTHHMMSSZ`; whether it is a day of the calendar is found out with the signature.
fn is_time(text: &str) -> bool {
    let form = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 16 && text.bytes().enumerate().all(form)
}

fn version_2() -> S3Error {
    error(
        S3ErrorCode::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256",
    )
}

fn bad_payload() -> S3Error {
    let message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                   STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a SHA-256 in hex";
    error(S3ErrorCode::InvalidArgument, message)
}

/// A header that must not come twice.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> S3Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(error(S3ErrorCode::InvalidArgument, format!("The {name} header must not come twice")));
    }
    let text = |value: &'a HeaderValue| value.to_str().map_err(|_| invalid(name));
    first.map(text).transpose()
}

fn invalid(name: &str) -> S3Error {
    error(S3ErrorCode::InvalidArgument, format!("The {name} header is not ASCII"))
}

/// Whether the query names `name`.
pub(crate) fn has(query: &[(String, String)], name: &str) -> bool {
    query.iter().any(|(other, _)| other == name)
}

/// Names and values of a query, percent-decoded once. Bytes that are no UTF-8 are replaced: no name we look for has any.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = |pair: &str| match pair.split_once('=') {
        None => (decode(pair), String::new()),
        Some((name, value)) => (decode(name), decode(value)),
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIGNATURE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn header(credential: &str, signed: &str) -> String {
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={SIGNATURE}")
    }

    fn scope(rest: &str) -> String {
        format!("AK/20260101/{rest}")
    }

    /// A right request with its header, after `change`.
    fn with(change: impl FnOnce(&mut HeaderMap)) -> S3Result<Head> {
        let mut headers = HeaderMap::new();
        let signed = "host;x-amz-content-sha256;x-amz-date";
        for (name, value) in [
            ("host", "s3.test".to_owned()),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD".to_owned()),
            ("x-amz-date", "20260101T000000Z".to_owned()),
            ("authorization", header(&scope("us-east-1/s3/aws4_request"), signed)),
        ] {
            headers.insert(name, HeaderValue::from_str(&value).unwrap());
        }
        change(&mut headers);
        request("/b/k", headers)
    }

    fn request(uri: &str, headers: HeaderMap) -> S3Result<Head> {
        let (mut parts, ()) = http::Request::builder().uri(uri).body(()).unwrap().into_parts();
        parts.headers = headers;
        read(&parts, "us-east-1")
    }

    fn set(name: &'static str, value: &str) -> impl FnOnce(&mut HeaderMap) {
        let value = HeaderValue::from_str(value).unwrap();
        move |headers| {
            headers.insert(name, value);
        }
    }

    fn code(outcome: S3Result<Head>) -> String {
        outcome.unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn a_head_says_who_signed_it_and_how() {
        let head = with(|_| ()).unwrap();
        let time = "20260101T000000Z".to_owned();
        let signed = SignedHead { time, region: "us-east-1".to_owned(), signature: SIGNATURE.to_owned() };
        assert_eq!(head.signer, Signer::Header { access: "AK".to_owned(), head: signed });
        assert_eq!(head.payload, Payload::Unsigned);
        for (text, payload) in [
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Payload::SignedChunks),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", Payload::SignedChunksAndTrailers),
            ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Payload::UnsignedChunksAndTrailers),
            (SIGNATURE, Payload::Hash([0xaa; 32])),
        ] {
            assert_eq!(with(set("x-amz-content-sha256", text)).unwrap().payload, payload);
        }
        let nobody = request("/", HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("x"))])).unwrap();
        assert_eq!(nobody.signer, Signer::Nobody);
    }

    #[test]
    fn a_scope_for_anything_else_is_refused() {
        let signed = "host;x-amz-content-sha256;x-amz-date";
        for bad in [
            "us-west-2/s3/aws4_request",
            "us-east-1/sts/aws4_request",
            "us-east-1/s3/aws4_request/x",
            "us-east-1/s3/aws4",
            "us-east-1/s3",
            "/s3/aws4_request",
        ] {
            assert_eq!(
                code(with(set("authorization", &header(&scope(bad), signed)))),
                "AuthorizationHeaderMalformed",
                "{bad}"
            );
        }
        let other_day = header("AK/20260102/us-east-1/s3/aws4_request", signed);
        assert_eq!(code(with(set("authorization", &other_day))), "AuthorizationHeaderMalformed");
        let right = header(&scope("us-east-1/s3/aws4_request"), signed);
        for bad in [
            right.replace("HMAC-SHA256", "ECDSA-P256-SHA256"),
            right.replace("Signature=", "Sig="),
            format!("{right}, Signature=b"),
        ] {
            assert_eq!(code(with(set("authorization", &bad))), "AuthorizationHeaderMalformed", "{bad}");
        }
    }

    #[test]
    fn what_decides_what_a_request_does_must_be_signed() {
        assert_eq!(code(with(set("x-amz-tagging", "a=b"))), "AccessDenied");
        assert_eq!(code(with(set("x-amz-copy-source", "b/k"))), "AccessDenied");
        let scope = scope("us-east-1/s3/aws4_request");
        let without_host = header(&scope, "x-amz-content-sha256;x-amz-date");
        assert_eq!(code(with(set("authorization", &without_host))), "AccessDenied");
        let absent = header(&scope, "host;x-amz-content-sha256;x-amz-date;x-amz-meta-a");
        assert_eq!(code(with(set("authorization", &absent))), "SignatureDoesNotMatch");
    }

    #[test]
    fn other_ways_of_signing_and_two_at_once_are_refused() {
        assert_eq!(code(with(set("authorization", "AWS AK:sig"))), "InvalidRequest");
        assert_eq!(code(with(set("x-amz-security-token", "t"))), "InvalidToken");
        let twice = |headers: &mut HeaderMap| {
            headers.append("authorization", HeaderValue::from_static("AWS4-HMAC-SHA256 x"));
        };
        assert_eq!(code(with(twice)), "InvalidArgument");
        assert_eq!(code(with(|headers| drop(headers.remove("host")))), "InvalidRequest");
        let uncovered = |headers: &mut HeaderMap| {
            headers.remove("x-amz-content-sha256");
            set("authorization", &header(&scope("us-east-1/s3/aws4_request"), "host;x-amz-date"))(headers);
        };
        assert_eq!(code(with(uncovered)), "InvalidRequest");
        assert_eq!(code(with(set("x-amz-content-sha256", "nothing"))), "InvalidArgument");
        for time in ["", "20260101", "20260101T000000", "2026-01-01T00:00Z"] {
            assert_eq!(code(with(set("x-amz-date", time))), "AccessDenied", "{time}");
        }
        assert_eq!(code(with(|headers| drop(headers.remove("x-amz-date")))), "AccessDenied");
    }

    fn presigned(change: impl FnOnce(String) -> String) -> S3Result<Head> {
        let uri = format!(
            "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&\
             X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature={SIGNATURE}"
        );
        request(&change(uri), HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("x"))]))
    }

    #[test]
    fn presigned_urls_are_held_to_their_form() {
        assert_eq!(presigned(|uri| uri).unwrap().signer, Signer::Query { access: "AK".to_owned() });
        for bad in ["0", "-1", "604801", "+60", "1e3", "", "99999999999"] {
            let outcome = presigned(|uri| uri.replace("Expires=60", &format!("Expires={bad}")));
            assert_eq!(code(outcome), "AuthorizationQueryParametersError", "{bad}");
        }
        assert!(presigned(|uri| uri.replace("Expires=60", "Expires=604800")).is_ok());
        for change in ["X-Amz-Date=20260101T000000Z", "X-Amz-Expires=60", "X-Amz-SignedHeaders=host"] {
            let twice = presigned(|uri| format!("{uri}&{change}"));
            assert_eq!(code(twice), "AuthorizationQueryParametersError", "{change}");
            let missing = presigned(|uri| uri.replace(&format!("&{change}"), ""));
            assert_eq!(code(missing), "AuthorizationQueryParametersError", "{change}");
        }
        assert_eq!(code(presigned(|uri| uri.replace("us-east-1", "eu"))), "AuthorizationQueryParametersError");
        assert_eq!(code(presigned(|uri| uri.replace("SignedHeaders=host", "SignedHeaders=range"))), "AccessDenied");
        assert_eq!(code(presigned(|uri| format!("{uri}&Signature=x"))), "InvalidRequest");
    }

    #[test]
    fn header_and_query_together_are_refused() {
        let both = HeaderMap::from_iter([
            (header::HOST, HeaderValue::from_static("x")),
            (header::AUTHORIZATION, HeaderValue::from_static("AWS4-HMAC-SHA256 Credential=x")),
        ]);
        assert_eq!(code(request("/b/k?X-Amz-Signature=x", both)), "InvalidArgument");
    }

    proptest! {
        #[test]
        fn no_head_panics(authorization in "[ -~]{0,80}", query in "[ -~&&[^#]]{0,60}") {
            let uri: Result<http::Uri, _> = format!("/b/k?{query}").parse();
            if let Ok(uri) = uri {
                let _ = request(&uri.to_string(), HeaderMap::new());
                let _ = with(set("authorization", authorization.trim()));
            }
        }

        #[test]
        fn a_changed_scope_never_passes(at in 0usize..120, letter in "[a-z0-9/]") {
            let signed = "host;x-amz-content-sha256;x-amz-date";
            let right = header(&scope("us-east-1/s3/aws4_request"), signed);
            let mut changed = right.clone().into_bytes();
            let at = at.min(right.find(", Signature").unwrap() - 1);
            changed[at] = letter.as_bytes()[0];
            let changed = String::from_utf8(changed).unwrap();
            if let Ok(head) = with(set("authorization", &changed)) {
                let Signer::Header { access, head } = head.signer else { panic!("{changed}") };
                prop_assert_eq!(head.region, "us-east-1");
                let stated = format!("Credential={access}/20260101/us-east-1/s3/");
                prop_assert!(changed.contains(&stated));
            }
        }
    }
}
