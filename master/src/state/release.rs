//! Letting go: the queue of what is due.
//!
//! A manifest that lost its last holder waits out the grace, so that whoever reads it comes to the end (P4); then its
//! references are taken away, a bounded number of rows at a time, segment after segment. What is done is deleted, so the next
//! command goes on where this one stopped. A manifest that was there at a held stamp waits until the hold is gone.
//!
//! The same queue ends staged and appended uploads and windows that nobody ended, and forgets results of multipart uploads.

use super::tx::{Step, Tx};
use super::{chunks, manifest, multipart, staging, window};
use crate::store::key::{
    Due, DueKey, FilePartsKey, FinishedKey, HoldKey, HoldRow, ManifestKey, RowKey, SegmentKey, StagingKey, TotalsKey,
    WindowKey,
};
use crate::store::{KeyRange, StoreError, successor};
use cairn_common::ids::{ManifestId, Stamp};
use cairn_common::limits::{APPENDED_PARTS_MAX, READ_GRACE_MS, RELEASE_ROWS_MAX, SEGMENT_ENTRIES, STAGED_UPLOAD_MS};
use cairn_common::manifest::{Entry, Extent};
use cairn_common::wire::command::Done;

/// Rows that one step may change at most: for each entry of a segment its reference, the row that says it is misplaced, and the
/// counter of those (or a manifest, its place in the queue, and that counter); then those of the segment, its manifest and
/// the queue.
const STEP_ROWS_MAX: usize = 3 * SEGMENT_ENTRIES + 16;

/// Due rows that are looked at together.
const LOOK_AHEAD: usize = 64;

const _: () = assert!(STEP_ROWS_MAX <= RELEASE_ROWS_MAX);
// An upload that is appended to: for each part its row, its manifest and that one's place in this queue; then its own rows.
const _: () = assert!(3 * APPENDED_PARTS_MAX as usize + 8 <= STEP_ROWS_MAX);

pub(super) fn release(tx: &mut Tx<'_>) -> Step<Done> {
    let holds: Vec<Stamp> =
        tx.list::<HoldKey>(KeyRange::prefix(HoldKey::all()), usize::MAX)?.into_iter().map(held_stamp).collect();
    let more = loop {
        let due = due_now(tx)?;
        let Some((last, _)) = due.last().copied() else { break false };
        let stopped = work_off(tx, &due, &holds)?;
        // Nothing before is left, and what comes into the queue from here on is due at this stamp or later.
        tx.totals(|totals| totals.due_from = stopped.unwrap_or(last.due))?;
        if stopped.is_some() {
            break true;
        }
    };
    Ok(Done::Released { rows: tx.changed() as u64, more })
}

/// Does what is due, in order, until the entry is full; then answers from when on something is left.
fn work_off(tx: &mut Tx<'_>, due: &[(DueKey, Stamp)], holds: &[Stamp]) -> Result<Option<Stamp>, StoreError> {
    for (key, left) in due {
        let mut done = false;
        while !done {
            if tx.changed() + STEP_ROWS_MAX > RELEASE_ROWS_MAX {
                return Ok(Some(key.due));
            }
            done = step(tx, key, *left, holds)?;
        }
    }
    Ok(None)
}

fn held_stamp((key, _): (HoldKey, HoldRow)) -> Stamp {
    key.0
}

/// The next rows that are due.
fn due_now(tx: &Tx<'_>) -> Result<Vec<(DueKey, Stamp)>, StoreError> {
    let from = tx.get(&TotalsKey)?.unwrap_or_default().due_from;
    let end =
        tx.stamp().0.checked_add(1).map_or_else(|| successor(&DueKey::all()), |next| Some(DueKey::from(Stamp(next))));
    tx.list(KeyRange { start: DueKey::from(from), end }, LOOK_AHEAD)
}

/// Does one due thing, or a bounded part of it. Answers whether its row is gone.
fn step(tx: &mut Tx<'_>, key: &DueKey, left: Stamp, holds: &[Stamp]) -> Result<bool, StoreError> {
    match key.what {
        Due::Release(manifest) => {
            if holds.iter().any(|held| manifest.0 <= held.0 && *held < left) {
                requeue(tx, key, left, tx.stamp().plus_ms(READ_GRACE_MS));
            } else if let_go(tx, manifest, left)? {
                tx.delete(key);
                tx.totals(|totals| totals.releasing = totals.releasing.saturating_sub(1))?;
            } else {
                return Ok(false);
            }
        }
        Due::Staging(upload) => match tx.get(&StagingKey(upload))? {
            Some(row) if row.touched.plus_ms(STAGED_UPLOAD_MS) > tx.stamp() => {
                requeue(tx, key, left, row.touched.plus_ms(STAGED_UPLOAD_MS));
            }
            Some(row) => {
                staging::end(tx, upload, &row)?;
                tx.delete(key);
            }
            None => tx.delete(key),
        },
        Due::Finished(upload) => {
            tx.delete(&FinishedKey(upload));
            tx.delete(key);
        }
        Due::Window(session, window) => window::remove(tx, WindowKey { session, window }),
        Due::Appended(upload) => {
            multipart::end_appended(tx, upload)?;
            tx.delete(key);
        }
    }
    Ok(true)
}

fn requeue(tx: &mut Tx<'_>, key: &DueKey, left: Stamp, due: Stamp) {
    tx.delete(key);
    tx.put(&DueKey { due, what: key.what }, &left);
}

/// Lets go of a part of a manifest: of its row first, so that nobody begins to read what is going; then of one segment.
/// Answers whether nothing is left.
fn let_go(tx: &mut Tx<'_>, id: ManifestId, left: Stamp) -> Result<bool, StoreError> {
    // An upload that was given up has segments and never had a row.
    if let Some(row) = tx.get(&ManifestKey(id))? {
        let_go_of(tx, &row.embedded, left)?;
        tx.delete(&ManifestKey(id));
        if row.composite {
            tx.delete(&FilePartsKey(id));
        }
        return Ok(row.is_embedded());
    }
    let of_manifest = SegmentKey { manifest: id, start: 0 }.encode().into_vec();
    let range = KeyRange { end: successor(&of_manifest[..8]), start: of_manifest };
    let Some((key, segment)) = tx.list::<SegmentKey>(range, 1)?.pop() else { return Ok(true) };
    let_go_of(tx, &segment.entries, left)?;
    tx.delete(&key);
    Ok(false)
}

fn let_go_of(tx: &mut Tx<'_>, entries: &[Entry], left: Stamp) -> Result<(), StoreError> {
    for address in chunks::runs(entries) {
        chunks::let_go(tx, address)?;
    }
    for entry in entries {
        if let Extent::Range { manifest, .. } = entry.extent {
            // It left its place when the one that named it did, and has had its grace with it.
            manifest::drop_at(tx, manifest, left, tx.stamp())?;
        }
    }
    Ok(())
}
