//! The bytes of one simulated file: sparse pages, and the changes that no sync has made durable yet.

use super::super::SeededRandom;
use super::plan::DiskErrno;
use crate::seam::Random as _;
use std::collections::BTreeMap;
use std::io;

/// Size of a page of the simulated page cache, in bytes.
pub(super) const PAGE_BYTES: u64 = 4096;
/// What a disk writes whole or not at all, in bytes.
const SECTOR_BYTES: u64 = 512;

/// Bytes of a file; pages that were never written are zeros.
#[derive(Clone, Debug, Default)]
struct Pages {
    length: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Pages {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        if end > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for_each_page(offset, bytes.len(), |page, within, range| match self.pages.get(&page) {
            Some(content) => bytes[range.clone()].copy_from_slice(&content[within..within + range.len()]),
            None => bytes[range].fill(0),
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        self.length = self.length.max(offset + bytes.len() as u64);
        for_each_page(offset, bytes.len(), |page, within, range| {
            let content = self.pages.entry(page).or_insert_with(|| vec![0; PAGE_BYTES as usize].into());
            content[within..within + range.len()].copy_from_slice(&bytes[range]);
        });
    }

    fn set_len(&mut self, length: u64) {
        if length < self.length {
            self.pages.retain(|page, _| page * PAGE_BYTES < length);
            if let Some(last) = self.pages.get_mut(&(length / PAGE_BYTES)) {
                last[(length % PAGE_BYTES) as usize..].fill(0);
            }
        }
        self.length = length;
    }
}

/// Calls `each` with (number of a page, offset within it, range of the buffer) for every page that a buffer touches.
fn for_each_page(offset: u64, bytes: usize, mut each: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < bytes {
        let at = offset + done as u64;
        let within = (at % PAGE_BYTES) as usize;
        let count = (PAGE_BYTES as usize - within).min(bytes - done);
        each(at / PAGE_BYTES, within, done..done + count);
        done += count;
    }
}

/// A change that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
    Allocate(u64),
}

/// A file: what readers see, what is on the disk, and what lies between.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    cached: Pages,
    durable: Pages,
    pending: Vec<Change>,
    /// Ranges that give EIO.
    unreadable: Vec<std::ops::Range<u64>>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.cached.length
    }

    /// Space taken, in whole pages. Holes count: what a pack engine makes has none.
    pub(super) fn used_bytes(&self) -> u64 {
        self.cached.length.max(self.durable.length).next_multiple_of(PAGE_BYTES)
    }

    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if self.unreadable.iter().any(|range| range.start < end && offset < range.end) {
            return Err(DiskErrno::Io.error());
        }
        self.cached.read(bytes, offset)
    }

    /// Reads of this range fail from now on.
    pub(super) fn make_unreadable(&mut self, range: std::ops::Range<u64>) {
        self.unreadable.push(range);
    }

    /// Everything can be read again.
    pub(super) fn make_readable(&mut self) {
        self.unreadable.clear();
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        self.cached.write(bytes, offset);
        self.pending.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn set_len(&mut self, length: u64) {
        self.cached.set_len(length);
        self.pending.push(Change::SetLen(length));
    }

    pub(super) fn allocate(&mut self, length: u64) {
        self.cached.length = self.cached.length.max(length);
        self.pending.push(Change::Allocate(length));
    }

    /// Everything pending reaches the disk.
    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &change);
        }
    }

    /// A sync that failed, or lied: what was pending counts as clean from now on, and is on no disk.
    pub(super) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    /// Clean pages in the range are read from the disk again.
    pub(super) fn drop_cache(&mut self, offset: u64, bytes: u64) {
        let end = if bytes == 0 { u64::MAX } else { offset.saturating_add(bytes) };
        let dirty = |page: u64| {
            self.pending.iter().any(|change| match change {
                Change::Write { offset, bytes } => {
                    page * PAGE_BYTES < offset + bytes.len() as u64 && *offset < (page + 1) * PAGE_BYTES
                }
                Change::SetLen(_) | Change::Allocate(_) => false,
            })
        };
        let in_range = |page: &u64| page * PAGE_BYTES < end && (page + 1) * PAGE_BYTES > offset;
        let known: Vec<u64> = self.cached.pages.keys().chain(self.durable.pages.keys()).copied().collect();
        for page in known.into_iter().filter(in_range).filter(|page| !dirty(*page)) {
            match self.durable.pages.get(&page).filter(|_| page * PAGE_BYTES < self.cached.length) {
                Some(content) => self.cached.pages.insert(page, content.clone()),
                None => self.cached.pages.remove(&page),
            };
        }
    }

    /// Each pending change, or each 512-byte sector of each pending write, reaches the disk or not, by chance.
    pub(super) fn sync_some(&mut self, torn: bool, random: &SeededRandom) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, bytes } if torn => {
                    let mut done = 0;
                    while done < bytes.len() {
                        let to_boundary = SECTOR_BYTES - (offset + done as u64) % SECTOR_BYTES;
                        let count = (to_boundary as usize).min(bytes.len() - done);
                        if random.coin() {
                            self.durable.write(&bytes[done..done + count], offset + done as u64);
                        }
                        done += count;
                    }
                }
                change if random.coin() => apply(&mut self.durable, &change),
                _ => {}
            }
        }
    }

    /// The page cache is gone.
    pub(super) fn crash(&mut self) {
        self.pending.clear();
        self.cached = self.durable.clone();
    }

    /// Changes bytes on the disk behind the page cache's back.
    pub(super) fn damage(&mut self, offset: u64, mask: u8) {
        let mut byte = [0];
        if self.durable.read(&mut byte, offset).is_ok() {
            self.durable.write(&[byte[0] ^ mask], offset);
        }
    }
}

fn apply(pages: &mut Pages, change: &Change) {
    match change {
        Change::Write { offset, bytes } => pages.write(bytes, *offset),
        Change::SetLen(length) => pages.set_len(*length),
        Change::Allocate(length) => pages.length = pages.length.max(*length),
    }
}

/// Position of a random sector cut of a write of `bytes` bytes: how much of it was done when the power went.
pub(super) fn torn_length(bytes: usize, random: &SeededRandom) -> usize {
    let sectors = (bytes as u64).div_ceil(SECTOR_BYTES).max(1);
    (random.below(sectors) * SECTOR_BYTES) as usize
}
