//! What the head of a request says its body is: `Content-MD5`, `x-amz-checksum-*`, `x-amz-trailer`, and the signed hash.

use super::error::{custom, error};
use super::head::Payload;
use crate::checksum::Algorithm;
use crate::upload::{Expected, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// Reads them. At most one checksum may be stated, in a header or in a trailer.
pub(crate) fn read(headers: &HeaderMap, payload: Payload) -> S3Result<Expected> {
    let mut expected = Expected { md5: content_md5(headers)?, ..Expected::default() };
    if let Payload::Hash(hash) = payload {
        expected.payload = Some(hash);
    }
    for algorithm in Algorithm::ALL {
        let mut values = headers.get_all(algorithm.header()).iter();
        if let Some(value) = values.next() {
            let value =
                value.to_str().ok().filter(|_| values.next().is_none()).and_then(|value| algorithm.decode(value));
            let invalid = || invalid(format!("The value of the {} header is not valid", algorithm.header()));
            expected.checksums.insert(algorithm, Value::Given(value.ok_or_else(invalid)?));
        }
    }
    for algorithm in announced(headers, payload)? {
        if expected.checksums.insert(algorithm, Value::InTrailer).is_some() {
            return Err(invalid("A checksum is stated in a header and in a trailer".to_owned()));
        }
    }
    if expected.checksums.len() > 1 {
        return Err(invalid("Only one checksum may be stated".to_owned()));
    }
    if let Some(named) = headers.get("x-amz-sdk-checksum-algorithm") {
        let named = named.to_str().ok().and_then(Algorithm::from_name);
        let named = named.ok_or_else(|| invalid("The checksum algorithm is not known".to_owned()))?;
        if !expected.checksums.contains_key(&named) {
            let message = "x-amz-sdk-checksum-algorithm is stated, and no x-amz-checksum- header or trailer of it is";
            return Err(invalid(message.to_owned()));
        }
    }
    Ok(expected)
}

/// Checksums that will come in trailers.
fn announced(headers: &HeaderMap, payload: Payload) -> S3Result<Vec<Algorithm>> {
    let malformed = |message: &'static str| custom("MalformedTrailerError", StatusCode::BAD_REQUEST, message);
    let mut names = Vec::new();
    for value in headers.get_all("x-amz-trailer") {
        let value = value.to_str().map_err(|_| malformed("The x-amz-trailer header is not ASCII"))?;
        names.extend(value.split(',').map(str::trim).filter(|name| !name.is_empty()));
    }
    let with_trailers = matches!(payload, Payload::SignedChunksAndTrailers | Payload::UnsignedChunksAndTrailers);
    if with_trailers == names.is_empty() {
        return Err(malformed("x-amz-trailer and x-amz-content-sha256 contradict each other"));
    }
    let known = |name| Algorithm::from_header(name).ok_or_else(|| malformed("Only checksums may be in trailers"));
    names.into_iter().map(known).collect()
}

fn content_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let mut values = headers.get_all("content-md5").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let decoded = STANDARD.decode(value.as_bytes()).ok().and_then(|md5| <[u8; 16]>::try_from(md5).ok());
    match decoded.filter(|_| values.next().is_none()) {
        Some(md5) => Ok(Some(md5)),
        None => Err(error(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified is not valid")),
    }
}

fn invalid(message: String) -> S3Error {
    error(S3ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use std::collections::BTreeMap;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn code(list: &[(&'static str, &'static str)], payload: Payload) -> String {
        read(&headers(list), payload).unwrap_err().code().as_str().to_owned()
    }

    const TRAILER: Payload = Payload::UnsignedChunksAndTrailers;

    #[test]
    fn checksums_are_read_from_headers_and_trailers() {
        let given = read(&headers(&[("x-amz-checksum-crc32", "y/Q5Jg==")]), Payload::Unsigned).unwrap();
        let value = Value::Given(vec![0xcb, 0xf4, 0x39, 0x26]);
        assert_eq!(given.checksums, BTreeMap::from([(Algorithm::Crc32, value)]));
        let list = [("x-amz-trailer", "x-amz-checksum-sha1"), ("x-amz-sdk-checksum-algorithm", "SHA1")];
        let trailing = read(&headers(&list), TRAILER).unwrap();
        assert_eq!(trailing.checksums, BTreeMap::from([(Algorithm::Sha1, Value::InTrailer)]));
        let hashed = read(&HeaderMap::new(), Payload::Hash([7; 32])).unwrap();
        assert_eq!(hashed.payload, Some([7; 32]));
    }

    #[test]
    fn contradictions_are_refused() {
        let crc = ("x-amz-checksum-crc32", "y/Q5Jg==");
        assert_eq!(code(&[("x-amz-checksum-crc32", "y/Q5")], Payload::Unsigned), "InvalidRequest");
        assert_eq!(code(&[crc, crc], Payload::Unsigned), "InvalidRequest");
        assert_eq!(code(&[crc, ("x-amz-checksum-crc32c", "y/Q5Jg==")], Payload::Unsigned), "InvalidRequest");
        assert_eq!(code(&[crc, ("x-amz-trailer", "x-amz-checksum-crc32")], TRAILER), "InvalidRequest");
        assert_eq!(code(&[crc, ("x-amz-sdk-checksum-algorithm", "SHA1")], Payload::Unsigned), "InvalidRequest");
        assert_eq!(code(&[("x-amz-sdk-checksum-algorithm", "MD4")], Payload::Unsigned), "InvalidRequest");
        assert_eq!(code(&[], TRAILER), "MalformedTrailerError");
        assert_eq!(code(&[("x-amz-trailer", "x-amz-checksum-crc32")], Payload::Unsigned), "MalformedTrailerError");
        assert_eq!(code(&[("x-amz-trailer", "x-amz-meta-a")], TRAILER), "MalformedTrailerError");
        for md5 in ["", "AAAA", "not base64", "AAAAAAAAAAAAAAAAAAAAAAA="] {
            assert_eq!(code(&[("content-md5", md5)], Payload::Unsigned), "InvalidDigest", "{md5}");
        }
    }
}
