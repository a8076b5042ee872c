//! Pages of a manifest, as readers want them: chunks in order, wherever they are named.

use super::QueryError;
use super::place::Places;
use crate::state::Members;
use crate::store::key::{ManifestKey, ManifestRow};
use crate::store::{EntryWalk, MetaView, StoreError};
use cairn_common::ids::{ManifestId, NodeId};
use cairn_common::manifest::{Entry, Extent};

/// How much an answer may have.
#[derive(Clone, Copy, Debug)]
pub struct PageLimits {
    /// Stretches of a file.
    pub entries: usize,
    /// Nodes named for each chunk.
    pub nodes: usize,
}

/// A stretch of a file: bytes of one chunk, or a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// What it is; never a range of another manifest.
    pub entry: Entry,
    /// Nodes that may have the chunk, in the order in which to ask them.
    pub nodes: Vec<NodeId>,
}

/// Stretches side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In order, without gaps; the first one has the byte that was asked for.
    pub stretches: Vec<Stretch>,
    /// Whether more follow before the end that was asked for.
    pub more: bool,
}

/// The stretches of a manifest that have bytes `offset..end`, up to the limits. For tickets: also of a manifest whose file was
/// removed, until it is let go.
pub fn page(
    view: &dyn MetaView,
    members: &Members,
    manifest: ManifestId,
    offset: u64,
    end: u64,
    limits: PageLimits,
) -> Result<Page, QueryError> {
    let row = view.row(&ManifestKey(manifest))?.ok_or(QueryError::Gone)?;
    Ok(of_row(view, members, manifest, row, (offset, end), limits)?)
}

/// The same, with the manifest's row at hand.
pub(super) fn of_row(
    view: &dyn MetaView,
    members: &Members,
    manifest: ManifestId,
    row: ManifestRow,
    (offset, end): (u64, u64),
    limits: PageLimits,
) -> Result<Page, StoreError> {
    let replicas = members.replicas(row.replicas);
    let places = Places::new(view, members)?;
    let mut flat = Flat::at(view, manifest, row, offset)?;
    let mut page = Page { stretches: Vec::new(), more: false };
    while let Some((offset, entry)) = flat.next()? {
        if offset >= end {
            break;
        }
        if page.stretches.len() >= limits.entries {
            page.more = true;
            break;
        }
        let nodes = match &entry.extent {
            Extent::Chunk { address, .. } => places.nodes(*address, replicas, limits.nodes)?,
            Extent::Range { .. } | Extent::Hole => Vec::new(),
        };
        page.stretches.push(Stretch { offset, entry, nodes });
    }
    Ok(page)
}

/// A walk over a manifest that goes into the ranges it has of others.
pub(super) struct Flat<'a> {
    view: &'a dyn MetaView,
    outer: EntryWalk<'a>,
    inner: Option<Inner<'a>>,
    /// Where the walk began: what lies before it in the first range is passed over.
    from: u64,
}

/// A walk within a range.
struct Inner<'a> {
    walk: EntryWalk<'a>,
    /// Where the range starts in the file, and where in the manifest that it names.
    start: u64,
    offset: u64,
    length: u64,
}

impl<'a> Flat<'a> {
    pub(super) fn at(
        view: &'a dyn MetaView,
        manifest: ManifestId,
        row: ManifestRow,
        from: u64,
    ) -> Result<Flat<'a>, StoreError> {
        Ok(Flat { view, outer: EntryWalk::at(view, manifest, row, from)?, inner: None, from })
    }

    /// The next stretch and where in the file it starts.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Entry)>, StoreError> {
        loop {
            if let Some(inner) = &mut self.inner {
                match inner.next()? {
                    Some(stretch) => return Ok(Some(stretch)),
                    None => self.inner = None,
                }
            }
            let Some((start, entry)) = self.outer.next()? else { return Ok(None) };
            let Extent::Range { manifest, offset, .. } = entry.extent else { return Ok(Some((start, entry))) };
            let row = self.view.expect_row(&ManifestKey(manifest))?;
            let skipped = self.from.saturating_sub(start);
            let walk = EntryWalk::at(self.view, manifest, row, offset + skipped)?;
            self.inner = Some(Inner { walk, start, offset, length: entry.length });
        }
    }
}

impl Inner<'_> {
    fn next(&mut self) -> Result<Option<(u64, Entry)>, StoreError> {
        let Some((at, entry)) = self.walk.next()? else { return Ok(None) };
        let end = self.offset + self.length;
        if at >= end {
            return Ok(None);
        }
        // Only the first and the last entry can reach over the edges of the range.
        let skipped = self.offset.saturating_sub(at);
        let length = (at + entry.length).min(end) - (at + skipped);
        let extent = match entry.extent {
            Extent::Chunk { address, chunk_length, offset } => {
                let skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
                Extent::Chunk { address, chunk_length, offset: offset.saturating_add(skipped) }
            }
            other => other,
        };
        let offset = self.start + (at + skipped - self.offset);
        Ok(Some((offset, Entry { extent, length, profile: entry.profile })))
    }
}
