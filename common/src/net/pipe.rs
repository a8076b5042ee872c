//! The two halves of a connection after its handshake: frames out, frames in.

use super::handshake::Handshaken;
use crate::seam::BoxedIo;
use crate::wire::frame::Frame;
use bytes::BytesMut;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

/// Frames that wait to be written to one connection.
const QUEUED_FRAMES_MAX: usize = 256;
/// Bytes gathered into one write.
const WRITE_BATCH_BYTES: usize = 256 << 10;

pub(super) fn split(connection: Handshaken) -> (Reader, Writer, mpsc::Sender<Frame>) {
    let (read, write) = tokio::io::split(connection.io);
    let (sender, queue) = mpsc::channel(QUEUED_FRAMES_MAX);
    (Reader { read, buffered: connection.buffered }, Writer { write, queue }, sender)
}

pub(super) struct Writer {
    write: WriteHalf<BoxedIo>,
    queue: mpsc::Receiver<Frame>,
}

impl Writer {
    /// Writes frames as they come, all that wait in one write, until every sender is gone.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let mut out = BytesMut::new();
        while let Some(frame) = self.queue.recv().await {
            frame.encode(&mut out);
            while out.len() < WRITE_BATCH_BYTES {
                match self.queue.try_recv() {
                    Ok(frame) => frame.encode(&mut out),
                    Err(_) => break,
                }
            }
            self.write.write_all(&out).await?;
            self.write.flush().await?;
            out.clear();
        }
        self.write.shutdown().await
    }
}

pub(super) struct Reader {
    read: ReadHalf<BoxedIo>,
    buffered: BytesMut,
}

impl Reader {
    /// The next frame; `None` at the end of the stream. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            match Frame::decode(&mut self.buffered) {
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            if self.buffered.capacity() - self.buffered.len() < 4096 {
                self.buffered.reserve(64 << 10);
            }
            if self.read.read_buf(&mut self.buffered).await? == 0 {
                return Ok(None);
            }
        }
    }
}
