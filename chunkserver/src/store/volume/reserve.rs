//! The reserve: a pack's worth of space, allocated in advance and used by removal and compaction alone.
//!
//! It is a file of zeros that *becomes* a pack by being renamed, so that on a disk without a free block a tombstone can still be
//! written. While it has not its full size the volume takes no chunks.

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

/// Sees to it that a volume on a full disk can be started: gives back some of the reserve or, where that has become a pack, some of
/// what was allocated to the last pack and never written.
pub(super) fn make_room_to_start(folder: &VolumeFolder) -> io::Result<()> {
    let disk = folder.disk();
    if disk.space(folder.root())?.free_bytes >= START_BYTES {
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
