//! What an administrator says about collection, and about moves. Both are done by chunkservers; they are told by the leader.

use super::tx::{Step, Tx};
use crate::store::key::{CollectionKey, RebalanceKey};
use cairn_common::limits::OPEN_TICKET_TTL_MS;
use cairn_common::wire::command::{Done, Refusal};

/// Pauses or resumes it, lets what stopped go on, and sets how long references are kept of what left its place.
pub(super) fn set(tx: &mut Tx<'_>, paused: Option<bool>, approve: bool, read_grace_ms: Option<u64>) -> Step<Done> {
    // More than a year is a slip of the keyboard; a bucket that keeps history is the way to keep things.
    if read_grace_ms.is_some_and(|grace_ms| grace_ms > 366 * OPEN_TICKET_TTL_MS) {
        return Err(Refusal::Invalid("references of what was removed are kept for a year at most".to_owned()).into());
    }
    let mut row = tx.get(&CollectionKey)?.unwrap_or_default();
    row.paused = paused.unwrap_or(row.paused);
    row.read_grace_ms = read_grace_ms.unwrap_or(row.read_grace_ms);
    if approve {
        row.approved = tx.stamp();
    }
    tx.put(&CollectionKey, &row);
    Ok(Done::Nothing)
}

/// Pauses or resumes moves, and sets how fast each node fetches.
pub(super) fn set_rebalance(tx: &mut Tx<'_>, paused: Option<bool>, bytes_per_second: Option<u64>) -> Step<Done> {
    let mut row = tx.get(&RebalanceKey)?.unwrap_or_default();
    row.paused = paused.unwrap_or(row.paused);
    row.bytes_per_second = bytes_per_second.unwrap_or(row.bytes_per_second);
    tx.put(&RebalanceKey, &row);
    Ok(Done::Nothing)
}
