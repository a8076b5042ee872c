//! Walking over the entries of a manifest from any offset.

use super::key::{ManifestRow, RowKey, SegmentKey, decode_row};
use super::{KeyRange, MetaView, Order, StoreError};
use cairn_common::ids::ManifestId;
use cairn_common::manifest::Entry;

/// A walk over the entries of one manifest. Reads one segment at a time: the one that has the offset by one backward seek, each
/// later one by its key, which is where the one before it ended.
pub struct EntryWalk<'a> {
    view: &'a dyn MetaView,
    manifest: ManifestId,
    length: u64,
    embedded: bool,
    entries: std::vec::IntoIter<Entry>,
    /// Where the next entry starts.
    offset: u64,
}

impl<'a> EntryWalk<'a> {
    /// A walk that begins with the entry that has the byte at `offset`; without one, at the end.
    pub fn at(
        view: &'a dyn MetaView,
        manifest: ManifestId,
        row: ManifestRow,
        offset: u64,
    ) -> Result<EntryWalk<'a>, StoreError> {
        let embedded = row.is_embedded();
        let mut walk =
            EntryWalk { view, manifest, length: row.length, embedded, entries: row.embedded.into_iter(), offset: 0 };
        if !embedded && offset < row.length {
            walk.find_segment(offset)?;
        }
        while let Some(entry) = walk.entries.as_slice().first()
            && walk.offset + entry.length <= offset
        {
            walk.offset += entry.length;
            walk.entries.next();
        }
        if offset >= row.length {
            (walk.offset, walk.entries) = (row.length, Vec::new().into_iter());
        }
        Ok(walk)
    }

    /// Goes to the segment that has the byte at `offset`.
    fn find_segment(&mut self, offset: u64) -> Result<(), StoreError> {
        if offset == 0 {
            return self.load(0);
        }
        let key = |start| SegmentKey { manifest: self.manifest, start }.encode();
        let range = KeyRange { start: key(0), end: Some(key(offset + 1)) };
        let cursor = self.view.scan(SegmentKey::TABLE, range, Order::Backward)?;
        let Some((found, row)) = decode_row::<SegmentKey>(&*cursor)? else { return Err(self.missing(0)) };
        (self.offset, self.entries) = (found.start, row.entries.into_iter());
        Ok(())
    }

    fn load(&mut self, start: u64) -> Result<(), StoreError> {
        let row = self.view.expect_row(&SegmentKey { manifest: self.manifest, start })?;
        (self.offset, self.entries) = (start, row.entries.into_iter());
        Ok(())
    }

    fn missing(&self, start: u64) -> StoreError {
        let key = SegmentKey { manifest: self.manifest, start };
        StoreError::Missing { table: SegmentKey::TABLE, key: hex::encode(key.encode()) }
    }

    /// The next entry, and where in the file it starts, in bytes. `None`: the end of the file.
    #[allow(clippy::should_implement_trait, reason = "an iterator could not fail")]
    pub fn next(&mut self) -> Result<Option<(u64, Entry)>, StoreError> {
        if self.offset >= self.length {
            return Ok(None);
        }
        if self.entries.as_slice().is_empty() {
            if self.embedded {
                return Err(self.missing(self.offset));
            }
            self.load(self.offset)?;
        }
        let entry = self.entries.next().ok_or_else(|| self.missing(self.offset))?;
        let offset = self.offset;
        self.offset += entry.length;
        Ok(Some((offset, entry)))
    }
}
