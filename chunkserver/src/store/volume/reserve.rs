//! The reserve: a pack's worth of space, allocated in advance and used by removal and compaction alone.
//!
//! It is a file of zeros that *becomes* a pack by being renamed, so that on a disk without a free block a tombstone can still be
//! written. While it is missing the volume takes no chunks.

use super::shared::{Health, Shared};
use cairn_common::seam::{DiskTrouble, OpenMode};
use std::io;

/// Makes the reserve if it is missing and there is room; returns whether it is there.
pub(super) fn ensure(shared: &Shared) -> bool {
    if shared.has_reserve() {
        return true;
    }
    match make(shared) {
        Ok(()) => shared.set_reserve(u64::from(shared.pack_bytes)),
        Err(error) if DiskTrouble::of(&error) == DiskTrouble::Full => {
            tracing::debug!(volume = %shared.identity.volume, "there is no room for the reserve");
        }
        Err(error) => {
            tracing::error!(volume = %shared.identity.volume, %error, "the reserve cannot be made");
            shared.worsen(Health::Failed(format!("making the reserve: {error}")));
        }
    }
    shared.has_reserve()
}

fn make(shared: &Shared) -> io::Result<()> {
    let (disk, path) = (shared.folder.disk(), shared.folder.reserve_path());
    let wanted = u64::from(shared.pack_bytes);
    if disk.exists(&path)? {
        if disk.open(&path, OpenMode::Read)?.len()? == wanted {
            return Ok(());
        }
        // Of another pack size, or left half made.
        disk.remove(&path)?;
    }
    let file = disk.open(&path, OpenMode::CreateNew)?;
    let made = file.allocate(wanted).and_then(|()| file.sync_data()).and_then(|()| disk.sync_dir(shared.folder.root()));
    if made.is_err() {
        let _ = disk.remove(&path);
    }
    made
}

/// Takes the reserve: whoever asked makes a pack of it now. `false`: there is none.
pub(super) fn take(shared: &Shared) -> bool {
    let there = shared.has_reserve();
    shared.set_reserve(0);
    there
}
