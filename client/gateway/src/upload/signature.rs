//! Signatures of the chunks and trailers of a body: each covers its bytes and the signature before it, from that of the
//! request's head on.
//!
//! The chain is AWS Signature Version 4 with the string to sign of "Signature calculations … transferring a payload in multiple
//! chunks" (Amazon S3 API Reference). The head's own signature was checked before ([`crate::s3`]).

use super::chunked::ChunkedError;
use ring::{digest, hmac};

/// What the head of a signed request says that chunk signatures need too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedHead {
    /// `x-amz-date`: `YYYYMMDDTHHMMSSZ`.
    pub(crate) time: String,
    /// Region of the credential scope.
    pub(crate) region: String,
    /// The signature of the head: 64 hex digits.
    pub(crate) signature: String,
}

/// The chain of signatures of one body.
pub(crate) struct ChunkSignatures {
    key: hmac::Key,
    time: String,
    scope: String,
    /// Signature of what was before: of the head, or of the last chunk.
    previous: String,
    /// Of the chunk that is being read.
    given: String,
    hash: digest::Context,
}

impl std::fmt::Debug for ChunkSignatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkSignatures").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl ChunkSignatures {
    /// The chain behind a head that was signed with `secret`.
    pub(crate) fn new(secret: &str, head: SignedHead) -> ChunkSignatures {
        let SignedHead { time, region, signature } = head;
        let date = time.split('T').next().unwrap_or_default().to_owned();
        ChunkSignatures {
            key: signing_key(secret, &date, &region),
            scope: format!("{date}/{region}/s3/aws4_request"),
            time,
            previous: signature,
            given: String::new(),
            hash: digest::Context::new(&digest::SHA256),
        }
    }

    /// A chunk begins whose head states this signature.
    pub(crate) fn begin(&mut self, given: &str) {
        given.clone_into(&mut self.given);
        self.hash = digest::Context::new(&digest::SHA256);
    }

    /// Bytes of the chunk.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// The chunk is at its end: whether it is what was signed.
    pub(crate) fn check_chunk(&mut self) -> Result<(), ChunkedError> {
        let data = std::mem::replace(&mut self.hash, digest::Context::new(&digest::SHA256)).finish();
        let nothing = digest::digest(&digest::SHA256, b"");
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{}\n{}",
            self.time,
            self.scope,
            self.previous,
            hex::encode(nothing),
            hex::encode(data)
        );
        let given = std::mem::take(&mut self.given);
        self.check(&text, &given)?;
        self.previous = given;
        Ok(())
    }

    /// Whether the trailers, in the order of their names, are what was signed.
    pub(crate) fn check_trailers<'a>(
        &mut self,
        trailers: impl Iterator<Item = (&'a str, &'a str)>,
        given: &str,
    ) -> Result<(), ChunkedError> {
        let lines: String = trailers.map(|(name, value)| format!("{name}:{value}\n")).collect();
        let hash = digest::digest(&digest::SHA256, lines.as_bytes());
        let text = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
            self.time,
            self.scope,
            self.previous,
            hex::encode(hash)
        );
        self.check(&text, given)
    }

    /// Compares in constant time. Signatures are lower-case hex: they are part of what is signed next.
    fn check(&self, text: &str, given: &str) -> Result<(), ChunkedError> {
        let right = hex::encode(hmac::sign(&self.key, text.as_bytes()));
        let same = constant_time_eq::constant_time_eq(right.as_bytes(), given.as_bytes());
        if same { Ok(()) } else { Err(ChunkedError::Signature) }
    }
}

fn signing_key(secret: &str, date: &str, region: &str) -> hmac::Key {
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
    let first = key(format!("AWS4{secret}").as_bytes());
    [date, region, "s3", "aws4_request"]
        .into_iter()
        .fold(first, |last, part| key(hmac::sign(&last, part.as_bytes()).as_ref()))
}
