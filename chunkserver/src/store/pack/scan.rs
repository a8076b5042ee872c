//! Walking over a pack from the disk: every record that is there, good or bad, and what lies between.
//!
//! Where no header is found the walk goes on sector by sector to the end of the file, so that damage hides nothing behind it.
//! Whoever walks decides what the findings mean; this file knows only bytes.

use super::{HEADER_BYTES, HeaderError, PackKey, RecordHeader, SECTOR_BYTES};
use cairn_common::seam::{DiskFile, seeded_bug};
use std::io;
use std::ops::Range;

/// Bytes that are read at a time.
const WINDOW_BYTES: u64 = 4 << 20;
/// Bytes that are given up together where the disk cannot read.
const PAGE_BYTES: u64 = super::PAGE_BYTES as u64;

/// Whether the disk refused to give the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) bool);

/// What the walk met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A record, verified.
    Good(RecordHeader),
    /// A header, but outboard or body are damaged, cut off, or (if so said) cannot be read.
    Bad(RecordHeader, Unreadable),
    /// A record of a newer release, at this offset.
    Newer(u32),
    /// Bytes that are not zero and no record.
    Garbage(Range<u32>),
    /// Bytes that the disk cannot read, outside of any record.
    Hole(Range<u32>),
}

/// Walks over the bytes `from..until` of a pack, in order, and tells `each` what it meets. An error of `each` ends the walk.
pub(crate) fn scan<E: From<io::Error>>(
    file: &dyn DiskFile,
    key: &PackKey,
    from: u32,
    until: u32,
    mut each: impl FnMut(Event) -> Result<(), E>,
) -> Result<(), E> {
    let mut window =
        Window { file, start: u64::from(from), bytes: Vec::new(), until: u64::from(until), unreadable: Vec::new() };
    let mut stretch = Stretch::default();
    // A damaged record is searched as well, but its own bytes are not garbage.
    let mut bad_until = 0;
    let mut at = from;
    while at < until {
        let sector_end = at.saturating_add(SECTOR_BYTES).min(until);
        let sector = window.get(at, sector_end);
        let header = RecordHeader::decode(sector, at, key);
        if header == Err(HeaderError::NotARecord) {
            let zeros = sector.iter().all(|byte| *byte == 0);
            let kind = if at < bad_until {
                Kind::Nothing
            } else if window.is_unreadable(at..sector_end) {
                Kind::Hole
            } else if zeros {
                Kind::Nothing
            } else {
                Kind::Garbage
            };
            if let Some(event) = stretch.extend(kind, at..sector_end) {
                each(event)?;
            }
            at = sector_end;
            continue;
        }
        if let Some(event) = stretch.extend(Kind::Nothing, at..at) {
            each(event)?;
        }
        let Ok(header) = header else {
            each(Event::Newer(at))?;
            at = sector_end;
            continue;
        };
        let end = u64::from(at) + u64::from(header.record_bytes());
        if end <= u64::from(until) && is_whole(&header, &mut window, at, end as u32) {
            at = end as u32;
            each(Event::Good(header))?;
        } else {
            bad_until = end.min(u64::from(until)) as u32;
            let unreadable = Unreadable(window.is_unreadable(at..bad_until));
            at = sector_end;
            each(Event::Bad(header, unreadable))?;
        }
    }
    match stretch.extend(Kind::Nothing, until..until) {
        Some(event) => each(event),
        None => Ok(()),
    }
}

fn is_whole(header: &RecordHeader, window: &mut Window<'_>, at: u32, end: u32) -> bool {
    if seeded_bug("index-tail-unverified") {
        return true;
    }
    let bytes = window.get(at, end);
    let (start, body_end) = header.body_range();
    let matches = header.matches(&bytes[HEADER_BYTES..start], &bytes[start..body_end]);
    matches && !window.is_unreadable(at..end)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Nothing,
    Garbage,
    Hole,
}

/// Joins neighbouring sectors of one kind to one event.
#[derive(Default)]
struct Stretch {
    kind: Kind,
    range: Range<u32>,
}

impl Stretch {
    /// Adds a sector; gives back the stretch that it ends, if it ends one.
    fn extend(&mut self, kind: Kind, sector: Range<u32>) -> Option<Event> {
        if kind == self.kind {
            self.range.end = sector.end;
            return None;
        }
        let ended = std::mem::replace(self, Stretch { kind, range: sector });
        match ended.kind {
            Kind::Nothing => None,
            Kind::Garbage => Some(Event::Garbage(ended.range)),
            Kind::Hole => Some(Event::Hole(ended.range)),
        }
    }
}

/// The part of the file that is in memory.
struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    bytes: Vec<u8>,
    /// Nothing is read from here on.
    until: u64,
    /// Runs of pages that the disk could not read; zeros stand in for them.
    unreadable: Vec<Range<u64>>,
}

impl Window<'_> {
    /// The bytes `at..end`, which must lie before `until`. Never looks back.
    fn get(&mut self, at: u32, end: u32) -> &[u8] {
        let (at, end) = (u64::from(at), u64::from(end));
        if end > self.start + self.bytes.len() as u64 {
            self.slide(at, end);
        }
        &self.bytes[(at - self.start) as usize..(end - self.start) as usize]
    }

    /// Forgets what lies before `at` and reads on, at least to `end`.
    fn slide(&mut self, at: u64, end: u64) {
        let kept = ((at - self.start) as usize).min(self.bytes.len());
        self.bytes.drain(..kept);
        self.start = at;
        self.unreadable.retain(|run| run.end > at);
        let have = self.bytes.len();
        let wanted = end.max(at + WINDOW_BYTES).min(self.until);
        self.bytes.resize((wanted - at) as usize, 0);
        let from = at + have as u64;
        if self.file.read_exact_at(&mut self.bytes[have..], from).is_err() {
            self.read_by_pages(from, have);
        }
    }

    fn read_by_pages(&mut self, from: u64, have: usize) {
        let mut done = have;
        while done < self.bytes.len() {
            let offset = from + (done - have) as u64;
            let to_boundary = PAGE_BYTES - offset % PAGE_BYTES;
            let page_end = (done + to_boundary as usize).min(self.bytes.len());
            let page = &mut self.bytes[done..page_end];
            if self.file.read_exact_at(page, offset).is_err() {
                page.fill(0);
                let range = offset..offset + (page_end - done) as u64;
                match self.unreadable.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => self.unreadable.push(range),
                }
            }
            done = page_end;
        }
    }

    fn is_unreadable(&self, range: Range<u32>) -> bool {
        let (start, end) = (u64::from(range.start), u64::from(range.end));
        self.unreadable.iter().any(|run| run.start < end && start < run.end)
    }
}
