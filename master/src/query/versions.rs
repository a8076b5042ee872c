//! Listings of versions: the current rows and the earlier ones, walked side by side.
//!
//! A page reads one row for each version or folded prefix that it shows, and one more; like a listing of files it never loses
//! or repeats a version that is there all the time, whatever is written between two pages.

use super::fold::Fold;
use super::{QueryError, bucket};
use crate::store::key::{BucketRow, CurrentKey, CurrentRow, HistoryKey, HistoryRow, Record, RowKey, decode_row};
use crate::store::{Cursor, KeyRange, Located, MetaView, Order, StoreError, earlier, locate, successor};
use cairn_common::ids::{BucketId, Stamp};
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::Key;
use cairn_common::version::VersionId;
use cairn_common::wire::DecodeError;
use cairn_common::wire::master::{ListVersions, Version, VersionsPage};

/// A page of all versions: by key, the newest first, and folded prefixes among them.
pub fn versions(view: &dyn MetaView, request: &ListVersions) -> Result<VersionsPage, QueryError> {
    let bucket = bucket::find(view, &request.bucket)?;
    let limit = request.limit.min(LIST_MAX_KEYS) as usize;
    let fold = Fold::new(&request.prefix, request.delimiter.as_deref());
    let mut page = VersionsPage { versions: Vec::new(), prefixes: Vec::new(), next: None };
    if limit == 0 {
        return Ok(page);
    }
    let mut walk = Walk::new(view, bucket.id, &request.prefix)?;
    if let Some(after) = &request.after
        && !go_on(view, &bucket, &mut walk, &fold, after)?
    {
        return Ok(page);
    }
    let mut last = None;
    while let Some(version) = walk.here()? {
        if page.versions.len() + page.prefixes.len() == limit {
            page.next = last;
            break;
        }
        if let Some(folded) = fold.of(version.key.as_str()) {
            last = Some((folded.to_owned(), None));
            page.prefixes.push(folded.to_owned());
            if !walk.behind_prefix(folded)? {
                break;
            }
        } else {
            last = Some((version.key.as_str().to_owned(), Some(version.id)));
            walk.advance(&version)?;
            page.versions.push(version);
        }
    }
    Ok(page)
}

/// Goes behind what the page before ended with. `false`: nothing is there.
fn go_on(
    view: &dyn MetaView,
    bucket: &BucketRow,
    walk: &mut Walk<'_>,
    fold: &Fold<'_>,
    (key, version): &(String, Option<VersionId>),
) -> Result<bool, StoreError> {
    let Some(version) = version else {
        return if fold.is_folded(key) {
            walk.behind_prefix(key)
        } else {
            walk.behind(key, Stamp::ZERO).map(|()| true)
        };
    };
    // A version that is gone since, and was the `null` one, left no trace of where it was: then its key is shown again.
    let stamp = match (version, locate(view, bucket, key, Some(*version))?) {
        (VersionId::At(stamp), _) => *stamp,
        (VersionId::Null, Located::File(found)) => found.row.stamp,
        (VersionId::Null, _) => earlier(view, bucket, key, *version)?.map_or(Stamp::MAX, |place| place.stamp),
    };
    walk.behind(key, stamp).map(|()| true)
}

/// A walk over the versions of a bucket.
struct Walk<'a> {
    bucket: BucketId,
    current: Box<dyn Cursor + 'a>,
    history: Box<dyn Cursor + 'a>,
    /// The key whose newest version lies behind us.
    begun: Option<String>,
}

impl<'a> Walk<'a> {
    fn new(view: &'a dyn MetaView, bucket: BucketId, prefix: &str) -> Result<Walk<'a>, StoreError> {
        let current = KeyRange::prefix(current_key(bucket, prefix));
        let history = KeyRange::prefix(HistoryKey::prefix(bucket, prefix));
        Ok(Walk {
            bucket,
            current: view.scan(CurrentKey::TABLE, current, Order::Forward)?,
            history: view.scan(HistoryKey::TABLE, history, Order::Forward)?,
            begun: None,
        })
    }

    /// The version that comes next.
    fn here(&self) -> Result<Option<Version>, StoreError> {
        let current = current_row(&*self.current)?;
        let history = decode_row::<HistoryKey>(&*self.history)?;
        Ok(match (current, history) {
            (Some((key, row)), Some((place, _))) if key <= place.key => Some(self.of_current(key, &row)?),
            (Some((key, row)), None) => Some(self.of_current(key, &row)?),
            (_, Some((place, row))) => Some(self.of_history(place, row)?),
            (None, None) => None,
        })
    }

    fn of_current(&self, key: String, row: &CurrentRow) -> Result<Version, StoreError> {
        let file = Some((row.length, row.tags));
        Ok(Version { key: name(key)?, id: row.id(), stamp: row.stamp, latest: true, file })
    }

    fn of_history(&self, place: HistoryKey, row: HistoryRow) -> Result<Version, StoreError> {
        let latest = self.begun.as_deref() != Some(&place.key);
        let (id, stamp) = (place.id(&row), place.stamp);
        let file = row.file.map(|file| (file.length, file.tags));
        Ok(Version { key: name(place.key)?, id, stamp, latest, file })
    }

    /// Goes behind the version that is here.
    fn advance(&mut self, version: &Version) -> Result<(), StoreError> {
        let key = version.key.as_str();
        let is_current = current_row(&*self.current)?.is_some_and(|(current, _)| current == key);
        if self.begun.as_deref() != Some(key) {
            self.begun = Some(key.to_owned());
        }
        if is_current { self.current.advance() } else { self.history.advance() }
    }

    /// Goes behind the version of `key` with this stamp.
    fn behind(&mut self, key: &str, stamp: Stamp) -> Result<(), StoreError> {
        let place = HistoryKey { bucket: self.bucket, key: key.to_owned(), stamp };
        self.history.seek(&[&place.encode()[..], &[0]].concat())?;
        self.current.seek(&current_key(self.bucket, key))?;
        // An older one may have taken the place of those that were removed since, and was not shown yet.
        if current_row(&*self.current)?.is_some_and(|(current, row)| current == key && row.stamp >= stamp) {
            self.current.advance()?;
        }
        self.begun = (stamp < Stamp::MAX).then(|| key.to_owned());
        Ok(())
    }

    /// Goes behind all keys that start with `prefix`. `false`: there are none.
    fn behind_prefix(&mut self, prefix: &str) -> Result<bool, StoreError> {
        let current = successor(&current_key(self.bucket, prefix));
        let history = successor(&HistoryKey::prefix(self.bucket, prefix));
        let (Some(current), Some(history)) = (current, history) else { return Ok(false) };
        self.current.seek(&current)?;
        self.history.seek(&history)?;
        Ok(true)
    }
}

fn current_key(bucket: BucketId, key: &str) -> Vec<u8> {
    CurrentKey { bucket, key }.encode().into_vec()
}

fn current_row(cursor: &dyn Cursor) -> Result<Option<(String, CurrentRow)>, StoreError> {
    let Some((bytes, value)) = cursor.row() else { return Ok(None) };
    let damaged = |reason| StoreError::row(CurrentKey::TABLE, bytes, reason);
    let key = CurrentKey::decode(bytes).ok_or_else(|| damaged(DecodeError::Malformed))?;
    Ok(Some((key.key.to_owned(), CurrentRow::from_slice(value).map_err(damaged)?)))
}

fn name(key: String) -> Result<Key, StoreError> {
    Key::new(key).map_err(|_| StoreError::row(HistoryKey::TABLE, &[], DecodeError::Malformed))
}
