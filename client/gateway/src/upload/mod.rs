//! Bodies on their way in: from a connection, through the framing that S3 puts around them, to the client library.
//!
//! Memory: a body holds one piece of the connection's buffer and at most [`PIECE_BYTES`] of small pieces
//! copied together, whatever sizes its client sends. What is read further ahead is counted by the client library's budget.

mod body;
mod chunked;
mod inspect;
mod pace;
mod signature;

pub(crate) use body::{Drain, IncomingBody};
pub(crate) use chunked::{ChunkedDecoder, ChunkedError};
pub(crate) use inspect::{BodyInspector, DigestError, Expected, Trailers, Value};
pub(crate) use signature::{ChunkSignatures, SignedHead};

use crate::limits::{PIECE_BYTES, SMALL_PIECE_BYTES};
use bytes::{Bytes, BytesMut};
use cairn_client::ByteSource;
use std::io;

/// Why a body could not be read to its end. Travels through the client library as the inner error of an [`io::Error`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// The client stopped sending, or is slower than [`crate::limits`] allows.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection ended before the body did.
    #[error("the body broke off before its end")]
    BrokenOff,
    /// The framing is wrong.
    #[error(transparent)]
    Chunked(#[from] ChunkedError),
}

impl BodyError {
    /// The body error that `error` carries, if it is one of ours.
    pub(crate) fn of(error: &io::Error) -> Option<&BodyError> {
        error.get_ref()?.downcast_ref()
    }
}

/// A body as a source of bytes for an upload.
pub(crate) struct UploadBody {
    incoming: IncomingBody,
    /// The framing that is to be taken off, if there is one.
    framing: Option<(ChunkedDecoder, Trailers)>,
    /// What came of the connection and was not decoded yet.
    input: Bytes,
    /// Small pieces that are copied together.
    small: BytesMut,
    /// A piece that comes after `small`.
    next: Option<Bytes>,
    /// Why nothing comes after `small`: what had arrived is given out first.
    failed: Option<BodyError>,
}

impl UploadBody {
    /// A body without framing.
    pub(crate) fn plain(incoming: IncomingBody) -> UploadBody {
        UploadBody { incoming, framing: None, input: Bytes::new(), small: BytesMut::new(), next: None, failed: None }
    }

    /// A body in `aws-chunked` framing. `trailers` is told what came behind it.
    pub(crate) fn chunked(incoming: IncomingBody, decoder: ChunkedDecoder, trailers: Trailers) -> UploadBody {
        UploadBody { framing: Some((decoder, trailers)), ..UploadBody::plain(incoming) }
    }

    /// The next bytes of any length; `None` at the end, when all of the framing was right.
    async fn decoded(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let Some((decoder, _)) = &mut self.framing else { return self.incoming.next().await };
            if let Some(piece) = decoder.decode(&mut self.input)? {
                return Ok(Some(piece));
            }
            match self.incoming.next().await? {
                Some(input) => self.input = input,
                None => {
                    if let Some((decoder, trailers)) = self.framing.take() {
                        // Nobody else sets it: a second value cannot be.
                        let _ = trailers.set(decoder.finish()?);
                    }
                    return Ok(None);
                }
            }
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            if self.small.len() >= PIECE_BYTES || (self.next.is_some() && !self.small.is_empty()) {
                return Ok(Some(self.small.split().freeze()));
            }
            if let Some(next) = self.next.take() {
                return Ok(Some(next));
            }
            if let Some(failed) = &self.failed {
                return if self.small.is_empty() { Err(failed.clone()) } else { Ok(Some(self.small.split().freeze())) };
            }
            match self.decoded().await {
                Err(failed) => self.failed = Some(failed),
                Ok(Some(piece)) if piece.len() >= SMALL_PIECE_BYTES => self.next = Some(piece),
                Ok(Some(piece)) => {
                    if self.small.capacity() == 0 {
                        self.small.reserve(PIECE_BYTES + SMALL_PIECE_BYTES);
                    }
                    self.small.extend_from_slice(&piece);
                }
                Ok(None) if self.small.is_empty() => return Ok(None),
                Ok(None) => return Ok(Some(self.small.split().freeze())),
            }
        }
    }
}

impl ByteSource for UploadBody {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.piece().await.map_err(io::Error::other)
    }
}
