//! Starting a volume: finding out what its packs hold past what the index covers.
//!
//! Every pack with anything past the checkpoint is fdatasynced, its pages are dropped, and every record past the checkpoint is
//! read from the disk and hashed; only then is it indexed, and only what is indexed is ever served or attested. So neither a
//! lost fsync nor an index that ran ahead can turn bytes in memory into a promise.
//!
//! What may lie on disk, and what is done about it (one test each in `recover/tests.rs`):
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

use super::super::index::{After, BadRow, ChunkIndex, IndexError, PackRow, Row, Why};
use super::super::pack::{
    Event, PAGE_BYTES, PackHeader, PackHeaderError, PackKey, PackNumber, Position, RecordHeader, RecordKind, round_up,
    scan,
};
use super::active::ActivePack;
use super::changes::{Changes, PackRows, apply_to};
use super::folder::VolumeFolder;
use super::identity::VolumeIdentity;
use super::judge::{Judge, Tail, Verdict};
use cairn_common::ids::Slot;
use cairn_common::seam::{DiskFile, DiskTrouble, OpenMode, seeded_bug};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// Rows that are written to the index together.
const BATCH_ROWS: usize = 4096;

/// A volume that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Its disk failed.
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
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

/// Reads what must be read and brings the index up to date, durably.
pub(super) fn recover(
    folder: &VolumeFolder,
    identity: &VolumeIdentity,
    index: &Arc<dyn ChunkIndex>,
) -> Result<Found, RecoverError> {
    let rows: PackRows = index.packs()?.into_iter().collect();
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
    index.flush(true)?;
    Ok(recovery.found)
}

struct Recovery<'a> {
    folder: &'a VolumeFolder,
    identity: &'a VolumeIdentity,
    index: &'a Arc<dyn ChunkIndex>,
    found: Found,
    /// Packs of which everything from an offset on is gone.
    lost_from: BTreeMap<PackNumber, u64>,
}

