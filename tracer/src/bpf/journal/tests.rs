//! The contents of the journal for the next tracer if this one dies at any moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use oomwhy_common::event::{EndEvent, kind};
use proptest::prelude::*;
use zerocopy::{FromZeros, IntoBytes};

use super::{
    BODY, Entry, FINAL, FIRST_COUNT, Full, Journal, LOSSES, Note, PROVISIONAL, Slot, Slots,
    Unfinished, WriteIntent, lost_kills, misses,
};
use crate::model::{account::key_of, handover::Kill, report::LossReason};

/// A map that outlives the journal. It ignores every change after a number of them, as if the
/// tracer had died.
#[derive(Clone, Default)]
struct Pinned {
    slots: Arc<Mutex<BTreeMap<u64, Slot>>>,
    changes_left: Arc<Mutex<Option<usize>>>,
    /// The map refuses this number of slots, and then those that follow.
    room: Option<usize>,
}

impl Pinned {
    fn may_change(&self) -> bool {
        let mut left = self.changes_left.lock().unwrap();
        let may = left.is_none_or(|left| left > 0);
        *left = left.map(|left| left.saturating_sub(1));
        may
    }
}

impl Slots for Pinned {
    fn put(&mut self, key: u64, slot: &Slot) -> io::Result<()> {
        if self.room.is_some_and(|room| self.slots.lock().unwrap().len() >= room) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if self.may_change() {
            self.slots.lock().unwrap().insert(key, *slot);
        }
        Ok(())
    }

    fn remove(&mut self, key: u64) {
        if self.may_change() {
            self.slots.lock().unwrap().remove(&key);
        }
    }

    fn all(&self) -> io::Result<Vec<(u64, Slot)>> {
        Ok(self.slots.lock().unwrap().iter().rev().map(|(key, slot)| (*key, *slot)).collect())
    }
}

fn open(pinned: &Pinned) -> (Journal, Vec<Entry>) {
    Journal::open(Box::new(pinned.clone()), 256).unwrap()
}

/// A record of `len` bytes.
fn record(seq: u64, at_ns: u64, len: usize) -> Entry {
    let mut event = EndEvent::new_zeroed();
    event.header.seq = seq;
    event.header.boottime_ns = at_ns;
    event.header.kind = kind::END;
    let mut bytes = event.as_bytes().to_vec();
    bytes.resize(len.max(bytes.len()), 7);
    Entry::Record(Bytes::from(bytes))
}

fn reported(seq: u64, mark: u64) -> Entry {
    Entry::Reported(Note { key: seq, mark })
}

fn unfinished(seqs: &[u64], since_ns: Option<u64>) -> Unfinished {
    Unfinished { seqs: seqs.iter().copied().collect(), since_ns, ..Unfinished::default() }
}

#[test]
fn unreported_entries_are_found_again_in_order() {
    let pinned = Pinned::default();
    let (mut journal, entries) = open(&pinned);
    assert!(entries.is_empty());
    let intent = WriteIntent { device: 1, inode: 2, offset: 3, length: 4 };
    let entries = [
        Entry::Origin(vec![1; 2000]),
        record(1, 10, 64),
        record(2, 20, BODY),
        record(2, 21, BODY + 1),
        reported(2, PROVISIONAL),
        record(0, 22, 5000),
        Entry::Intent(Note { key: 1, mark: FINAL }, intent),
    ];
    for entry in &entries {
        journal.put(entry).unwrap();
    }
    assert_eq!(open(&pinned).1, entries);

    // 1 is reported; 2 and the record at 22 are not.
    journal.keep(&unfinished(&[2], Some(20)));
    let [origin, _, two, two_more, early, later, _] = entries;
    assert_eq!(open(&pinned).1, [origin.clone(), two, two_more, early, later]);
    journal.keep(&Unfinished::default());
    assert_eq!(open(&pinned).1, [origin]);
    assert_eq!(open(&pinned).0.free, journal.free);
}

