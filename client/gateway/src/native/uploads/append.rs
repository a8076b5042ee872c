//! What is appended to an upload: cut into parts, each durable before the next is begun.
//!
//! A connection that breaks loses nothing that came over it: what had arrived of the part under way becomes a part too, if it
//! need not match a checksum. So a file of any size comes through over a line that never holds, without being sent twice.

use crate::upload::{BodyError, UploadBody};
use bytes::Bytes;
use cairn_client::ByteSource;
use cairn_common::limits::{APPENDED_PARTS_MAX, PART_MAX_BYTES};
use std::io;

/// Smallest length of a part that more follows. Half of all parts suffice for the longest file; the others are for what
/// connections that break leave behind, and for clients that send little at a time.
const PART_BYTES: u64 = 64 << 20;

/// How the bytes of one request become parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// In parts; also what came before the body broke off.
    AsTheyCome,
    /// In one part, if the whole body came: it is to match a checksum.
    AllOrNothing,
}

/// The bytes of one request on their way into parts.
pub(crate) struct Arriving {
    body: UploadBody,
    manner: Manner,
    /// Came, and belongs to the next part.
    ahead: Bytes,
    /// Bytes that the upload still has room for.
    room: u64,
    /// How the body ended, once it did.
    end: Option<End>,
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Whole,
    /// Before its end.
    Broken(BodyError),
    /// It has more bytes than the upload, or a part, has room for.
    TooLong,
}

impl Arriving {
    pub(crate) fn new(body: UploadBody, manner: Manner, room: u64) -> Arriving {
        Arriving { body, manner, ahead: Bytes::new(), room, end: None }
    }

    /// Waits for a byte of the next part; whether there is one.
    pub(crate) async fn more(&mut self) -> bool {
        while self.ahead.is_empty() && self.end.is_none() {
            match self.body.next().await {
                Ok(Some(piece)) => self.ahead = piece,
                Ok(None) => self.end = Some(End::Whole),
                Err(error) => {
                    let broken = BodyError::of(&error).cloned().unwrap_or(BodyError::BrokenOff);
                    self.end = Some(End::Broken(broken));
                }
            }
        }
        !self.ahead.is_empty()
    }

    /// How the body ended.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The source of the next part, of an upload of `length` bytes.
    pub(crate) fn part(&mut self, length: u64) -> Part<'_> {
        let most = match self.manner {
            Manner::AsTheyCome => part_bytes(length),
            Manner::AllOrNothing => PART_MAX_BYTES,
        };
        // Behind these no byte may come: then the part does not count either.
        let is_last = most >= self.room || self.manner == Manner::AllOrNothing;
        let left = most.min(self.room);
        Part { of: self, left, is_last }
    }
}

/// How long a part is that more follows.
fn part_bytes(length: u64) -> u64 {
    length.div_ceil(u64::from(APPENDED_PARTS_MAX / 2)).max(PART_BYTES)
}

/// The bytes of one part.
pub(crate) struct Part<'a> {
    of: &'a mut Arriving,
    left: u64,
    is_last: bool,
}

impl ByteSource for Part<'_> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 && !self.is_last {
            return Ok(None);
        }
        let more = self.of.more().await;
        if more && self.left == 0 {
            self.of.ahead = Bytes::new();
            self.of.end = Some(End::TooLong);
            return Err(io::Error::other("more bytes came than there is room for"));
        }
        if !more {
            return match self.of.end() {
                Some(End::Broken(broken)) if self.of.manner == Manner::AllOrNothing => {
                    Err(io::Error::other(broken.clone()))
                }
                _ => Ok(None),
            };
        }
        let take = usize::try_from(self.left).map_or(self.of.ahead.len(), |left| left.min(self.of.ahead.len()));
        let piece = self.of.ahead.split_to(take);
        self.left -= piece.len() as u64;
        self.of.room -= piece.len() as u64;
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::{Drain, IncomingBody};
    use axum::body::Body;
    use cairn_common::limits::APPENDED_MAX_BYTES;
    use cairn_common::seam::SystemClock;
    use std::sync::Arc;

    /// A body of these pieces, broken off at the end if `breaks`.
    fn arriving(pieces: &[&'static str], breaks: bool, manner: Manner, room: u64) -> Arriving {
        let pieces = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let end = breaks.then(|| Err(io::Error::other("reset")));
        let body = Body::from_stream(futures::stream::iter(pieces.chain(end).collect::<Vec<_>>()));
        let drain = Arc::new(Drain::new(Arc::new(SystemClock::new())));
        let incoming = IncomingBody::new(body, false, Arc::default(), drain);
        Arriving::new(UploadBody::plain(incoming), manner, room)
    }

    async fn read(part: &mut Part<'_>) -> io::Result<String> {
        let mut text = String::new();
        while let Some(piece) = part.next().await? {
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        Ok(text)
    }

    #[tokio::test]
    async fn what_came_before_a_body_broke_off_is_a_part() {
        let mut body = arriving(&["ab", "cd"], true, Manner::AsTheyCome, 9);
        assert!(body.more().await);
        assert_eq!(read(&mut body.part(9)).await.unwrap(), "abcd");
        assert!(!body.more().await);
        assert_eq!(body.end(), Some(&End::Broken(BodyError::BrokenOff)));
    }

    #[tokio::test]
    async fn what_is_to_match_a_checksum_is_a_part_as_a_whole_or_not_at_all() {
        let mut body = arriving(&["ab"], true, Manner::AllOrNothing, 9);
        assert!(read(&mut body.part(9)).await.is_err());
        let mut body = arriving(&["ab"], false, Manner::AllOrNothing, 9);
        assert_eq!(read(&mut body.part(9)).await.unwrap(), "ab");
        assert!(!body.more().await);
        assert_eq!(body.end(), Some(&End::Whole));
    }

    #[tokio::test]
    async fn a_part_to_the_end_of_the_upload_counts_only_if_nothing_follows() {
        for manner in [Manner::AsTheyCome, Manner::AllOrNothing] {
            let mut body = arriving(&["abc", "d"], false, manner, 4);
            assert_eq!(read(&mut body.part(4)).await.unwrap(), "abcd");
            let mut body = arriving(&["abc", "de"], false, manner, 4);
            assert!(read(&mut body.part(4)).await.is_err());
            assert_eq!(body.end(), Some(&End::TooLong));
        }
    }

    #[test]
    fn half_of_the_parts_suffice_for_the_longest_upload() {
        assert_eq!(part_bytes(1), PART_BYTES);
        let most = part_bytes(APPENDED_MAX_BYTES);
        assert!(most <= PART_MAX_BYTES && most * u64::from(APPENDED_PARTS_MAX / 2) >= APPENDED_MAX_BYTES);
    }
}
