//! Records that were read from the ring and whose report is not final, kept in a pinned map, which
//! outlives a SIGKILL. With it every kill is reported once, whenever the tracer dies.
//!
//! The ring forgets a record when it is read, and a report is made of records that come over
//! seconds. So a record is written here *before* the ring forgets it, and removed when its report
//! is final; the next tracer begins with the records in this map. A note is written here right
//! after each report ([`crate::pipeline::dedup_writer`]). Records are removed before their note, so
//! no report is made twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use oomwhy_common::event::EventHeader;
use serde::{Deserialize, Serialize};
use zerocopy::FromBytes;

use crate::model::{account::MOMENT, facts::Fact, fnv, handover::Kill, report::LossReason};

/// Size of a value of the map.
pub(crate) const SLOT_BYTES: usize = 512;
/// A value of the map: kind u8, 3 unused bytes, length of the whole entry u32, a part of the entry.
pub type Slot = [u8; SLOT_BYTES];

const HEAD: usize = 8;
const BODY: usize = SLOT_BYTES - HEAD;
/// Slots that records leave free for notes: a batch of records can complete a few dozen reports.
const RESERVED: usize = 96;
/// Slots that must be free besides, so that a further record has room: twice the longest record.
const SHORT: usize = 24;

const RECORD: u8 = 1;
const FACT: u8 = 2;
const INTENT: u8 = 3;
const REPORTED: u8 = 4;
const ORIGIN: u8 = 5;
const HANDED_OVER: u8 = 6;

/// Stores slots. It is a map, whose keys have no order.
pub trait Slots: Send {
    /// Sets the slot of this key.
    fn put(&mut self, key: u64, slot: &Slot) -> io::Result<()>;
    /// Frees the slot of this key, if it is set.
    fn remove(&mut self, key: u64);
    /// All slots that are set.
    fn all(&self) -> io::Result<Vec<(u64, Slot)>>;
}

/// Notes that a report was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Which report: see [`key_of`](crate::model::account::key_of), [`LOSSES`], [`lost_kills`] and
    /// [`misses`].
    pub key: u64,
    /// How far: [`PROVISIONAL`], or [`FINAL`] and above; for losses, the number of lost records or
    /// skipped runs. No revision of the report that was delivered is higher than the mark.
    pub mark: u64,
}

/// The report was delivered before its victims were gone.
pub(crate) const PROVISIONAL: u64 = 1;
/// The report was delivered in its final form. A higher mark, too: a run of invocations can become
/// longer after its report, and is then delivered again, in a higher revision.
pub(crate) const FINAL: u64 = 2;
/// Key of reports on lost details; on all lost records before wire version 4.
pub(crate) const LOSSES: u64 = u64::MAX;
/// Key of reports on lost kills whose reason is unknown.
const LOST_KILLS: u64 = u64::MAX - 1;
/// Keys from here on are of counts. No report of an invocation has one, because none begins 290
/// years after the boot.
pub(crate) const FIRST_COUNT: u64 = u64::MAX - (1 << 33);

/// Key of reports on lost kills. Other reasons are not of kills.
pub(crate) fn lost_kills(reason: Option<LossReason>) -> u64 {
    match reason {
        Some(LossReason::Marked) => LOST_KILLS - 1,
        Some(LossReason::GroupMember) => LOST_KILLS - 2,
        Some(LossReason::SharesMm) => LOST_KILLS - 3,
        _ => LOST_KILLS,
    }
}

/// Key of reports on runs of a program that the kernel skipped.
pub(crate) fn misses(program: &str) -> u64 {
    FIRST_COUNT + (fnv::hash(program.bytes()) >> 32)
}

/// The part of a file that is about to be written. The file's size shows later whether it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteIntent {
    /// Device number of the file.
    pub device: u64,
    /// Inode number of the file.
    pub inode: u64,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Length of the write, bytes.
    pub length: u64,
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A record of the ring, unchanged.
    Record(Bytes),
    /// A fact that userspace found.
    Fact(Fact),
    /// A report is about to be written.
    Intent(Note, WriteIntent),
    /// A report was written.
    Reported(Note),
    /// How the probes were attached, in the encoding of `bpf/pin.rs`.
    Origin(Vec<u8>),
    /// A kill that the probes before these report.
    HandedOver(Kill),
}

/// The accounts that are not reported to their end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Sequence numbers of invocations.
    pub seqs: BTreeSet<u64>,
    /// Time of the oldest of all their records, `CLOCK_BOOTTIME` ns; `None` without accounts.
    pub since_ns: Option<u64>,
    /// Keys of the reports that an output has not written yet.
    pub undelivered: BTreeSet<u64>,
}

