//! Whether what clients saw of one key can have happened in some order, each operation at one moment between its call and its
//! answer: linearizability, by the search of Wing and Gong with Lowe's memory of what was tried (Wing, Gong 1993; Lowe 2017).
//!
//! Every value is written once, so that a read says which write it saw. An operation whose outcome is not known may have
//! happened at any time after its call, or never.

use std::collections::BTreeSet;

/// What a client did with the key, and what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It wrote this value.
    Write(u64),
    /// It removed the key, whatever was there.
    Remove,
    /// It read this; `None`: nothing was there.
    Read(Option<u64>),
    /// It wrote `to` if `expected` was there; whether that was so, if known.
    Swap {
        /// What must be there.
        expected: Option<u64>,
        /// What is there afterwards.
        to: u64,
        /// Whether it was done.
        done: Option<bool>,
    },
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// When it was called.
    pub called: u64,
    /// When it was answered; `None`: its outcome is not known.
    pub answered: Option<u64>,
    /// What it was.
    pub action: Action,
}

/// States that are tried before a history is called too long to judge.
const TRIED_MAX: usize = 4_000_000;

/// Looks for an order. An error shows the operations that cannot be brought into one.
pub fn check(history: &[Operation]) -> Result<(), String> {
    let mut operations: Vec<Operation> = history.to_vec();
    // A read without an answer says nothing.
    operations.retain(|operation| operation.answered.is_some() || !matches!(operation.action, Action::Read(_)));
    operations.sort_by_key(|operation| operation.called);
    let mut search =
        Search { done: vec![false; operations.len()], operations, tried: BTreeSet::new(), furthest: Vec::new() };
    if search.go_on(0, None) {
        return Ok(());
    }
    if search.tried.len() >= TRIED_MAX {
        return Err(format!("{} operations are too many to judge", search.operations.len()));
    }
    Err(search.describe())
}

struct Search {
    operations: Vec<Operation>,
    done: Vec<bool>,
    tried: BTreeSet<(Vec<u64>, Option<u64>)>,
    /// The longest order that was found, for people.
    furthest: Vec<bool>,
}

impl Search {
    /// Whether the operations that are not done yet can follow on `state`. Those before `first` are done.
    fn go_on(&mut self, first: usize, state: Option<u64>) -> bool {
        let first = (first..self.done.len()).find(|at| !self.done[*at]).unwrap_or(self.done.len());
        let open = (first..self.done.len()).filter(|at| !self.done[*at]);
        // Whoever was called after this was answered cannot come before it.
        let Some(limit) = open.clone().filter_map(|at| self.operations[at].answered).min() else { return true };
        let next: Vec<usize> = open.take_while(|at| self.operations[*at].called <= limit).collect();
        if self.tried.len() >= TRIED_MAX || !self.tried.insert((self.pattern(), state)) {
            return false;
        }
        for at in next {
            let Some(after) = after(self.operations[at].action, state) else { continue };
            self.done[at] = true;
            if self.count(&self.done) > self.count(&self.furthest) {
                self.furthest = self.done.clone();
            }
            if self.go_on(first, after) {
                return true;
            }
            self.done[at] = false;
        }
        false
    }

    fn count(&self, done: &[bool]) -> usize {
        done.iter().filter(|done| **done).count()
    }

    fn pattern(&self) -> Vec<u64> {
        let word = |bits: &[bool]| bits.iter().fold(0, |word, bit| word << 1 | u64::from(*bit));
        self.done.chunks(64).map(word).collect()
    }

    fn describe(&self) -> String {
        let left = self.operations.iter().zip(&self.furthest).filter(|(_, done)| !**done);
        let left: Vec<String> = left.take(12).map(|(operation, _)| format!("{operation:?}")).collect();
        format!("no order explains what was seen; these could not be placed:\n{}", left.join("\n"))
    }
}

/// The state after an action, if the action can have gone as it says.
fn after(action: Action, state: Option<u64>) -> Option<Option<u64>> {
    match action {
        Action::Write(value) => Some(Some(value)),
        Action::Remove => Some(None),
        Action::Read(seen) => (seen == state).then_some(state),
        Action::Swap { expected, to, done } => match (expected == state, done) {
            (true, Some(true) | None) => Some(Some(to)),
            (false, Some(false) | None) => Some(state),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(called: u64, answered: u64, action: Action) -> Operation {
        Operation { called, answered: Some(answered), action }
    }

    fn lost(called: u64, action: Action) -> Operation {
        Operation { called, answered: None, action }
    }

    #[test]
    fn operations_at_the_same_time_may_have_gone_either_way() {
        let both = [op(1, 10, Action::Write(1)), op(2, 9, Action::Write(2))];
        for seen in [1, 2] {
            check(&[&both[..], &[op(11, 12, Action::Read(Some(seen)))]].concat()).unwrap();
        }
        assert!(check(&[&both[..], &[op(11, 12, Action::Read(None))]].concat()).is_err(), "both were acknowledged");
    }

    #[test]
    fn a_read_may_not_go_back_behind_what_another_has_seen() {
        let write = [op(1, 2, Action::Write(1)), op(3, 20, Action::Write(2))];
        let reads = |first, second| [op(4, 5, Action::Read(first)), op(6, 7, Action::Read(second))];
        check(&[&write[..], &reads(Some(1), Some(2))].concat()).unwrap();
        assert!(check(&[&write[..], &reads(Some(2), Some(1))].concat()).is_err());
    }

    #[test]
    fn what_was_lost_may_have_happened_late_or_never_but_not_twice() {
        let lost = lost(1, Action::Write(1));
        check(&[lost, op(2, 3, Action::Read(None)), op(50, 51, Action::Read(Some(1)))]).unwrap();
        check(&[lost, op(2, 3, Action::Read(None))]).unwrap();
        let gone = [lost, op(2, 3, Action::Read(Some(1))), op(4, 5, Action::Remove), op(6, 7, Action::Read(Some(1)))];
        assert!(check(&gone).is_err(), "executed twice");
    }

    #[test]
    fn of_two_swaps_of_the_same_only_one_is_done() {
        let swap = |to, done| Action::Swap { expected: Some(1), to, done: Some(done) };
        let begin = op(1, 2, Action::Write(1));
        check(&[begin, op(3, 9, swap(2, true)), op(3, 9, swap(3, false))]).unwrap();
        assert!(check(&[begin, op(3, 9, swap(2, true)), op(3, 9, swap(3, true))]).is_err());
        assert!(check(&[begin, op(3, 9, swap(2, false))]).is_err(), "nothing was in the way");
    }
}
