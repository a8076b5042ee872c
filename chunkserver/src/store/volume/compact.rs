//! Compaction: what still lives in a pack is appended again, and the pack is deleted.
//!
//! Everything that is copied is read from the disk and hashed first. A pack with a record that fails stays: its bad bytes may
//! be the last trace of a chunk. The pack goes only after its copies are durable, the index points at them, and the index
//! itself is durable; a crash at any point leaves a copy too many, never one too few.

use super::super::index::BadRow;
use super::super::pack::{HEADER_BYTES, PackNumber, Position, RecordHeader, RecordKind, SECTOR_BYTES};
use super::Volume;
use super::job::{Answer, AppendError, Job};
use super::read::{self, Checked, ReadError};
use cairn_common::chunk::VerifiedChunk;
use std::io;
use tokio::sync::oneshot;

/// Bytes that are on their way to the appender at a time.
const IN_FLIGHT_BYTES: usize = 8 << 20;

/// What became of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compaction {
    /// It is deleted; this many bytes of it were free already or are now.
    Dropped {
        /// Length of its file minus what was copied out of it.
        freed_bytes: u64,
    },
    /// It stays: it is still being appended to, or something in it is bad.
    Kept,
}

/// A compaction that did not end. Nothing is lost, and it can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The pack cannot be read.
    #[error("the pack cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The copies cannot be made durable.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl From<io::Error> for CompactError {
    fn from(error: io::Error) -> CompactError {
        CompactError::Read(error.into())
    }
}

/// Moves what lives in `number` elsewhere and deletes the pack. Blocks on the disk.
pub(super) fn compact(volume: &Volume, number: PackNumber) -> Result<Compaction, CompactError> {
    let rows = volume.shared.pack_rows();
    let Some(row) = rows.get(&number).filter(|row| row.sealed && row.bad == 0) else { return Ok(Compaction::Kept) };
    // Of all files, also those that the index does not know.
    let oldest = volume.shared.folder.packs()?.first() == Some(&number);
    let mut moving = Moving { volume, waiting: Vec::new(), bytes: 0, copied_bytes: 0 };
    let (file, key) = (volume.shared.file(number)?, volume.shared.key(number));
    let mut offset = super::super::pack::PAGE_BYTES;
    let mut head = [0; HEADER_BYTES];
    while u64::from(offset) + HEADER_BYTES as u64 <= u64::from(row.covered) {
        file.read_exact_at(&mut head, u64::from(offset))?;
        let Ok(header) = RecordHeader::decode(&head, offset, &key) else {
            // Padding, or damage. If a chunk lies there, its row keeps the pack.
            offset += SECTOR_BYTES;
            continue;
        };
        let at = Position { pack: number, offset };
        offset += header.record_bytes();
        match header.kind {
            // Without an older pack there is nothing left that the removal could be about.
            RecordKind::Tombstone if !oldest => moving.keep_tombstone(&header)?,
            RecordKind::Tombstone => {}
            RecordKind::Chunk => {
                if !moving.chunk(&header, at)? {
                    moving.settle()?;
                    return Ok(Compaction::Kept);
                }
            }
        }
    }
    moving.settle()?;
    let copied_bytes = moving.copied_bytes;
    let dropped = volume.ask_blocking(|answer| Job::DropPack { pack: number, answer })?;
    let freed_bytes = u64::from(row.covered).saturating_sub(copied_bytes);
    Ok(if dropped { Compaction::Dropped { freed_bytes } } else { Compaction::Kept })
}

/// Copies on their way.
struct Moving<'a> {
    volume: &'a Volume,
    waiting: Vec<oneshot::Receiver<Result<(), AppendError>>>,
    bytes: usize,
    copied_bytes: u64,
}

impl Moving<'_> {
    /// Sends the chunk on its way if it lives at `at`. `false`: its record is bad, and was set aside.
    fn chunk(&mut self, header: &RecordHeader, at: Position) -> Result<bool, CompactError> {
        let shared = &self.volume.shared;
        if shared.index.get(&header.address).map_err(ReadError::from)?.is_none_or(|row| row.position != at) {
            return Ok(true);
        }
        match read::check(shared, &header.address)? {
            Checked::Good(row, record) if row.position == at => {
                let chunk = VerifiedChunk::check(record.header.address, record.body);
                let Ok(chunk) = chunk else { return self.set_aside(header, at) };
                self.copied_bytes += u64::from(header.record_bytes());
                let (bytes, verified_ms) = (chunk.length() as usize, shared.clock.wall_ms());
                self.send(bytes, |answer| Job::Move { chunk, from: at, verified_ms, answer })?;
                Ok(true)
            }
            Checked::Bad(row, _) if row.position == at => self.set_aside(header, at),
            _ => Ok(true),
        }
    }

    fn set_aside(&mut self, header: &RecordHeader, position: Position) -> Result<bool, CompactError> {
        let bad = BadRow { length: header.length, why: super::super::index::Why::Damaged };
        let address = header.address;
        self.volume.ask_blocking(|answer| Job::SetAside { address, position, bad, answer })?;
        Ok(false)
    }

    fn keep_tombstone(&mut self, header: &RecordHeader) -> Result<(), CompactError> {
        let address = header.address;
        self.copied_bytes += u64::from(header.record_bytes());
        self.send(0, |answer| Job::KeepTombstone { address, answer })
    }

    fn send(&mut self, bytes: usize, job: impl FnOnce(Answer<()>) -> Job) -> Result<(), CompactError> {
        let (answer, receiver) = oneshot::channel();
        self.volume.send_blocking(job(answer))?;
        self.waiting.push(receiver);
        self.bytes += bytes + 512;
        if self.bytes >= IN_FLIGHT_BYTES { self.settle() } else { Ok(()) }
    }

    /// Waits for all that is on its way.
    fn settle(&mut self) -> Result<(), CompactError> {
        self.bytes = 0;
        for receiver in self.waiting.drain(..) {
            self.volume.wait_blocking(receiver)?;
        }
        Ok(())
    }
}
