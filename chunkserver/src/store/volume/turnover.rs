//! Packs that come and go: the appender begins a new one when the old one is full, and deletes one in which nothing lives.

use super::super::index::PackRow;
use super::super::pack::PackNumber;
use super::active::ActivePack;
use super::append::Appender;
use super::job::AppendError;
use super::reserve;
use super::stage::Purpose;
use cairn_common::seam::DiskTrouble;
use std::io;

impl Appender {
    /// Sees to it that a record of `bytes` fits into the active pack.
    pub(super) fn make_room(&mut self, bytes: u32, purpose: Purpose) -> Result<(), AppendError> {
        if purpose == Purpose::Chunk && !reserve::ensure(&self.shared) {
            return Err(AppendError::Full);
        }
        if self.active.as_ref().is_some_and(|active| active.room() >= bytes) {
            return Ok(());
        }
        let space = self.shared.space().map_err(|error| AppendError::Failed(format!("asking for space: {error}")))?;
        let number = self.next_number;
        self.next_number = PackNumber(number.0.checked_add(1).ok_or(AppendError::Full)?);
        let (folder, identity) = (&self.shared.folder, &self.shared.identity);
        let mut made = if space.new_packs > 0 {
            ActivePack::create(folder, identity, number, self.shared.pack_bytes)
        } else {
            Err(io::ErrorKind::StorageFull.into())
        };
        if made.is_err() && purpose == Purpose::Upkeep && reserve::take(&self.shared) {
            made = ActivePack::from_reserve(folder, identity, number);
        }
        match made {
            Ok(new) => {
                self.shared.set_file(number, Some(u64::from(new.size())));
                if let Some(old) = self.active.replace(new) {
                    self.seal(&old)?;
                }
                self.show_room();
                // A pack that was the reserve may be too small for a large chunk.
                if self.active.as_ref().is_some_and(|active| active.room() >= bytes) {
                    Ok(())
                } else {
                    Err(AppendError::Full)
                }
            }
            Err(error) if DiskTrouble::of(&error) == DiskTrouble::Full => Err(AppendError::Full),
            Err(error) => Err(self.fail(&error, "making a pack")),
        }
    }

    /// Ends a pack that is full: all of it is durable and in the index.
    fn seal(&mut self, pack: &ActivePack) -> Result<(), AppendError> {
        pack.cut().map_err(|error| self.fail(&error, "ending a pack"))?;
        self.shared.set_file(pack.number(), Some(u64::from(pack.end().offset)));
        let mut changes = self.changes();
        let row = changes.pack(pack.number());
        (row.covered, row.sealed) = (pack.end().offset, true);
        self.index(changes.finish())
    }

    /// Deletes a sealed pack in which nothing lives. The index must never again point into it, so it is flushed first.
    pub(super) fn drop_pack(&mut self, number: PackNumber) -> Result<bool, AppendError> {
        let nothing_lives = |row: &PackRow| row.sealed && row.live_chunks == 0 && row.bad == 0;
        if !self.rows.get(&number).is_some_and(nothing_lives) {
            return Ok(false);
        }
        self.check()?;
        self.flush_index_now()?;
        let disk = self.shared.folder.disk();
        let removed = disk.remove(&self.shared.folder.pack_path(number));
        removed
            .and_then(|()| disk.sync_dir(&self.shared.folder.packs_path()))
            .map_err(|error| self.fail(&error, "deleting a pack"))?;
        self.shared.forget_file(number);
        self.shared.set_file(number, None);
        let mut changes = self.changes();
        changes.forget_pack(number);
        self.index(changes.finish())?;
        reserve::ensure(&self.shared);
        Ok(true)
    }
}
