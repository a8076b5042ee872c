//! Walking over rows in order: ranges of keys, and the cursor over one.

use super::StoreError;

/// Which way a cursor walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From small keys to large ones.
    Forward,
    /// From large keys to small ones.
    Backward,
}

/// Keys from `start` to before `end`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyRange {
    /// The first key.
    pub start: Vec<u8>,
    /// Before which key it ends; `None`: at the end of the table.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// All keys that start with `prefix`.
    pub fn prefix(prefix: Vec<u8>) -> KeyRange {
        let end = successor(&prefix);
        KeyRange { start: prefix, end }
    }

    /// Whether `key` lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_deref().is_none_or(|end| key < end)
    }

    /// Whether no key can lie in it.
    pub fn is_empty(&self) -> bool {
        self.end.as_deref().is_some_and(|end| end <= self.start.as_slice())
    }
}

/// The smallest key that is larger than all keys that start with `prefix`; `None` if there is none.
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut next = prefix[..=kept].to_vec();
    next[kept] += 1;
    Some(next)
}

/// A place in a walk over a range. A new cursor is on the first row of its walk.
pub trait Cursor {
    /// The row it is on: key and value. `None`: behind the last.
    fn row(&self) -> Option<(&[u8], &[u8])>;

    /// Goes to the next row of the walk. Behind the last one it stays there.
    fn advance(&mut self) -> Result<(), StoreError>;

    /// Goes to the first row of the walk that is at `key` or after it (backward: at it or before it).
    fn seek(&mut self, key: &[u8]) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_successor_follows_all_that_starts_alike() {
        assert_eq!(successor(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(successor(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(successor(&[255]), None);
        assert_eq!(successor(&[]), None);
    }

    proptest! {
        #[test]
        fn a_prefix_range_holds_what_starts_with_it_and_nothing_else(prefix: Vec<u8>, key: Vec<u8>, rest: Vec<u8>) {
            let range = KeyRange::prefix(prefix.clone());
            prop_assert_eq!(range.contains(&key), key.starts_with(&prefix));
            prop_assert!(range.contains(&[prefix, rest].concat()));
        }
    }
}