impl Recovery<'_> {
    fn pack(&mut self, number: PackNumber, is_last: bool) -> Result<Finding, RecoverError> {
        let row = self.found.rows.get(&number).copied();
        let file = match self.folder.disk().open(&self.folder.pack_path(number), OpenMode::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.lost_from.insert(number, 0);
                return Ok(Finding::Missing);
            }
            Err(error) => return Err(error.into()),
        };
        let length = file.len()?;
        self.found.file_bytes.insert(number, length);
        if row.is_some_and(|row| row.sealed && u64::from(row.covered) == length) {
            return Ok(Finding::Settled);
        }
        file.sync_data()?;
        if !seeded_bug("index-tail-unverified") {
            file.drop_cache(0, 0)?;
        }
        let mut page = vec![0; PAGE_BYTES.min(u32::try_from(length).unwrap_or(PAGE_BYTES)) as usize];
        let header = match file.read_exact_at(&mut page, 0) {
            Ok(()) => PackHeader::decode(&page),
            Err(_) => Err(PackHeaderError::Damaged),
        };
        let Ok(length) = u32::try_from(length) else { return Ok(self.foreign(number)) };
        match header {
            Ok(header) if !self.is_ours(&header, number) => Ok(self.foreign(number)),
            Ok(_) => {
                let covered = row.map_or(0, |row| row.covered).max(PAGE_BYTES);
                if covered > length && row.is_some() {
                    return self.cut_short(number, &*file, length);
                }
                let tail = self.walk(number, &*file, covered.min(length), length)?;
                let sealed = row.is_some_and(|row| row.sealed);
                if is_last && !sealed && !tail.is_unreadable {
                    self.resume(number, file, tail, length)
                } else {
                    self.end(number, &*file, tail, length, Finding::Ended)
                }
            }
            Err(PackHeaderError::Newer(_)) => Err(RecoverError::Newer(number)),
            Err(PackHeaderError::Damaged) => {
                let unwritten = page.iter().all(|byte| *byte == 0);
                let tail = self.walk(number, &*file, PAGE_BYTES.min(length), length)?;
                if unwritten && !tail.met_anything && row.is_none() {
                    self.remove(number)?;
                    return Ok(Finding::Unfinished);
                }
                if row.is_some_and(|row| row.covered > length) {
                    self.lost_from.insert(number, u64::from(length));
                }
                tracing::error!(volume = %self.identity.volume, %number, "the header of a pack is damaged");
                // Where the records end cannot be told for sure, so nothing is cut.
                let tail = Tail { is_unreadable: true, ..tail };
                self.end(number, &*file, tail, length, Finding::Headless)
            }
        }
    }

    fn is_ours(&self, header: &PackHeader, number: PackNumber) -> bool {
        header.number == number && header.volume == self.identity.volume && header.cluster == self.identity.cluster
    }

    /// No row is kept for such a pack: if its right file comes back, all of it is read again.
    fn foreign(&mut self, number: PackNumber) -> Finding {
        tracing::error!(volume = %self.identity.volume, %number, "a pack is not the one its name says; it is left alone");
        self.lost_from.insert(number, 0);
        Finding::Foreign
    }

    fn cut_short(&mut self, number: PackNumber, file: &dyn DiskFile, length: u32) -> Result<Finding, RecoverError> {
        tracing::error!(volume = %self.identity.volume, %number, length, "the end of a pack is gone");
        self.lost_from.insert(number, u64::from(length));
        let tail = Tail { end: length, is_dirty: false, is_unreadable: true, met_anything: true };
        self.end(number, file, tail, length, Finding::CutShort)
    }

    /// Reads and judges everything in `from..length`.
    fn walk(&mut self, number: PackNumber, file: &dyn DiskFile, from: u32, length: u32) -> Result<Tail, RecoverError> {
        let key = PackKey::derive(&self.identity.salt, self.identity.volume, number);
        let mut judge = Judge::new(from);
        let mut changes = self.changes();
        let mut stopped = false;
        scan(file, &key, from, length, |event| {
            if let Event::Newer(_) = event {
                return Err(RecoverError::Newer(number));
            }
            stopped |= seeded_bug("cut-at-first-bad-record") && !matches!(event, Event::Good(_));
            if stopped {
                return Ok(());
            }
            for verdict in judge.meet(event) {
                self.carry_out(&mut changes, number, verdict)?;
            }
            if changes.len() >= BATCH_ROWS {
                let covered = judge.decided_until();
                let full = std::mem::replace(&mut changes, self.changes());
                self.write(full, number, covered)?;
                changes = self.changes();
            }
            Ok(())
        })?;
        let (verdicts, tail) = judge.finish();
        for verdict in verdicts {
            self.carry_out(&mut changes, number, verdict)?;
        }
        let tail = Tail { is_dirty: tail.is_dirty || stopped, ..tail };
        if !changes.is_empty() {
            self.write(changes, number, tail.end)?;
        }
        Ok(tail)
    }

    fn carry_out(&mut self, changes: &mut Changes, number: PackNumber, verdict: Verdict) -> Result<(), RecoverError> {
        let at = |offset| Position { pack: number, offset };
        match verdict {
            Verdict::Apply(RecordHeader { kind: RecordKind::Chunk, address, offset, length, touched, .. }) => {
                changes.found(address, Row { position: at(offset), length, touched, verified_ms: 0 })?;
            }
            Verdict::Apply(header) => {
                changes.removed(header.address, at(header.offset))?;
            }
            Verdict::SetAside(header, _) if header.kind == RecordKind::Tombstone => {
                unreachable!("a tombstone has no body that could be bad")
            }
            Verdict::SetAside(header, why) => {
                let bad = BadRow { length: header.length, why };
                if changes.set_aside(header.address, at(header.offset), bad)? {
                    tracing::error!(volume = %self.identity.volume, address = %header.address, ?why, "a record is bad");
                    self.found.damaged += u64::from(why != Why::Torn);
                }
            }
            Verdict::Nameless(range) => {
                tracing::error!(volume = %self.identity.volume, %number, ?range, "records are lost in damaged bytes");
                changes.pack(number).bad += 1;
                self.found.damaged += 1;
            }
        }
        Ok(())
    }

    fn changes(&self) -> Changes {
        Changes::new(Arc::clone(self.index), Arc::new(self.found.rows.clone()))
    }

    fn write(&mut self, mut changes: Changes, number: PackNumber, covered: u32) -> Result<(), RecoverError> {
        let row = changes.pack(number);
        row.covered = row.covered.max(covered);
        self.commit(changes)
    }

    fn commit(&mut self, changes: Changes) -> Result<(), RecoverError> {
        let written = changes.finish();
        self.index.write(&written.batch)?;
        apply_to(&mut self.found.rows, &written.batch);
        Ok(())
    }

    /// Makes the last pack ready to be appended to: zeros behind its last good record, and space for more.
    fn resume(
        &mut self,
        number: PackNumber,
        file: Box<dyn DiskFile>,
        tail: Tail,
        length: u32,
    ) -> Result<Finding, RecoverError> {
        let end = round_up(u64::from(tail.end), PAGE_BYTES);
        if tail.is_dirty {
            file.set_len(u64::from(tail.end))?;
            file.sync_data()?;
        }
        let size = end.max(u64::from(length));
        match file.allocate(size) {
            Ok(()) => file.sync_data()?,
            Err(error) if DiskTrouble::of(&error) == DiskTrouble::Full => {
                return self.end(number, &*file, tail, length, Finding::Ended);
            }
            Err(error) => return Err(error.into()),
        }
        let mut changes = self.changes();
        changes.pack(number).covered = end as u32;
        self.commit(changes)?;
        self.found.file_bytes.insert(number, size);
        self.found.active = Some(ActivePack::resume(self.identity, number, file, end as u32, size as u32));
        Ok(Finding::Continued)
    }

    /// Seals a pack; what lies behind its last good record is cut off, unless something could not be read.
    fn end(
        &mut self,
        number: PackNumber,
        file: &dyn DiskFile,
        tail: Tail,
        length: u32,
        finding: Finding,
    ) -> Result<Finding, RecoverError> {
        let row = self.found.rows.get(&number).copied().unwrap_or_default();
        if finding == Finding::Ended && tail.end <= PAGE_BYTES && !tail.is_unreadable && row.live_chunks + row.bad == 0
        {
            self.remove(number)?;
            return Ok(Finding::Empty);
        }
        let mut end = length;
        if !tail.is_unreadable {
            end = (round_up(u64::from(tail.end), PAGE_BYTES) as u32).min(length);
            file.set_len(u64::from(end))?;
            file.sync_data()?;
        }
        self.found.file_bytes.insert(number, u64::from(end));
        let mut changes = self.changes();
        let row = changes.pack(number);
        (row.covered, row.sealed) = (end, true);
        self.commit(changes)?;
        Ok(finding)
    }

    fn remove(&mut self, number: PackNumber) -> Result<(), RecoverError> {
        self.folder.disk().remove(&self.folder.pack_path(number))?;
        self.folder.disk().sync_dir(&self.folder.packs_path())?;
        self.found.file_bytes.remove(&number);
        if self.found.rows.contains_key(&number) {
            let mut changes = self.changes();
            changes.forget_pack(number);
            self.commit(changes)?;
        }
        Ok(())
    }

    /// Takes rows out of the index that point at nothing. Goes over the whole index, but only where something is lost.
    fn sweep(&mut self) -> Result<(), RecoverError> {
        let rows = &self.found.rows;
        let concerned = |number: &PackNumber| rows.get(number).is_some_and(|row: &PackRow| row.live_chunks > 0);
        if self.lost_from.keys().any(concerned) {
            let mut after = After::SlotStart(Slot(0));
            loop {
                let page = self.index.scan(after, Slot(u16::MAX), BATCH_ROWS)?;
                let Some((last, _)) = page.last() else { break };
                after = After::Chunk(last.slot(), *last);
                let mut changes = self.changes();
                for (address, row) in page {
                    let end = u64::from(row.position.offset) + u64::from(RecordHeader::chunk_bytes(row.length));
                    if self.lost_from.get(&row.position.pack).is_some_and(|from| end > *from) {
                        tracing::error!(volume = %self.identity.volume, %address, "a chunk is lost with its pack");
                        changes.lost(address, row);
                        self.found.damaged += 1;
                    }
                }
                self.commit(changes)?;
            }
        }
        let mut changes = self.changes();
        for (number, from) in &self.lost_from {
            if *from == 0 && self.found.rows.contains_key(number) {
                changes.forget_pack(*number);
            }
        }
        self.commit(changes)
    }
}
