//! The two halves of a connection after its handshake: frames out, frames in.

use super::handshake::Handshaken;
use crate::seam::BoxedIo;
use crate::wire::frame::Frame;
use bytes::BytesMut;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

/// Frames that wait to be written to one connection.
const QUEUED_FRAMES_MAX: usize = 256;
/// Bytes gathered into one write.
const WRITE_BATCH_BYTES: usize = 256 << 10;

pub(super) fn split(connection: Handshaken) -> (Reader, Writer, mpsc::Sender<Frame>) {
    let (read, write) = tokio::io::split(connection.io);
    let (sender, queue) = mpsc::channel(QUEUED_FRAMES_MAX);
    let pulse = Pulse::default();
    let reader = Reader { read, buffered: connection.buffered, pulse: pulse.clone() };
    (reader, Writer { write, queue, pulse }, sender)
}

/// Grows with every sign that the other side lives: bytes that came, or that it has taken. The first write of a batch is no sign,
/// for the kernel takes that much for a process that is stopped.
#[derive(Clone, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) struct Writer {
    write: WriteHalf<BoxedIo>,
    queue: mpsc::Receiver<Frame>,
    pulse: Pulse,
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
            let mut is_first = true;
            while !out.is_empty() {
                if self.write.write_buf(&mut out).await? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                if !is_first {
                    self.pulse.beat();
                }
                is_first = false;
            }
            self.write.flush().await?;
        }
        self.write.shutdown().await
    }
}

pub(super) struct Reader {
    read: ReadHalf<BoxedIo>,
    buffered: BytesMut,
    pulse: Pulse,
}

impl Reader {
    pub(super) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

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
            self.pulse.beat();
        }
    }
}
