//! Files and directories that are kept open because they may be needed when their process is gone.
//! Meanwhile their file system stays in use, so a volume of a container that has ended cannot be
//! detached. So each is closed when it was not used for a while.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::model::lru::{ByteSize, Lru};

/// Closed after this time without a use. Timers may be some seconds late, and the promise is
/// a minute.
const CLOSED_AFTER: Duration = Duration::from_secs(50);

/// Raises the limit of open files as far as this process may: the maps and programs of the probes
/// alone are more than a hundred. Without it, less is kept open.
pub(crate) fn raise_open_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

#[derive(Debug)]
struct Open<T> {
    value: T,
    used_at: Cell<Instant>,
}

impl<T> ByteSize for Open<T> {
    fn byte_size(&self) -> usize {
        size_of::<Self>()
    }
}

/// Open files or directories by key, or values that have some.
#[derive(Debug)]
pub(crate) struct KeptOpen<K, T>(Lru<K, Open<T>>);

impl<K: Ord + Clone + ByteSize, T> KeptOpen<K, T> {
    /// Keeps at most `max` values: those that were used last.
    pub(crate) const fn new(max: usize) -> Self {
        Self(Lru::new(max, usize::MAX))
    }

    /// Keeps a value. It counts as used now.
    pub(crate) fn insert(&mut self, key: K, value: T) {
        self.0.insert(key, Open { value, used_at: Cell::new(Instant::now()) });
    }

    /// The value of a key, which is thereby used.
    pub(crate) fn get(&self, key: &K) -> Option<&T> {
        let open = self.0.get(key)?;
        open.used_at.set(Instant::now());
        Some(&open.value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<T> {
        self.0.remove(key).map(|open| open.value)
    }

    /// Drops the values that do not fulfil a condition on their key.
    pub(crate) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.0.retain(|key, _| keep(key));
    }

    /// All values by key. They do not count as used.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.0.iter().map(|(key, open)| (key, &open.value))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Number of values that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.0.n_evicted()
    }

    /// Removes and returns all values.
    pub(crate) fn take_values(&mut self) -> impl Iterator<Item = T> + use<K, T> {
        self.0.take_values().map(|open| open.value)
    }

    /// When [`KeptOpen::close_unused`] has something to close, if nothing is used until then.
    pub(crate) fn next_close(&self) -> Option<Instant> {
        self.0.iter().map(|(_, open)| open.used_at.get() + CLOSED_AFTER).min()
    }

    /// Closes what was not used for a while.
    pub(crate) fn close_unused(&mut self, now: Instant) {
        self.0.retain(|_, open| now < open.used_at.get() + CLOSED_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_limit_is_raised_to_the_hard_limit() {
        let limit = getrlimit(Resource::Nofile);
        let hard = limit.maximum.unwrap_or(1 << 20);
        setrlimit(Resource::Nofile, Rlimit { current: Some(hard - 1), ..limit }).unwrap();
        raise_open_limit();
        assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: limit.maximum, ..limit });
    }

    #[test]
    fn value_is_closed_some_time_after_its_last_use() {
        let mut kept = KeptOpen::<u32, &str>::new(3);
        assert_eq!(kept.next_close(), None);
        kept.insert(1, "first");
        kept.insert(2, "second");
        let due = kept.next_close().unwrap();
        kept.close_unused(due.checked_sub(Duration::from_millis(1)).unwrap());
        assert_eq!(kept.iter().count(), 2);
        while kept.next_close() == Some(due) {
            assert_eq!(kept.get(&1), Some(&"first"));
            kept.close_unused(due);
        }
        let left: Vec<u32> = kept.iter().map(|(key, _)| *key).collect();
        assert!(left.contains(&1) && kept.next_close().unwrap() > due, "{left:?}");
        kept.close_unused(due + CLOSED_AFTER);
        assert_eq!(kept.len(), 0);
    }
}
