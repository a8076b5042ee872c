//! Changes to rows, as data.

use super::Table;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// What one row becomes: its new value, or nothing.
pub(super) type Change = Option<Bytes>;
/// Changes of one table, by key.
pub(super) type Changes = BTreeMap<Bytes, Change>;

/// Changes to rows. A later change of a row takes the place of an earlier one. Kept in the order of tables and keys, so that
/// the same changes are the same bytes everywhere, and the store takes them in the order in which it keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    tables: [Changes; Table::COUNT],
}

impl WriteBatch {
    /// No changes.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Sets a row.
    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.tables[table as usize].insert(key.into(), Some(value.into()));
    }

    /// Removes a row. Fine if it is not there.
    pub fn delete(&mut self, table: Table, key: impl Into<Bytes>) {
        self.tables[table as usize].insert(key.into(), None);
    }

    /// What the batch does to a row; `None`: it does not touch it.
    pub fn get(&self, table: Table, key: &[u8]) -> Option<&Option<Bytes>> {
        self.tables[table as usize].get(key)
    }

    /// All changes, by table and key; `None`: the row is removed.
    pub fn changes(&self) -> impl Iterator<Item = (Table, &Bytes, Option<&Bytes>)> {
        let of_table =
            |table: Table| self.tables[table as usize].iter().map(move |(key, change)| (table, key, change.as_ref()));
        Table::ALL.into_iter().flat_map(of_table)
    }

    /// Adds the changes of `later`, which win.
    pub fn append(&mut self, mut later: WriteBatch) {
        for (mine, theirs) in self.tables.iter_mut().zip(&mut later.tables) {
            mine.append(theirs);
        }
    }

    /// How many rows it touches.
    pub fn len(&self) -> usize {
        self.tables.iter().map(BTreeMap::len).sum()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(BTreeMap::is_empty)
    }

    /// BLAKE3 over `previous` and every change, each part with its length: the next link of the state's digest.
    pub fn digest(&self, previous: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("cairn 2026 metadata batch");
        hasher.update(previous);
        for (table, key, value) in self.changes() {
            // One byte of kind, then lengths: no two different lists of changes are the same bytes.
            let mut head = [0; 10];
            head[0] = table as u8;
            head[1] = u8::from(value.is_some());
            head[2..6].copy_from_slice(&length(key));
            head[6..].copy_from_slice(&value.map_or([0; 4], length));
            hasher.update(&head).update(key);
            if let Some(value) = value {
                hasher.update(value);
            }
        }
        *hasher.finalize().as_bytes()
    }

    /// Puts back what a row was to become before a change. For [`Overlay`](super::Overlay), which can take a command back.
    pub(super) fn restore(&mut self, table: Table, key: Bytes, previous: Option<Change>) {
        let table = &mut self.tables[table as usize];
        match previous {
            Some(change) => table.insert(key, change),
            None => table.remove(&key),
        };
    }

    /// Changes a row and tells what it was to become before.
    pub(super) fn replace(&mut self, table: Table, key: Bytes, change: Change) -> Option<Change> {
        self.tables[table as usize].insert(key, change)
    }

    /// Changes of a table between two keys.
    pub(super) fn between(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&Bytes, &Change)> {
        self.tables[table as usize].range::<[u8], _>((from, to))
    }
}

fn length(bytes: &Bytes) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("keys and values are far below 4 GiB").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_changes_win_and_order_is_that_of_keys() {
        let mut batch = WriteBatch::new();
        batch.put(Table::System, "b", "1");
        batch.put(Table::Current, "z", "2");
        batch.delete(Table::System, "b");
        let mut later = WriteBatch::new();
        later.put(Table::System, "a", "3");
        later.delete(Table::Current, "z");
        batch.append(later);
        let changes: Vec<_> = batch.changes().map(|(table, key, value)| (table, key.clone(), value.cloned())).collect();
        let key = |text: &'static str| Bytes::from(text);
        assert_eq!(
            changes,
            [
                (Table::Current, key("z"), None),
                (Table::System, key("a"), Some(key("3"))),
                (Table::System, key("b"), None)
            ]
        );
    }

    #[test]
    fn every_part_of_every_change_is_in_the_digest() {
        let digest = |table, key: &'static str, value: Option<&'static str>| {
            let mut batch = WriteBatch::new();
            match value {
                Some(value) => batch.put(table, key, value),
                None => batch.delete(table, key),
            }
            batch.digest(&[0; 32])
        };
        let all = [
            digest(Table::System, "ab", Some("c")),
            digest(Table::Current, "ab", Some("c")),
            digest(Table::System, "a", Some("bc")),
            digest(Table::System, "ab", Some("")),
            digest(Table::System, "ab", None),
            WriteBatch::new().digest(&[0; 32]),
            WriteBatch::new().digest(&[1; 32]),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }
}
