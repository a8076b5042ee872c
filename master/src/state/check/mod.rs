//! What must hold between the rows, written down a second time: recomputed from scratch, the slow way, and compared.
//!
//! Tests do this after every step; an audit does it on a snapshot. It reads everything and keeps a count for each chunk,
//! manifest and bucket in memory.

mod files;
mod manifests;
mod sessions;
mod versions;

use crate::store::key::{
    AccessKeyKey, BucketKey, DueKey, MisplacedKey, RowKey, ScannedKey, SessionKey, TotalsKey, decode_row,
};
use crate::store::{KeyRange, MetaView, Order, StoreError, Table};
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{BucketId, ManifestId, SessionId, UploadId, WindowId};
use cairn_common::wire::master::Usage;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A bucket's counters are not what is in it.
    Usage {
        /// Which bucket.
        bucket: BucketId,
        /// What its counters say; `None`: it has none.
        stored: Option<Usage>,
        /// What is there.
        counted: Usage,
    },
    /// A counter of the whole state is wrong.
    Total {
        /// Which.
        name: &'static str,
        /// What it says.
        stored: u64,
        /// What is there.
        counted: u64,
    },
    /// A manifest has another number of holders than is noted; or there are holders and no manifest.
    ManifestCount {
        /// Which.
        manifest: ManifestId,
        /// What the rows say; 0: there is no such manifest.
        stored: u64,
        /// What is there.
        counted: u64,
    },
    /// The entries of a manifest are not what its row says: number, length, root, or that they are there.
    ManifestContent(ManifestId),
    /// A manifest without holders is not in the release queue exactly once, or one with holders is in it.
    ReleaseQueue(ManifestId),
    /// A small body has another number of holders than is noted; or there are holders and no body.
    InlineCount {
        /// Its id.
        inline: u64,
        /// What the rows say; 0: there is no such body.
        stored: u64,
        /// What is there.
        counted: u64,
    },
    /// A small body is not what its hash says.
    InlineHash(u64),
    /// A chunk has another number of references than manifests hold. With fewer, it may be collected while it is needed.
    References {
        /// Which chunk.
        address: ChunkAddress,
        /// What its row says; 0: it has none.
        stored: u64,
        /// What manifests hold.
        counted: u64,
    },
    /// A row that belongs to another one which is not there.
    Orphan {
        /// In which table.
        table: Table,
        /// Its key, in hex.
        key: String,
    },
    /// An earlier version or a mark of removal is not where it belongs, or newer than the current version.
    Version {
        /// Its key, in hex.
        key: String,
    },
    /// A staged or multipart upload without the rows that it needs.
    Upload(UploadId),
    /// A session lacks one of its rows, or has answers outside of its numbers.
    Session(SessionId),
    /// A window lacks one of its rows.
    Window(WindowId),
}

/// All rules that do not hold. Empty, unless there is a bug or damage.
pub fn check(view: &dyn MetaView) -> Result<Vec<Violation>, StoreError> {
    let mut violations = Vec::new();
    let holders = files::check(view, &mut violations)?;
    manifests::check(view, holders, &mut violations)?;
    sessions::check(view, &mut violations)?;
    totals(view, &mut violations)?;
    Ok(violations)
}

fn totals(view: &dyn MetaView, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
    let stored = view.row(&TotalsKey)?.unwrap_or_default();
    let count = |table, prefix| count_rows(view, table, prefix);
    let mut releasing = 0;
    each::<DueKey>(view, DueKey::all(), |key, _| {
        releasing += u64::from(matches!(key.what, crate::store::key::Due::Release(_)));
        if key.due < stored.due_from {
            violations.push(Violation::Orphan { table: Table::System, key: hex::encode(key.encode()) });
        }
        Ok(())
    })?;
    let counters = [
        ("buckets", stored.buckets, count(Table::System, BucketKey::all())?),
        ("sessions", stored.sessions, count(Table::Sessions, SessionKey::all())?),
        ("keys", stored.keys, count(Table::System, AccessKeyKey::all())?),
        ("misplaced", stored.misplaced, count(Table::System, MisplacedKey::all())?),
        ("releasing", stored.releasing, releasing),
    ];
    for (name, stored, counted) in counters {
        if stored != counted {
            violations.push(Violation::Total { name, stored, counted });
        }
    }
    Ok(())
}

fn count_rows(view: &dyn MetaView, table: Table, prefix: Vec<u8>) -> Result<u64, StoreError> {
    let mut cursor = view.scan(table, KeyRange::prefix(prefix), Order::Forward)?;
    let mut rows = 0;
    while cursor.row().is_some() {
        rows += 1;
        cursor.advance()?;
    }
    Ok(rows)
}

/// Calls `visit` with every row whose key starts with `prefix`.
fn each<K: ScannedKey>(
    view: &dyn MetaView,
    prefix: Vec<u8>,
    mut visit: impl FnMut(K, K::Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut cursor = view.scan(K::TABLE, KeyRange::prefix(prefix), Order::Forward)?;
    while let Some((key, row)) = decode_row::<K>(&*cursor)? {
        visit(key, row)?;
        cursor.advance()?;
    }
    Ok(())
}
