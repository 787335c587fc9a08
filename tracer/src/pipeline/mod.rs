//! Records in, reports out: decode, assemble, compose, filter, deliver. A live run and a replay
//! share all of it; they differ in their [`FactSource`].

pub(crate) mod assemble;
mod cross_check;
pub(crate) mod decode;
pub(crate) mod dedup_writer;
mod delivery;
mod fact_store;
pub(crate) mod filter;
pub(crate) mod gaps;
pub(crate) mod kernel_log;
pub(crate) mod live;
mod loss_and_gap;
pub(crate) mod output_health;
pub(crate) mod recording;
pub(crate) mod replay;
pub(crate) mod sink;
pub(crate) mod stop_signals;

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::Notify;

use crate::{
    bpf::{
        hooks,
        journal::{self, LOSSES, Note, Unfinished},
    },
    compose::compose,
    enrich::privacy::Privacy,
    host::cgroupfs::kill_counter::CountedCgroup,
    model::{
        account::{Account, Stage},
        events::{Body, Event},
        facts::{Fact, Findings},
        handover::Share,
        host::Host,
        recorded_growth::{Chosen, Recorded},
        report::{LossReason, LossStage, OomReport, System},
    },
    pipeline::{
        assemble::{Assembler, Counted, InFlight},
        cross_check::{CrossCheck, Lost},
        decode::decode,
        delivery::Delivery,
        fact_store::FactStore,
        filter::Filter,
        gaps::{Gap, Reading},
        loss_and_gap::LostRecords,
        output_health::OutputHealth,
        sink::{Outputs, SinkError},
    },
};

/// Counts of one run, for the summary on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that came in.
    pub records: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Records that the kernel side could not write.
    pub lost: u64,
    /// Runs of probes that the kernel skipped.
    pub missed: u64,
    /// Kills that the kernel counted and no record showed.
    pub unseen: u64,
    /// Reports that were delivered.
    pub reports: u64,
    /// Reports that the filter rejected.
    pub filtered: u64,
    /// Findings that made room for others before all reports were made.
    pub evicted: u64,
}

/// Why a pipeline stops.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// An output failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Finds the facts that a report needs besides the records. A live run looks them up; a replay has
/// them in the recording.
pub trait FactSource {
    /// Adds the facts for an account to `findings`, before it is composed for the first time.
    fn find(&mut self, account: &Account, findings: &mut Findings);
    /// Adds the facts known by now about the account's tasks and their containers. Called each time
    /// before an account is composed.
    fn enrich(&mut self, _account: &Account, _privacy: &Privacy, _findings: &mut Findings) {}
    /// Reads the host's memory and the time, `CLOCK_BOOTTIME` ns. Called when a choice is made in
    /// an invocation that no memcg's limit caused.
    fn system(&mut self, _seq: u64) -> Option<(u64, System)> {
        None
    }
    /// Returns the growth that was recorded in this memcg. Called when a choice is made in an
    /// invocation that its limit caused.
    fn growth(&mut self, _seq: u64, _oom_memcg: u64, _chosen: Chosen) -> Option<Box<Recorded>> {
        None
    }
    /// Notes an event.
    fn note(&mut self, _event: &Event) {}
    /// Notes that a process grows near a limit.
    fn growing_process(&mut self, _tgid: i32) {}
}

/// The parts and settings of a pipeline.
pub struct PipelineConfig {
    /// The host that the records come from.
    pub host: Host,
    /// Where reports go.
    pub outputs: Outputs,
    /// Which reports are delivered.
    pub filter: Filter,
    /// Number of reports after which to stop; `None` for no limit.
    pub count: Option<u64>,
    /// Which parts of command lines are shown.
    pub privacy: Privacy,
}

impl PipelineConfig {
    /// A configuration that delivers every report unchanged.
    pub fn new(host: Host, outputs: Outputs) -> Self {
        let (filter, privacy) = (Filter::default(), Privacy::default());
        Self { host, outputs, filter, count: None, privacy }
    }
}

