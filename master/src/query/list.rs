//! Listings of files.
//!
//! A page reads one row for each file or folded prefix that it shows, and one more to know whether it is the last: what is
//! folded is passed over by seeking behind it. So a page never loses or repeats a key, whatever is written between two pages,
//! and never walks over more rows than it may show.

use super::fold::Fold;
use super::{QueryError, bucket};
use crate::store::key::{CurrentKey, CurrentRow, Record, RowKey};
use crate::store::{Cursor, KeyRange, MetaView, Order, StoreError, successor};
use cairn_common::ids::BucketId;
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::Key;
use cairn_common::wire::DecodeError;
use cairn_common::wire::master::{ListAfter, ListRequest, Listed, ListedFile};

/// A page of a listing: files and folded prefixes in the order of their bytes, as S3 has it.
pub fn list(view: &dyn MetaView, request: &ListRequest) -> Result<Listed, QueryError> {
    let bucket = bucket::find(view, &request.bucket)?.id;
    let limit = request.limit.min(LIST_MAX_KEYS) as usize;
    let fold = Fold::new(&request.prefix, request.delimiter.as_deref());
    let mut listed = Listed { files: Vec::new(), prefixes: Vec::new(), next: None };
    if limit == 0 {
        return Ok(listed);
    }
    let range = KeyRange::prefix(encoded(bucket, &request.prefix));
    let mut cursor = view.scan(CurrentKey::TABLE, range, Order::Forward)?;
    if !go_on(&mut *cursor, bucket, &fold, &request.after)? {
        return Ok(listed);
    }
    let mut last = None;
    while let Some((key, row)) = file(&*cursor)? {
        if listed.files.len() + listed.prefixes.len() == limit {
            listed.next = last;
            break;
        }
        if let Some(folded) = fold.of(&key) {
            let folded = folded.to_owned();
            last = Some(folded.clone());
            let behind = successor(&encoded(bucket, &folded));
            listed.prefixes.push(folded);
            match behind {
                Some(behind) => cursor.seek(&behind)?,
                None => break,
            }
        } else {
            if listed.files.len() + listed.prefixes.len() + 1 == limit {
                last = Some(key.clone());
            }
            listed.files.push(listed_file(key, row)?);
            cursor.advance()?;
        }
    }
    Ok(listed)
}

/// Goes to where the page begins. `false`: behind everything.
fn go_on(cursor: &mut dyn Cursor, bucket: BucketId, fold: &Fold<'_>, after: &ListAfter) -> Result<bool, StoreError> {
    let from = match after {
        ListAfter::Start => return Ok(true),
        ListAfter::Token(token) if fold.is_folded(token) => successor(&encoded(bucket, token)),
        // The smallest key that is larger.
        ListAfter::Name(name) | ListAfter::Token(name) => Some([&encoded(bucket, name)[..], &[0]].concat()),
    };
    match from {
        Some(from) => cursor.seek(&from).map(|()| true),
        None => Ok(false),
    }
}

fn encoded(bucket: BucketId, key: &str) -> Vec<u8> {
    CurrentKey { bucket, key }.encode()
}

/// The file that the cursor is on.
fn file(cursor: &dyn Cursor) -> Result<Option<(String, CurrentRow)>, StoreError> {
    let Some((bytes, value)) = cursor.row() else { return Ok(None) };
    let damaged = |reason| StoreError::row(CurrentKey::TABLE, bytes, reason);
    let key = CurrentKey::decode(bytes).ok_or_else(|| damaged(DecodeError::Malformed))?;
    let row = CurrentRow::from_slice(value).map_err(damaged)?;
    Ok(Some((key.key.to_owned(), row)))
}

fn listed_file(key: String, row: CurrentRow) -> Result<ListedFile, StoreError> {
    let damaged = || StoreError::row(CurrentKey::TABLE, &[], DecodeError::Malformed);
    let key = Key::new(key).map_err(|_| damaged())?;
    Ok(ListedFile { key, stamp: row.stamp, length: row.length, tags: row.tags })
}