impl Unfinished {
    /// Adds the account of a report that an output has not written yet.
    pub(crate) fn add_undelivered(&mut self, key: u64) {
        self.undelivered.insert(key);
        let began_ns = match key {
            FIRST_COUNT.. => return,
            MOMENT.. => key & !MOMENT,
            seq => {
                self.seqs.insert(seq);
                // When it began is not known, so all records without a number stay meanwhile.
                0
            }
        };
        self.since_ns = Some(self.since_ns.map_or(began_ns, |since_ns| since_ns.min(began_ns)));
    }
}

/// The journal has no room for the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The subject of an entry. It determines how long the entry is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Invocation(u64),
    Moment(u64),
    /// Key of the report.
    Losses(u64),
    /// Key of the report.
    Intent(u64),
    Origin,
}

#[derive(Clone, Copy, Debug)]
struct StoredEntry {
    n_slots: usize,
    about: About,
}

/// The journal. Entries are numbered in the order in which they came.
pub struct Journal {
    slots: Box<dyn Slots>,
    free: usize,
    next: u64,
    kept: BTreeMap<u64, StoredEntry>,
    handed_over: Vec<Kill>,
    failure: Option<io::Error>,
    is_broken: bool,
}

/// A journal that the reader of the ring and the thread of the output share.
pub(crate) type SharedJournal = Arc<Mutex<Journal>>;

impl Journal {
    /// Opens a journal and returns its entries. Removes an entry that is not complete: its record
    /// is still in the ring.
    pub fn open(slots: Box<dyn Slots>, capacity: usize) -> io::Result<(Self, Vec<Entry>)> {
        let mut parts: BTreeMap<u64, BTreeMap<u64, Slot>> = BTreeMap::new();
        for (key, slot) in slots.all()? {
            parts.entry(key >> 16).or_default().insert(key & 0xffff, slot);
        }
        let next = parts.last_key_value().map_or(0, |(number, _)| number + 1);
        let mut journal = Self {
            slots,
            free: capacity,
            next,
            kept: BTreeMap::new(),
            handed_over: Vec::new(),
            failure: None,
            is_broken: false,
        };
        let mut entries = Vec::new();
        for (number, parts) in parts {
            let entry = join(&parts).and_then(|(kind, bytes)| decode(kind, bytes));
            let Some(entry) = entry else {
                for part in parts.keys() {
                    journal.slots.remove(number << 16 | part);
                }
                continue;
            };
            journal.free = journal.free.saturating_sub(parts.len());
            journal.kept.insert(number, StoredEntry { n_slots: parts.len(), about: about(&entry) });
            if let Entry::HandedOver(kill) = entry {
                journal.handed_over.push(kill);
            }
            entries.push(entry);
        }
        Ok((journal, entries))
    }

    /// Adds an entry. An intent replaces the one before.
    pub fn put(&mut self, entry: &Entry) -> Result<(), Full> {
        let (kind, bytes) = encode(entry);
        let n_slots = bytes.len().div_ceil(BODY).max(1);
        let reserved =
            if matches!(entry, Entry::Record(_) | Entry::Fact(_)) { RESERVED } else { 0 };
        if self.free < n_slots + reserved {
            return Err(Full);
        }
        if matches!(entry, Entry::Intent(..)) {
            self.remove_where(|about, _| matches!(about, About::Intent(_)));
        }
        let number = self.next;
        self.next += 1;
        for (part, slot) in (0..).zip(split(kind, &bytes)) {
            if let Err(error) = self.slots.put(number << 16 | part, &slot) {
                (0..part).for_each(|part| self.slots.remove(number << 16 | part));
                self.is_broken = true;
                self.failure.get_or_insert(error);
                return Err(Full);
            }
        }
        self.free -= n_slots;
        self.kept.insert(number, StoredEntry { n_slots, about: about(entry) });
        Ok(())
    }

    /// Adds a kill that the probes before these report, if it is new.
    pub(crate) fn hand_over(&mut self, kill: Kill) -> Result<(), Full> {
        if !self.handed_over.contains(&kill) {
            self.put(&Entry::HandedOver(kill))?;
            self.handed_over.push(kill);
        }
        Ok(())
    }

    /// All kills that the probes before these report.
    pub(crate) fn handed_over(&self) -> &[Kill] {
        &self.handed_over
    }

    /// Whether the map has refused an entry for which there is room. It may refuse all later ones.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Why the map refused an entry, once for each time.
    pub(crate) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Whether further records will soon have no room.
    pub fn is_short(&self) -> bool {
        self.free < RESERVED + SHORT
    }

