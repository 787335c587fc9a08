//! A map with a limit in entries and in bytes, for data that is keyed by something from outside:
//! containers, users, processes, files, addresses. Anybody can make as many of those as he likes,
//! with names as long as he likes. The entries that were not used for the longest time make room,
//! and are counted.

use std::{borrow::Borrow, cell::Cell, collections::BTreeMap, mem, ops::RangeBounds};

/// Bytes of an entry besides its key, which is stored twice, and its value.
const ENTRY_BYTES: usize = 64;

/// The memory that a value takes.
pub trait ByteSize {
    /// The bytes of the value and of everything that it owns.
    fn byte_size(&self) -> usize;
}

#[derive(Clone, Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    /// Its place in the queue.
    queued: u64,
    /// The place in the queue that it has earned since by being used.
    used: Cell<u64>,
}

/// A map that drops its least recently used entries.
#[derive(Clone, Debug)]
pub struct Lru<K, V> {
    max_entries: usize,
    max_bytes: usize,
    entries: BTreeMap<K, Entry<V>>,
    /// Keys in the order in which they leave, if they are not used meanwhile.
    queue: BTreeMap<u64, K>,
    /// The next place in the queue.
    next: Cell<u64>,
    bytes: usize,
    n_evicted: u64,
}

impl<K: Ord + Clone + ByteSize, V: ByteSize> Lru<K, V> {
    /// An empty map with these limits.
    pub const fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            max_entries,
            max_bytes,
            entries: BTreeMap::new(),
            queue: BTreeMap::new(),
            next: Cell::new(0),
            bytes: 0,
            n_evicted: 0,
        }
    }

    /// Adds an entry, or replaces its value. An entry that is larger than the whole map may be is
    /// dropped at once.
    pub fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        let bytes = ENTRY_BYTES + 2 * key.byte_size() + value.byte_size();
        if bytes > self.max_bytes {
            self.n_evicted += 1;
            return;
        }
        let queued = self.place();
        self.queue.insert(queued, key.clone());
        self.entries.insert(key, Entry { value, bytes, queued, used: Cell::new(queued) });
        self.bytes += bytes;
        while self.entries.len() > self.max_entries || self.bytes > self.max_bytes {
            self.evict();
        }
    }

    /// The value of a key, which is thereby used.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get(key)?;
        entry.used.set(self.place());
        Some(&entry.value)
    }

    /// Whether there is an entry. It does not count as used.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.entries.contains_key(key)
    }

    /// Removes an entry.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let Entry { value, bytes, queued, .. } = self.entries.remove(key)?;
        self.queue.remove(&queued);
        self.bytes -= bytes;
        Some(value)
    }

    /// Changes the value of a key, or a new one.
    pub fn change(&mut self, key: K, change: impl FnOnce(&mut V))
    where
        V: Default,
    {
        let mut value = self.remove(&key).unwrap_or_default();
        change(&mut value);
        self.insert(key, value);
    }

    /// Removes all entries in a range of keys.
    pub fn remove_range(&mut self, keys: impl RangeBounds<K>) {
        let found: Vec<K> = self.entries.range(keys).map(|(key, _)| key.clone()).collect();
        for key in found {
            self.remove(&key);
        }
    }

    /// Removes the entries that do not fulfil a condition.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let dropped = self.iter().filter(|(key, value)| !keep(key, value));
        let dropped: Vec<K> = dropped.map(|(key, _)| key.clone()).collect();
        for key in dropped {
            self.remove(&key);
        }
    }

    /// Removes and returns all values.
    pub fn take_values(&mut self) -> impl Iterator<Item = V> + use<K, V> {
        self.queue.clear();
        self.bytes = 0;
        mem::take(&mut self.entries).into_values().map(|entry| entry.value)
    }

    /// The entries in a range of keys. They do not count as used.
    pub fn range(&self, keys: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &V)> {
        self.entries.range(keys).map(|(key, entry)| (key, &entry.value))
    }

    /// All entries by key. They do not count as used.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of entries that had to make room so far.
    pub fn n_evicted(&self) -> u64 {
        self.n_evicted
    }

    fn place(&self) -> u64 {
        let place = self.next.get();
        self.next.set(place + 1);
        place
    }

    /// Drops the entry that was not used for the longest time. On the way, entries get the places
    /// that they have earned.
    fn evict(&mut self) {
        while let Some((place, key)) = self.queue.pop_first() {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let earned = entry.used.get();
            if earned == place {
                self.bytes -= entry.bytes;
                self.n_evicted += 1;
                self.entries.remove(&key);
                return;
            }
            entry.queued = earned;
            self.queue.insert(earned, key);
        }
    }
}

