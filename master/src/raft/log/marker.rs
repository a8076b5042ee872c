//! How far a log is known to have been synced, beside the log: what tells a torn tail from damage.
//!
//! Every write to the log has a number, which is in it. After the sync of a write its number goes here. A write that a crash tore
//! was never synced, so it lies behind; what is missing up to here was on disk once, and may have been promised to somebody.
//!
//! The number itself is not synced with every write, which would cost as much again: only with every [`SYNC_EVERY`]th. After a
//! kill it is exact, for the kernel keeps it. After a power cut it may be behind by so many writes, and is never ahead, since it
//! is written after the sync that it tells of. There are two places, used in turn, so that a write of this file that is torn
//! leaves the one before.

use super::LogError;
use cairn_common::seam::{Disk as _, DiskFile, OpenMode, RealDisk};
use std::path::Path;

/// Writes of the log between two syncs of the marker.
const SYNC_EVERY: u64 = 256;
/// Each place is in a sector of its own.
const PLACE_BYTES: u64 = 512;
const MAGIC: &[u8; 8] = b"CRNSYNC1";
/// Magic, number, and the first eight bytes of the BLAKE3 of both.
const MARK_BYTES: usize = 24;

pub(super) struct Marker {
    file: Box<dyn DiskFile>,
    number: u64,
}

fn encode(number: u64) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark[..8].copy_from_slice(MAGIC);
    mark[8..16].copy_from_slice(&number.to_be_bytes());
    let hash = blake3::hash(&mark[..16]);
    mark[16..].copy_from_slice(&hash.as_bytes()[..8]);
    mark
}

fn decode(mark: &[u8; MARK_BYTES]) -> Option<u64> {
    let number = u64::from_be_bytes(mark[8..16].try_into().ok()?);
    (*mark == encode(number)).then_some(number)
}

impl Marker {
    /// Opens the marker, or makes one that knows of nothing.
    pub(super) fn open(path: &Path) -> Result<Marker, LogError> {
        let failed = |error: std::io::Error| LogError(format!("{}: {error}", path.display()));
        if !RealDisk.exists(path).map_err(failed)? {
            RealDisk.replace(path, &vec![0; 2 * PLACE_BYTES as usize]).map_err(failed)?;
        }
        let file = RealDisk.open(path, OpenMode::Write).map_err(failed)?;
        let mut number = 0;
        for place in 0..2 {
            let mut mark = [0; MARK_BYTES];
            file.read_exact_at(&mut mark, place * PLACE_BYTES).map_err(failed)?;
            number = decode(&mark).unwrap_or(0).max(number);
        }
        Ok(Marker { file, number })
    }

    /// The highest number that is known to have been synced.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The write of this number is synced.
    pub(super) fn advance(&mut self, number: u64) -> Result<(), LogError> {
        assert!(number > self.number, "write {number} of the log follows {}", self.number);
        let place = number % 2 * PLACE_BYTES;
        let written = self.file.write_all_at(&encode(number), place);
        let synced =
            if number.is_multiple_of(SYNC_EVERY) { written.and_then(|()| self.file.sync_data()) } else { written };
        self.number = number;
        synced.map_err(|error| LogError(format!("the marker of what is synced: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_that_was_torn_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("marker");
        let mut marker = Marker::open(&path).unwrap();
        assert_eq!(marker.number(), 0);
        (1..=7).for_each(|number| marker.advance(number).unwrap());
        drop(marker);
        assert_eq!(Marker::open(&path).unwrap().number(), 7);
        let file = RealDisk.open(&path, OpenMode::Write).unwrap();
        file.write_all_at(&[0xff; 5], PLACE_BYTES + 10).unwrap();
        assert_eq!(Marker::open(&path).unwrap().number(), 6);
    }
}