/// The pipeline and its state.
pub struct Pipeline {
    host: Host,
    assembler: Assembler,
    facts: FactStore,
    cross_check: CrossCheck,
    delivery: Delivery,
    /// Sequence numbers of the accounts that were returned and are not reported yet.
    returned: BTreeSet<u64>,
    /// The run continues another one, and a later one will continue it. An invocation that is open
    /// at the end is left to that one.
    is_resumed: bool,
    n_records: u64,
    n_undecodable: u64,
    /// Those that a `loss` record has reported.
    n_undecodable_reported: u64,
}

impl Pipeline {
    /// An empty pipeline.
    pub fn new(config: PipelineConfig) -> Self {
        let PipelineConfig { host, outputs, filter, count, privacy } = config;
        Self {
            assembler: Assembler::new(host.visible(), host.close_after_ns),
            facts: FactStore::new(privacy),
            cross_check: CrossCheck::new(host.memory_on_v2 == Some(true)),
            delivery: Delivery::new(outputs, filter, count),
            returned: BTreeSet::new(),
            is_resumed: false,
            n_records: 0,
            n_undecodable: 0,
            n_undecodable_reported: 0,
            host,
        }
    }

    /// The host that the records come from.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whether a recording may keep this record as it is.
    pub fn admits(&self, record: &Bytes) -> bool {
        self.facts.admits(record)
    }

    /// Adds one record of the ring. Returns the accounts that it completes, to be passed to
    /// [`Pipeline::report`].
    pub fn handle_record(
        &mut self,
        record: &Bytes,
        source: &mut dyn FactSource,
    ) -> Result<Vec<Account>, PipelineError> {
        self.n_records += 1;
        let Ok(mut event) = decode(record) else {
            self.n_undecodable += 1;
            return Ok(Vec::new());
        };
        if !self.facts.passes(&mut event) {
            return Ok(Vec::new());
        }
        let seq = event.seq;
        // First of all: the host's memory changes quickly.
        let system = if is_global(&event) { source.system(seq) } else { None };
        source.note(&event);
        let growth = choice_of(&event).and_then(|(memcg, it)| source.growth(seq, memcg, it));
        if let Body::GrowingProcess(process) = &event.body {
            source.growing_process(process.tgid);
        }
        self.delivery.write_event(&event)?;
        let done = self.assembler.push(event);
        if let Some((at_ns, memory)) = system {
            self.assembler.add_system(seq, at_ns, memory);
        }
        if let Some(recorded) = growth {
            self.assembler.add_growth(seq, recorded);
        }
        Ok(self.returning(done))
    }

    /// Accounts that are due by `now_ns` without a further record.
    pub fn due(&mut self, now_ns: u64) -> Vec<Account> {
        let due = self.assembler.due(now_ns);
        self.returning(due)
    }

    /// The names of an invocation are found or given up; see [`Fact::NamesReady`].
    pub fn names_ready(&mut self, seq: u64) -> Vec<Account> {
        let ready = self.assembler.names_ready(seq).into_iter().collect();
        self.returning(ready)
    }

    /// Accounts that are left at the end.
    pub fn finish(&mut self) -> Vec<Account> {
        self.cross_check.end();
        let left = if self.is_resumed { self.assembler.flush() } else { self.assembler.finish() };
        self.returning(left)
    }

    /// Facts about these accounts are still wanted.
    fn returning(&mut self, accounts: Vec<Account>) -> Vec<Account> {
        self.returned.extend(accounts.iter().map(Account::seq));
        accounts
    }

    /// Newer probes have replaced these, so the accounts that are left will not be completed.
    pub(crate) fn replace(&mut self) {
        self.assembler.replace();
    }

    /// Accounts that are left, except invocations whose end has not come.
    pub fn flush(&mut self) -> Vec<Account> {
        let left = self.assembler.flush();
        self.returning(left)
    }

    /// The accounts that are not reported to their end.
    pub fn unfinished(&self) -> Unfinished {
        self.assembler.unfinished()
    }

