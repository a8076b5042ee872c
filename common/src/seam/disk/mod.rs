//! Files, as storage needs them: positioned reads and writes, and every kind of sync by name.
//!
//! Durability: bytes are on disk only after [`DiskFile::sync_data`]; a new, renamed or removed name only after
//! [`Disk::sync_dir`] of its folder. An error of either is final: the kernel may have dropped the dirty pages, so a second
//! call that succeeds proves nothing (P6).

mod doubt;

pub use doubt::Doubt;

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading.
    Read,
    /// For reading and writing; must exist.
    Write,
    /// For reading and writing; must not exist.
    CreateNew,
}

/// Space of a file system, in bytes and inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Size, in bytes.
    pub total_bytes: u64,
    /// Free to this process, in bytes.
    pub free_bytes: u64,
    /// Free inodes.
    pub free_inodes: u64,
}

/// A file system.
pub trait Disk: Send + Sync {
    /// Opens a file. Never follows a symbolic link in the last part of the path.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;
    /// Makes a folder and those above it; fine if it is there.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Whether something is at `path`.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames a file, over another if there is one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Space of the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<DiskSpace>;
    /// Why the file system that holds `path` may not keep what a sync promises; `None`: nothing is known against it.
    fn doubt(&self, _path: &Path) -> io::Result<Option<Doubt>> {
        Ok(None)
    }

    /// Reads a whole small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Replaces a small file so that a crash leaves the old or the new one, and returns when the new one is durable: written
    /// beside it, synced, renamed over it, folder synced.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut temporary = name.to_owned();
        temporary.push(".new");
        let temporary = folder.join(temporary);
        if self.exists(&temporary)? {
            self.remove(&temporary)?;
        }
        let file = self.open(&temporary, OpenMode::CreateNew)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        self.rename(&temporary, path)?;
        self.sync_dir(folder)
    }
}

/// An open file. Safe to use from several threads; writes of disjoint ranges do not disturb each other.
pub trait DiskFile: Send + Sync {
    /// Fills `bytes` from `offset` on; an error if the file ends before.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written so far durable, with the length that is needed to read it (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves space for the first `bytes` bytes and makes the file at least that long.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Length, in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Drops the file's clean pages from the page cache, so that the next read comes from the disk; `bytes` = 0: to the end.
    /// Neighbours may be dropped as well. Pages that are being written or read at this moment may stay.
    fn drop_cache(&self, offset: u64, bytes: u64) -> io::Result<()>;
    /// Holds the file against every other process until it is closed; an error if another one holds it.
    fn lock(&self) -> io::Result<()>;
}

/// What an error of a disk means for the volume on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskTrouble {
    /// No room, no inodes, or a quota is used up. Nothing is broken.
    Full,
    /// The file system takes no writes any more: switched so by the kernel after an error, or by an operator.
    ReadOnly,
    /// The device or its file system has failed.
    Broken,
    /// Anything else: a missing file, a refused permission, the end of a file.
    Other,
}

impl DiskTrouble {
    /// Classifies what a disk said.
    pub fn of(error: &io::Error) -> DiskTrouble {
        use rustix::io::Errno;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => DiskTrouble::Full,
            Some(Errno::ROFS) => DiskTrouble::ReadOnly,
            Some(Errno::IO | Errno::NXIO | Errno::NODEV | Errno::UCLEAN | Errno::BADMSG) => DiskTrouble::Broken,
            None if error.kind() == io::ErrorKind::StorageFull => DiskTrouble::Full,
            _ => DiskTrouble::Other,
        }
    }
}

/// Largest piece of the page cache that Linux drops whole or not at all.
const FOLIO_MAX_BYTES: u64 = 2 << 20;

/// The operating system's file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// `O_NOFOLLOW` of Linux on x86-64 and arm64 alike comes from rustix, as a number that std takes.
fn no_follow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits() as i32
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(no_follow()).mode(0o600);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        // Each new folder's name must last, or what is fsynced inside it is lost with it.
        let mut missing: Vec<PathBuf> = Vec::new();
        let mut at = path;
        while !at.as_os_str().is_empty() && !at.try_exists()? {
            missing.push(at.to_owned());
            let Some(parent) = at.parent() else { break };
            at = parent;
        }
        std::fs::create_dir_all(path)?;
        for created in missing.iter().rev() {
            let parent = created.parent().filter(|parent| !parent.as_os_str().is_empty());
            self.sync_dir(parent.unwrap_or(Path::new(".")))?;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(DiskSpace {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            free_inodes: stat.f_favail,
        })
    }

    fn doubt(&self, path: &Path) -> io::Result<Option<Doubt>> {
        // The type of this field differs between machines; a sign that is carried on does not matter.
        Ok(Doubt::of(rustix::fs::statfs(path)?.f_type as u64))
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn drop_cache(&self, offset: u64, bytes: u64) -> io::Result<()> {
        // Linux keeps a folio that only partly lies in the range, and ext4's and XFS's may have any size up to 2 MiB: of a
        // 1 MiB range in the middle of a file nothing at all is dropped (seen on 6.18). Folios are aligned to their size.
        let start = offset - offset % FOLIO_MAX_BYTES;
        let end = offset.saturating_add(bytes).checked_next_multiple_of(FOLIO_MAX_BYTES);
        let length = end.filter(|_| bytes > 0).and_then(|end| NonZeroU64::new(end - start));
        Ok(rustix::fs::fadvise(&self.0, start, length, rustix::fs::Advice::DontNeed)?)
    }

    fn lock(&self) -> io::Result<()> {
        Ok(rustix::fs::flock(&self.0, rustix::fs::FlockOperation::NonBlockingLockExclusive)?)
    }
}

#[cfg(test)]
mod contract;
#[cfg(test)]
mod tests;
