//! Names for the addresses of a trigger's kernel stack, looked up on a thread of their own. The
//! helper process that reads the kernel's symbols may start slowly while memory is short, and the
//! ring must be drained meanwhile.
//!
//! A provisional report waits for the names, but only [`patience`] long. It has the rest as
//! addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    host::{
        disposable,
        threads::ThreadName,
        worker::{Answers, Work, Worker},
    },
    model::{lru::Lru, names::Symbol},
    symbolize::kernel::KernelSymbols,
};

/// Requests that wait. Kernel stacks are much alike, so there are few.
const MAX_REQUESTS: usize = 64;
/// Addresses whose names are kept. The kernel has few ways into the OOM killer.
const MAX_FOUND: usize = 4096;
/// Bytes of these names: a hundred each.
const MAX_FOUND_BYTES: usize = 512 << 10;

/// How long a report waits since its names were asked for. Half of what a helper process may take:
/// the ring has room for a hundred kills meanwhile.
fn patience() -> Duration {
    disposable::deadline() / 2
}

/// Asks the thread, and keeps its answers.
#[derive(Debug, Default)]
pub(crate) struct KernelLookup {
    answers: Arc<Answers<Found>>,
    worker: Option<Worker<Vec<u64>>>,
}

#[derive(Debug)]
struct Found {
    symbols: Lru<u64, Symbol>,
    unanswered: BTreeSet<u64>,
    /// When the first of the unanswered addresses was asked for.
    since: Option<Instant>,
}

impl Default for Found {
    fn default() -> Self {
        let symbols = Lru::new(MAX_FOUND, MAX_FOUND_BYTES);
        Self { symbols, unanswered: BTreeSet::new(), since: None }
    }
}

impl KernelLookup {
    /// Asks for the names of these addresses, and does not wait.
    pub(crate) fn ask(&mut self, ips: &[u64]) {
        self.ask_by(ips, |answers| {
            let mut kernel = KernelSymbols::default();
            let look_up = move |ips: &[u64]| kernel.resolve(ips);
            Worker::start(ThreadName::Kernel, MAX_REQUESTS, LookupThread { answers, look_up }).ok()
        });
    }

    fn ask_by(
        &mut self,
        ips: &[u64],
        start: impl FnOnce(Arc<Answers<Found>>) -> Option<Worker<Vec<u64>>>,
    ) {
        let mut found = self.answers.lock();
        let is_new = |ip: &u64| !found.symbols.contains_key(ip) && !found.unanswered.contains(ip);
        let new: Vec<u64> = ips.iter().copied().filter(is_new).collect();
        if new.is_empty() {
            return;
        }
        found.since.get_or_insert_with(Instant::now);
        found.unanswered.extend(&new);
        drop(found);
        if self.worker.is_none() {
            self.worker = start(Arc::clone(&self.answers));
        }
        // If the host does not allow another thread, reports have addresses.
        if !self.worker.as_ref().is_some_and(|worker| worker.send(new.clone())) {
            self.answers.lock().answer(&new, BTreeMap::new());
        }
    }

    /// Number of names that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.answers.lock().symbols.n_evicted()
    }

    /// The names of these addresses as far as they are known, and the addresses that have no answer
    /// yet. Waits for answers, but no longer than [`patience`] after they were asked for.
    pub(crate) fn resolve(&self, ips: &[u64]) -> (BTreeMap<u64, Symbol>, Vec<u64>) {
        let since = self.answers.lock().since;
        let left = since.map_or(Duration::ZERO, |it| patience().saturating_sub(it.elapsed()));
        let is_unanswered = |found: &mut Found| ips.iter().any(|ip| found.unanswered.contains(ip));
        let found = self.answers.wait_while(left, is_unanswered);
        let symbol = |ip: &u64| Some((*ip, found.symbols.get(ip)?.clone()));
        let late = ips.iter().copied().filter(|ip| found.unanswered.contains(ip)).collect();
        (ips.iter().filter_map(symbol).collect(), late)
    }
}

impl Found {
    fn answer(&mut self, ips: &[u64], symbols: BTreeMap<u64, Symbol>) {
        for (ip, symbol) in symbols {
            self.symbols.insert(ip, symbol);
        }
        for ip in ips {
            self.unanswered.remove(ip);
        }
        if self.unanswered.is_empty() {
            self.since = None;
        }
    }
}

struct LookupThread<F> {
    answers: Arc<Answers<Found>>,
    look_up: F,
}

impl<F> Work<Vec<u64>> for LookupThread<F>
where
    F: FnMut(&[u64]) -> BTreeMap<u64, Symbol> + Send + 'static,
{
    fn handle(&mut self, ips: Vec<u64>) {
        let symbols = (self.look_up)(&ips);
        self.answers.change(|found| found.answer(&ips, symbols));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn symbol(name: &str) -> Symbol {
        Symbol { name: name.to_owned(), offset: 0, module: None }
    }

    /// A thread that answers with the names that it gets from a channel.
    fn start(
        names: Receiver<&'static str>,
    ) -> impl FnOnce(Arc<Answers<Found>>) -> Option<Worker<Vec<u64>>> {
        move |answers| {
            let look_up = move |ips: &[u64]| {
                let name = names.recv().unwrap_or_default();
                ips.iter().map(|ip| (*ip, symbol(name))).collect()
            };
            Worker::start(ThreadName::Test, MAX_REQUESTS, LookupThread { answers, look_up }).ok()
        }
    }

    #[test]
    fn answered_address_is_named_and_not_asked_again() {
        let (name, names) = channel();
        let mut lookup = KernelLookup::default();
        name.send("first").unwrap();
        lookup.ask_by(&[1, 2], start(names));
        let first = (1..=2).map(|ip| (ip, symbol("first"))).collect();
        assert_eq!(lookup.resolve(&[1, 2]), (first, Vec::new()));
        name.send("second").unwrap();
        lookup.ask_by(&[1, 3], |_| None);
        let both = [(1, symbol("first")), (3, symbol("second"))].into();
        assert_eq!(lookup.resolve(&[1, 3]), (both, Vec::new()));
    }

    #[test]
    fn report_waits_once_for_a_helper_that_hangs() {
        let (name, names) = channel();
        let mut lookup = KernelLookup::default();
        lookup.ask_by(&[1], start(names));
        let begin = Instant::now();
        assert_eq!(lookup.resolve(&[1]), (BTreeMap::new(), vec![1]));
        assert!(begin.elapsed() >= patience() / 2);
        let begin = Instant::now();
        lookup.ask_by(&[2], |_| None);
        assert_eq!(lookup.resolve(&[1, 2]), (BTreeMap::new(), vec![1, 2]));
        assert!(begin.elapsed() < patience() / 2);
        drop(name);
    }

    #[test]
    fn address_without_a_thread_is_answered_at_once() {
        let mut lookup = KernelLookup::default();
        lookup.ask_by(&[1], |_| None);
        let begin = Instant::now();
        assert_eq!(lookup.resolve(&[1]), (BTreeMap::new(), Vec::new()));
        assert!(begin.elapsed() < patience() / 2);
    }
}
