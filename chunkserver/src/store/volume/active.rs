//! The pack that is being appended to.
//!
//! Order of its making: allocated, header written and synced, folder synced; only then may the first record go in. So no
//! receipt is ever given for a pack whose name a crash could take.

use super::super::pack::{PAGE_BYTES, PackHeader, PackKey, PackNumber, Position, round_up};
use super::folder::VolumeFolder;
use super::identity::VolumeIdentity;
use bytes::Bytes;
use cairn_common::seam::{DiskFile, OpenMode, seeded_bug};
use std::io;

/// An open pack with room behind `end`.
pub(super) struct ActivePack {
    pub(super) key: PackKey,
    file: Box<dyn DiskFile>,
    /// Where the next group starts; a page boundary.
    end: u32,
    /// Allocated length.
    size: u32,
}

/// Proof that everything written to a pack before is durable. An answer that says so takes one.
#[derive(Debug)]
pub(super) struct Synced(());

impl Synced {
    /// There is no pack with unsynced bytes: what can be read from the disk was made durable before.
    pub(super) fn nothing_was_written() -> Synced {
        Synced(())
    }
}

impl ActivePack {
    /// Makes a new pack of `size` bytes, durably. If it fails, what is left of it is removed as far as that can be done.
    pub(super) fn create(
        folder: &VolumeFolder,
        identity: &VolumeIdentity,
        number: PackNumber,
        size: u32,
    ) -> io::Result<ActivePack> {
        let path = folder.pack_path(number);
        let made = folder.disk().open(&path, OpenMode::CreateNew).and_then(|file| {
            file.allocate(u64::from(size))?;
            begin(folder, identity, number, &*file)?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(ActivePack::resume(identity, number, file, PAGE_BYTES, size)),
            Err(error) => {
                // A start removes it as well: it has no record.
                let _ = folder.disk().remove(&path).and_then(|()| folder.disk().sync_dir(&folder.packs_path()));
                Err(error)
            }
        }
    }

    /// Makes the reserve a pack: needs no space. The reserve is gone whatever happens.
    pub(super) fn from_reserve(
        folder: &VolumeFolder,
        identity: &VolumeIdentity,
        number: PackNumber,
    ) -> io::Result<ActivePack> {
        let path = folder.pack_path(number);
        folder.disk().rename(&folder.reserve_path(), &path)?;
        folder.disk().sync_dir(folder.root())?;
        let file = folder.disk().open(&path, OpenMode::Write)?;
        begin(folder, identity, number, &*file)?;
        let size = u32::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        Ok(ActivePack::resume(identity, number, file, PAGE_BYTES, size))
    }

    /// Goes on with a pack that was checked up to `end`, and is zeros from there on.
    pub(super) fn resume(
        identity: &VolumeIdentity,
        number: PackNumber,
        file: Box<dyn DiskFile>,
        end: u32,
        size: u32,
    ) -> ActivePack {
        assert!(end.is_multiple_of(PAGE_BYTES) && end <= size, "{number} resumed at {end} of {size}");
        let key = PackKey::derive(&identity.salt, identity.volume, number);
        ActivePack { key, file, end, size }
    }

    pub(super) fn number(&self) -> PackNumber {
        self.key.number()
    }

    /// Where the next group starts.
    pub(super) fn end(&self) -> Position {
        Position { pack: self.number(), offset: self.end }
    }

    /// Allocated length, in bytes.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// Bytes that still fit.
    pub(super) fn room(&self) -> u32 {
        self.size - self.end
    }

    /// Writes pieces one after the other from `end` on. They may be lost until a sync.
    pub(super) fn write(&self, pieces: &[Piece]) -> io::Result<()> {
        let mut out = Coalesced { file: &*self.file, at: u64::from(self.end), bytes: Vec::new() };
        for piece in pieces {
            match piece {
                Piece::Small(bytes) => out.small(bytes)?,
                Piece::Body(bytes) if bytes.len() < COPIED_MAX => out.small(bytes)?,
                Piece::Body(bytes) => out.large(bytes)?,
            }
        }
        out.flush()
    }

    /// Writes a page of zeros where there are zeros, so that the sync that follows has something to do.
    pub(super) fn write_pulse(&self) -> io::Result<()> {
        if self.room() < PAGE_BYTES {
            return Ok(());
        }
        self.file.write_all_at(&[0; PAGE_BYTES as usize], u64::from(self.end))
    }

    /// Makes everything written durable. An error is final (P6): the pages count as clean now, and a second sync that
    /// succeeds would prove nothing.
    pub(super) fn sync(&self) -> io::Result<Synced> {
        if seeded_bug("skip-pack-sync") {
            return Ok(Synced(()));
        }
        let mut result = self.file.sync_data();
        if result.is_err() && seeded_bug("fsync-error-retried") {
            result = self.file.sync_data();
        }
        result.map(|()| Synced(()))
    }

    /// The group that ends at `end` is durable.
    pub(super) fn advance(&mut self, end: u32, _: &Synced) {
        assert!(end >= self.end && end <= self.size, "{} advanced from {} to {end}", self.number(), self.end);
        self.end = round_up(u64::from(end), PAGE_BYTES) as u32;
    }

    /// Gives back what was allocated and not used. The pack must be durable up to its end.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.file.set_len(u64::from(self.end))?;
        self.file.sync_data()
    }
}

/// Writes the header of a new pack and makes it and its name durable.
fn begin(folder: &VolumeFolder, identity: &VolumeIdentity, number: PackNumber, file: &dyn DiskFile) -> io::Result<()> {
    let VolumeIdentity { cluster, node, volume, boot, .. } = *identity;
    file.write_all_at(&PackHeader { cluster, node, volume, number, boot }.encode(), 0)?;
    file.sync_data()?;
    folder.disk().sync_dir(&folder.packs_path())
}

/// Bytes on their way into a pack.
pub(super) enum Piece {
    /// Headers, outboards, padding.
    Small(Vec<u8>),
    /// A body, shared with whoever sent it.
    Body(Bytes),
}

impl Piece {
    pub(super) fn len(&self) -> usize {
        match self {
            Piece::Small(bytes) => bytes.len(),
            Piece::Body(bytes) => bytes.len(),
        }
    }
}

/// Bodies below this are copied, so that many small ones make one write; larger ones are written from where they are.
const COPIED_MAX: usize = 128 << 10;
/// A write of copied pieces is at least this long, if there are enough of them.
const WRITE_BYTES: usize = 1 << 20;

struct Coalesced<'a> {
    file: &'a dyn DiskFile,
    at: u64,
    bytes: Vec<u8>,
}

impl Coalesced<'_> {
    fn small(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn large(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.flush()?;
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&self.bytes, self.at)?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}
