//! Where the bytes of an upload come from.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes in order, in pieces of any size. Every [`AsyncRead`] is one, and so is [`StreamSource`] around a stream.
pub trait ByteSource: Send {
    /// The next piece, not empty; `None` at the end. Need not be cancel-safe: an upload that is dropped drops its source.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;
}

/// Bytes asked for in one read of an [`AsyncRead`].
const READ_BYTES: usize = 256 << 10;

impl<R: AsyncRead + Unpin + Send> ByteSource for R {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        match self.read_buf(&mut buffer).await? {
            0 => Ok(None),
            _ => Ok(Some(buffer.freeze())),
        }
    }
}

/// A stream of pieces as a source.
#[derive(Debug)]
pub struct StreamSource<S>(pub S);

impl<S, E> ByteSource for StreamSource<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.0.next().await {
                None => return Ok(None),
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => return Ok(Some(piece)),
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
    }
}