    /// The same, with those whose reports an output has not written yet.
    pub fn undelivered(&self) -> Unfinished {
        let mut unfinished = self.unfinished();
        for key in self.delivery.undelivered() {
            unfinished.add_undelivered(key);
        }
        unfinished
    }

    /// Whether the output of several runs has written all reports.
    pub(crate) fn is_delivered(&self) -> bool {
        self.delivery.undelivered().is_empty()
    }

    /// Ends the outputs. Each gets a moment to write what it has.
    pub(crate) fn close_outputs(&mut self) {
        self.delivery.close_outputs();
    }

    /// The states of the outputs that write on threads of their own.
    pub(crate) fn outputs(&self) -> Vec<OutputHealth> {
        self.delivery.outputs()
    }

    /// The share of the accounts that these probes report.
    pub(crate) fn share(&self) -> &Share {
        self.delivery.share()
    }

    /// Whether an invocation has begun whose end has not come.
    pub fn has_open_invocation(&self) -> bool {
        self.assembler.in_flight() != InFlight::Nothing
    }

    /// Highest sequence number of an invocation whose end has come.
    pub fn ended_seq(&self) -> u64 {
        self.assembler.ended_seq()
    }

    /// Whether records of this invocation have come, but not its end.
    pub fn is_open(&self, seq: u64) -> bool {
        self.assembler.is_open(seq)
    }

    /// Counts of invocations that wait for victims, which may have grown in the kernel.
    pub(crate) fn waits_to_poll(&self) -> Vec<Counted> {
        self.assembler.waits_to_poll().collect()
    }

    /// Thread ids of waiting tasks. No record shows when they stop.
    pub fn waiting_tasks(&self) -> Vec<i32> {
        self.assembler.waiting_tasks()
    }

    /// All counts that may have grown in the kernel.
    pub(crate) fn runs_to_poll(&self) -> Vec<Counted> {
        self.assembler.runs_to_poll()
    }

    /// Whether [`Pipeline::due`] must be called, or the kernel's counts must be read, soon.
    pub fn is_waiting(&self) -> bool {
        self.assembler.is_waiting() || self.is_comparing()
    }

    /// Whether the kernel has counted kills that are not explained yet.
    pub fn is_comparing(&self) -> bool {
        self.cross_check.is_waiting()
    }

    /// Memory cgroups whose own count must be read again.
    pub fn groups_to_count(&self) -> Vec<CountedCgroup> {
        self.cross_check.groups_to_count()
    }

    /// Memory cgroups whose own count was never read.
    pub fn new_groups(&self) -> Vec<CountedCgroup> {
        self.cross_check.new_groups()
    }

    /// Adds a fact that takes effect from here on.
    pub fn learn(&mut self, fact: Fact) -> Result<(), PipelineError> {
        let Self { assembler, returned, facts, .. } = self;
        let is_open = |seq: u64| assembler.has(seq) || returned.contains(&seq);
        let Some(fact) = facts.add(fact, is_open) else {
            return Ok(());
        };
        match fact {
            Fact::System { seq, at_ns, memory } => self.assembler.add_system(seq, at_ns, *memory),
            Fact::Growth { seq, recorded } => self.assembler.add_growth(seq, recorded),
            Fact::NamesAwaited { seq } => {
                self.facts.findings.names_asked.insert(seq, ());
                self.assembler.await_names(seq);
            }
            Fact::Drops { count, kills, kills_by_reason, first_ns, last_ns } => {
                let lost = Lost::new(count, kills.unwrap_or_default(), kills_by_reason);
                // Older probes have only one ring.
                let details = kills.map(|_| LossStage::Ring);
                self.lost(&lost, details, first_ns, last_ns)?;
            }
            Fact::ProbeMisses { program, count, at_ns } => self.missed(program, count, at_ns)?,
            Fact::Dropped { stage, reason, count, since_ns, at_ns } => {
                self.report_loss(stage, reason, count, [since_ns, at_ns])?;
            }
            Fact::Tick(now_ns) => self.report_undecodable(now_ns)?,
            Fact::KillsCounted { kills, at_ns } => {
                let in_flight = self.assembler.in_flight();
                let gap = self.cross_check.counted(Reading { kills, at_ns }, in_flight);
                gap.map_or(Ok(()), |gap| self.report_gap(gap, None))?;
            }
            Fact::GroupKillsCounted { id, kills: None, .. } => self.cross_check.forget_group(id),
            Fact::GroupKillsCounted { id, path, kills: Some(kills), at_ns } => {
                let (group, in_flight) = (CountedCgroup { id, path }, self.assembler.in_flight());
                let reading = Reading { kills, at_ns };
                let gap = self.cross_check.group_counted(&group, reading, in_flight);
                gap.map_or(Ok(()), |gap| self.report_gap(gap, Some(group)))?;
            }
            Fact::Resumed { reported, since_ns, until_ns, handed_over } => {
                // Probes that are about to be removed have no next run.
                self.is_resumed = until_ns == u64::MAX;
                self.cross_check.resume(&reported);
                self.delivery.resume(reported, Share { since_ns, until_ns, handed_over });
            }
            _ => {}
        }
        Ok(())
    }