impl<T: ByteSize> ByteSize for Option<T> {
    fn byte_size(&self) -> usize {
        size_of::<Self>() + self.as_ref().map_or(0, |value| value.byte_size() - size_of::<T>())
    }
}

impl<T: ByteSize> ByteSize for Vec<T> {
    fn byte_size(&self) -> usize {
        size_of::<Self>() + self.iter().map(ByteSize::byte_size).sum::<usize>()
    }
}

impl<A: ByteSize, B: ByteSize> ByteSize for (A, B) {
    fn byte_size(&self) -> usize {
        self.0.byte_size() + self.1.byte_size()
    }
}

impl ByteSize for String {
    fn byte_size(&self) -> usize {
        size_of::<Self>() + self.len()
    }
}

/// Types that own nothing.
macro_rules! plain {
    ($($plain:ty),*) => {
        $(impl ByteSize for $plain {
            fn byte_size(&self) -> usize {
                size_of::<Self>()
            }
        })*
    };
}

plain!((), i32, u32, u64);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(map: &Lru<u64, String>) -> Vec<u64> {
        map.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn entry_that_was_used_last_stays() {
        let mut map = Lru::new(3, usize::MAX);
        for key in 1..=3 {
            map.insert(key, String::new());
        }
        assert!(map.get(&1).is_some() && map.contains_key(&2) && map.get(&9).is_none());
        map.insert(4, String::new());
        assert_eq!(keys(&map), [1, 3, 4]);
        map.insert(3, String::new());
        map.insert(5, String::new());
        assert_eq!(keys(&map), [3, 4, 5]);
        assert_eq!(map.n_evicted(), 2);
    }

    #[test]
    fn bytes_are_limited_too() {
        let kib = || "x".repeat(1 << 10);
        let mut map = Lru::new(1000, 10 << 10);
        for key in 0..100 {
            map.insert(key, kib());
        }
        assert_eq!(keys(&map), (91..100).collect::<Vec<_>>());
        assert!(map.bytes() <= 10 << 10, "{}", map.bytes());
        map.insert(200, "x".repeat(10 << 10));
        assert!(!map.contains_key(&200) && map.len() == 9, "too large for the map");
        assert_eq!(map.n_evicted(), 92);
    }

    #[test]
    fn removed_entries_take_nothing() {
        let mut map = Lru::new(10, usize::MAX);
        for key in 0..10_000 {
            map.insert(key, String::new());
            map.remove(&key);
        }
        assert_eq!((map.bytes(), map.queue.len(), map.n_evicted()), (0, 0, 0));
        (0..9).for_each(|key| map.insert(key, String::new()));
        map.remove_range(2..4);
        map.retain(|key, _| key % 2 == 0);
        assert_eq!(keys(&map), [0, 4, 6, 8]);
        assert_eq!(map.take_values().count(), 4);
        assert!(map.is_empty() && map.bytes() == 0);
    }

    proptest! {
        /// Like a list in which each use moves an entry to the end.
        #[test]
        fn random_uses_leave_what_was_used_last(
            uses in prop::collection::vec((0..9_u64, any::<bool>()), 0..99),
        ) {
            let mut map = Lru::new(4, usize::MAX);
            let mut list: Vec<u64> = Vec::new();
            for (key, is_insertion) in uses {
                let is_known = list.contains(&key);
                if is_insertion {
                    map.insert(key, String::new());
                } else {
                    prop_assert_eq!(map.get(&key).is_some(), is_known);
                }
                if is_insertion || is_known {
                    list.retain(|other| *other != key);
                    list.push(key);
                }
                if list.len() > 4 {
                    list.remove(0);
                }
                let mut expected = list.clone();
                expected.sort_unstable();
                prop_assert_eq!(keys(&map), expected);
            }
        }
    }
}
