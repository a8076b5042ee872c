//! One pack at a start: what it is, what is in it, and what becomes of it.

use super::super::super::index::{BadRow, Row, Why};
use super::super::super::pack::{
    Event, PAGE_BYTES, PackHeader, PackHeaderError, PackKey, PackNumber, Position, RecordHeader, RecordKind, round_up,
    scan,
};
use super::super::active::ActivePack;
use super::super::changes::Changes;
use super::super::judge::{Judge, Tail, Verdict};
use super::{BATCH_ROWS, Finding, RecoverError, Recovery};
use cairn_common::seam::{DiskFile, DiskTrouble, OpenMode, seeded_bug};
use std::io;

impl Recovery<'_> {
    /// Looks at one pack and does what its row of the table says.
    pub(super) fn pack(&mut self, number: PackNumber, is_last: bool) -> Result<Finding, RecoverError> {
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
        file.sync_data().map_err(RecoverError::Write)?;
        if !seeded_bug("index-tail-unverified") {
            file.drop_cache(0, 0)?;
        }
        let mut page = vec![0; PAGE_BYTES.min(u32::try_from(length).unwrap_or(PAGE_BYTES)) as usize];
        let header = match file.read_exact_at(&mut page, 0) {
            Ok(()) => PackHeader::decode(&page),
            Err(_) => Err(PackHeaderError::Damaged),
        };
        let Some(length) = u32::try_from(length).ok().filter(|length| *length <= u32::MAX - PAGE_BYTES) else {
            return Ok(self.foreign(number));
        };
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

    fn write(&mut self, mut changes: Changes, number: PackNumber, covered: u32) -> Result<(), RecoverError> {
        let row = changes.pack(number);
        row.covered = row.covered.max(covered);
        self.commit(changes)
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
            file.set_len(u64::from(tail.end)).and_then(|()| file.sync_data()).map_err(RecoverError::Write)?;
        }
        let size = end.max(u64::from(length));
        match file.allocate(size) {
            Ok(()) => file.sync_data().map_err(RecoverError::Write)?,
            Err(error) if DiskTrouble::of(&error) == DiskTrouble::Full => {
                return self.end(number, &*file, tail, length, Finding::Ended);
            }
            Err(error) => return Err(RecoverError::Write(error)),
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
            file.set_len(u64::from(end)).and_then(|()| file.sync_data()).map_err(RecoverError::Write)?;
        }
        self.found.file_bytes.insert(number, u64::from(end));
        let mut changes = self.changes();
        let row = changes.pack(number);
        (row.covered, row.sealed) = (end, true);
        self.commit(changes)?;
        Ok(finding)
    }

    fn remove(&mut self, number: PackNumber) -> Result<(), RecoverError> {
        let disk = self.folder.disk();
        let removed = disk.remove(&self.folder.pack_path(number));
        removed.and_then(|()| disk.sync_dir(&self.folder.packs_path())).map_err(RecoverError::Write)?;
        self.found.file_bytes.remove(&number);
        if self.found.rows.contains_key(&number) {
            let mut changes = self.changes();
            changes.forget_pack(number);
            self.commit(changes)?;
        }
        Ok(())
    }
}
