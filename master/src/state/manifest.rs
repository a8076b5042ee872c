//! Manifests: closing them, counting who refers to them, and taking ranges of them.
//!
//! A manifest is counted by versions, parts, and ranges of other manifests. Ranges name manifests of chunks only, never ranges
//! of ranges: reading stays two steps deep, and a range of a composite manifest is cut into ranges of what that one names.

use super::body;
use super::tx::{Step, Tx};
use crate::store::EntryWalk;
use crate::store::StoreError;
use crate::store::key::{
    CollectionKey, Due, DueKey, EMBEDDED_ENTRIES_MAX, HoldersKey, ManifestKey, ManifestRow, SegmentKey, SegmentRow,
};
use cairn_common::ids::{ManifestId, Stamp};
use cairn_common::limits::{RANGES_MAX, SEGMENT_ENTRIES};
use cairn_common::manifest::{Entry, Extent, PlacementProfile, Root, RootHasher};
use cairn_common::wire::command::Refusal;

/// Writes a closed manifest. `entries` are those after `row.entries - entries.len()` that segments hold already.
pub(super) fn close(tx: &mut Tx<'_>, id: ManifestId, mut row: ManifestRow, entries: Vec<Entry>) {
    if row.entries <= EMBEDDED_ENTRIES_MAX as u64 {
        row.embedded = entries;
    } else {
        let before = row.entries - entries.len() as u64;
        assert!(before.is_multiple_of(SEGMENT_ENTRIES as u64), "only the last segment is shorter");
        let index = u32::try_from(before / SEGMENT_ENTRIES as u64).expect("a file has far fewer segments");
        let start = row.length - length_of(&entries);
        write_segments(tx, id, index, start, entries);
    }
    tx.put(&ManifestKey(id), &row);
}

fn write_segments(tx: &mut Tx<'_>, manifest: ManifestId, first: u32, mut start: u64, entries: Vec<Entry>) {
    for (index, segment) in (first..).zip(entries.chunks(SEGMENT_ENTRIES)) {
        tx.put(&SegmentKey { manifest, start }, &SegmentRow { index, entries: segment.to_vec() });
        start += length_of(segment);
    }
}

pub(super) fn length_of(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.length).sum()
}

/// Adds a holder of a manifest.
pub(super) fn hold(tx: &mut Tx<'_>, id: ManifestId) -> Result<ManifestRow, StoreError> {
    body::add_holder(tx, HoldersKey::Manifest(id))?;
    tx.expect(&ManifestKey(id))
}

/// Takes a holder of a manifest away, which left at `left`. Without any, it goes into the release queue, to be let go at
/// `due`.
pub(super) fn drop_at(tx: &mut Tx<'_>, id: ManifestId, left: Stamp, due: Stamp) -> Result<(), StoreError> {
    if body::was_last_holder(tx, HoldersKey::Manifest(id))? { queue(tx, id, left, due) } else { Ok(()) }
}

/// Takes a holder of a manifest away, now. Whoever reads it may go on for the grace (P4).
pub(super) fn drop_one(tx: &mut Tx<'_>, id: ManifestId) -> Result<(), StoreError> {
    let grace_ms = tx.get(&CollectionKey)?.unwrap_or_default().read_grace_ms;
    drop_at(tx, id, tx.stamp(), tx.stamp().plus_ms(grace_ms))
}

/// Puts a manifest without holders into the release queue.
pub(super) fn queue(tx: &mut Tx<'_>, id: ManifestId, left: Stamp, due: Stamp) -> Result<(), StoreError> {
    tx.put(&DueKey { due, what: Due::Release(id) }, &left);
    tx.totals(|totals| totals.releasing += 1)
}

/// Bytes `start..end` of a manifest, as ranges of manifests of chunks, each of which gets a holder more. Costs one step for
/// each part that the range touches.
pub(super) fn ranges(tx: &mut Tx<'_>, id: ManifestId, start: u64, end: u64) -> Step<Vec<Entry>> {
    let row = tx.expect(&ManifestKey(id))?;
    assert!(start < end && end <= row.length, "{start}..{end} lies in {id}");
    if !row.composite {
        let row = hold(tx, id)?;
        return Ok(vec![range_of(id, row.root, start, end - start)]);
    }
    let mut ranges = Vec::new();
    let mut walk = EntryWalk::at(tx.view(), id, row, start)?;
    while let Some((offset, entry)) = walk.next()? {
        if offset >= end {
            break;
        }
        if ranges.len() as u64 >= RANGES_MAX {
            return Err(too_many_ranges().into());
        }
        ranges.push(clip(entry, offset, start, end));
    }
    drop(walk);
    for entry in &ranges {
        if let Extent::Range { manifest, .. } = entry.extent {
            hold(tx, manifest)?;
        }
    }
    Ok(ranges)
}

pub(super) fn too_many_ranges() -> Refusal {
    Refusal::Unsupported(format!("a file consists of at most {RANGES_MAX} ranges of others"))
}

/// A stretch of a manifest of chunks.
pub(super) fn range_of(manifest: ManifestId, root: Root, offset: u64, length: u64) -> Entry {
    let extent = Extent::Range { manifest, root, offset };
    Entry { extent, length, profile: PlacementProfile::REPLICATED }
}

/// What of `entry`, which starts at `offset`, lies in `start..end`.
fn clip(entry: Entry, offset: u64, start: u64, end: u64) -> Entry {
    let skipped = start.saturating_sub(offset);
    let kept = (offset + entry.length).min(end) - offset.max(start);
    let extent = match entry.extent {
        Extent::Range { manifest, root, offset } => Extent::Range { manifest, root, offset: offset + skipped },
        other => other,
    };
    Entry { extent, length: kept, ..entry }
}

/// A manifest of ranges, held once. The holders that the ranges need are there already.
pub(super) fn compose(tx: &mut Tx<'_>, id: ManifestId, parts: Composite, entries: Vec<Entry>) -> ManifestRow {
    let row = ManifestRow {
        root: RootHasher::of(&entries),
        length: length_of(&entries),
        entries: entries.len() as u64,
        chunking: None,
        domain: parts.domain,
        replicas: parts.replicas,
        copies: parts.copies,
        composite: true,
        embedded: Vec::new(),
    };
    close(tx, id, row.clone(), entries);
    row
}

/// What a manifest of ranges takes over from its bucket and its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Composite {
    pub(super) domain: cairn_common::ids::Domain,
    pub(super) replicas: Option<u8>,
    pub(super) copies: u8,
}