    /// Reports accounts. Returns whether the wanted number of reports is reached.
    pub fn report(
        &mut self,
        accounts: Vec<Account>,
        source: &mut dyn FactSource,
    ) -> Result<bool, PipelineError> {
        for account in accounts {
            if self.delivery.is_done() {
                break;
            }
            if let Some(mark) = self.delivery.reported_before(&account) {
                let report = self.compose(&account, source);
                self.delivery.deliver(&account, mark, report)?;
            }
        }
        self.returned.clear();
        Ok(self.delivery.is_done())
    }

    /// Delivers a report that was not made of records. Returns whether the wanted number of
    /// reports is reached.
    pub fn report_finished(&mut self, mut report: OomReport) -> Result<bool, PipelineError> {
        if self.delivery.is_done() {
            return Ok(true);
        }
        report.source.drops = Some(self.cross_check.take_lost());
        Ok(self.delivery.deliver_finished(report)?)
    }

    /// Notified when [`Pipeline::handle_outputs`] has something to do.
    pub(crate) fn outputs_changed(&self) -> Arc<Notify> {
        self.delivery.outputs_changed()
    }

    /// Reports the records that outputs lost before they worked again. Fails with a closed pipe if
    /// the readers of all outputs are gone.
    pub(crate) fn handle_outputs(&mut self) -> Result<(), PipelineError> {
        for (output, lost) in self.delivery.take_losses()? {
            let (stage, name) = (Some(output.stage()), Some(output.name().to_owned()));
            let (reason, count) = (Some(lost.reason), lost.count);
            let what = LostRecords { stage, name, reason, count };
            let loss = what.record(&self.host, &self.facts, [lost.first_ns, lost.last_ns]);
            self.delivery.write(None, &loss)?;
        }
        Ok(())
    }

    /// Counts of the run so far.
    pub fn stats(&self) -> Stats {
        Stats {
            records: self.n_records,
            undecodable: self.n_undecodable,
            lost: self.cross_check.n_lost,
            missed: self.cross_check.n_missed,
            unseen: self.cross_check.n_unseen,
            reports: self.delivery.n_reports,
            filtered: self.delivery.n_filtered,
            evicted: self.facts.findings.n_evicted(),
        }
    }

    /// The findings of userspace so far.
    pub fn findings(&self) -> &Findings {
        &self.facts.findings
    }

    fn compose(&mut self, account: &Account, source: &mut dyn FactSource) -> OomReport {
        let (seq, stage) = (account.seq(), account.stage());
        let FactStore { findings, privacy } = &mut self.facts;
        if stage == Stage::Final {
            findings.drops = self.delivery.lost_before(seq);
        } else {
            self.cross_check.add_account(account);
            findings.drops = self.cross_check.take_lost();
            source.find(account, findings);
        }
        source.enrich(account, privacy, findings);
        let report = compose(account, &self.host, findings);
        if stage != Stage::Final {
            self.cross_check.add_report(account, &report);
        }
        if stage != Stage::Provisional {
            findings.forget(seq);
        }
        report
    }

