//! Rows in memory: the twin of the store on disk, for simulation and tests.
//!
//! It can forget: [`MemoryStore::crash`] gives the state as of the last flush, which is all that a crash leaves. Tables are
//! shared until one side changes, so that a snapshot costs nothing; a table that changes while a snapshot of it lives is
//! copied once.

use super::{Cursor, KeyRange, MetaSnapshot, MetaStore, MetaView, Order, Position, StoreError, Table, WriteBatch};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

type Rows = BTreeMap<Bytes, Bytes>;

/// All rows at one position.
#[derive(Clone, Debug, Default)]
struct Picture {
    tables: [Arc<Rows>; Table::COUNT],
    position: Position,
}

/// Rows in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    now: RwLock<Picture>,
    /// What a crash would leave.
    durable: RwLock<Picture>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// The store as a crash at this moment leaves it: the state of the last flush.
    pub fn crash(&self) -> MemoryStore {
        let picture = read(&self.durable).clone();
        MemoryStore { now: RwLock::new(picture.clone()), durable: RwLock::new(picture) }
    }
}

/// A panic elsewhere leaves whole pictures: they are replaced, never half-changed, but for the writer's own.
fn read(lock: &RwLock<Picture>) -> RwLockReadGuard<'_, Picture> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

impl MetaView for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        read(&self.now).get(table, key)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Result<Box<dyn Cursor + '_>, StoreError> {
        let rows = Arc::clone(&read(&self.now).tables[table as usize]);
        Ok(Box::new(Walk::new(rows, range, order)))
    }
}

impl MetaStore for MemoryStore {
    fn write(&self, batch: &WriteBatch, position: &Position) -> Result<(), StoreError> {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        for (table, key, value) in batch.changes() {
            let rows = Arc::make_mut(&mut now.tables[table as usize]);
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        now.position = *position;
        Ok(())
    }

    fn applied(&self) -> Result<Position, StoreError> {
        Ok(read(&self.now).position)
    }

    fn flushed(&self) -> Result<Position, StoreError> {
        Ok(read(&self.durable).position)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let picture = read(&self.now).clone();
        *self.durable.write().unwrap_or_else(PoisonError::into_inner) = picture;
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn MetaSnapshot + '_>, StoreError> {
        Ok(Box::new(read(&self.now).clone()))
    }
}

impl MetaView for Picture {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.tables[table as usize].get(key).cloned())
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Result<Box<dyn Cursor + '_>, StoreError> {
        Ok(Box::new(Walk::new(Arc::clone(&self.tables[table as usize]), range, order)))
    }
}

impl MetaSnapshot for Picture {
    fn position(&self) -> Result<Position, StoreError> {
        Ok(self.position)
    }
}

/// A walk over a table of its own.
struct Walk {
    rows: Arc<Rows>,
    range: KeyRange,
    order: Order,
    row: Option<(Bytes, Bytes)>,
}

impl Walk {
    fn new(rows: Arc<Rows>, range: KeyRange, order: Order) -> Walk {
        let mut walk = Walk { rows, range, order, row: None };
        walk.row = match order {
            Order::Forward => walk.first(Bound::Included(&walk.range.start)),
            Order::Backward => walk.first(walk.range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)),
        };
        walk
    }

    /// The first row of the walk from `from` on.
    fn first(&self, from: Bound<&[u8]>) -> Option<(Bytes, Bytes)> {
        let found = match self.order {
            Order::Forward => self.rows.range::<[u8], _>((from, Bound::Unbounded)).next(),
            Order::Backward => self.rows.range::<[u8], _>((Bound::Unbounded, from)).next_back(),
        };
        let (key, value) = found.filter(|(key, _)| self.range.contains(key))?;
        Some((key.clone(), value.clone()))
    }
}

impl Cursor for Walk {
    fn row(&self) -> Option<(&[u8], &[u8])> {
        self.row.as_ref().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        if let Some((key, _)) = self.row.take() {
            self.row = self.first(Bound::Excluded(&key));
        }
        Ok(())
    }

    fn seek(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let clamped = match (self.order, self.range.end.as_deref()) {
            (Order::Forward, _) => Bound::Included(key.max(self.range.start.as_slice())),
            (Order::Backward, Some(end)) if key >= end => Bound::Excluded(end),
            (Order::Backward, _) => Bound::Included(key),
        };
        self.row = self.first(clamped);
        Ok(())
    }
}
