//! Manifests, their holders, and the references they hold.

use super::files::Holders;
use super::{Violation, each};
use crate::state::chunks;
use crate::store::key::{
    Due, DueKey, FilePartsKey, FilePartsRow, HoldersKey, ManifestKey, ManifestRow, ReferenceKey, RowKey, SegmentKey,
    SegmentRow, StagingKey,
};
use crate::store::{EntryWalk, MetaView, StoreError, Table};
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::ManifestId;
use cairn_common::manifest::{Entry, Extent, RootHasher};
use std::collections::{BTreeMap, BTreeSet};

/// What is found on the way.
struct Found<'a> {
    view: &'a dyn MetaView,
    holders: Holders,
    /// Runs of each chunk, and its length.
    runs: BTreeMap<ChunkAddress, u64>,
    releasing: BTreeMap<ManifestId, u64>,
    /// Manifests whose segments belong to something.
    known: BTreeSet<ManifestId>,
}

pub(super) fn check(view: &dyn MetaView, holders: Holders, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
    let (runs, known) = (BTreeMap::new(), BTreeSet::new());
    let mut found = Found { view, holders, runs, releasing: BTreeMap::new(), known };
    each::<DueKey>(view, DueKey::all(), |key, _| {
        if let Due::Release(manifest) = key.what {
            *found.releasing.entry(manifest).or_default() += 1;
        }
        Ok(())
    })?;
    let mut rows = Vec::new();
    each::<ManifestKey>(view, Vec::new(), |ManifestKey(id), row| {
        rows.push(id);
        found.look_at(id, &row, violations)
    })?;
    found.parts(violations)?;
    found.uploads(violations)?;
    found.segments(violations)?;
    found.holders(rows, violations)?;
    references(view, found.runs, violations)
}

impl Found<'_> {
    /// Takes in a manifest: what it holds, and whether its entries are what its row says.
    fn look_at(
        &mut self,
        id: ManifestId,
        row: &ManifestRow,
        violations: &mut Vec<Violation>,
    ) -> Result<(), StoreError> {
        self.known.insert(id);
        self.take_in(&row.embedded);
        let mut entries = Vec::new();
        let mut walk = EntryWalk::at(self.view, id, row.clone(), 0)?;
        let whole = loop {
            match walk.next() {
                Ok(Some((_, entry))) => entries.push(entry),
                Ok(None) => break true,
                Err(StoreError::Missing { .. }) => break false,
                Err(error) => return Err(error),
            }
        };
        let ranges = entries.iter().all(|entry| matches!(entry.extent, Extent::Range { .. }) == row.composite);
        let as_said = whole
            && ranges
            && entries.len() as u64 == row.entries
            && RootHasher::of(&entries) == row.root
            && row.embedded.is_empty() != row.is_embedded();
        if !as_said {
            violations.push(Violation::ManifestContent(id));
        }
        Ok(())
    }

    fn take_in(&mut self, entries: &[Entry]) {
        for address in chunks::runs(entries) {
            *self.runs.entry(address).or_default() += 1;
        }
        for entry in entries {
            if let Extent::Range { manifest, .. } = entry.extent {
                *self.holders.entry(manifest).or_default() += 1;
            }
        }
    }

    /// Lengths of parts belong to a manifest of ranges, and come to its length.
    fn parts(&self, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
        each::<FilePartsKey>(self.view, FilePartsKey::all(), |key, FilePartsRow(lengths)| {
            let whole: u64 = lengths.iter().sum();
            let manifest = self.view.row(&ManifestKey(key.0))?;
            if !manifest.is_some_and(|row| row.composite && row.length == whole && lengths.len() > 1) {
                violations.push(Violation::Orphan { table: Table::System, key: hex::encode(key.encode()) });
            }
            Ok(())
        })
    }

    fn uploads(&mut self, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
        let mut due = BTreeSet::new();
        each::<DueKey>(self.view, DueKey::all(), |key, _| {
            if let Due::Staging(upload) = key.what {
                due.insert(upload);
            }
            Ok(())
        })?;
        each::<StagingKey>(self.view, StagingKey::all(), |key, _| {
            self.known.insert(key.manifest());
            if !due.contains(&key.0) {
                violations.push(Violation::Upload(key.0));
            }
            Ok(())
        })
    }

    /// Compares who holds manifests with what is noted, and with the release queue.
    fn holders(&mut self, rows: Vec<ManifestId>, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
        each::<HoldersKey>(self.view, HoldersKey::all(), |key, more| {
            if let HoldersKey::Manifest(manifest) = key {
                let counted = self.holders.get(&manifest).copied().unwrap_or(0);
                if counted != more + 1 {
                    violations.push(Violation::ManifestCount { manifest, stored: more + 1, counted });
                }
            }
            Ok(())
        })?;
        for manifest in rows {
            let counted = self.holders.remove(&manifest).unwrap_or(0);
            let shared = self.view.row(&HoldersKey::Manifest(manifest))?.is_some();
            if counted > 1 && !shared {
                violations.push(Violation::ManifestCount { manifest, stored: 1, counted });
            }
            let queued = self.releasing.remove(&manifest).unwrap_or(0);
            if queued != u64::from(counted == 0) {
                violations.push(Violation::ReleaseQueue(manifest));
            }
        }
        for (manifest, counted) in std::mem::take(&mut self.holders) {
            violations.push(Violation::ManifestCount { manifest, stored: 0, counted });
        }
        // What is left of the queue is half gone: without a row.
        let twice = self.releasing.iter().filter(|(_, queued)| **queued != 1);
        violations.extend(twice.map(|(manifest, _)| Violation::ReleaseQueue(*manifest)));
        Ok(())
    }

    fn segments(&mut self, violations: &mut Vec<Violation>) -> Result<(), StoreError> {
        let releasing: BTreeSet<ManifestId> = self.releasing.keys().copied().collect();
        each::<SegmentKey>(self.view, Vec::new(), |key, SegmentRow { entries, .. }| {
            self.take_in(&entries);
            if !self.known.contains(&key.manifest) && !releasing.contains(&key.manifest) {
                violations.push(Violation::Orphan { table: Table::Segments, key: hex::encode(key.encode()) });
            }
            Ok(())
        })
    }
}

fn references(
    view: &dyn MetaView,
    mut runs: BTreeMap<ChunkAddress, u64>,
    violations: &mut Vec<Violation>,
) -> Result<(), StoreError> {
    each::<ReferenceKey>(view, Vec::new(), |key, row| {
        let counted = runs.remove(&key.address).unwrap_or(0);
        if row.count != counted || counted == 0 || key.slot != key.address.slot() {
            violations.push(Violation::References { address: key.address, stored: row.count, counted });
        }
        Ok(())
    })?;
    let missing = |(address, counted)| Violation::References { address, stored: 0, counted };
    violations.extend(runs.into_iter().map(missing));
    Ok(())
}
