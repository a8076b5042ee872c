//! The reserve: space that is allocated in advance, so that a disk without a free block still serves removal and compaction.
//!
//! One file of zeros *becomes* a pack by being renamed: a tombstone can always be written. While it has not its full size the
//! volume takes no chunks. Another, smaller one is given back when the index has to be flushed and there is no room for it.

use super::super::pack::PAGE_BYTES;
use super::folder::VolumeFolder;
use super::shared::{Health, Shared};
use cairn_common::seam::{Disk, DiskFile, DiskTrouble, OpenMode};
use std::io;

/// What a file system may need to describe a file of the reserve's size.
const DESCRIPTION_BYTES: u64 = 64 << 10;
/// A reserve below this is of no use.
const USEFUL_BYTES: u64 = 1 << 20;
/// What a start needs: a new identity, and what RocksDB writes when it is opened.
const START_BYTES: u64 = 2 << 20;

/// Brings the reserve to its full size if there is room, or as near to it as there is; returns whether it has it.
pub(super) fn ensure(shared: &Shared) -> bool {
    if shared.index_room_bytes() == 0 {
        match make_index_room(shared) {
            Ok(()) => shared.set_index_room(index_room_for(shared)),
            // The index may still find room when it needs it.
            Err(error) => tracing::debug!(volume = %shared.identity.volume, %error, "no room is kept for the index"),
        }
    }
    let wanted = u64::from(shared.pack_bytes);
    if shared.reserve_bytes() < wanted {
        match grow(shared, wanted) {
            Ok(bytes) => shared.set_reserve(bytes),
            Err(error) => {
                tracing::error!(volume = %shared.identity.volume, %error, "the reserve cannot be made");
                shared.worsen(Health::Failed(format!("making the reserve: {error}")));
            }
        }
    }
    shared.reserve_bytes() == wanted
}

/// Takes the reserve: whoever asked makes a pack of it now. `false`: there is none.
pub(super) fn take(shared: &Shared) -> bool {
    let there = shared.reserve_bytes() > 0;
    shared.set_reserve(0);
    there
}

/// Gives the room that is kept for the index to it, if it could not be flushed otherwise.
pub(super) fn lend_index_room(shared: &Shared) {
    let disk = shared.folder.disk();
    let wanted = index_room_for(shared);
    let is_tight = disk.space(shared.folder.root()).is_ok_and(|space| space.free_bytes < wanted);
    if is_tight && shared.index_room_bytes() > 0 {
        shared.set_index_room(0);
        if let Err(error) = disk.remove(&shared.folder.index_room_path()) {
            tracing::warn!(volume = %shared.identity.volume, %error, "the index's room cannot be given to it");
        }
    }
}

/// A share of the volume that holds the rows of its chunks, however small they are, within bounds.
fn index_room_for(shared: &Shared) -> u64 {
    (u64::from(shared.pack_bytes) / 4).clamp(1 << 20, 8 << 20)
}

fn make_index_room(shared: &Shared) -> io::Result<()> {
    let (disk, path) = (shared.folder.disk(), shared.folder.index_room_path());
    let wanted = index_room_for(shared);
    if disk.exists(&path)? {
        if disk.open(&path, OpenMode::Read)?.len()? == wanted {
            return Ok(());
        }
        disk.remove(&path)?;
    }
    if disk.space(shared.folder.root())?.free_bytes < wanted + DESCRIPTION_BYTES {
        return Err(io::ErrorKind::StorageFull.into());
    }
    // Neither synced nor named durably: after a crash it is made again.
    let file = disk.open(&path, OpenMode::CreateNew)?;
    file.allocate(wanted).inspect_err(|_| {
        let _ = disk.remove(&path);
    })
}

/// Makes the file as long as it can be, up to `wanted`; returns how long it is.
fn grow(shared: &Shared, wanted: u64) -> io::Result<u64> {
    let (disk, path) = (shared.folder.disk(), shared.folder.reserve_path());
    let file = match open_or_create(shared) {
        Err(error) if DiskTrouble::of(&error) == DiskTrouble::Full => return Ok(0),
        file => file?,
    };
    if file.len()? > wanted {
        file.set_len(wanted)?;
    }
    // All of it, or what there is but for a little that the file system needs to describe it.
    let possible = file.len()? + disk.space(shared.folder.root())?.free_bytes.saturating_sub(DESCRIPTION_BYTES);
    for size in [wanted, possible / u64::from(PAGE_BYTES) * u64::from(PAGE_BYTES)] {
        if (file.len()?..=wanted).contains(&size) {
            match file.allocate(size) {
                Err(error) if DiskTrouble::of(&error) == DiskTrouble::Full => {}
                allocated => {
                    allocated?;
                    break;
                }
            }
        }
    }
    file.sync_data()?;
    let length = file.len()?;
    if length < USEFUL_BYTES {
        drop(file);
        disk.remove(&path)?;
    }
    disk.sync_dir(shared.folder.root())?;
    Ok(if length < USEFUL_BYTES { 0 } else { length })
}

fn open_or_create(shared: &Shared) -> io::Result<Box<dyn DiskFile>> {
    let (disk, path) = (shared.folder.disk(), shared.folder.reserve_path());
    match disk.open(&path, OpenMode::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.open(&path, OpenMode::CreateNew),
        opened => opened,
    }
}

/// Sees to it that a volume on a full disk can be started: gives back the index's room, or some of the reserve or, where that has
/// become a pack, some of what was allocated to the last pack and never written.
pub(super) fn make_room_to_start(folder: &VolumeFolder) -> io::Result<()> {
    let disk = folder.disk();
    let is_tight = || Ok::<bool, io::Error>(disk.space(folder.root())?.free_bytes < START_BYTES);
    if is_tight()? && disk.exists(&folder.index_room_path())? {
        disk.remove(&folder.index_room_path())?;
    }
    if !is_tight()? {
        return Ok(());
    }
    let last_pack = if disk.exists(&folder.packs_path())? { folder.packs()?.last().copied() } else { None };
    let candidates = [Some(folder.reserve_path()), last_pack.map(|number| folder.pack_path(number))];
    for path in candidates.into_iter().flatten() {
        if disk.exists(&path)? && give_back_zeros(disk, &path)? {
            break;
        }
    }
    Ok(())
}

/// Cuts the end off a file if it is nothing but zeros: no record is.
fn give_back_zeros(disk: &dyn Disk, path: &std::path::Path) -> io::Result<bool> {
    let file = disk.open(path, OpenMode::Write)?;
    let Some(shorter) = file.len()?.checked_sub(START_BYTES) else { return Ok(false) };
    let mut end = vec![0; START_BYTES as usize];
    file.read_exact_at(&mut end, shorter)?;
    if end.iter().any(|byte| *byte != 0) {
        return Ok(false);
    }
    file.set_len(shorter)?;
    file.sync_data()?;
    Ok(true)
}
