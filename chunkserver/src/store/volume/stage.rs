//! What each change comes to: decided against the rows as they are at this moment, in the order of the appender.

use super::super::index::{IndexError, Row};
use super::super::pack::{RecordHeader, SECTOR_BYTES};
use super::group::Group;
use super::job::{Holding, Job, Placed, Removal};
use super::shared::Shared;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::Stamp;
use std::sync::atomic::Ordering;

/// What a record is for: chunks leave the reserve alone, removal and compaction do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Chunk,
    Upkeep,
}

/// What became of a job when it was put into a group.
pub(super) enum Staged {
    /// It is in the group, or was answered.
    Done,
    /// It needs a pack with this much room.
    NeedsRoom(Job, u32, Purpose),
}

/// Puts a job into the group. An error leaves the group unusable: its records and its changes may not agree.
pub(super) fn stage(shared: &Shared, group: &mut Group, job: Job) -> Result<Staged, IndexError> {
    let row = job.address().map(|address| group.changes.row(&address)).transpose()?.flatten();
    if let Some((bytes, purpose)) = room_for(shared, group, &job, row.as_ref()) {
        return Ok(Staged::NeedsRoom(job, bytes, purpose));
    }
    match job {
        Job::Put { chunk, touched, verified_ms, trusted_from, answer } => {
            let placed = match row.filter(|row| row.position >= trusted_from) {
                Some(row) => confirm(group, chunk.address(), row, touched, verified_ms),
                None => {
                    let (position, length) = (group.append_chunk(&chunk, touched), chunk.length());
                    group.changes.found(chunk.address(), Row { position, length, touched, verified_ms: 0 })?;
                    Placed { position, length }
                }
            };
            group.promise(answer, placed);
        }
        Job::Touch { address, touched, verified_ms, position, answer } => {
            match row.filter(|row| row.position >= position) {
                Some(row) => {
                    let placed = confirm(group, address, row, touched, verified_ms);
                    group.promise(answer, Some(placed));
                }
                None => group.tell(answer, None),
            }
        }
        Job::Remove { address, remove_if, answer } => match holding(shared, address, row)? {
            None => group.tell(answer, Removal::Absent),
            Some(holding) if !remove_if(holding) => group.tell(answer, Removal::Kept),
            Some(_) => {
                let position = group.append_tombstone(address);
                group.changes.removed(address, position)?;
                group.promise(answer, Removal::Removed);
            }
        },
        Job::Move { chunk, from, verified_ms, answer } => match row.filter(|row| row.position == from) {
            Some(row) => {
                let position = group.append_chunk(&chunk, row.touched);
                group.changes.found(chunk.address(), Row { position, verified_ms, ..row })?;
                group.promise(answer, ());
            }
            None => group.tell(answer, ()),
        },
        Job::KeepTombstone { address, answer } => {
            if row.is_none() {
                group.append_tombstone(address);
                group.promise(answer, ());
            } else {
                group.tell(answer, ());
            }
        }
        Job::Verified { address, position, verified_ms } => {
            if let Some(row) = row.filter(|row| row.position == position) {
                group.changes.note(address, Row { verified_ms, ..row });
            }
        }
        Job::SetAside { address, position, bad, answer } => {
            if group.changes.set_aside(address, position, bad)? {
                tracing::error!(%address, ?position, why = ?bad.why, "a damaged chunk was set aside");
                shared.damaged.fetch_add(1, Ordering::Relaxed);
            }
            group.tell(answer, ());
        }
        Job::DropPack { .. } | Job::Stop { .. } => unreachable!("the appender does these itself"),
    }
    Ok(Staged::Done)
}

/// The room that a job's record lacks, if it will write one.
fn room_for(shared: &Shared, group: &Group, job: &Job, row: Option<&Row>) -> Option<(u32, Purpose)> {
    let (bytes, purpose) = match job {
        Job::Put { trusted_from, .. } if row.is_some_and(|row| row.position >= *trusted_from) => return None,
        Job::Put { chunk, .. } => (RecordHeader::chunk_bytes(chunk.length()), Purpose::Chunk),
        Job::Move { chunk, from, .. } if row.is_some_and(|row| row.position == *from) => {
            (RecordHeader::chunk_bytes(chunk.length()), Purpose::Upkeep)
        }
        Job::Remove { .. } | Job::KeepTombstone { .. } => (SECTOR_BYTES, Purpose::Upkeep),
        _ => return None,
    };
    let without_reserve = purpose == Purpose::Chunk && shared.reserve_bytes() < u64::from(shared.pack_bytes);
    (without_reserve || !group.fits(bytes)).then_some((bytes, purpose))
}

/// A copy that is there and good gets a later touch; nothing is written.
fn confirm(group: &mut Group, address: ChunkAddress, row: Row, touched: Stamp, verified_ms: u64) -> Placed {
    let touched = touched.max(row.touched);
    let verified_ms = verified_ms.max(row.verified_ms);
    group.changes.note(address, Row { touched, verified_ms, ..row });
    Placed { position: row.position, length: row.length }
}

/// What is held of a chunk that is to be removed; `None`: nothing, not even a damaged record.
fn holding(shared: &Shared, address: ChunkAddress, row: Option<Row>) -> Result<Option<Holding>, IndexError> {
    let floor = shared.identity.touch_floor;
    if let Some(row) = row {
        return Ok(Some(Holding { touched: row.touched.max(floor), verified_ms: row.verified_ms }));
    }
    let damaged = !shared.index.bad(Some(&address))?.is_empty();
    Ok(damaged.then_some(Holding { touched: floor, verified_ms: 0 }))
}
