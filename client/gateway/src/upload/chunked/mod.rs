//! Taking the `aws-chunked` framing off a body: chunks, each with a signature or none, then trailers.
//!
//! Pure: bytes in, bytes out. A chunk's bytes are handed on while they arrive, before its signature can be checked: a client
//! chooses the size of its chunks (some send a whole file as one), and nothing that passes here is visible before
//! [`ChunkedDecoder::finish`] has said that the last chunk, every signature and every trailer were right. For the same reason
//! the decoder of `s3s` is not used: it keeps each chunk in memory whole, and takes a stream without a last chunk.
//!
//! Format: "Signature calculations for the authorization header: transferring a payload in multiple chunks", and "… with
//! trailing headers", Amazon S3 API Reference.

use super::signature::ChunkSignatures;
use crate::checksum::Algorithm;
use crate::limits::{CHUNK_HEAD_MAX_BYTES, SIGNED_CHUNK_MIN_BYTES, TRAILERS_MAX_BYTES};
use bytes::{Buf as _, Bytes};
use std::collections::BTreeMap;

/// What is wrong with an `aws-chunked` body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkedError {
    /// Not the format.
    #[error("the aws-chunked body is malformed: {0}")]
    Malformed(&'static str),
    /// The body ended before its last chunk, or its chunks hold another number of bytes than was stated.
    #[error("the aws-chunked body holds {found} bytes; {stated} were stated")]
    Incomplete {
        /// As `x-amz-decoded-content-length` has it, in bytes.
        stated: u64,
        /// Decoded, in bytes; more than stated, or all there were.
        found: u64,
    },
    /// The body ended before its last chunk.
    #[error("the aws-chunked body has no last chunk")]
    NoLastChunk,
    /// A chunk or the trailers do not match their signature.
    #[error("a chunk or the trailers do not match their signature")]
    Signature,
    /// Only the last chunk may be small when chunks are signed.
    #[error("only the last chunk may have fewer than {SIGNED_CHUNK_MIN_BYTES} bytes")]
    SmallChunk,
    /// A trailer that was announced did not come, came twice, or was not announced.
    #[error("trailer {name}: {problem}")]
    Trailer {
        /// Which.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the line before a chunk.
    Head,
    /// In a chunk of which so many bytes are to come.
    Data { left: u64 },
    /// In the line end behind a chunk.
    DataEnd,
    /// In the lines behind the last chunk.
    Trailers,
    /// Behind everything.
    End,
}

/// Where the body is, and what was seen of it.
#[derive(Debug)]
pub(crate) struct ChunkedDecoder {
    state: State,
    /// The line that is being read, without its end.
    line: Vec<u8>,
    /// `None`: chunks are not signed.
    signatures: Option<ChunkSignatures>,
    stated: u64,
    decoded: u64,
    had_small_chunk: bool,
    /// Trailers that were announced.
    announced: Vec<Algorithm>,
    trailers: BTreeMap<Algorithm, String>,
    trailer_signature: Option<String>,
    trailer_bytes: usize,
}

impl ChunkedDecoder {
    /// At the start of a body that holds `stated` bytes and ends with the trailers in `announced`.
    pub(crate) fn new(stated: u64, signatures: Option<ChunkSignatures>, announced: Vec<Algorithm>) -> ChunkedDecoder {
        ChunkedDecoder {
            state: State::Head,
            line: Vec::new(),
            signatures,
            stated,
            decoded: 0,
            had_small_chunk: false,
            announced,
            trailers: BTreeMap::new(),
            trailer_signature: None,
            trailer_bytes: 0,
        }
    }

    /// Takes bytes off the front of `input`. `Some`: bytes of the body; call again. `None`: `input` is used up.
    pub(crate) fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, ChunkedError> {
        while !input.is_empty() {
            match self.state {
                State::Head => {
                    if self.read_line(input, CHUNK_HEAD_MAX_BYTES)? {
                        self.begin_chunk()?;
                    }
                }
                State::Data { left } => {
                    let length = left.min(input.len() as u64);
                    let piece = input.split_to(length as usize);
                    if let Some(signatures) = &mut self.signatures {
                        signatures.update(&piece);
                    }
                    self.state = if left == length { State::DataEnd } else { State::Data { left: left - length } };
                    return Ok(Some(piece));
                }
                State::DataEnd => {
                    if self.read_line(input, 0)? {
                        self.end_chunk()?;
                        self.state = State::Head;
                    }
                }
                State::Trailers => {
                    if self.read_line(input, TRAILERS_MAX_BYTES)? {
                        self.take_trailer_line()?;
                    }
                }
                State::End => return Err(ChunkedError::Malformed("there are bytes behind its end")),
            }
        }
        Ok(None)
    }

    /// After the last byte of the input: the trailers, if everything was there and right.
    pub(crate) fn finish(mut self) -> Result<BTreeMap<Algorithm, String>, ChunkedError> {
        match self.state {
            State::End => {}
            // Some clients leave the line ends behind the trailers out.
            State::Trailers => {
                if !self.line.is_empty() {
                    self.take_trailer_line()?;
                }
            }
            State::Head | State::Data { .. } | State::DataEnd => return Err(ChunkedError::NoLastChunk),
        }
        if self.decoded != self.stated {
            return Err(ChunkedError::Incomplete { stated: self.stated, found: self.decoded });
        }
        if let Some(missing) = self.announced.iter().find(|announced| !self.trailers.contains_key(announced)) {
            return Err(trailer(missing.header(), "it was announced and did not come"));
        }
        match (&mut self.signatures, &self.trailer_signature) {
            (Some(signatures), Some(given)) if !self.announced.is_empty() => {
                let lines = self.trailers.iter().map(|(algorithm, value)| (algorithm.header(), value.as_str()));
                signatures.check_trailers(lines, given)?;
            }
            (Some(_), None) if !self.announced.is_empty() => {
                return Err(trailer("x-amz-trailer-signature", "it is missing"));
            }
            (_, Some(_)) => return Err(trailer("x-amz-trailer-signature", "nothing is signed by it")),
            (_, None) => {}
        }
        Ok(self.trailers)
    }

    /// Adds to the line; `true`: it is complete.
    fn read_line(&mut self, input: &mut Bytes, bytes_max: usize) -> Result<bool, ChunkedError> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(input.len(), |end| end + 1);
        // The carriage return may be there before the line feed is.
        if self.line.len() + length > bytes_max + 2 {
            return Err(ChunkedError::Malformed("a line is too long"));
        }
        self.line.extend_from_slice(&input[..length]);
        input.advance(length);
        if end.is_none() {
            return Ok(false);
        }
        if !self.line.ends_with(b"\r\n") {
            return Err(ChunkedError::Malformed("a line does not end with CR LF"));
        }
        self.line.truncate(self.line.len() - 2);
        Ok(true)
    }

    fn begin_chunk(&mut self) -> Result<(), ChunkedError> {
        let line = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&line).map_err(|_| ChunkedError::Malformed("a chunk head is not ASCII"))?;
        let (size, extension) = match line.split_once(';') {
            None => (line, None),
            Some((size, extension)) => (size, Some(extension)),
        };
        let size = parse_size(size).ok_or(ChunkedError::Malformed("a chunk has no size"))?;
        match (&mut self.signatures, extension) {
            (None, None) => {}
            (None, Some(_)) => return Err(ChunkedError::Malformed("a chunk of an unsigned body has a signature")),
            (Some(_), None) => return Err(ChunkedError::Malformed("a chunk has no signature")),
            (Some(signatures), Some(extension)) => {
                let given = extension.strip_prefix("chunk-signature=");
                signatures.begin(given.ok_or(ChunkedError::Malformed("a chunk has no signature"))?);
            }
        }
        if size > 0 {
            if self.signatures.is_some() && self.had_small_chunk {
                return Err(ChunkedError::SmallChunk);
            }
            self.had_small_chunk = size < SIGNED_CHUNK_MIN_BYTES;
        }
        self.decoded = self.decoded.saturating_add(size);
        if self.decoded > self.stated {
            return Err(ChunkedError::Incomplete { stated: self.stated, found: self.decoded });
        }
        if size > 0 {
            self.state = State::Data { left: size };
            return Ok(());
        }
        self.end_chunk()?;
        self.state = State::Trailers;
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), ChunkedError> {
        self.signatures.as_mut().map_or(Ok(()), ChunkSignatures::check_chunk)
    }

    fn take_trailer_line(&mut self) -> Result<(), ChunkedError> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            // Behind the last chunk some clients end the (empty) data with a line of its own before the trailers.
            let done = self.announced.iter().all(|announced| self.trailers.contains_key(announced));
            if done {
                self.state = State::End;
            }
            return Ok(());
        }
        self.trailer_bytes += line.len();
        if self.trailer_bytes > TRAILERS_MAX_BYTES {
            return Err(ChunkedError::Malformed("its trailers are too long"));
        }
        let line = std::str::from_utf8(&line).map_err(|_| ChunkedError::Malformed("a trailer is not ASCII"))?;
        let (name, value) = line.split_once(':').ok_or(ChunkedError::Malformed("a trailer has no name"))?;
        let value = value.trim().to_owned();
        if name.eq_ignore_ascii_case("x-amz-trailer-signature") {
            let twice = self.trailer_signature.replace(value).is_some();
            return if twice { Err(trailer(name, "it came twice")) } else { Ok(()) };
        }
        let known = Algorithm::from_header(name).filter(|algorithm| self.announced.contains(algorithm));
        let algorithm = known.ok_or_else(|| trailer(name, "it was not announced"))?;
        let twice = self.trailers.insert(algorithm, value).is_some();
        if twice { Err(trailer(name, "it came twice")) } else { Ok(()) }
    }
}

fn trailer(name: &str, problem: &'static str) -> ChunkedError {
    ChunkedError::Trailer { name: name.chars().take(80).collect(), problem }
}

/// 1 to 16 hex digits, of a size that a file may have.
fn parse_size(digits: &str) -> Option<u64> {
    let hex = (1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests;
