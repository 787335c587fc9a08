//! A run that goes on where another one ended: see [`crate::bpf::journal`].

use std::{cell::Cell, collections::BTreeMap, rc::Rc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{Live, LiveError};
use crate::{
    bpf::{
        journal::{Entry, SharedJournal},
        ring::Ring,
    },
    model::facts::Fact,
};

/// Probes that are going to be removed are left attached for so long, beside those that take
/// their place: an invocation that had begun before is seen by them alone.
const OVERLAP: Duration = Duration::from_millis(300);
/// And at most for so long, while an invocation has begun and not ended.
const OVERLAP_AT_MOST: Duration = Duration::from_secs(5);

/// What the run before left.
pub(crate) struct Resume {
    /// The journal.
    pub journal: SharedJournal,
    /// What stands in it.
    pub entries: Vec<Entry>,
    /// How far earlier runs reported each account, by key.
    pub reported: BTreeMap<u64, u64>,
    /// Invocations that began before are not this run's, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
    /// Nor those that began then or later.
    pub until_ns: u64,
}

/// The journal of a run.
pub(super) struct Kept {
    journal: SharedJournal,
    /// One invocation alone fills the journal: its records are taken out of the ring without.
    is_too_small: Rc<Cell<bool>>,
    /// What is to be taken in first.
    left: Option<Resume>,
}

impl Live {
    /// Goes on where another run ended, and keeps a journal for the next one.
    pub(crate) fn resume(&mut self, left: Resume) {
        let journal = Rc::clone(&left.journal);
        self.kept = Some(Kept { journal, is_too_small: Rc::default(), left: Some(left) });
    }

    /// Takes what was left, and what is in the ring, to its end; then the probes are detached, and
    /// what had not ended by then is told as it is.
    pub(crate) async fn run_out(
        &mut self,
        detach: impl FnOnce() -> Result<(), LiveError>,
    ) -> Result<(), LiveError> {
        let mut ring = Ring::new(self.probes.take_ring()?)?;
        let begin = Instant::now();
        let mut is_done = self.take_left(&mut ring)?;
        while !is_done
            && begin.elapsed() < OVERLAP_AT_MOST
            && (begin.elapsed() < OVERLAP || self.pipeline.has_open_invocation())
        {
            sleep(Duration::from_millis(20)).await;
            is_done = self.drain(&mut ring)?;
        }
        if !is_done {
            detach()?;
            is_done = self.drain(&mut ring)?;
        }
        if !is_done {
            self.finish()?;
        }
        Ok(())
    }

    /// What is shown each record before the ring forgets it.
    pub(super) fn keeper(&self) -> impl FnMut(&[u8]) -> bool + 'static {
        let kept = self.kept.as_ref();
        let kept = kept.map(|kept| (Rc::clone(&kept.journal), Rc::clone(&kept.is_too_small)));
        move |record| {
            kept.as_ref().is_none_or(|(journal, is_too_small)| {
                let entry = Entry::Record(Bytes::copy_from_slice(record));
                journal.borrow_mut().put(&entry).is_ok() || is_too_small.get()
            })
        }
    }

    /// Takes in what the run before left, then what came into the ring meanwhile. Returns whether
    /// enough was reported.
    pub(super) fn take_left(&mut self, ring: &mut Ring) -> Result<bool, LiveError> {
        let Some(left) = self.kept.as_mut().and_then(|kept| kept.left.take()) else {
            return Ok(false);
        };
        let Resume { entries, reported, since_ns, until_ns, .. } = left;
        self.note(Fact::Resumed { reported, since_ns, until_ns })?;
        self.note_clock()?;
        self.note_losses()?;
        // How much memory there is now says nothing about kills of a while ago.
        let system = self.facts.system.take();
        let latest = entries.iter().rev().find_map(|entry| match entry {
            Entry::Record(record) => Some(record),
            _ => None,
        });
        // The one record that may stand in both: it is written before the ring forgets it.
        if let Some(latest) = latest {
            ring.skip(latest);
        }
        for entry in entries {
            match entry {
                Entry::Record(record) if self.handle_record(&record)? => return Ok(true),
                Entry::Fact(fact) => self.note(fact)?,
                _ => {}
            }
        }
        let is_done = self.forget_reported()? || self.drain(ring)?;
        self.facts.system = system;
        Ok(is_done)
    }

    /// What has been told to its end need not be kept any longer. Where little room is left, all
    /// is told as it is. Returns whether enough was reported.
    pub(super) fn forget_reported(&mut self) -> Result<bool, LiveError> {
        let Some(Kept { journal, is_too_small, .. }) = &self.kept else {
            return Ok(false);
        };
        let (journal, is_too_small) = (Rc::clone(journal), Rc::clone(is_too_small));
        journal.borrow_mut().keep(&self.pipeline.unfinished());
        is_too_small.set(false);
        if !journal.borrow().is_short() {
            return Ok(false);
        }
        self.note(Fact::Flushed)?;
        let flushed = self.pipeline.flush();
        if self.report(flushed)? {
            return Ok(true);
        }
        journal.borrow_mut().keep(&self.pipeline.unfinished());
        is_too_small.set(journal.borrow().is_short());
        Ok(false)
    }

    /// Keeps what was found besides a record with it.
    pub(super) fn keep_fact(&self, fact: &Fact) {
        if let (Some(kept), Fact::System { .. }) = (&self.kept, fact) {
            // Without room for it the next run's report goes without.
            let _ = kept.journal.borrow_mut().put(&Entry::Fact(fact.clone()));
        }
    }
}
