//! Faults of disks: power cuts on real file systems, disks that run dry, and rot in packs.
//!
//! There is no device-mapper here. A power cut is `EXT4_IOC_SHUTDOWN` without flushing the log on a loop-mounted image:
//! everything that was not synced is gone after the next mount, everything that was is there. Loop devices need root; a suite
//! that cannot have them fails and says so.

#![allow(unsafe_code)]

use anyhow::{Context as _, Result, bail, ensure};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `_IOR('X', 125, __u32)` of Linux's ext4.
const EXT4_IOC_SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;
/// Shut down without flushing the log: what is in memory only is lost.
const NO_LOG_FLUSH: u32 = 2;

/// An ext4 file system in a file.
#[derive(Debug)]
pub struct LoopDisk {
    image: PathBuf,
    at: PathBuf,
    mounted: bool,
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("running {program}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}: {} {}", output.status, told.trim());
    Ok(())
}

/// Whether this machine can have loop disks; an error that says what is missing if not.
pub fn loop_disks_work() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "power cuts need root, for loop devices");
    ensure!(Path::new("/dev/loop-control").exists(), "power cuts need /dev/loop-control");
    Ok(())
}

impl LoopDisk {
    /// Makes a file system of `bytes` in `image` and mounts it at `at`, which is made if it is not there.
    pub fn make(image: PathBuf, at: PathBuf, bytes: u64) -> Result<LoopDisk> {
        loop_disks_work()?;
        File::create(&image)?.set_len(bytes)?;
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image.as_os_str()])?;
        let mut disk = LoopDisk { image, at, mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    /// Mounts it.
    pub fn mount(&mut self) -> Result<()> {
        std::fs::create_dir_all(&self.at)?;
        run("mount", &["-o".as_ref(), "loop".as_ref(), self.image.as_os_str(), self.at.as_os_str()])?;
        self.mounted = true;
        Ok(())
    }

    /// Whether it is mounted below the folder of one of these nodes of a cluster.
    pub fn is_of(&self, cluster: &Path, nodes: &[String]) -> bool {
        nodes.iter().any(|node| self.at.starts_with(cluster.join(node)))
    }

    /// Takes it off. No process may have a file open in it.
    pub fn unmount(&mut self) -> Result<()> {
        run("umount", &[self.at.as_os_str()])?;
        self.mounted = false;
        Ok(())
    }

    /// Makes reads of these files fail, and of whatever lies behind them: the image is cut off before the first of them. Writes
    /// succeed, and make it longer again.
    pub fn make_unreadable(&self, files: &[PathBuf]) -> Result<()> {
        let mut first = None;
        for file in files {
            let start = first_byte(file)?;
            first = Some(first.map_or(start, |first: u64| first.min(start)));
        }
        drop_caches()?;
        let image = OpenOptions::new().write(true).open(&self.image)?;
        image.set_len(first.context("no file is to become unreadable")?)?;
        drop_caches()
    }

    /// Has the kernel find an error of the file system, upon which it takes no writes any more.
    pub fn turn_read_only(&self) -> Result<()> {
        run("mount", &["-o".as_ref(), "remount,errors=remount-ro".as_ref(), self.at.as_os_str()])?;
        let mounts = std::fs::read_to_string("/proc/mounts")?;
        let at = self.at.to_string_lossy();
        let device =
            mounts.lines().find_map(|line| line.split(' ').next().filter(|_| line.split(' ').nth(1) == Some(&at)));
        let device = device.and_then(|device| device.strip_prefix("/dev/")).context("it is not mounted")?;
        std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "a test").context("ext4 takes no error")
    }

    /// Uses all of its room up, or all of its inodes, until what this returns is [given back](UsedUp::give_back).
    pub fn use_up(&self, what: Resource) -> Result<UsedUp> {
        let folder = self.at.join("used-up");
        std::fs::create_dir(&folder)?;
        for number in 0.. {
            let file = File::create(folder.join(number.to_string()));
            let room = match (&file, what) {
                (Ok(file), Resource::Room) => file.set_len(0).and_then(|()| fill(file)),
                (Ok(_), Resource::Inodes) => Ok(()),
                (Err(_), _) => break,
            };
            if room.is_err() {
                break;
            }
        }
        Ok(UsedUp { folder })
    }

    /// Cuts its power: nothing that was not synced survives the next mount.
    pub fn cut_power(&self) -> Result<()> {
        let root = File::open(&self.at)?;
        // SAFETY: EXT4_IOC_SHUTDOWN reads one u32, which `Setter` passes by a pointer that is valid during the call.
        let result =
            unsafe { rustix::ioctl::ioctl(&root, rustix::ioctl::Setter::<EXT4_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH)) };
        result.with_context(|| format!("cutting the power of {}", self.at.display()))
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: a failing test may have left processes that use it.
            let _ = run("umount", &["-l".as_ref(), self.at.as_os_str()]);
        }
        let _ = std::fs::remove_file(&self.image);
    }
}

