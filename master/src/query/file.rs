//! Files: what they are, how to read them, and where they lie.

use super::page::{self, Flat, Page, PageLimits};
use super::parts;
use super::place::Places;
use super::{QueryError, bucket};
use crate::state::Members;
use crate::store::key::{Body, CurrentRow, InlineKey, ManifestKey};
use crate::store::{LocatedFile, MetaView, StoreError, locate};
use bytes::Bytes;
use cairn_common::file::{Condition, ConditionOutcome, FileInfo};
use cairn_common::ids::{Domain, ManifestId, NodeId};
use cairn_common::manifest::{Entry, Extent, ManifestHead};
use cairn_common::name::FilePath;
use cairn_common::version::{VersionId, Versioning};
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::{Found, RangeWanted};

/// An opened file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedFile {
    /// The version.
    pub info: FileInfo,
    /// First byte of the range asked for, and one past its last. Equal for an empty file.
    pub range: (u64, u64),
    /// The bytes of the range, or where they are.
    pub bytes: FileBytes,
}

/// Bytes of a version, or where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileBytes {
    /// The whole body, whatever the range.
    Inline {
        /// The bytes.
        bytes: Bytes,
        /// Their BLAKE3, for the reader to check.
        hash: [u8; 32],
    },
    /// Chunks.
    Chunks {
        /// Which manifest names them.
        manifest: ManifestId,
        /// Whose they are.
        domain: Domain,
        /// The manifest without its entries.
        head: ManifestHead,
        /// The first stretches of the range.
        page: Page,
    },
    /// The range does not lie in the file.
    Unsatisfiable,
}

/// What is known about a version of a file; `None`: the current one.
pub fn stat(
    view: &dyn MetaView,
    path: &FilePath,
    version: Option<VersionId>,
    condition: &Condition,
) -> Result<Found<FileInfo>, QueryError> {
    Ok(match find(view, path, version, condition)? {
        Found::Here((info, _)) => Found::Here(info),
        Found::NotModified(info) => Found::NotModified(info),
    })
}

/// A version of a file (`None`: the current one) and the first of its bytes in a range, or where they are.
pub fn open(
    view: &dyn MetaView,
    members: &Members,
    (path, version): (&FilePath, Option<VersionId>),
    condition: &Condition,
    wanted: RangeWanted,
    limits: PageLimits,
) -> Result<Found<OpenedFile>, QueryError> {
    let (info, row) = match find(view, path, version, condition)? {
        Found::Here(found) => found,
        Found::NotModified(info) => return Ok(Found::NotModified(info)),
    };
    let range = match wanted {
        RangeWanted::Part(number) => parts::range_of(view, &row, number)?,
        wanted => wanted.of(info.length),
    };
    let Some(range) = range else {
        return Ok(Found::Here(OpenedFile { info, range: (0, 0), bytes: FileBytes::Unsatisfiable }));
    };
    let bytes = read(view, members, &row, range, limits)?;
    Ok(Found::Here(OpenedFile { info, range, bytes }))
}

fn read(
    view: &dyn MetaView,
    members: &Members,
    row: &CurrentRow,
    range: (u64, u64),
    limits: PageLimits,
) -> Result<FileBytes, StoreError> {
    match row.body {
        Body::Empty => Ok(FileBytes::Inline { bytes: Bytes::new(), hash: *blake3::hash(&[]).as_bytes() }),
        Body::Inline(id) => {
            let row = view.expect_row(&InlineKey(id))?;
            Ok(FileBytes::Inline { bytes: row.bytes, hash: row.hash })
        }
        Body::Manifest(manifest) => {
            let row = view.expect_row(&ManifestKey(manifest))?;
            let (domain, head) = (row.domain, row.head());
            let page = page::of_row(view, members, manifest, row, range, limits)?;
            Ok(FileBytes::Chunks { manifest, domain, head, page })
        }
    }
}

/// A version of a file, judged by a reader's condition.
pub(super) fn find(
    view: &dyn MetaView,
    path: &FilePath,
    version: Option<VersionId>,
    condition: &Condition,
) -> Result<Found<(FileInfo, CurrentRow)>, QueryError> {
    let bucket = bucket::find(view, &path.bucket)?;
    let found = locate(view, &bucket, path.key.as_str(), version)?.file(path, version)?;
    let LocatedFile { row, attributes, .. } = found;
    let version = (bucket.versioning != Versioning::Off).then(|| row.id());
    let info = FileInfo { stamp: row.stamp, version, length: row.length, tags: row.tags, attributes };
    match condition.judge(Some(row.facts())) {
        ConditionOutcome::Holds => Ok(Found::Here((info, row))),
        ConditionOutcome::NotModified => Ok(Found::NotModified(Box::new(info))),
        ConditionOutcome::Failed => Err(Refusal::ConditionFailed { path: path.clone() }.into()),
    }
}

/// Where the chunks of a file are said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhereFile {
    /// The version.
    pub info: FileInfo,
    /// Copies of its chunks that are wanted now.
    pub replicas: u8,
    /// The manifest, if the bytes lie in chunks.
    pub manifest: Option<ManifestId>,
    /// Stretches from the offset asked for.
    pub stretches: Vec<WhereStretch>,
    /// Whether there are more.
    pub more: bool,
}

/// Where a chunk is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhereStretch {
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// What it is.
    pub entry: Entry,
    /// Its owners in the newest ring.
    pub owners: Vec<NodeId>,
    /// Nodes off the ring that are known to have it.
    pub misplaced: Vec<NodeId>,
    /// All nodes that may have it, in the order in which to ask them.
    pub nodes: Vec<NodeId>,
}

/// Where the chunks of a file's current version are said to be, from the byte at `offset` on.
pub fn where_is(
    view: &dyn MetaView,
    members: &Members,
    path: &FilePath,
    offset: u64,
    limits: PageLimits,
) -> Result<WhereFile, QueryError> {
    let (info, row) = match find(view, path, None, &Condition::default())? {
        Found::Here(found) => found,
        Found::NotModified(_) => unreachable!("nothing was asked that could come out so"),
    };
    let mut answer = WhereFile { info, replicas: 0, manifest: None, stretches: Vec::new(), more: false };
    let Body::Manifest(manifest) = row.body else {
        answer.replicas = members.replicas(bucket::find(view, &path.bucket)?.replicas);
        return Ok(answer);
    };
    let row = view.expect_row(&ManifestKey(manifest))?;
    (answer.manifest, answer.replicas) = (Some(manifest), members.replicas(row.replicas));
    let places = Places::new(view, members)?;
    let mut flat = Flat::at(view, manifest, row, offset)?;
    while let Some((offset, entry)) = flat.next()? {
        if answer.stretches.len() >= limits.entries {
            answer.more = true;
            break;
        }
        answer.stretches.push(where_of(&places, offset, entry, answer.replicas, limits.nodes)?);
    }
    Ok(answer)
}

fn where_of(
    places: &Places<'_>,
    offset: u64,
    entry: Entry,
    replicas: u8,
    limit: usize,
) -> Result<WhereStretch, StoreError> {
    let Extent::Chunk { address, .. } = entry.extent else {
        let none = Vec::new;
        return Ok(WhereStretch { offset, entry, owners: none(), misplaced: none(), nodes: none() });
    };
    let slot = address.slot();
    let owners = places.owners(slot, replicas);
    let misplaced = places.misplaced(slot, address)?;
    Ok(WhereStretch { offset, entry, owners, misplaced, nodes: places.nodes(address, replicas, limit)? })
}
