//! A run that continues where another one ended (`--pin`): see [`crate::bpf::journal`].

use std::{cell::Cell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{Live, LiveError};
use crate::{
    bpf::{
        journal::{Entry, SharedJournal},
        ring::Rings,
    },
    fmt::lines::log_stderr,
    model::{account::Account, facts::Fact},
    pipeline::dedup_writer::lock,
};

/// Old probes stay attached beside the new ones for this time. Only they see the whole of an
/// invocation that began before.
const OVERLAP: Duration = Duration::from_millis(300);
/// If such an invocation does not end, the old probes are detached after this time.
const MAX_OVERLAP: Duration = Duration::from_secs(5);

/// The state that earlier runs left.
pub(crate) struct Resume {
    /// The journal of the probes.
    pub journal: SharedJournal,
    /// Entries of the journal, oldest first.
    pub entries: Vec<Entry>,
    /// How far earlier runs reported each account, by key.
    pub reported: BTreeMap<u64, u64>,
    /// Older probes report invocations that began before this time, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
    /// `None` if these probes are the newest.
    pub heir: Option<Heir>,
}

/// The probes that were attached after these.
pub(crate) struct Heir {
    /// Their journal, which has the kills that they must leave out.
    pub journal: SharedJournal,
    /// They report invocations that began then or later, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
}

/// The journal of a run.
pub(super) struct RunJournal {
    journal: SharedJournal,
    heir: Option<SharedJournal>,
    /// If one invocation alone fills the journal, its records leave the ring without a copy.
    is_too_small: Rc<Cell<bool>>,
    /// The state that earlier runs left, until this run has read it.
    left: Option<Resume>,
}

impl Live {
    /// Continues where another run ended, and keeps a journal for the next run.
    pub(crate) fn resume(&mut self, left: Resume) {
        let journal = Arc::clone(&left.journal);
        let heir = left.heir.as_ref().map(|heir| Arc::clone(&heir.journal));
        self.kept =
            Some(RunJournal { journal, heir, is_too_small: Rc::default(), left: Some(left) });
    }

    /// Handles the records in the journal and the ring, detaches the probes, and reports the
    /// remaining accounts as they are. Stops earlier if enough was reported.
    pub(crate) async fn run_out(
        &mut self,
        detach: impl FnOnce() -> Result<(), LiveError>,
    ) -> Result<(), LiveError> {
        let mut rings = self.open_rings()?;
        let begin = Instant::now();
        let mut is_done = self.take_left(&mut rings)?;
        while !is_done
            && begin.elapsed() < MAX_OVERLAP
            && (begin.elapsed() < OVERLAP || self.pipeline.has_open_invocation())
        {
            sleep(Duration::from_millis(20)).await;
            is_done = self.drain(&mut rings)? || self.read_latest()?;
        }
        if !is_done {
            detach()?;
            is_done = self.drain(&mut rings)?;
        }
        if !is_done {
            self.pipeline.replace();
            self.finish()?;
        }
        Ok(())
    }

    /// Notes for the newer probes which of these kills they must leave out, before they are
    /// reported here.
    pub(super) fn hand_over(&self, accounts: &[Account]) {
        let Some(heir) = self.kept.as_ref().and_then(|kept| kept.heir.as_ref()) else {
            return;
        };
        let share = self.pipeline.share();
        for kill in accounts.iter().flat_map(|account| share.to_hand_over(account)) {
            // Without room in the journal, this kill may be reported twice.
            let _ = lock(heir).hand_over(kill);
        }
    }

    /// Copies each record into the journal before it leaves the ring. The record stays in the ring
    /// if there is no room. If the map refuses the record for another reason, the record leaves the
    /// ring without a copy: it would never leave otherwise.
    pub(super) fn keeper(&self) -> impl FnMut(&[u8]) -> bool + 'static {
        let shared = self
            .kept
            .as_ref()
            .map(|kept| (Arc::clone(&kept.journal), Rc::clone(&kept.is_too_small)));
        move |record| {
            shared.as_ref().is_none_or(|(journal, is_too_small)| {
                let entry = Entry::Record(Bytes::copy_from_slice(record));
                let mut journal = lock(journal);
                journal.put(&entry).is_ok() || is_too_small.get() || journal.is_broken()
            })
        }
    }

    /// Reads the entries that earlier runs left in the journal, then the ring. Returns whether
    /// enough was reported.
    pub(super) fn take_left(&mut self, rings: &mut Rings) -> Result<bool, LiveError> {
        let Some(left) = self.kept.as_mut().and_then(|kept| kept.left.take()) else {
            return Ok(false);
        };
        let Resume { journal, entries, reported, since_ns, heir } = left;
        let until_ns = heir.map_or(u64::MAX, |heir| heir.since_ns);
        let handed_over = lock(&journal).handed_over().to_vec();
        self.note(Fact::Resumed { reported, since_ns, until_ns, handed_over })?;
        self.note_clock()?;
        self.note_losses()?;
        // The host's memory of now is not that of earlier kills.
        let system = self.facts.system.take();
        let latest = entries.iter().rev().find_map(|entry| match entry {
            Entry::Record(record) => Some(record),
            _ => None,
        });
        // The latest record may be in the ring too, because it is copied before it leaves there.
        if let Some(latest) = latest {
            rings.skip(latest);
        }
        for entry in entries {
            match entry {
                Entry::Record(record) if self.handle_record(&record)? => return Ok(true),
                Entry::Fact(fact) => self.note(fact)?,
                _ => {}
            }
        }
        let is_done = self.forget_reported()? || self.drain(rings)?;
        self.facts.system = system;
        Ok(is_done)
    }

    /// Drops the entries of accounts whose last report the output has written.
    pub(super) fn forget_delivered(&self) {
        if let Some(kept) = &self.kept {
            lock(&kept.journal).keep(&self.pipeline.undelivered());
        }
    }

    /// Drops the entries of accounts that are reported to their end. If the journal is nearly full,
    /// drops those of reports that wait for their output as well: an output that is blocked must
    /// not cost other kills their details. If that is not enough, reports every account as it is.
    /// Returns whether enough was reported.
    pub(super) fn forget_reported(&mut self) -> Result<bool, LiveError> {
        let Some(RunJournal { journal, is_too_small, .. }) = &self.kept else {
            return Ok(false);
        };
        let (shared, is_too_small) = (Arc::clone(journal), Rc::clone(is_too_small));
        let mut journal = lock(&shared);
        if let Some(error) = journal.take_failure() {
            log_stderr(format!("--pin: kills are not kept for the next run: {error}"));
        }
        journal.keep(&self.pipeline.undelivered());
        is_too_small.set(false);
        if !journal.is_short() {
            return Ok(false);
        }
        journal.keep(&self.pipeline.unfinished());
        if !journal.is_short() {
            return Ok(false);
        }
        // The thread of the output uses it, too.
        drop(journal);
        self.note(Fact::Flushed)?;
        let flushed = self.pipeline.flush();
        if self.report(flushed)? {
            return Ok(true);
        }
        let mut journal = lock(&shared);
        journal.keep(&self.pipeline.unfinished());
        is_too_small.set(journal.is_short());
        Ok(false)
    }

    /// Keeps a fact that belongs to a record.
    pub(super) fn keep_fact(&self, fact: &Fact) {
        if let (Some(kept), Fact::System { .. }) = (&self.kept, fact) {
            // Without room in the journal, the report of the next run does not have it.
            let _ = lock(&kept.journal).put(&Entry::Fact(fact.clone()));
        }
    }
}
