//! A bounded map that forgets what was used longest ago.

use cairn_common::seam::FastMap;
use std::collections::BTreeMap;
use std::hash::Hash;

/// At most `max` entries.
#[derive(Debug)]
pub(super) struct Lru<K, V> {
    max: usize,
    /// Key → value and when it was last used.
    entries: FastMap<K, (V, u64)>,
    /// When → key.
    order: BTreeMap<u64, K>,
    now: u64,
}

impl<K: Copy + Eq + Hash, V: Clone> Lru<K, V> {
    pub(super) fn new(max: usize) -> Lru<K, V> {
        assert!(max > 0, "a cache without room");
        Lru { max, entries: FastMap::default(), order: BTreeMap::new(), now: 0 }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        let (value, used) = self.entries.get_mut(key)?;
        self.now += 1;
        self.order.remove(used);
        self.order.insert(self.now, *key);
        *used = self.now;
        Some(value.clone())
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        if self.entries.len() == self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.now += 1;
        self.entries.insert(key, (value, self.now));
        self.order.insert(self.now, key);
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some((_, used)) = self.entries.remove(key) {
            self.order.remove(&used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_is_forgotten() {
        let mut cache = Lru::new(2);
        cache.insert(1, 'a');
        cache.insert(2, 'b');
        assert_eq!(cache.get(&1), Some('a'));
        cache.insert(3, 'c');
        assert_eq!((cache.get(&1), cache.get(&2), cache.get(&3)), (Some('a'), None, Some('c')));
        cache.insert(3, 'd');
        cache.remove(&1);
        assert_eq!((cache.get(&1), cache.get(&3)), (None, Some('d')));
        assert_eq!((cache.entries.len(), cache.order.len()), (1, 1));
    }
}