#[test]
fn entries_of_an_undelivered_report_are_kept() {
    let pinned = Pinned::default();
    let (mut journal, _) = open(&pinned);
    let intent = WriteIntent { device: 1, inode: 2, offset: 3, length: 4 };
    let entries = [
        record(1, 10, 64),
        record(2, 11, 64),
        record(0, 20, 64),
        record(0, 21, 64),
        Entry::Intent(Note { key: 2, mark: FINAL }, intent),
    ];
    for entry in &entries {
        journal.put(entry).unwrap();
    }
    let mut keep = |keys: &[u64]| {
        let mut unfinished = Unfinished::default();
        for key in keys {
            unfinished.add_undelivered(*key);
        }
        journal.keep(&unfinished);
        open(&pinned).1
    };
    let [_, two, moment, later, intent] = entries;
    assert_eq!(keep(&[2, LOSSES]), [two, moment, later.clone(), intent]);
    assert_eq!(keep(&[key_of(0, 21), LOSSES]), [later]);
    assert_eq!(keep(&[LOSSES]), []);
}

#[test]
fn refused_entry_leaves_nothing_behind_and_its_reason_is_given_once() {
    let pinned = Pinned { room: Some(2), ..Pinned::default() };
    let (mut journal, _) = open(&pinned);
    assert_eq!(journal.put(&record(1, 10, 64)), Ok(()));
    let free = journal.free;
    assert_eq!(journal.put(&record(2, 10, 3 * BODY)), Err(Full));
    assert!(journal.is_broken() && !journal.is_short());
    assert_eq!((journal.free, pinned.slots.lock().unwrap().len()), (free, 1));
    assert!(journal.take_failure().is_some() && journal.take_failure().is_none());
}

#[test]
fn latest_note_of_losses_is_kept() {
    let pinned = Pinned::default();
    let (mut journal, _) = open(&pinned);
    for count in 1..=3 {
        journal.put(&reported(LOSSES, count)).unwrap();
        journal.put(&reported(lost_kills(None), 10 * count)).unwrap();
        journal.put(&reported(misses("exit_mmap"), 20 * count)).unwrap();
    }
    journal.keep(&Unfinished::default());
    let latest = [(LOSSES, 3), (lost_kills(None), 30), (misses("exit_mmap"), 60)];
    assert_eq!(open(&pinned).1, latest.map(|(key, mark)| reported(key, mark)));
}

#[test]
fn each_count_has_a_key_that_no_invocation_has() {
    let reasons = [LossReason::Marked, LossReason::GroupMember, LossReason::SharesMm];
    let kills = reasons.map(Some).into_iter().chain([None]).map(lost_kills);
    let programs = ["exit_mmap", "exit_mmap_ret", "oom_badness_ret"].map(misses);
    let keys: Vec<u64> = kills.chain(programs).chain([LOSSES]).collect();
    assert!(keys.iter().all(|key| *key >= FIRST_COUNT), "{keys:x?}");
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    let a_hundred_years = 3_155_760_000_000_000_000;
    assert!(key_of(0, a_hundred_years) < FIRST_COUNT);
}

#[test]
fn records_leave_room_for_notes() {
    let (mut journal, _) = open(&Pinned::default());
    let full = (0..1000).find(|seq| journal.put(&record(*seq, 1, 64)) == Err(Full));
    assert!(full.is_some() && journal.is_short());
    for seq in 0..90 {
        assert_eq!(journal.put(&reported(seq, FINAL)), Ok(()));
    }
    journal.keep(&Unfinished::default());
    assert!(!journal.is_short());
    assert_eq!(journal.put(&record(1, 1, 64)), Ok(()));
}

#[test]
fn key_without_sequence_number_is_the_time() {
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
    /// The tracer dies after any change. The next one finds only complete entries. If a report was
    /// written, it finds the note, or the records of that report are gone up to the end.
    #[test]
    fn death_at_any_moment_tears_no_entry(
        lens in prop::collection::vec(64_usize..1500, 1..12),
        changes in 0_usize..80,
    ) {
        let pinned = Pinned::default();
        *pinned.changes_left.lock().unwrap() = Some(changes);
        let (mut journal, _) = open(&pinned);
        let records: Vec<Entry> = lens.iter().map(|len| record(1, 5, *len)).collect();
        for record in &records {
            journal.put(record).unwrap();
        }
        journal.put(&reported(1, FINAL)).unwrap();
        journal.keep(&Unfinished::default());
        *pinned.changes_left.lock().unwrap() = None;

        let (_, found) = open(&pinned);
        let is_reported = found.contains(&reported(1, FINAL));
        let n_records = found.len() - usize::from(is_reported);
        // Before the note: a start of the records. After it: an end of them.
        let expected = if is_reported {
            &records[records.len() - n_records..]
        } else {
            &records[..n_records]
        };
        prop_assert_eq!(&found[..n_records], expected);
    }
}
