//! Frames: how small calls travel over a kept connection, many in flight at once.
//!
//! A frame is a header of 20 bytes and a body (specified in docs/formats.md):
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | length of the body, big endian, at most [`FRAME_MAX_BYTES`] |
//! | 4 | format, 1 |
//! | 5 | kind |
//! | 6 | service |
//! | 7 | zero |
//! | 8–15 | number of the call, big endian; an answer carries that of its request |
//! | 16–19 | CRC-32 over bytes 0–15 and the body, big endian |
//!
//! A frame that breaks any of this ends the connection.

use crate::limits::FRAME_MAX_BYTES;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Length of a header, in bytes.
pub const HEADER_BYTES: usize = 20;
const FORMAT: u8 = 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// First frame of a server: who it is, and a challenge.
    Hello = 1,
    /// First frame of a client: who it is, and the proof.
    Auth = 2,
    /// The server accepts, and proves itself.
    Welcome = 3,
    /// A request that wants an answer.
    Request = 4,
    /// The answer to a request.
    Answer = 5,
    /// A message that wants none.
    OneWay = 6,
}

/// Who a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Service {
    /// The connection itself.
    Connection = 0,
    /// [`Master`](super::master::Master).
    Master = 1,
    /// [`ChunkService`](super::chunk::ChunkService).
    Chunk = 2,
    /// The masters' Raft group.
    Raft = 3,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Who it is for.
    pub service: Service,
    /// Number of the call.
    pub call: u64,
    /// The message.
    pub body: Bytes,
}

/// Bytes that are no frame. The connection cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// A header that this release does not know.
    #[error("not a frame of a known format")]
    Malformed,
    /// Altered on the way.
    #[error("the checksum of a frame does not match")]
    Checksum,
}

impl Frame {
    /// Appends the encoded frame to `out`.
    ///
    /// # Panics
    /// If the body is too long: whoever builds it must bound it.
    pub fn encode(&self, out: &mut BytesMut) {
        assert!(self.body.len() <= FRAME_MAX_BYTES, "a frame body of {} bytes", self.body.len());
        out.reserve(HEADER_BYTES + self.body.len());
        let start = out.len();
        out.put_u32(self.body.len() as u32);
        out.put_u8(FORMAT);
        out.put_u8(self.kind as u8);
        out.put_u8(self.service as u8);
        out.put_u8(0);
        out.put_u64(self.call);
        let checksum = checksum(&out[start..], &self.body);
        out.put_u32(checksum);
        out.extend_from_slice(&self.body);
    }

    /// Takes a frame off the front of `input`; `None` if it is not whole yet.
    pub fn decode(input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some((header, _)) = input.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let mut fields = &header[..];
        let length = fields.get_u32() as usize;
        let (format, kind, service, zero) = (fields.get_u8(), fields.get_u8(), fields.get_u8(), fields.get_u8());
        let (call, expected) = (fields.get_u64(), fields.get_u32());
        let (Some(kind), Some(service), FORMAT, 0) = (kind_of(kind), service_of(service), format, zero) else {
            return Err(FrameError::Malformed);
        };
        if length > FRAME_MAX_BYTES {
            return Err(FrameError::TooLong(length));
        }
        if input.len() < HEADER_BYTES + length {
            input.reserve(HEADER_BYTES + length - input.len());
            return Ok(None);
        }
        let frame = input.split_to(HEADER_BYTES + length).freeze();
        let body = frame.slice(HEADER_BYTES..);
        if checksum(&frame[..16], &body) != expected {
            return Err(FrameError::Checksum);
        }
        Ok(Some(Frame { kind, service, call, body }))
    }
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}

fn kind_of(byte: u8) -> Option<Kind> {
    [Kind::Hello, Kind::Auth, Kind::Welcome, Kind::Request, Kind::Answer, Kind::OneWay]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
}

fn service_of(byte: u8) -> Option<Service> {
    [Service::Connection, Service::Master, Service::Chunk, Service::Raft]
        .into_iter()
        .find(|service| *service as u8 == byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(body: &'static [u8]) -> Frame {
        Frame { kind: Kind::Request, service: Service::Master, call: 77, body: Bytes::from_static(body) }
    }

    fn encoded(frame: &Frame) -> BytesMut {
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        out
    }

    #[test]
    fn the_bytes_of_a_frame_are_pinned() {
        assert_eq!(hex::encode(encoded(&frame(b"hello"))), PINNED);
    }

    const PINNED: &str = "0000000501040100000000000000004d0c66b06968656c6c6f";

    #[test]
    fn any_flipped_bit_is_noticed() {
        let good = encoded(&frame(b"hello"));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let decoded = Frame::decode(&mut bad);
            assert!(!matches!(decoded, Ok(Some(_))), "bit {bit} passed");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_buffered() {
        let mut bad = encoded(&frame(b"x"));
        bad[..4].copy_from_slice(&(FRAME_MAX_BYTES as u32 + 1).to_be_bytes());
        assert_eq!(Frame::decode(&mut bad), Err(FrameError::TooLong(FRAME_MAX_BYTES + 1)));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..5), cut in 1usize..50) {
            let frames: Vec<Frame> = bodies.into_iter().enumerate().map(|(call, body)| {
                Frame { kind: Kind::Answer, service: Service::Chunk, call: call as u64, body: body.into() }
            }).collect();
            let mut out = BytesMut::new();
            frames.iter().for_each(|frame| frame.encode(&mut out));
            let mut input = BytesMut::new();
            let mut decoded = Vec::new();
            for piece in out.chunks(cut) {
                input.extend_from_slice(piece);
                while let Some(frame) = Frame::decode(&mut input).unwrap() {
                    decoded.push(frame);
                }
            }
            prop_assert_eq!(decoded, frames);
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut input = BytesMut::from(&noise[..]);
            while let Ok(Some(_)) = Frame::decode(&mut input) {}
        }
    }
}
