//! What hostile input meets first, open to the fuzzers in `fuzz/`. Not part of the program (feature `fuzzing`).
//!
//! Each function takes any bytes, must not panic, and asserts what must hold of what it accepted.

use crate::checksum::Algorithm;
use crate::upload::{ChunkSignatures, ChunkedDecoder, SignedHead};
use bytes::Bytes;

/// An `aws-chunked` body. The first bytes say what was stated and how the connection cuts the rest.
pub fn chunked_body(data: &[u8]) {
    let [mode, cut, stated, body @ ..] = data else { return };
    let signed = mode & 1 == 1;
    let head =
        SignedHead { time: "20260101T000000Z".to_owned(), region: "us-east-1".to_owned(), signature: "a".repeat(64) };
    let signatures = signed.then(|| ChunkSignatures::new("secret", head));
    let announced = if mode & 2 == 2 { vec![Algorithm::Crc32] } else { Vec::new() };
    let stated = u64::from(*stated);
    let mut decoder = ChunkedDecoder::new(stated, signatures, announced);
    let mut decoded = 0;
    for piece in body.chunks(usize::from(*cut).max(1)) {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(bytes)) => decoded += bytes.len() as u64,
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(input.is_empty(), "bytes were left");
    }
    if decoder.finish().is_ok() {
        assert_eq!(decoded, stated, "a body of another length was accepted");
        assert!(!signed || stated == 0, "nobody knows the secret");
    }
}

/// Header values of the native API and of S3, each taken for every header that is parsed.
pub fn header_value(data: &[u8]) {
    crate::native::fuzz_header(data);
    crate::s3::fuzz_header(data);
}

/// Addresses of both APIs.
pub fn address(data: &[u8]) {
    if let Ok(uri) = http::Uri::try_from(data) {
        crate::native::fuzz_address(&uri);
        crate::s3::fuzz_address(&uri);
    }
}

/// XML and JSON documents that clients send.
pub fn document(data: &[u8]) {
    crate::s3::fuzz_document(data);
    crate::native::fuzz_document(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::fuzzing::replay;

    #[test]
    fn the_corpus_of_the_fuzzers_passes() {
        replay("chunked_body", chunked_body);
        replay("header_value", header_value);
        replay("address", address);
        replay("document", document);
    }
}
