//! Records that will share one sync, and everything that becomes true with it.

use super::super::pack::{PackKey, Position, RecordHeader, encode_head};
use super::active::{ActivePack, Piece, Synced};
use super::changes::Changes;
use super::job::{Answer, AppendError};
use bytes::Bytes;
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::Stamp;
use std::io;

/// Tells someone how it ended.
type Acknowledge = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// Where a group goes.
struct Place {
    key: PackKey,
    start: u32,
    end: u32,
    /// Length of the pack.
    size: u32,
}

/// A group that is being put together. Nothing of it is on disk or visible before it is committed.
pub(super) struct Group {
    place: Option<Place>,
    pieces: Vec<Piece>,
    pub(super) changes: Changes,
    acknowledge: Vec<Acknowledge>,
    /// Whether an answer promises durability.
    promises: bool,
}

impl Group {
    /// An empty group that will be written at the end of `pack`. Without one it can take neither records nor promises.
    pub(super) fn new(pack: Option<&ActivePack>, changes: Changes) -> Group {
        let place = pack.map(|pack| {
            let start = pack.end().offset;
            Place { key: pack.key.clone(), start, end: start, size: pack.size() }
        });
        Group { place, pieces: Vec::new(), changes, acknowledge: Vec::new(), promises: false }
    }

    /// Whether there is a pack with room for `bytes` more.
    pub(super) fn fits(&self, bytes: u32) -> bool {
        self.place.as_ref().is_some_and(|place| bytes <= place.size - place.end)
    }

    /// Bytes of records so far.
    pub(super) fn bytes(&self) -> u32 {
        self.place.as_ref().map_or(0, |place| place.end - place.start)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.acknowledge.is_empty() && self.pieces.is_empty() && self.changes.is_empty()
    }

    /// Adds the record of a chunk, which fits; returns where it will lie.
    pub(super) fn append_chunk(&mut self, chunk: &VerifiedChunk, touched: Stamp) -> Position {
        self.append(chunk.outboard().values(), Some(chunk.data()), |offset, start| {
            RecordHeader::chunk(chunk, touched, offset, start)
        })
    }

    /// Adds the record of a removal, which fits; returns where it will lie.
    pub(super) fn append_tombstone(&mut self, address: ChunkAddress) -> Position {
        self.append(&[], None, |offset, start| RecordHeader::tombstone(address, offset, start))
    }

    fn append(
        &mut self,
        outboard: &[u8],
        body: Option<&Bytes>,
        header: impl FnOnce(u32, u32) -> RecordHeader,
    ) -> Position {
        let place = self.place.as_mut().expect("records are added where they fit");
        let header = header(place.end, place.start);
        let position = Position { pack: place.key.number(), offset: place.end };
        let mut head = Vec::with_capacity(outboard.len() + 256);
        encode_head(&header, outboard, &place.key, &mut head);
        let padding = header.record_bytes() as usize - head.len() - header.stored_length as usize;
        self.pieces.push(Piece::Small(head));
        self.pieces.extend(body.cloned().map(Piece::Body));
        self.pieces.push(Piece::Small(vec![0; padding]));
        place.end += header.record_bytes();
        position
    }

    /// `answer` gets `value` once everything before it in the volume is durable.
    pub(super) fn promise<T: Send + 'static>(&mut self, answer: Answer<T>, value: T) {
        self.promises = true;
        self.tell(answer, value);
    }

    /// `answer` gets `value` once the changes of this group are visible.
    pub(super) fn tell<T: Send + 'static>(&mut self, answer: Answer<T>, value: T) {
        self.acknowledge.push(Box::new(move |result| {
            // Whoever asked may be gone.
            let _ = answer.send(result.map(|()| value));
        }));
    }

    /// Writes the records and makes them durable. `None`: there is nothing to make durable. A group that only confirms what is
    /// there syncs as well, so that its time does not tell that it had nothing to write (P5).
    pub(super) fn make_durable(&self, pack: Option<&mut ActivePack>) -> io::Result<Option<Synced>> {
        if self.pieces.is_empty() && !self.promises {
            return Ok(None);
        }
        let (Some(place), Some(pack)) = (&self.place, pack) else { return Ok(Some(Synced::nothing_was_written())) };
        let bytes: usize = self.pieces.iter().map(Piece::len).sum();
        assert_eq!(bytes, self.bytes() as usize, "a group that does not fill its place");
        assert_eq!(pack.end(), Position { pack: place.key.number(), offset: place.start }, "a group for another place");
        if self.pieces.is_empty() {
            pack.write_pulse()?;
        } else {
            pack.write(&self.pieces)?;
        }
        let synced = pack.sync()?;
        pack.advance(place.end, &synced);
        Ok(Some(synced))
    }

    /// Splits off what is left to do: the changes, and the answers.
    pub(super) fn into_parts(self) -> (Changes, Answers) {
        (self.changes, Answers { acknowledge: self.acknowledge, promises: self.promises })
    }
}

/// Who waits for a group.
pub(super) struct Answers {
    acknowledge: Vec<Acknowledge>,
    promises: bool,
}

impl Answers {
    /// All is done. `synced` is the proof, and may be missing only where nothing was promised.
    pub(super) fn succeed(self, synced: Option<&Synced>) {
        assert!(synced.is_some() || !self.promises, "a promise without a sync");
        self.acknowledge.into_iter().for_each(|acknowledge| acknowledge(Ok(())));
    }

    /// Nothing of it may be relied on.
    pub(super) fn fail(self, error: &AppendError) {
        self.acknowledge.into_iter().for_each(|acknowledge| acknowledge(Err(error.clone())));
    }
}
