//! Which reports go to the outputs, and how far each is reported: now, and by an earlier run.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Notify;

use super::{
    filter::Filter,
    output_health::{NotWritten, OutputHealth},
    sink::{Outputs, SinkError},
};
use crate::{
    bpf::journal::{FINAL, Note, PROVISIONAL},
    compose::{fingerprint::fingerprint, size_limit::fit, verdict::verdict},
    model::{
        account::{Account, Stage},
        events::Event,
        handover::Share,
        report::{OomReport, Record},
    },
};

/// The outputs, and the progress of the reports to them.
pub(super) struct Delivery {
    outputs: Outputs,
    filter: Filter,
    /// Number of reports after which the run stops.
    count: Option<u64>,
    /// Sequence numbers of invocations whose provisional report is out and whose final one is not,
    /// with the number of records that were lost before each.
    provisional: BTreeMap<u64, u64>,
    /// How far an earlier run reported, by key: [`PROVISIONAL`], or [`FINAL`] and above.
    reported_before: BTreeMap<u64, u64>,
    /// The same of accounts whose final report an earlier run delivered, and that have come again.
    /// If there is news, it gets a higher revision than any that the earlier run delivered.
    revised: BTreeMap<u64, u64>,
    /// The share of the accounts that the probes of this run report, if they are pinned and others
    /// are attached as well.
    share: Share,
    pub(super) n_reports: u64,
    /// Reports that the filter rejected.
    pub(super) n_filtered: u64,
}

impl Delivery {
    pub(super) fn new(outputs: Outputs, filter: Filter, count: Option<u64>) -> Self {
        Self {
            outputs,
            filter,
            count,
            provisional: BTreeMap::new(),
            reported_before: BTreeMap::new(),
            revised: BTreeMap::new(),
            share: Share::default(),
            n_reports: 0,
            n_filtered: 0,
        }
    }

    /// Continues where an earlier run ended.
    pub(super) fn resume(&mut self, reported: BTreeMap<u64, u64>, share: Share) {
        self.reported_before = reported;
        self.share = share;
    }

    /// The share of the accounts that the probes of this run report.
    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    /// Whether the wanted number of reports is reached.
    pub(super) fn is_done(&self) -> bool {
        self.count.is_some_and(|count| self.n_reports >= count)
    }

    /// How far an earlier run reported the account, 0 if not at all. `None` if this run has nothing
    /// to add, or if the account belongs to another run.
    pub(super) fn reported_before(&mut self, account: &Account) -> Option<u64> {
        let mark = self.reported_before.get(&account.key()).copied().unwrap_or_default();
        if mark >= FINAL && account.stage() != Stage::Provisional {
            // If it comes again under the same key, it is news: a run that has become longer.
            self.reported_before.remove(&account.key());
            self.revised.insert(account.key(), mark);
        }
        (mark < FINAL && self.share.has(account)).then_some(mark)
    }

    /// Number of records that were lost before the provisional report of this invocation.
    pub(super) fn lost_before(&self, seq: u64) -> u64 {
        self.provisional.get(&seq).copied().unwrap_or_default()
    }

    /// Delivers the report of an account that an earlier run reported up to `mark`.
    pub(super) fn deliver(
        &mut self,
        account: &Account,
        mark: u64,
        mut report: OomReport,
    ) -> Result<(), SinkError> {
        let (seq, stage) = (account.seq(), account.stage());
        let revision = self.revision(account);
        report.revision = Some(revision);
        let was_provisional = stage == Stage::Final && self.provisional.remove(&seq).is_some();
        if !self.filter.passes(&report, account.invocation()) {
            self.n_filtered += u64::from(stage != Stage::Final);
            return Ok(());
        }
        let lost_before = report.source.drops.unwrap_or_default();
        let record = concluded(report);
        if stage == Stage::Provisional {
            // Each will become a report, so no more of them than are wanted.
            let n_begun = self.n_reports + self.provisional.len() as u64;
            if self.count.is_some_and(|count| n_begun >= count) {
                return Ok(());
            }
            self.provisional.insert(seq, lost_before);
            if mark == 0 {
                self.announce(Some(Note { key: account.key(), mark: PROVISIONAL }));
                self.outputs.each(|sink| sink.provisional(&record))?;
            }
            return Ok(());
        }
        self.n_reports += 1;
        let note = Note { key: account.key(), mark: FINAL.max(revision.into()) };
        if was_provisional {
            self.announce(Some(note));
            return self.outputs.each(|sink| sink.update(&record));
        }
        self.write(Some(note), &record)
    }

    /// The revision of an account's report, those of an earlier run included.
    fn revision(&self, account: &Account) -> u32 {
        let before = self.revised.get(&account.key()).copied().unwrap_or_default();
        account.revision().saturating_add(u32::try_from(before).unwrap_or(u32::MAX))
    }

    /// Delivers a report that was not made of records. Returns whether the wanted number of
    /// reports is reached.
    pub(super) fn deliver_finished(&mut self, report: OomReport) -> Result<bool, SinkError> {
        if self.filter.passes(&report, None) {
            self.n_reports += 1;
            self.write(None, &concluded(report))?;
        } else {
            self.n_filtered += 1;
        }
        Ok(self.is_done())
    }