/// What a file system can run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Blocks.
    Room,
    /// Inodes.
    Inodes,
}

/// What was taken of a file system.
#[derive(Debug)]
pub struct UsedUp {
    folder: PathBuf,
}

impl UsedUp {
    /// Gives it back.
    pub fn give_back(self) -> Result<()> {
        std::fs::remove_dir_all(&self.folder).with_context(|| self.folder.display().to_string())
    }
}

/// Writes until nothing more fits, first in large pieces.
fn fill(mut file: &File) -> std::io::Result<()> {
    use std::io::Write as _;
    for piece in [1 << 20, 64 << 10, 4 << 10] {
        while file.write_all(&vec![1; piece]).and_then(|()| file.sync_data()).is_ok() {}
    }
    Err(std::io::ErrorKind::StorageFull.into())
}

/// Where the first byte of a file lies on its file system.
fn first_byte(file: &Path) -> Result<u64> {
    let output = Command::new("filefrag").args(["-v", "-b1"]).arg(file).output().context("running filefrag")?;
    let told = String::from_utf8(output.stdout)?;
    let physical = told.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let _number: u64 = fields.next()?.trim().parse().ok()?;
        fields.nth(1)?.split("..").next()?.trim().parse::<u64>().ok()
    });
    physical.min().with_context(|| format!("filefrag says nothing of {}: {told}", file.display()))
}

/// A small memory file system, to be the store of a disk image that runs dry.
#[derive(Debug)]
pub struct SmallMemory {
    at: PathBuf,
}

impl SmallMemory {
    /// Mounts one of `mib` MiB.
    pub fn make(at: PathBuf, mib: u32) -> Result<SmallMemory> {
        loop_disks_work()?;
        std::fs::create_dir_all(&at)?;
        let size = format!("size={mib}m");
        run(
            "mount",
            &["-t".as_ref(), "tmpfs".as_ref(), "-o".as_ref(), size.as_ref(), "tmpfs".as_ref(), at.as_os_str()],
        )?;
        Ok(SmallMemory { at })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for SmallMemory {
    fn drop(&mut self) {
        let _ = run("umount", &["-l".as_ref(), self.at.as_os_str()]);
    }
}

/// Writes back and drops the page cache, so that the next read comes from the disk. Needs root.
pub fn drop_caches() -> Result<()> {
    run("sync", &[])?;
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the page cache needs root")
}

/// Where bytes were found on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
}

/// Finds `needle` in the files of a disk: chunks are stored as they are, so part of a body tells where its record is.
pub fn find(disk: &Path, needle: &[u8]) -> Result<Vec<Place>> {
    ensure!(needle.len() >= 32, "{} bytes could be found by chance", needle.len());
    let finder = memchr::memmem::Finder::new(needle);
    let mut places = Vec::new();
    for file in files(disk)? {
        let bytes = std::fs::read(&file)?;
        places.extend(finder.find_iter(&bytes).map(|offset| Place { file: file.clone(), offset: offset as u64 }));
    }
    Ok(places)
}

/// The one place of `needle` on a disk.
pub fn find_one(disk: &Path, needle: &[u8]) -> Result<Place> {
    match &find(disk, needle)?[..] {
        [place] => Ok(place.clone()),
        places => bail!("{} places on {}, not one: {places:?}", places.len(), disk.display()),
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match std::fs::symlink_metadata(&path)? {
            metadata if metadata.is_dir() => found.extend(files(&path)?),
            metadata if metadata.is_file() => found.push(path),
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}

impl Place {
    /// Turns one bit over.
    pub fn flip_bit(&self) -> Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(&self.file)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, self.offset)?;
        file.write_all_at(&[byte[0] ^ 0x10], self.offset)?;
        Ok(file.sync_all()?)
    }

    /// Cuts the file off here.
    pub fn cut(&self) -> Result<()> {
        let file = OpenOptions::new().write(true).open(&self.file)?;
        file.set_len(self.offset)?;
        Ok(file.sync_all()?)
    }

    /// Puts `bytes` here: a write that went to the wrong place.
    pub fn overwrite(&self, bytes: &[u8]) -> Result<()> {
        let file = OpenOptions::new().write(true).open(&self.file)?;
        file.write_all_at(bytes, self.offset)?;
        Ok(file.sync_all()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rot_hits_the_place_that_was_found() {
        let folder = crate::cluster::new_folder().unwrap();
        let path = folder.join("pack");
        let body = crate::content::Body { seed: 1, length: 1000 }.bytes();
        std::fs::write(&path, [vec![0; 77], body.clone()].concat()).unwrap();
        let place = find_one(&folder, &body[100..164]).unwrap();
        assert_eq!(place, Place { file: path.clone(), offset: 177 });
        place.flip_bit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap()[177], body[100] ^ 0x10);
        assert!(find(&folder, &body[100..164]).unwrap().is_empty());
        place.cut().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 177);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
