//! Pending changes over a base: what the commands of one log entry see of each other.

use super::batch::Change;
use super::{Cursor, KeyRange, MetaView, Order, StoreError, Table, WriteBatch};
use bytes::Bytes;
use cairn_common::seam::FastMap;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::ops::Bound;

/// A view of `base` as it will be with the changes made so far. Changes since the last [`Overlay::keep`] can be taken back,
/// which is how a command that is refused half-way leaves nothing behind.
pub struct Overlay<'a> {
    base: &'a dyn MetaView,
    pending: WriteBatch,
    undo: Vec<(Table, Bytes, Option<Change>)>,
    /// Rows of the base that were read, of tables where all commands read the same few: a bucket, a session, a window.
    known: RefCell<FastMap<Vec<u8>, Option<Bytes>>>,
}

impl<'a> Overlay<'a> {
    /// No changes yet.
    pub fn new(base: &'a dyn MetaView) -> Overlay<'a> {
        Overlay { base, pending: WriteBatch::new(), undo: Vec::new(), known: RefCell::default() }
    }

    /// Sets a row.
    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.change(table, key.into(), Some(value.into()));
    }

    /// Removes a row. Fine if it is not there.
    pub fn delete(&mut self, table: Table, key: impl Into<Bytes>) {
        self.change(table, key.into(), None);
    }

    fn change(&mut self, table: Table, key: Bytes, change: Change) {
        let previous = self.pending.replace(table, key.clone(), change);
        self.undo.push((table, key, previous));
    }

    /// Changes made since the last [`Overlay::keep`].
    pub fn changed(&self) -> usize {
        self.undo.len()
    }

    /// Makes the changes so far final.
    pub fn keep(&mut self) {
        self.undo.clear();
    }

    /// Takes back all changes since the last [`Overlay::keep`].
    pub fn take_back(&mut self) {
        while let Some((table, key, previous)) = self.undo.pop() {
            self.pending.restore(table, key, previous);
        }
    }

    /// All changes.
    pub fn into_batch(self) -> WriteBatch {
        self.pending
    }
}

impl Overlay<'_> {
    /// A row of the base, which does not change while the overlay lives.
    fn remembered(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let known = [key, &[table as u8]].concat();
        if let Some(value) = self.known.borrow().get(&known) {
            return Ok(value.clone());
        }
        let value = self.base.get(table, key)?;
        self.known.borrow_mut().insert(known, value.clone());
        Ok(value)
    }
}

impl MetaView for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.pending.get(table, key) {
            Some(change) => Ok(change.clone()),
            None if matches!(table, Table::System | Table::Sessions) => self.remembered(table, key),
            None => self.base.get(table, key),
        }
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Result<Box<dyn Cursor + '_>, StoreError> {
        let base = self.base.scan(table, range.clone(), order)?;
        let mut cursor = Merged { pending: &self.pending, table, range, order, base, head: None, on: On::End };
        cursor.head = cursor.first_pending(None);
        cursor.settle()?;
        Ok(Box::new(cursor))
    }
}

/// Which side the current row comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Base,
    Pending,
    End,
}

/// A walk over base and changes at once.
struct Merged<'a> {
    pending: &'a WriteBatch,
    table: Table,
    range: KeyRange,
    order: Order,
    base: Box<dyn Cursor + 'a>,
    /// The next change in the walk.
    head: Option<(&'a Bytes, &'a Change)>,
    on: On,
}

impl<'a> Merged<'a> {
    /// The first change of the walk at `from` or after it; `None`: of all.
    fn first_pending(&self, from: Option<Bound<&[u8]>>) -> Option<(&'a Bytes, &'a Change)> {
        if self.range.is_empty() {
            return None;
        }
        let start = Bound::Included(self.range.start.as_slice());
        let end = self.range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let in_range = |key: &[u8]| self.range.contains(key);
        match (self.order, from) {
            (Order::Forward, None) => self.pending.between(self.table, start, end).next(),
            (Order::Backward, None) => self.pending.between(self.table, start, end).next_back(),
            (Order::Forward, Some(from)) => {
                self.pending.between(self.table, from, Bound::Unbounded).next().filter(|(key, _)| in_range(key))
            }
            (Order::Backward, Some(from)) => {
                self.pending.between(self.table, Bound::Unbounded, from).next_back().filter(|(key, _)| in_range(key))
            }
        }
    }

    fn next_pending(&mut self) {
        if let Some((key, _)) = self.head {
            self.head = self.first_pending(Some(Bound::Excluded(key)));
        }
    }

    /// How the base's row stands to the next change in the walk: which comes first.
    fn compare(&self) -> Option<Ordering> {
        let order = match (self.base.row(), self.head) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((base, _)), Some((head, _))) if self.order == Order::Forward => base.cmp(head),
            (Some((base, _)), Some((head, _))) => base.cmp(head).reverse(),
        };
        Some(order)
    }

    /// Finds out where the current row is, passing over removed ones.
    fn settle(&mut self) -> Result<(), StoreError> {
        loop {
            let order = self.compare();
            let removed = self.head.is_some_and(|(_, change)| change.is_none());
            match order {
                None => self.on = On::End,
                Some(Ordering::Less) => self.on = On::Base,
                Some(Ordering::Equal) if removed => {
                    self.base.advance()?;
                    self.next_pending();
                    continue;
                }
                Some(Ordering::Greater) if removed => {
                    self.next_pending();
                    continue;
                }
                Some(Ordering::Equal | Ordering::Greater) => self.on = On::Pending,
            }
            return Ok(());
        }
    }
}

impl Cursor for Merged<'_> {
    fn row(&self) -> Option<(&[u8], &[u8])> {
        match self.on {
            On::End => None,
            On::Base => self.base.row(),
            On::Pending => self.head.and_then(|(key, change)| Some((key.as_ref(), change.as_deref()?))),
        }
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        match self.on {
            On::End => return Ok(()),
            On::Base => self.base.advance()?,
            On::Pending => {
                if self.compare() == Some(Ordering::Equal) {
                    self.base.advance()?;
                }
                self.next_pending();
            }
        }
        self.settle()
    }

    fn seek(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.base.seek(key)?;
        // A place before the walk's start is its start.
        let before_start = match self.order {
            Order::Forward => key < self.range.start.as_slice(),
            Order::Backward => self.range.end.as_deref().is_some_and(|end| key >= end),
        };
        self.head = self.first_pending((!before_start).then_some(Bound::Included(key)));
        self.settle()
    }
}