    /// Writes a record to every output. `note` goes to the journal with it.
    pub(super) fn write(&mut self, note: Option<Note>, record: &Record) -> Result<(), SinkError> {
        self.announce(note);
        self.outputs.each(|sink| sink.write(record))
    }

    pub(super) fn write_event(&mut self, event: &Event) -> Result<(), SinkError> {
        self.outputs.write_event(event)
    }

    /// Notified when [`Delivery::take_losses`] has something to do.
    pub(super) fn outputs_changed(&self) -> Arc<Notify> {
        self.outputs.changed()
    }

    /// Removes the outputs whose reader is gone, which fails if none is left. Returns the records
    /// that the others lost before they worked again.
    pub(super) fn take_losses(&mut self) -> Result<Vec<(OutputHealth, NotWritten)>, SinkError> {
        self.outputs.remove_gone()?;
        Ok(self.outputs.take_losses())
    }

    /// Keys of the reports that the output of several runs has not written yet.
    pub(super) fn undelivered(&self) -> Vec<u64> {
        self.outputs.notes.as_ref().map(|notes| notes.undelivered.keys()).unwrap_or_default()
    }

    pub(super) fn close_outputs(&mut self) {
        self.outputs.close();
    }

    pub(super) fn outputs(&self) -> Vec<OutputHealth> {
        self.outputs.watched().cloned().collect()
    }

    /// Sets the note for the next report.
    fn announce(&self, note: Option<Note>) {
        if let Some(notes) = &self.outputs.notes {
            notes.current.set(note);
        }
    }
}

/// Adds the parts of a report that follow from all others.
fn concluded(mut report: OomReport) -> Record {
    report.verdict = Some(verdict(&report));
    // The fingerprint is made of the verdict, too.
    report.fingerprint = fingerprint(&report);
    Record::Oom(Box::new(fit(report)))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

    use super::{Delivery, FINAL, PROVISIONAL};
    use crate::{
        model::{
            account::{Account, InvocationAccount, Stage},
            handover::Share,
            report::{OomReport, Outcome, Record, Source, Tier},
        },
        pipeline::{
            dedup_writer::{CurrentNote, Notes},
            filter::Filter,
            sink::{Outputs, Sink, SinkError},
        },
    };

    /// Keeps the revision of each report, and the mark in the journal that belongs to it.
    struct Revisions(Rc<RefCell<Vec<(u32, u64)>>>, CurrentNote);

    impl Sink for Revisions {
        fn write(&mut self, record: &Record) -> Result<(), SinkError> {
            let Record::Oom(report) = record else { panic!("{record:?}") };
            self.0.borrow_mut().push((report.revision.unwrap(), self.1.get().unwrap().mark));
            Ok(())
        }

        fn provisional(&mut self, record: &Record) -> Result<(), SinkError> {
            self.write(record)
        }
    }

    /// Delivers accounts with these stages, each with the number of earlier reports, after a run
    /// that had reported up to `mark`.
    fn revisions(mark: u64, accounts: &[(Stage, u32)]) -> Vec<(u32, u64)> {
        let (revisions, note) = (Rc::new(RefCell::new(Vec::new())), CurrentNote::default());
        let mut outputs = Outputs::default();
        outputs.add(Revisions(Rc::clone(&revisions), Rc::clone(&note)));
        outputs.set_notes(Notes { current: note, ..Notes::default() });
        let mut delivery = Delivery::new(outputs, Filter::default(), None);
        delivery.resume(BTreeMap::from([(7, mark)]), Share::default());
        for &(stage, n_reported) in accounts {
            let account = InvocationAccount { seq: 7, stage, n_reported, ..Default::default() };
            let account = Account::from(account);
            let report = OomReport::new("a".to_owned(), Outcome::Killed, Source::new(Tier::Fentry));
            if let Some(mark) = delivery.reported_before(&account) {
                delivery.deliver(&account, mark, report).unwrap();
            }
        }
        revisions.borrow().clone()
    }

    const KILL: &[(Stage, u32)] = &[(Stage::Provisional, 0), (Stage::Final, 1)];
    const RUN: &[(Stage, u32)] =
        &[(Stage::Complete, 0), (Stage::Complete, 1), (Stage::Complete, 2)];

    #[test]
    fn each_report_of_an_account_has_a_higher_revision() {
        assert_eq!(revisions(0, KILL), [(1, PROVISIONAL), (2, FINAL)]);
        assert_eq!(revisions(0, RUN), [(1, FINAL), (2, FINAL), (3, 3)]);
    }

    #[test]
    fn later_run_continues_with_higher_revisions_than_an_earlier_one() {
        assert_eq!(revisions(PROVISIONAL, KILL), [(2, FINAL)]);
        assert_eq!(revisions(FINAL, KILL), []);
        // The earlier run had delivered the first report, or all three, when it died.
        assert_eq!(revisions(FINAL, RUN), [(4, 4), (5, 5)]);
        assert_eq!(revisions(3, RUN), [(5, 5), (6, 6)]);
    }
}
