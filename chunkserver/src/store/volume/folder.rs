//! The files of a volume: their names, and the few that are not packs.
//!
//! ```text
//! ROOT/lock              held (flock) while a process serves the volume
//! ROOT/volume.identity   who it is
//! ROOT/clean             left by a clean stop, taken away at start
//! ROOT/scrubbed          how far reading everything back is
//! ROOT/retired           the volume will never serve again; says why
//! ROOT/reserve           space of one pack, kept free for removal and compaction
//! ROOT/reserve.index     a little more, for the index
//! ROOT/packs/NNNNNNNN.pack   numbers in hexadecimal
//! ROOT/index/            RocksDB's
//! ```
//! Names are made of constants and numbers only: nothing that a user says ever becomes a path.

use super::super::pack::PackNumber;
use super::identity::{CleanMark, IdentityBytesError, ScrubMark, VolumeIdentity};
use cairn_common::ids::VolumeId;
use cairn_common::seam::{Disk, DiskFile, OpenMode};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A locked folder that is a volume, or may become one.
pub struct VolumeFolder {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    _lock: Box<dyn DiskFile>,
}

impl std::fmt::Debug for VolumeFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VolumeFolder").field("root", &self.root).finish_non_exhaustive()
    }
}

/// What a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderState {
    /// Nothing yet: it can become a new volume.
    Empty,
    /// A volume.
    Volume(VolumeIdentity),
    /// A volume that was taken out for ever, and why.
    Retired(VolumeIdentity, String),
}

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process serves it.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// Its identity is damaged.
    #[error("{0}/volume.identity is damaged: restore it from a copy, or empty the folder to make it a new volume")]
    IdentityDamaged(PathBuf),
    /// Its identity is of another release.
    #[error("{0}/volume.identity has format {1}, which this release does not know: use the newer release")]
    IdentityNewer(PathBuf, u8),
    /// There are packs, and nobody knows whose.
    #[error("{0} holds packs but no volume.identity: restore it, or empty the folder to make it a new volume")]
    IdentityLost(PathBuf),
    /// The disk failed.
    #[error("{0}: {1}")]
    Disk(PathBuf, #[source] io::Error),
}

impl VolumeFolder {
    /// Locks a folder, which is made if it is missing.
    pub fn lock(disk: Arc<dyn Disk>, root: &Path) -> Result<VolumeFolder, FolderError> {
        let failed = |error| FolderError::Disk(root.to_owned(), error);
        disk.create_dir_all(root).map_err(failed)?;
        let path = root.join("lock");
        let lock = match disk.open(&path, OpenMode::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.open(&path, OpenMode::CreateNew),
            opened => opened,
        }
        .map_err(failed)?;
        match lock.lock() {
            Ok(()) => Ok(VolumeFolder { disk, root: root.to_owned(), _lock: lock }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(FolderError::Locked(root.to_owned())),
            Err(error) => Err(failed(error)),
        }
    }

    /// What the folder is now.
    pub fn state(&self) -> Result<FolderState, FolderError> {
        let failed = |error| FolderError::Disk(self.root.clone(), error);
        let bytes = match self.disk.read(&self.identity_path()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let has_packs =
                    self.disk.exists(&self.packs_path()).map_err(failed)? && !self.packs().map_err(failed)?.is_empty();
                return if has_packs {
                    Err(FolderError::IdentityLost(self.root.clone()))
                } else {
                    Ok(FolderState::Empty)
                };
            }
            Err(error) => return Err(failed(error)),
        };
        let identity = VolumeIdentity::decode(&bytes).map_err(|error| match error {
            IdentityBytesError::Damaged => FolderError::IdentityDamaged(self.root.clone()),
            IdentityBytesError::Newer(format) => FolderError::IdentityNewer(self.root.clone(), format),
        })?;
        match self.disk.read(&self.retired_path()) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                // A mark that an earlier life of the disk left says nothing about this one.
                let reason = text.strip_prefix(&format!("{}\n", identity.volume)).map(str::to_owned);
                Ok(match reason {
                    Some(reason) => FolderState::Retired(identity, reason),
                    None => FolderState::Volume(identity),
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(FolderState::Volume(identity)),
            Err(error) => Err(failed(error)),
        }
    }

    /// The last part of the path, for people.
    pub fn label(&self) -> String {
        let name = self.root.file_name().unwrap_or(self.root.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Where the folder is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Writes the identity durably, and makes the folder of the packs.
    pub(super) fn write_identity(&self, identity: &VolumeIdentity) -> io::Result<()> {
        self.disk.create_dir_all(&self.packs_path())?;
        self.disk.replace(&self.identity_path(), &identity.encode())
    }

    /// The mark of a clean stop. Without it, or with a damaged one, the stop was unclean.
    pub(super) fn clean_mark(&self) -> io::Result<Option<CleanMark>> {
        match self.disk.read(&self.clean_path()) {
            Ok(bytes) => Ok(CleanMark::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the mark away, durably: from here on the volume may change.
    pub(super) fn take_clean_mark_away(&self) -> io::Result<()> {
        match self.disk.remove(&self.clean_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| self.disk.sync_dir(&self.root)),
        }
    }

    /// Leaves the mark of a clean stop.
    pub(super) fn leave_clean_mark(&self, mark: &CleanMark) -> io::Result<()> {
        self.disk.replace(&self.clean_path(), &mark.encode())
    }

    /// How far reading everything back was, as it was left there last; `None`: nothing was, or it makes no sense.
    pub(super) fn scrubbed(&self) -> Option<ScrubMark> {
        ScrubMark::decode(&self.disk.read(&self.root.join("scrubbed")).ok()?)
    }

    /// Leaves how far reading everything back is.
    pub(super) fn leave_scrubbed(&self, mark: ScrubMark) -> io::Result<()> {
        self.disk.replace(&self.root.join("scrubbed"), &mark.encode())
    }

    /// Writes on the disk itself that it will never serve again. Best effort: it may be too broken for that.
    pub(super) fn mark_retired(&self, volume: VolumeId, reason: &str) -> io::Result<()> {
        self.disk.replace(&self.retired_path(), format!("{volume}\n{reason}").as_bytes())
    }

    /// Numbers of the packs that are there, in order.
    pub(super) fn packs(&self) -> io::Result<Vec<PackNumber>> {
        let names = self.disk.list(&self.packs_path())?;
        let number = |name: &String| {
            let digits = name.strip_suffix(".pack")?;
            let number = PackNumber(u32::from_str_radix(digits, 16).ok()?);
            // One name for one number: "+1" and "1" are none of ours.
            (number.to_string() == digits).then_some(number)
        };
        let mut numbers: Vec<PackNumber> = names.iter().filter_map(number).collect();
        numbers.sort();
        Ok(numbers)
    }

    pub(super) fn pack_path(&self, number: PackNumber) -> PathBuf {
        self.packs_path().join(format!("{number}.pack"))
    }

    pub(super) fn packs_path(&self) -> PathBuf {
        self.root.join("packs")
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.root.join("index")
    }

    pub(super) fn reserve_path(&self) -> PathBuf {
        self.root.join("reserve")
    }

    pub(super) fn index_room_path(&self) -> PathBuf {
        self.root.join("reserve.index")
    }

    fn identity_path(&self) -> PathBuf {
        self.root.join("volume.identity")
    }

    fn clean_path(&self) -> PathBuf {
        self.root.join("clean")
    }

    fn retired_path(&self) -> PathBuf {
        self.root.join("retired")
    }
}
