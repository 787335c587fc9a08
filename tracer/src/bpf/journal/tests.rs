//! A tracer that dies at any moment, and what the next one finds.

use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc};

use bytes::Bytes;
use oomwhy_common::event::{EndEvent, kind};
use proptest::prelude::*;
use zerocopy::{FromZeros, IntoBytes};

use super::{
    BODY, Entry, FINAL, Full, Journal, LOSSES, Note, PROVISIONAL, Place, Slot, Slots, Unfinished,
};
use crate::model::{account::key_of, handover::Kill};

/// A map that outlives the journal, and stops taking anything after so many changes, as if the
/// tracer had died.
#[derive(Clone, Default)]
struct Pinned {
    slots: Rc<RefCell<BTreeMap<u64, Slot>>>,
    changes_left: Rc<RefCell<Option<usize>>>,
}

impl Pinned {
    fn may_change(&self) -> bool {
        let mut left = self.changes_left.borrow_mut();
        let may = left.is_none_or(|left| left > 0);
        *left = left.map(|left| left.saturating_sub(1));
        may
    }
}

impl Slots for Pinned {
    fn put(&mut self, key: u64, slot: &Slot) -> io::Result<()> {
        if self.may_change() {
            self.slots.borrow_mut().insert(key, *slot);
        }
        Ok(())
    }

    fn remove(&mut self, key: u64) {
        if self.may_change() {
            self.slots.borrow_mut().remove(&key);
        }
    }

    fn all(&self) -> io::Result<Vec<(u64, Slot)>> {
        Ok(self.slots.borrow().iter().rev().map(|(key, slot)| (*key, *slot)).collect())
    }
}

fn open(pinned: &Pinned) -> (Journal, Vec<Entry>) {
    Journal::open(Box::new(pinned.clone()), 256).unwrap()
}

/// A record of so many bytes.
fn record(seq: u64, at_ns: u64, len: usize) -> Entry {
    let mut event = EndEvent::new_zeroed();
    event.header.seq = seq;
    event.header.boottime_ns = at_ns;
    event.header.kind = kind::END;
    let mut bytes = event.as_bytes().to_vec();
    bytes.resize(len.max(bytes.len()), 7);
    Entry::Record(Bytes::from(bytes))
}

fn told(seq: u64, mark: u64) -> Entry {
    Entry::Told(Note { key: seq, mark })
}

fn unfinished(seqs: &[u64], since_ns: Option<u64>) -> Unfinished {
    Unfinished { seqs: seqs.iter().copied().collect(), since_ns }
}

#[test]
fn what_is_not_told_is_there_again_in_its_order() {
    let pinned = Pinned::default();
    let (mut journal, entries) = open(&pinned);
    assert!(entries.is_empty());
    let place = Place { device: 1, inode: 2, offset: 3, length: 4 };
    let entries = [
        Entry::Origin(vec![1; 2000]),
        record(1, 10, 64),
        record(2, 20, BODY),
        record(2, 21, BODY + 1),
        told(2, PROVISIONAL),
        record(0, 22, 5000),
        Entry::Intent(Note { key: 1, mark: FINAL }, place),
    ];
    for entry in &entries {
        journal.put(entry).unwrap();
    }
    assert_eq!(open(&pinned).1, entries);

    // 1 is told; 2 is not, nor what came at 22.
    journal.keep(&unfinished(&[2], Some(20)));
    let [origin, _, two, two_more, early, later, _] = entries;
    assert_eq!(open(&pinned).1, [origin.clone(), two, two_more, early, later]);
    journal.keep(&Unfinished::default());
    assert_eq!(open(&pinned).1, [origin]);
    assert_eq!(open(&pinned).0.free, journal.free);
}

#[test]
fn of_losses_the_latest_is_kept() {
    let pinned = Pinned::default();
    let (mut journal, _) = open(&pinned);
    for count in 1..=3 {
        journal.put(&told(LOSSES, count)).unwrap();
    }
    journal.keep(&Unfinished::default());
    assert_eq!(open(&pinned).1, [told(LOSSES, 3)]);
}

#[test]
fn records_leave_room_for_notes() {
    let (mut journal, _) = open(&Pinned::default());
    let full = (0..1000).find(|seq| journal.put(&record(*seq, 1, 64)) == Err(Full));
    assert!(full.is_some() && journal.is_short());
    for seq in 0..90 {
        assert_eq!(journal.put(&told(seq, FINAL)), Ok(()));
    }
    journal.keep(&Unfinished::default());
    assert!(!journal.is_short());
    assert_eq!(journal.put(&record(1, 1, 64)), Ok(()));
}

#[test]
fn without_a_number_time_is_the_key() {
    assert_eq!(key_of(7, 9), 7);
    assert_ne!(key_of(0, 9), 9);
    assert_ne!(key_of(0, 9), key_of(0, 10));
}

#[test]
fn handed_over_kill_is_kept_once_with_the_probes() {
    let pinned = Pinned::default();
    let (mut journal, _) = open(&pinned);
    let kill = Kill { pid: 7, at_ns: 9 };
    for kill in [kill, kill, Kill { pid: 8, at_ns: 9 }, kill] {
        journal.hand_over(kill).unwrap();
    }
    journal.keep(&Unfinished::default());
    let (journal, entries) = open(&pinned);
    assert_eq!(journal.handed_over(), [kill, Kill { pid: 8, at_ns: 9 }]);
    assert_eq!(entries.len(), 2);
}

proptest! {
    /// The tracer dies after any change: what the next one finds is whole, and a report that was
    /// told is either known to be told, or all its records up to the end are gone.
    #[test]
    fn dying_at_any_moment_tears_nothing(
        lens in prop::collection::vec(64_usize..1500, 1..12),
        changes in 0_usize..80,
    ) {
        let pinned = Pinned::default();
        *pinned.changes_left.borrow_mut() = Some(changes);
        let (mut journal, _) = open(&pinned);
        let records: Vec<Entry> = lens.iter().map(|len| record(1, 5, *len)).collect();
        for record in &records {
            journal.put(record).unwrap();
        }
        journal.put(&told(1, FINAL)).unwrap();
        journal.keep(&Unfinished::default());
        *pinned.changes_left.borrow_mut() = None;

        let (_, found) = open(&pinned);
        let is_told = found.contains(&told(1, FINAL));
        let n_records = found.len() - usize::from(is_told);
        // Before the note: a start of the records. After it: an end of them.
        let expected = if is_told { &records[records.len() - n_records..] } else { &records[..n_records] };
        prop_assert_eq!(&found[..n_records], expected);
    }
}
