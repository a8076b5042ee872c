//! Finding a version, wherever it lies: among the current rows or among the earlier ones. For commands and questions alike.

use super::key::{AttributesKey, BucketRow, CurrentKey, CurrentRow, HistoryKey, NullVersionKey, RowKey, decode_row};
use super::{KeyRange, MetaView, Order, StoreError};
use cairn_common::file::Attributes;
use cairn_common::name::FilePath;
use cairn_common::version::{VersionId, Versioning};
use cairn_common::wire::command::Refusal;

/// What there is under an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// A version with bytes.
    File(Box<LocatedFile>),
    /// A mark of removal. For the current version: the newest is one.
    Mark(VersionId),
    /// Nothing.
    Nothing,
}

impl Located {
    /// The version with bytes that was asked for as `version` of `path`, or why there is none.
    pub fn file(self, path: &FilePath, version: Option<VersionId>) -> Result<LocatedFile, Refusal> {
        match (self, version) {
            (Located::File(found), _) => Ok(*found),
            (Located::Nothing, None) => Err(Refusal::NoSuchFile(path.clone())),
            (Located::Nothing, Some(version)) => Err(Refusal::NoSuchVersion { path: path.clone(), version }),
            (Located::Mark(mark), None) => Err(Refusal::FileRemoved { path: path.clone(), mark }),
            (Located::Mark(_), Some(version)) => Err(Refusal::RemovalMark { path: path.clone(), version }),
        }
    }
}

/// A version with bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedFile {
    /// What it is.
    pub row: CurrentRow,
    /// What was given with it.
    pub attributes: Attributes,
    /// Whether it is the current version.
    pub current: bool,
}

/// A version of a key; `None`: the current one.
pub fn locate(
    view: &dyn MetaView,
    bucket: &BucketRow,
    key: &str,
    version: Option<VersionId>,
) -> Result<Located, StoreError> {
    let place = CurrentKey { bucket: bucket.id, key };
    let current = view.row(&place)?;
    if let Some(row) = current
        && version.is_none_or(|wanted| wanted == row.id())
    {
        let attributes = if row.attributes { view.expect_row(&AttributesKey(place))? } else { Attributes::default() };
        return Ok(Located::File(Box::new(LocatedFile { row, attributes, current: true })));
    }
    let Some(version) = version else { return newest(view, bucket, key) };
    let Some(place) = earlier(view, bucket, key, version)? else { return Ok(Located::Nothing) };
    let stamp = place.stamp;
    match view.row(&place)? {
        Some(row) if place.id(&row) == version => Ok(match row.file {
            None => Located::Mark(version),
            Some(file) => Located::File(Box::new(LocatedFile {
                row: file.as_current(stamp, row.versioned),
                attributes: file.attributes,
                current: false,
            })),
        }),
        _ => Ok(Located::Nothing),
    }
}

/// The mark that lies over a key without a current version, if there is one.
fn newest(view: &dyn MetaView, bucket: &BucketRow, key: &str) -> Result<Located, StoreError> {
    if bucket.versioning == Versioning::Off {
        return Ok(Located::Nothing);
    }
    let of_key = KeyRange::prefix(HistoryKey::of(bucket.id, key));
    let newest = decode_row::<HistoryKey>(&*view.scan(HistoryKey::TABLE, of_key, Order::Forward)?)?;
    Ok(newest.map_or(Located::Nothing, |(place, row)| Located::Mark(place.id(&row))))
}

/// Where an earlier version would lie.
pub fn earlier(
    view: &dyn MetaView,
    bucket: &BucketRow,
    key: &str,
    version: VersionId,
) -> Result<Option<HistoryKey>, StoreError> {
    let (bucket, key) = (bucket.id, key.to_owned());
    let stamp = match version {
        VersionId::At(stamp) => Some(stamp),
        VersionId::Null => view.row(&NullVersionKey { bucket, key: key.clone() })?,
    };
    Ok(stamp.map(|stamp| HistoryKey { bucket, key, stamp }))
}