    /// Removes all entries but those of unfinished accounts.
    pub fn keep(&mut self, unfinished: &Unfinished) {
        // Later entries replace earlier ones.
        let latest_losses: BTreeMap<u64, u64> = self
            .kept
            .iter()
            .filter_map(|(number, kept)| match kept.about {
                About::Losses(key) => Some((key, *number)),
                _ => None,
            })
            .collect();
        self.remove_where(|about, number| match about {
            About::Invocation(seq) => !unfinished.seqs.contains(&seq),
            About::Moment(at_ns) => unfinished.since_ns.is_none_or(|since_ns| at_ns < since_ns),
            About::Losses(key) => latest_losses.get(&key) != Some(&number),
            About::Intent(key) => !unfinished.undelivered.contains(&key),
            About::Origin => false,
        });
    }

    /// Removes entries in the order in which they came, so that a note goes after its records.
    fn remove_where(&mut self, is_done: impl Fn(About, u64) -> bool) {
        let done = self.kept.extract_if(.., |number, kept| is_done(kept.about, *number));
        for (number, StoredEntry { n_slots, .. }) in done {
            for part in (0..).take(n_slots) {
                self.slots.remove(number << 16 | part);
            }
            self.free += n_slots;
        }
    }
}

fn about(entry: &Entry) -> About {
    let of = |seq: u64, at_ns: u64| {
        if seq == 0 { About::Moment(at_ns) } else { About::Invocation(seq) }
    };
    match entry {
        Entry::Record(record) => match EventHeader::read_from_prefix(record) {
            Ok((header, _)) => of(header.seq, header.boottime_ns),
            // An unreadable record is only counted.
            Err(_) => About::Moment(0),
        },
        Entry::Fact(Fact::System { seq, at_ns, .. }) => of(*seq, *at_ns),
        Entry::Fact(_) => About::Moment(0),
        Entry::Intent(Note { key, .. }, _) => About::Intent(*key),
        Entry::Reported(Note { key: key @ FIRST_COUNT.., .. }) => About::Losses(*key),
        Entry::Reported(Note { key, .. }) if key & MOMENT != 0 => About::Moment(key & !MOMENT),
        Entry::Reported(Note { key, .. }) => About::Invocation(*key),
        Entry::Origin(_) | Entry::HandedOver(_) => About::Origin,
    }
}

/// All of these types serialize into plain objects, which cannot fail.
fn encode(entry: &Entry) -> (u8, Vec<u8>) {
    match entry {
        Entry::Record(record) => (RECORD, record.to_vec()),
        Entry::Fact(fact) => (FACT, serde_json::to_vec(fact).unwrap_or_default()),
        Entry::Intent(note, intent) => {
            (INTENT, serde_json::to_vec(&(note, intent)).unwrap_or_default())
        }
        Entry::Reported(note) => (REPORTED, serde_json::to_vec(note).unwrap_or_default()),
        Entry::Origin(bytes) => (ORIGIN, bytes.clone()),
        Entry::HandedOver(kill) => (HANDED_OVER, serde_json::to_vec(kill).unwrap_or_default()),
    }
}

fn decode(kind: u8, bytes: Vec<u8>) -> Option<Entry> {
    match kind {
        RECORD => Some(Entry::Record(bytes.into())),
        FACT => serde_json::from_slice(&bytes).ok().map(Entry::Fact),
        INTENT => {
            serde_json::from_slice(&bytes).ok().map(|(note, intent)| Entry::Intent(note, intent))
        }
        REPORTED => serde_json::from_slice(&bytes).ok().map(Entry::Reported),
        ORIGIN => Some(Entry::Origin(bytes)),
        HANDED_OVER => serde_json::from_slice(&bytes).ok().map(Entry::HandedOver),
        _ => None,
    }
}

fn split(kind: u8, bytes: &[u8]) -> impl Iterator<Item = Slot> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let parts = bytes.len().div_ceil(BODY).max(1);
    (0..parts).map(move |part| {
        let mut slot = [0; SLOT_BYTES];
        let head = [[kind, 0, 0, 0], length].concat();
        let body = bytes.iter().skip(part * BODY).take(BODY);
        slot.iter_mut().zip(head.iter().chain(body)).for_each(|(to, from)| *to = *from);
        slot
    })
}

/// Puts an entry together; `None` where a part is missing.
fn join(parts: &BTreeMap<u64, Slot>) -> Option<(u8, Vec<u8>)> {
    let (head, _) = parts.get(&0)?.split_first_chunk::<HEAD>()?;
    let [kind, _, _, _, length @ ..] = *head;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    let is_whole = parts.len() == length.div_ceil(BODY).max(1)
        && (0..).zip(parts.keys()).all(|(expected, part)| expected == *part);
    let mut bytes: Vec<u8> =
        parts.values().flat_map(|slot| slot.iter().skip(HEAD).copied()).collect();
    bytes.truncate(length);
    is_whole.then_some((kind, bytes))
}

#[cfg(test)]
mod tests;
