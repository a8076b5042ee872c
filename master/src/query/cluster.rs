//! The cluster in figures, and what its leader has to do.

use super::QueryError;
use crate::store::key::{ClockKey, DueKey, TotalsKey, UsageKey, decode_row};
use crate::store::{KeyRange, MetaView, Order, Table, successor};
use cairn_common::ids::Stamp;
use cairn_common::wire::master::Usage;

/// Counters of the whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// All buckets together.
    pub usage: Usage,
    /// How many buckets.
    pub buckets: u64,
    /// Sessions that are open.
    pub sessions: u64,
    /// Manifests in the release queue.
    pub releasing: u64,
    /// Chunks known to lie off their owners.
    pub misplaced: u64,
    /// Stamp of the newest applied command.
    pub stamp: Stamp,
}

/// The counters now. Adds up those of all buckets, which are bounded; no row of a file is read.
pub fn counts(view: &dyn MetaView) -> Result<Counts, QueryError> {
    let totals = view.row(&TotalsKey)?.unwrap_or_default();
    let mut usage = Usage::default();
    let mut cursor = view.scan(Table::System, KeyRange::prefix(UsageKey::all()), Order::Forward)?;
    while let Some((_, of_bucket)) = decode_row::<UsageKey>(&*cursor)? {
        usage.files += of_bucket.files;
        usage.bytes += of_bucket.bytes;
        usage.uploads += of_bucket.uploads;
        usage.pending_bytes += of_bucket.pending_bytes;
        usage.versions += of_bucket.versions;
        usage.version_bytes += of_bucket.version_bytes;
        cursor.advance()?;
    }
    Ok(Counts {
        usage,
        buckets: totals.buckets,
        sessions: totals.sessions,
        releasing: totals.releasing,
        misplaced: totals.misplaced,
        stamp: view.row(&ClockKey)?.unwrap_or(Stamp::ZERO),
    })
}

/// Whether a `Release` command at `now` would find something to do.
pub fn release_due(view: &dyn MetaView, now: Stamp) -> Result<bool, QueryError> {
    let from = view.row(&TotalsKey)?.unwrap_or_default().due_from;
    let range = KeyRange { start: DueKey::from(from), end: successor(&DueKey::all()) };
    let cursor = view.scan(Table::System, range, Order::Forward)?;
    Ok(decode_row::<DueKey>(&*cursor)?.is_some_and(|(key, _)| key.due <= now))
}
