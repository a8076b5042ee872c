//! The body of an upload, kept out of `s3s`'s way from the connection to the operation that stores it.
//!
//! `s3s` sees an upload without its body: it verifies the signature of the head, which covers everything else, and hands the
//! request on. The operation then finds the body here and reads it with our own decoder (see [`crate::upload`] for why).

use super::error::{self, error};
use super::head::{Head, Payload, Signer};
use crate::checksum::Algorithm;
use crate::front::content_length;
use crate::upload::{
    BodyInspector, ChunkSignatures, ChunkedDecoder, Expected, IncomingBody, Trailers, UploadBody, Value,
};
use cairn_common::limits::PART_MAX_BYTES;
use http::HeaderMap;
use s3s::{S3Error, S3ErrorCode, S3Result};
use std::sync::{Arc, Mutex, PoisonError};

/// A body that waits to be read; travels in the request's extensions, and can be taken once.
#[derive(Clone)]
pub(crate) struct Arrival(Arc<Mutex<Option<Parcel>>>);

struct Parcel {
    body: IncomingBody,
    head: Head,
    expected: Expected,
    length: u64,
}

/// A body that is being read.
pub(crate) struct Upload {
    /// Its bytes, without framing.
    pub(crate) body: UploadBody,
    /// Checks what its client said about it.
    pub(crate) inspector: BodyInspector,
    /// Its length without framing, in bytes, as stated.
    pub(crate) length: u64,
}

impl Arrival {
    /// A body that came with a head.
    pub(crate) fn new(body: IncomingBody, head: Head, expected: Expected, length: u64) -> Arrival {
        Arrival(Arc::new(Mutex::new(Some(Parcel { body, head, expected, length }))))
    }

    /// Length of the body without framing, in bytes, as stated; `None` if it was taken.
    pub(crate) fn length(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|parcel| parcel.length)
    }

    /// The checksum that the client states of the body, if any.
    pub(crate) fn stated(&self) -> Option<Algorithm> {
        let parcel = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parcel.as_ref().and_then(|parcel| parcel.expected.checksums.keys().next().copied())
    }

    /// Opens the body. `secret` is that of the key that signed the head; `computed`: the checksum to compute if the client
    /// stated none.
    pub(crate) fn open(&self, secret: &str, computed: Algorithm) -> S3Result<Upload> {
        let parcel = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // An operation without its body must never store an empty one.
        let Parcel { body, head, mut expected, length } = parcel.ok_or_else(lost)?;
        let announced = expected.checksums.iter().filter(|(_, value)| **value == Value::InTrailer);
        let announced: Vec<_> = announced.map(|(algorithm, _)| *algorithm).collect();
        if expected.checksums.is_empty() {
            expected.checksums.insert(computed, Value::Unstated);
        }
        let trailers = Trailers::default();
        let body = if head.payload.is_chunked() {
            let signatures = chunk_signatures(head, secret)?;
            let decoder = ChunkedDecoder::new(length, signatures, announced);
            UploadBody::chunked(body, decoder, Arc::clone(&trailers))
        } else {
            UploadBody::plain(body)
        };
        Ok(Upload { body, inspector: BodyInspector::new(expected, trailers), length })
    }
}

fn chunk_signatures(head: Head, secret: &str) -> S3Result<Option<ChunkSignatures>> {
    match (head.payload, head.signer) {
        (Payload::UnsignedChunksAndTrailers, _) => Ok(None),
        (_, Signer::Header { head, .. }) => Ok(Some(ChunkSignatures::new(secret, head))),
        // Refused when the head was read.
        (_, Signer::Query { .. } | Signer::Nobody) => Err(error::denied()),
    }
}

/// The stated length of an upload's body without framing, in bytes.
pub(crate) fn stated_length(headers: &HeaderMap, payload: Payload) -> S3Result<u64> {
    let length = if payload.is_chunked() {
        let mut values = headers.get_all("x-amz-decoded-content-length").iter();
        let value = values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok());
        // "+1" parses as a number.
        value.filter(|value| value.bytes().all(|byte| byte.is_ascii_digit())).and_then(|value| value.parse().ok())
    } else {
        content_length(headers)
    };
    let missing = || error(S3ErrorCode::MissingContentLength, "You must provide the length of the body");
    let length = length.ok_or_else(missing)?;
    if length > PART_MAX_BYTES { Err(error::too_large()) } else { Ok(length) }
}

fn lost() -> S3Error {
    tracing::error!("an upload came without its body");
    error(S3ErrorCode::InternalError, "The body of the request was lost")
}
