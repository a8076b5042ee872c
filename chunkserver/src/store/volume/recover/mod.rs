//! Starting a volume: finding out what its packs hold past what the index covers.
//!
//! Every pack with anything past the checkpoint is fdatasynced, its pages are dropped, and every record past the checkpoint is
//! read from the disk and hashed; only then is it indexed, and only what is indexed is ever served or attested. So neither a
//! lost fsync nor an index that ran ahead can turn bytes in memory into a promise.
//!
//! What may lie on disk, and what is done about it (one test each in `tests/recovery.rs`):
//!
//! | pack | found | action |
//! |---|---|---|
//! | settled | sealed in the index, and as long as that says | nothing is read |
//! | unfinished | no header, nothing but zeros, unknown to the index | the file is removed |
//! | empty | header, no record, not the last one | the file is removed |
//! | continued | header, last one | indexed; appended to behind its last good record |
//! | ended | header, not the last one | indexed; cut behind its last good record and sealed |
//! | headless | header damaged, records or an index row there | all of it read again; sealed |
//! | foreign | header of another volume or pack | nothing read, nothing deleted; rows into it are lost |
//! | newer | header or record of a newer release | the volume does not start |
//! | cut short | shorter than the index covers | rows behind its end are lost; the rest is indexed; sealed |
//! | missing | rows in the index, no file | the rows are lost |
//!
//! | record | found | action |
//! |---|---|---|
//! | good chunk | header and body verify | row, unless something newer of the chunk is there |
//! | good tombstone | header verifies | the row goes, if it is older |
//! | damaged | header good, body not; a later group behind it | set aside, counted |
//! | torn | header good, body not; only its own group behind it | set aside |
//! | nameless | no header; a later group behind it | pins the pack, counted |
//! | tail | bad, nothing good behind it | cut off |
//! | unreadable | the disk gives an error | set aside or pins the pack; the pack is sealed and never cut |
//!
//! A crash within a start is a start that was never made: each step leaves a state of these tables.

mod pack;
mod sweep;

use super::super::index::{ChunkIndex, IndexError};
use super::super::pack::PackNumber;
use super::active::ActivePack;
use super::changes::{Changes, PackRows, apply_to};
use super::folder::VolumeFolder;
use super::identity::VolumeIdentity;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// Rows that are written to the index together.
const BATCH_ROWS: usize = 4096;

/// A volume that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Its disk gives errors when it is asked.
    #[error("the disk cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Its disk gives errors when something is written or synced.
    #[error("the disk cannot be written: {0}")]
    Write(#[source] io::Error),
    /// Its index failed, and cannot be made anew.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A newer release wrote to it.
    #[error("{0:?} was written by a newer release: use that one")]
    Newer(PackNumber),
}

/// What was found about one pack; see the module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Nothing was read.
    Settled,
    /// Removed: never finished.
    Unfinished,
    /// Removed: nothing in it.
    Empty,
    /// Appended to.
    Continued,
    /// Sealed.
    Ended,
    /// Sealed, without a header.
    Headless,
    /// Left alone.
    Foreign,
    /// Sealed; its end is gone.
    CutShort,
    /// Gone.
    Missing,
}

/// What a start found.
pub(super) struct Found {
    pub(super) rows: PackRows,
    pub(super) file_bytes: BTreeMap<PackNumber, u64>,
    pub(super) active: Option<ActivePack>,
    pub(super) next_number: PackNumber,
    pub(super) findings: Vec<(PackNumber, Finding)>,
    /// Acknowledged records that are not what they were, or gone.
    pub(super) damaged: u64,
}

/// Reads what must be read and brings the index, which has these `rows` of packs, up to date.
pub(super) fn recover(
    folder: &VolumeFolder,
    identity: &VolumeIdentity,
    index: &Arc<dyn ChunkIndex>,
    rows: PackRows,
) -> Result<Found, RecoverError> {
    let files = folder.packs()?;
    let numbers: BTreeSet<PackNumber> = rows.keys().chain(&files).copied().collect();
    let highest = numbers.last().map_or(0, |number| number.0);
    let found = Found {
        rows,
        file_bytes: BTreeMap::new(),
        active: None,
        next_number: PackNumber(highest.checked_add(1).ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?),
        findings: Vec::new(),
        damaged: 0,
    };
    let mut recovery = Recovery { folder, identity, index, found, lost_from: BTreeMap::new() };
    for number in numbers {
        let finding = recovery.pack(number, files.last() == Some(&number))?;
        recovery.found.findings.push((number, finding));
    }
    recovery.sweep()?;
    if let Err(error) = index.flush(true) {
        // The next start reads all this again, that is all.
        tracing::warn!(volume = %identity.volume, %error, "the index was not flushed");
    }
    Ok(recovery.found)
}

/// A start under way.
struct Recovery<'a> {
    folder: &'a VolumeFolder,
    identity: &'a VolumeIdentity,
    index: &'a Arc<dyn ChunkIndex>,
    found: Found,
    /// Packs of which everything from an offset on is gone.
    lost_from: BTreeMap<PackNumber, u64>,
}

impl Recovery<'_> {
    fn changes(&self) -> Changes {
        Changes::new(Arc::clone(self.index), Arc::new(self.found.rows.clone()))
    }

    fn commit(&mut self, changes: Changes) -> Result<(), RecoverError> {
        let written = changes.finish();
        self.index.write(&written.batch)?;
        apply_to(&mut self.found.rows, &written.batch);
        Ok(())
    }
}
