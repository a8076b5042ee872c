//! What happened, and whether it may have: one order of all writes that every member has, and every operation at a place in it
//! between its call and its answer (Herlihy and Wing 1990). Since every write is a different number, and the order is known,
//! checking that takes no search.

use std::collections::{BTreeMap, BTreeSet};

/// What was promised and what was seen.
#[derive(Default)]
pub(super) struct History {
    /// The order of all writes, as the first member that applied them has it.
    order: Vec<u64>,
    /// Place of each write in it: how many are there up to and with it.
    places: BTreeMap<u64, usize>,
    /// Term of each entry, and how many writes there are up to and with it.
    entries: BTreeMap<u64, (u64, usize)>,
    /// Who led in each term.
    leaders: BTreeMap<u64, u64>,
    /// Writes whose callers were told that nothing was done.
    refused: BTreeSet<u64>,
    /// The furthest place that any finished operation has shown to exist.
    shown: usize,
    pub(super) writes: u64,
    pub(super) reads: u64,
}

impl History {
    /// A member applied `value` behind `before` others.
    pub(super) fn applied(&mut self, before: usize, value: u64) -> Result<(), String> {
        match self.order.get(before) {
            Some(known) if *known == value => return Ok(()),
            Some(known) => return Err(format!("write {value} is at place {before}, where another member has {known}")),
            None if before > self.order.len() => return Err(format!("write {value} is applied behind a gap")),
            None => {}
        }
        if self.refused.contains(&value) {
            return Err(format!("write {value} was refused, and is executed"));
        }
        self.order.push(value);
        match self.places.insert(value, before + 1) {
            None => Ok(()),
            Some(place) => Err(format!("write {value} is executed at places {place} and {before}")),
        }
    }

    /// A member has applied the entry at `index`, and has `length` writes now.
    pub(super) fn reached(&mut self, index: u64, term: u64, length: usize) -> Result<(), String> {
        let known = *self.entries.entry(index).or_insert((term, length));
        if known == (term, length) {
            return Ok(());
        }
        Err(format!("entry {index} of term {term} leaves {length} writes; another member has {known:?}"))
    }

    /// A member leads.
    pub(super) fn leads(&mut self, node: u64, term: u64) -> Result<(), String> {
        let known = *self.leaders.entry(term).or_insert(node);
        if known == node { Ok(()) } else { Err(format!("{known} and {node} both lead in term {term}")) }
    }

    /// What an operation that begins now must see: everything that was shown before.
    pub(super) fn begin(&self) -> usize {
        self.shown
    }

    /// A write that was begun when `floor` was shown is acknowledged.
    pub(super) fn wrote(&mut self, value: u64, floor: usize) -> Result<(), String> {
        self.writes += 1;
        match self.places.get(&value) {
            None => Err(format!("write {value} was acknowledged, and nobody has executed it")),
            Some(place) if *place <= floor => {
                Err(format!("write {value} took place {place}, before {floor}, which was shown before it began"))
            }
            Some(place) => {
                self.shown = self.shown.max(*place);
                Ok(())
            }
        }
    }

    /// A write was answered with an error that says that nothing was done.
    pub(super) fn refused(&mut self, value: u64) -> Result<(), String> {
        self.refused.insert(value);
        if self.places.contains_key(&value) {
            return Err(format!("write {value} was executed, and then refused"));
        }
        Ok(())
    }

    /// A read that was begun when `floor` was shown saw the first `length` writes.
    pub(super) fn read(&mut self, length: usize, floor: usize) -> Result<(), String> {
        self.reads += 1;
        if length < floor {
            return Err(format!("a read saw {length} writes, and {floor} were shown before it began"));
        }
        self.shown = self.shown.max(length);
        Ok(())
    }

    /// How many writes must be there in the end, at least.
    pub(super) fn promised(&self) -> usize {
        self.shown
    }

    /// How many terms had a leader.
    pub(super) fn elections(&self) -> usize {
        self.leaders.len()
    }
}
