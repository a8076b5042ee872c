//! Packs: append-only files of records, the truth of a volume.
//!
//! A pack is a header page, then records. A record enters whole and verified; each *group* of records starts on a page and
//! was made durable by one fdatasync before the next group began. Nothing in a pack is ever written twice but for what a
//! start cuts off behind the last record that verifies. The bytes are specified in docs/formats.md.
//!
//! A record's header carries a MAC under a key of its pack, which is derived from a secret of the volume: a chunk whose bytes
//! look like a record cannot pass for one when a damaged pack is searched for records.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod header;
mod reader;
mod record;
mod scan;

pub use header::PackHeader;
pub(super) use header::PackHeaderError;
pub(super) use reader::{RecordError, WholeRecord, read_record};
pub(super) use record::{HEADER_BYTES, HeaderError, encode_head};
pub use record::{PackKey, RecordHeader, RecordKind};
pub(super) use scan::{Event, Unreadable, scan};

use std::fmt;

/// What a record starts at a multiple of: a disk writes a sector whole or not at all.
pub const SECTOR_BYTES: u32 = 512;
/// What a group starts at a multiple of, so that no page that was once synced is written again: a disk with sectors of 4 KiB
/// may lose all of one when the power goes while it is rewritten.
pub const PAGE_BYTES: u32 = 4096;

/// Number of a pack on its volume. Grows; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PackNumber(pub u32);

impl fmt::Display for PackNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for PackNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pack-{self}")
    }
}

/// Where a record starts. Grows with every record of a volume, over all packs: the order of positions is the order in which
/// things happened to the volume.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// In which pack.
    pub pack: PackNumber,
    /// At which byte.
    pub offset: u32,
}

impl Position {
    /// Before every record.
    pub const ZERO: Position = Position { pack: PackNumber(0), offset: 0 };

    /// One number that keeps the order.
    pub fn to_number(self) -> u64 {
        u64::from(self.pack.0) << 32 | u64::from(self.offset)
    }

    /// Reverse of [`Position::to_number`].
    pub fn from_number(number: u64) -> Position {
        Position { pack: PackNumber((number >> 32) as u32), offset: number as u32 }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.pack, self.offset)
    }
}

/// `bytes` rounded up to a whole number of `unit`s.
pub(super) fn round_up(bytes: u64, unit: u32) -> u64 {
    bytes.next_multiple_of(u64::from(unit))
}
