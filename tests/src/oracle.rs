//! What the store must have: the account of every operation, and whether it was acknowledged.
//!
//! Each key has one writer, so its operations have an order. A read must see the last acknowledged state, or that of a later
//! operation whose outcome is not known; and what was once seen stays.

use crate::content::Body;
use anyhow::{Result, bail};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// A state of a key: a body, or nothing.
pub type State = Option<Body>;

#[derive(Clone, Debug, Default)]
struct Account {
    acknowledged: State,
    /// Begun after the acknowledged one, outcome unknown, in order.
    open: Vec<State>,
    /// What was done with the key, for the report of a broken promise: the last [`TOLD`] operations.
    told: VecDeque<(&'static str, State)>,
}

/// Operations on a key that a report names.
const TOLD: usize = 8;

impl Account {
    fn tell(&mut self, what: &'static str, state: State) {
        if self.told.len() == TOLD {
            self.told.pop_front();
        }
        self.told.push_back((what, state));
    }

    fn settle_on(&mut self, state: State) {
        self.acknowledged = state;
        self.open.clear();
    }
}

/// The account of all keys. Shared by reference.
#[derive(Debug, Default)]
pub struct Oracle {
    keys: Mutex<BTreeMap<String, Account>>,
    counts: Mutex<Counts>,
    /// Since the power was cut, nobody can have heard an answer.
    dark: AtomicBool,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes and removals that were acknowledged.
    pub acknowledged: u64,
    /// Those whose outcome never became known.
    pub unknown: u64,
    /// Reads that were compared.
    pub reads: u64,
}

impl Oracle {
    /// Before an operation is sent: from now on its effect may be seen.
    pub fn begin(&self, key: &str, state: State) {
        self.with(key, |account| account.open.push(state));
    }

    /// Call before the power of the first machine is cut, and again when it is back. Answers in between do not count: a cut takes
    /// all at one instant, and the file systems that stand for it are stopped one after the other. Nor would each be true: an
    /// fdatasync that is under way while ext4 is shut down may return success for what is lost (measured on Linux 6.18: in 25
    /// of 300 shutdowns, always the last call).
    pub fn power(&self, on: bool) {
        self.dark.store(!on, Ordering::SeqCst);
    }

    fn is_dark(&self) -> bool {
        self.dark.load(Ordering::SeqCst)
    }

    /// The operation begun last on this key was acknowledged.
    pub fn acknowledge(&self, key: &str) {
        if self.is_dark() {
            return self.lose(key);
        }
        self.with(key, |account| {
            if let Some(state) = account.open.pop() {
                account.tell("acknowledged", state);
                account.settle_on(state);
            }
        });
        self.count(|counts| counts.acknowledged += 1);
    }

    /// The operation begun last was refused with certainty: it has no effect.
    pub fn refuse(&self, key: &str) {
        self.with(key, |account| {
            if let Some(state) = account.open.pop() {
                account.tell("refused", state);
            }
        });
    }

    /// The outcome of the operation begun last is not known.
    pub fn lose(&self, key: &str) {
        self.with(key, |account| {
            if let Some(state) = account.open.last().copied() {
                account.tell("unknown", state);
            }
        });
        self.count(|counts| counts.unknown += 1);
    }

    /// A read saw `seen`, after nothing else was going on with this key. An error names the broken promise.
    pub fn observe(&self, key: &str, seen: Seen) -> Result<()> {
        if self.is_dark() {
            return Ok(());
        }
        self.count(|counts| counts.reads += 1);
        let account = self.with(key, |account| account.clone());
        let states = std::iter::once(account.acknowledged).chain(account.open.iter().copied());
        for state in states {
            if seen.is(state) {
                self.with(key, |account| {
                    account.tell("seen", state);
                    account.settle_on(state);
                });
                return Ok(());
            }
        }
        let Account { acknowledged, open, told } = account;
        bail!("{key}: {seen:?} was read; acknowledged was {acknowledged:?}, and open were {open:?}; before: {told:?}")
    }

    /// Every key that ever was written, in order.
    pub fn keys(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// What a read may find now: the acknowledged state, and whether others are possible.
    pub fn expected(&self, key: &str) -> (State, bool) {
        self.with(key, |account| (account.acknowledged, !account.open.is_empty()))
    }

    /// How much was done.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Account>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, key: &str, change: impl FnOnce(&mut Account) -> T) -> T {
        change(self.lock().entry(key.to_owned()).or_default())
    }
}

/// What a read saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There is no such file.
    Absent,
    /// A file of this length and BLAKE3.
    File(u64, blake3::Hash),
}

impl Seen {
    fn is(self, state: State) -> bool {
        match (self, state) {
            (Seen::Absent, None) => true,
            (Seen::File(length, hash), Some(body)) => length == body.length && hash == body.hash(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Body = Body { seed: 1, length: 10 };
    const B: Body = Body { seed: 2, length: 10 };

    fn seen(body: Body) -> Seen {
        Seen::File(body.length, body.hash())
    }

    #[test]
    fn what_is_heard_while_the_power_is_off_counts_for_nothing() {
        let oracle = Oracle::default();
        oracle.begin("k", Some(A));
        oracle.acknowledge("k");
        oracle.power(false);
        oracle.begin("k", Some(B));
        oracle.acknowledge("k");
        assert!(oracle.observe("k", seen(B)).is_ok());
        oracle.power(true);
        assert!(oracle.observe("k", Seen::Absent).is_err(), "what was acknowledged before stays so");
        assert!(oracle.observe("k", seen(A)).is_ok());
        assert!(oracle.observe("k", seen(B)).is_err(), "once seen, it stays");
    }

    #[test]
    fn what_was_acknowledged_must_be_seen() {
        let oracle = Oracle::default();
        oracle.begin("k", Some(A));
        oracle.acknowledge("k");
        assert!(oracle.observe("k", seen(A)).is_ok());
        assert!(oracle.observe("k", Seen::Absent).is_err());
        assert!(oracle.observe("k", seen(B)).is_err());
        oracle.begin("k", None);
        oracle.acknowledge("k");
        assert!(oracle.observe("k", seen(A)).is_err(), "a removed file came back");
        assert!(oracle.observe("k", Seen::Absent).is_ok());
    }

    #[test]
    fn an_unknown_outcome_is_one_or_the_other_and_then_stays() {
        let oracle = Oracle::default();
        oracle.begin("k", Some(A));
        oracle.acknowledge("k");
        oracle.begin("k", Some(B));
        oracle.lose("k");
        assert!(oracle.observe("k", seen(B)).is_ok());
        assert!(oracle.observe("k", seen(A)).is_err(), "it was seen to have happened");
        oracle.begin("k", Some(A));
        oracle.refuse("k");
        assert!(oracle.observe("k", seen(A)).is_err(), "a refused write has no effect");
    }

    #[test]
    fn an_acknowledgement_settles_what_was_open_before() {
        let oracle = Oracle::default();
        oracle.begin("k", Some(A));
        oracle.lose("k");
        oracle.begin("k", Some(B));
        oracle.acknowledge("k");
        assert!(oracle.observe("k", seen(A)).is_err());
        assert!(oracle.observe("k", seen(B)).is_ok());
        assert_eq!(oracle.counts(), Counts { acknowledged: 1, unknown: 1, reads: 2 });
    }
}