    /// Reports newly lost records, separately for each ring and for each reason of lost kills.
    /// `details` is the stage of records that are not of kills.
    fn lost(
        &mut self,
        lost: &Lost,
        details: Option<LossStage>,
        first_ns: u64,
        last_ns: u64,
    ) -> Result<(), SinkError> {
        let new = self.cross_check.lost(lost);
        if new.details > 0 {
            self.assembler.note_loss(last_ns);
        }
        for (&reason, &count) in new.kills.iter().filter(|(_, count)| **count > 0) {
            let note = Note { key: journal::lost_kills(reason), mark: lost.kills[&reason] };
            let what = LostRecords { stage: Some(LossStage::Kills), reason, name: None, count };
            let loss = what.record(&self.host, &self.facts, [first_ns, last_ns]);
            self.delivery.write(Some(note), &loss)?;
        }
        if new.details > 0 {
            let note = Note { key: LOSSES, mark: lost.details };
            let count = new.details;
            let what = LostRecords { stage: details, count, ..LostRecords::default() };
            let loss = what.record(&self.host, &self.facts, [first_ns, last_ns]);
            self.delivery.write(Some(note), &loss)?;
        }
        Ok(())
    }

    /// Reports newly skipped runs of a program. When they were skipped is not known.
    fn missed(&mut self, program: String, count: u64, at_ns: u64) -> Result<(), SinkError> {
        let new = self.cross_check.missed(&program, count);
        if new == 0 {
            return Ok(());
        }
        if hooks::sees_end(&program) {
            self.assembler.note_skip(at_ns);
        }
        let note = Note { key: journal::misses(&program), mark: count };
        let (stage, name) = (Some(LossStage::Probe), Some(program));
        let what = LostRecords { stage, name, count: new, ..LostRecords::default() };
        let loss = what.record(&self.host, &self.facts, [at_ns, at_ns]);
        self.delivery.write(Some(note), &loss)
    }

    /// Reports the records that could not be decoded since the last call.
    fn report_undecodable(&mut self, now_ns: u64) -> Result<(), SinkError> {
        let count = self.n_undecodable - self.n_undecodable_reported;
        self.n_undecodable_reported = self.n_undecodable;
        if count == 0 {
            return Ok(());
        }
        self.report_loss(LossStage::Decode, None, count, [now_ns, now_ns])
    }

    /// Reports a loss that is in no journal.
    fn report_loss(
        &mut self,
        stage: LossStage,
        reason: Option<LossReason>,
        count: u64,
        detected_ns: [u64; 2],
    ) -> Result<(), SinkError> {
        let what = LostRecords { stage: Some(stage), name: None, reason, count };
        let loss = what.record(&self.host, &self.facts, detected_ns);
        self.delivery.write(None, &loss)
    }

    fn report_gap(&mut self, gap: Gap, group: Option<CountedCgroup>) -> Result<(), SinkError> {
        let record = loss_and_gap::gap(&self.host, &self.facts, gap, group);
        self.delivery.write(None, &record)
    }
}

/// Whether the host is out of memory at this time. The record of an invocation without a choice may
/// come much later.
fn is_global(event: &Event) -> bool {
    const NOW_NS: u64 = 1_000_000_000;
    matches!(&event.body, Body::Invocation(invocation) if invocation.is_memcg == Some(false)
        && event.boottime_ns.saturating_sub(invocation.started_ns) < NOW_NS)
}

/// The memcg in which a choice was made, and its usage and limit at that time.
fn choice_of(event: &Event) -> Option<(u64, Chosen)> {
    match &event.body {
        Body::Invocation(invocation) if invocation.choice_made => {
            let memcg = invocation.oom_memcg.as_ref()?;
            Some((memcg.id?, Chosen { at_ns: event.boottime_ns, memory: memcg.memory }))
        }
        _ => None,
    }
}
