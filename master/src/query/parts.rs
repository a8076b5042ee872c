//! The parts that a file was made of.

use super::QueryError;
use super::file::find;
use crate::store::MetaView;
use crate::store::key::{Body, CurrentRow, FilePartsKey, FilePartsRow};
use cairn_common::file::{Condition, S3Tag};
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::FilePath;
use cairn_common::version::VersionId;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::{FilePartsPage, Found};

/// Lengths of the parts of a version (`None`: the current one) with numbers above `after`, at most `limit`. None of a file whose
/// parts were not kept.
pub fn file_parts(
    view: &dyn MetaView,
    path: &FilePath,
    version: Option<VersionId>,
    after: u32,
    limit: u32,
) -> Result<FilePartsPage, QueryError> {
    let (info, row) = match find(view, path, version, &Condition::default())? {
        Found::Here(found) => found,
        Found::NotModified(_) => unreachable!("nothing was asked that could come out so"),
    };
    let lengths = match lengths(view, &row) {
        Ok(lengths) => lengths.unwrap_or_default(),
        Err(QueryError::Refused(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let page = lengths.into_iter().skip(after as usize).take(limit.min(LIST_MAX_KEYS) as usize);
    Ok(FilePartsPage { info, lengths: page.collect() })
}

/// First byte of a part and one past its last; `None`: there is no such part. A file that was not made of parts is its own first.
pub(super) fn range_of(view: &dyn MetaView, row: &CurrentRow, number: u32) -> Result<Option<(u64, u64)>, QueryError> {
    let Some(index) = number.checked_sub(1).map(|index| index as usize) else { return Ok(None) };
    let Some(lengths) = lengths(view, row)? else { return Ok((index == 0).then_some((0, row.length))) };
    let before: u64 = lengths.iter().take(index).sum();
    Ok(lengths.get(index).map(|length| (before, before + length)))
}

/// `None`: the file was not made of parts.
fn lengths(view: &dyn MetaView, row: &CurrentRow) -> Result<Option<Vec<u64>>, QueryError> {
    let S3Tag::Multipart(_, count) = row.tags.s3 else { return Ok(None) };
    let lengths = match row.body {
        _ if count == 1 => vec![row.length],
        Body::Empty => vec![0; count as usize],
        // Parts but the last are larger than what is kept so.
        Body::Inline(_) => return Err(unknown().into()),
        Body::Manifest(id) => match view.row(&FilePartsKey(id))? {
            Some(FilePartsRow(lengths)) => lengths,
            None => return Err(unknown().into()),
        },
    };
    if lengths.len() == count as usize { Ok(Some(lengths)) } else { Err(unknown().into()) }
}

fn unknown() -> Refusal {
    Refusal::Unsupported("where the parts of this file begin was not kept when it was made".to_owned())
}
