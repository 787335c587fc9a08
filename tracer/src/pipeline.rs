//! Records in, reports out: decode, assemble, compose, filter, sinks. The same for a live run and
//! for a replay; what differs is who finds the facts ([`FactSource`]).

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use thiserror::Error;

use crate::{
    assemble::{Account, Assembler, Stage},
    compose::{Findings, compose},
    decode::decode,
    enrich::privacy::Privacy,
    events::{Body, Event},
    filter::Filter,
    gaps::{Gap, Gaps, Reading},
    host::Host,
    recording::Fact,
    report::{GapReport, LossReport, OomReport, Record, SCHEMA, System},
    sink::{Sink, SinkError},
};

/// What happened in a run, for the summary on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records taken in.
    pub records: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Records the kernel side could not write.
    pub lost: u64,
    /// Kills that the kernel counted and nobody saw.
    pub unseen: u64,
    /// Reports made.
    pub reports: u64,
    /// Reports that a filter held back.
    pub filtered: u64,
}

/// Why a pipeline stops.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// An output failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Where decoded events go besides the assembler.
pub trait EventSink {
    /// Takes one event.
    fn event(&mut self, event: &Event) -> Result<(), SinkError>;
}

/// Finds what a report needs besides the records: live it looks, in a replay it remembers.
pub trait FactSource {
    /// Called before an account is composed; what it finds goes into `findings`.
    fn find(&mut self, account: &Account, findings: &mut Findings);
    /// The choice was made in an invocation that is nobody's limit: how the host's memory is now,
    /// and when that is, `CLOCK_BOOTTIME` ns.
    fn system(&mut self, _seq: u64) -> Option<(u64, System)> {
        None
    }
    /// An event came in.
    fn note(&mut self, _event: &Event) {}
    /// Called before an account is composed, also when it comes again to be closed: what is known
    /// by now of its tasks and their containers.
    fn enrich(&mut self, _account: &Account, _privacy: &Privacy, _findings: &mut Findings) {}
}

/// The pipeline and its state.
pub struct Pipeline {
    host: Host,
    assembler: Assembler,
    findings: Findings,
    /// Invocations that sinks were told of and that are not closed yet, with the records that were
    /// lost before each.
    told: BTreeMap<u64, u64>,
    /// Losses already told.
    lost_before: u64,
    lost_since_report: u64,
    gaps: Gaps,
    has_finished: bool,
    filter: Filter,
    privacy: Privacy,
    sinks: Vec<Box<dyn Sink>>,
    events: Option<Box<dyn EventSink>>,
    /// Reports after which to stop.
    count: Option<u64>,
    stats: Stats,
}

impl Pipeline {
    /// An empty pipeline.
    pub fn new(host: Host, filter: Filter, count: Option<u64>) -> Self {
        Self {
            assembler: Assembler::new(host.visible(), host.close_after_ns),
            host,
            findings: Findings::default(),
            told: BTreeMap::new(),
            lost_before: 0,
            lost_since_report: 0,
            gaps: Gaps::default(),
            has_finished: false,
            filter,
            privacy: Privacy::default(),
            sinks: Vec::new(),
            events: None,
            count,
            stats: Stats::default(),
        }
    }

    /// Sets what happens to command lines.
    pub fn set_privacy(&mut self, privacy: Privacy) {
        self.privacy = privacy;
    }

    /// Whether a record may be kept as it is.
    pub fn admits(&self, record: &Bytes) -> bool {
        !self.privacy.no_cmdline
            || decode(record).is_ok_and(|mut event| self.privacy.passes(&mut event))
    }

    /// Adds an output for reports.
    pub fn add_sink(&mut self, sink: impl Sink + 'static) {
        self.sinks.push(Box::new(sink));
    }

    /// Adds an output for decoded events.
    pub fn set_event_sink(&mut self, sink: impl EventSink + 'static) {
        self.events = Some(Box::new(sink));
    }

    /// Takes one record of the ring. Returns the accounts it completes, to be passed to
    /// [`Pipeline::report`].
    pub fn take(
        &mut self,
        record: &Bytes,
        facts: &mut dyn FactSource,
    ) -> Result<Vec<Account>, PipelineError> {
        self.stats.records += 1;
        let Ok(mut event) = decode(record) else {
            self.stats.undecodable += 1;
            return Ok(Vec::new());
        };
        if !self.privacy.passes(&mut event) {
            return Ok(Vec::new());
        }
        let seq = event.seq;
        // Before anything else takes time.
        let system = if is_global(&event.body) { facts.system(seq) } else { None };
        facts.note(&event);
        if let Some(events) = &mut self.events {
            events.event(&event)?;
        }
        let done = self.assembler.push(event);
        if let Some((at_ns, memory)) = system {
            self.assembler.system(seq, at_ns, memory);
        }
        Ok(done)
    }

    /// Accounts that are due by `now_ns` without a further record.
    pub fn due(&mut self, now_ns: u64) -> Vec<Account> {
        self.assembler.due(now_ns)
    }

    /// Accounts that are left at the end.
    pub fn finish(&mut self) -> Vec<Account> {
        self.has_finished = true;
        self.assembler.finish()
    }

    /// Threads that wait, of whose end no record comes.
    pub fn waiting_tasks(&self) -> Vec<i32> {
        self.assembler.waiting_tasks()
    }

    /// Runs whose counts may have moved on: (seq, oom_memcg id).
    pub fn waiting(&self) -> Vec<(u64, u64)> {
        self.assembler.waiting()
    }

    /// Whether time must be noted again soon: [`Pipeline::due`], and the kernel's count of kills.
    pub fn is_waiting(&self) -> bool {
        self.assembler.is_waiting() || self.gaps.is_waiting()
    }

    /// Whether the kernel has counted kills that are not explained yet.
    pub fn is_comparing(&self) -> bool {
        self.gaps.is_waiting()
    }

    /// Takes a fact that is not about one account.
    pub fn learn(&mut self, fact: Fact) -> Result<(), PipelineError> {
        match fact {
            Fact::Symbol { ip, symbol } => {
                self.findings.symbols.insert(ip, symbol);
            }
            Fact::CgroupPath { id, path } => {
                self.findings.cgroup_paths.insert(id, path);
            }
            Fact::System { seq, at_ns, memory } => self.assembler.system(seq, at_ns, *memory),
            Fact::User { uid, name } => {
                self.findings.users.insert(uid, name);
            }
            Fact::Container { key, names } => {
                self.findings.containers.insert(key, names);
            }
            Fact::Process { seq, pid, files } => {
                self.findings.processes.insert((seq, pid), self.privacy.clean(files));
            }
            Fact::RealtimeOffset(offset) => self.findings.realtime_offset_ns = Some(offset),
            Fact::Drops { count, first_ns, last_ns } => self.lost(count, first_ns, last_ns)?,
            Fact::KillsCounted { kills, at_ns } => self.counted(Reading { kills, at_ns })?,
            Fact::Tick(_) | Fact::End => {}
        }
        Ok(())
    }

    /// Reports accounts. Returns whether the wanted number of reports is reached.
    pub fn report(
        &mut self,
        accounts: Vec<Account>,
        facts: &mut dyn FactSource,
    ) -> Result<bool, PipelineError> {
        for account in accounts {
            if self.is_done() {
                break;
            }
            if account.stage == Stage::Closed {
                self.findings.drops = self.told.get(&account.seq).copied().unwrap_or_default();
            } else {
                self.gaps.saw(&account);
                self.findings.drops = std::mem::take(&mut self.lost_since_report);
                facts.find(&account, &mut self.findings);
            }
            facts.enrich(&account, &self.privacy, &mut self.findings);
            let report = compose(&account, &self.host, &self.findings);
            if account.stage != Stage::Killed {
                self.findings.processes.retain(|(seq, _), _| *seq != account.seq);
            }
            if self.filter.passes(&report) {
                self.tell(account.seq, account.stage, report)?;
            } else if account.stage != Stage::Closed {
                self.stats.filtered += 1;
            }
        }
        Ok(self.is_done())
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// What userspace found out so far.
    pub fn findings_mut(&mut self) -> &mut Findings {
        &mut self.findings
    }

    fn tell(&mut self, seq: u64, stage: Stage, report: OomReport) -> Result<(), PipelineError> {
        let record = Record::Oom(Box::new(report));
        match stage {
            // No more of them than are wanted, for each will be closed.
            Stage::Killed if self.count.is_none_or(|count| self.n_told() < count) => {
                self.told.insert(seq, self.findings.drops);
                self.sinks.iter_mut().try_for_each(|sink| sink.early(&record))?;
            }
            Stage::Killed => {}
            Stage::Closed if self.told.remove(&seq).is_some() => {
                self.stats.reports += 1;
                self.sinks.iter_mut().try_for_each(|sink| sink.late(&record))?;
            }
            Stage::Whole | Stage::Closed => {
                self.stats.reports += 1;
                self.write(&record)?;
            }
        }
        Ok(())
    }

    /// Reports made, and those to come of what was told.
    fn n_told(&self) -> u64 {
        self.stats.reports + self.told.len() as u64
    }

    fn is_done(&self) -> bool {
        self.count.is_some_and(|count| self.stats.reports >= count)
    }

    fn lost(&mut self, count: u64, first_ns: u64, last_ns: u64) -> Result<(), PipelineError> {
        let new = count.saturating_sub(self.lost_before);
        if new == 0 {
            return Ok(());
        }
        self.lost_before = count;
        self.lost_since_report += new;
        self.stats.lost += new;
        self.gaps.lost(new);
        let loss = LossReport {
            schema: SCHEMA,
            host: self.host.hostname.clone(),
            boot_id: self.host.boot_id.clone(),
            count: new,
            first: self.time(first_ns),
            last: self.time(last_ns),
        };
        self.write(&Record::Loss(loss))
    }

    fn counted(&mut self, reading: Reading) -> Result<(), PipelineError> {
        let gap = if self.has_finished {
            self.gaps.last_check(reading)
        } else {
            self.gaps.check(reading, self.assembler.is_amid())
        };
        let Some(gap) = gap else {
            return Ok(());
        };
        let Gap { expected, seen, drops, since_ns, at_ns } = gap;
        self.stats.unseen += expected - seen;
        let gap = GapReport {
            schema: SCHEMA,
            time: Some(self.time(at_ns)),
            host: self.host.hostname.clone(),
            boot_id: self.host.boot_id.clone(),
            expected,
            seen,
            drops: Some(drops),
            since: self.time(since_ns),
        };
        self.write(&Record::Gap(gap))
    }

    fn time(&self, boottime_ns: u64) -> Timestamp {
        let offset = self.findings.realtime_offset_ns.unwrap_or(self.host.realtime_offset_ns);
        let ns = i128::from(boottime_ns) + i128::from(offset);
        // Out of range only with a wall clock beyond the year 9999.
        Timestamp::from_nanosecond(ns).unwrap_or(Timestamp::MAX)
    }

    fn write(&mut self, record: &Record) -> Result<(), PipelineError> {
        for sink in &mut self.sinks {
            sink.write(record)?;
        }
        Ok(())
    }
}

/// Whether a choice was made among all tasks of the host.
fn is_global(body: &Body) -> bool {
    matches!(body, Body::Invocation(invocation) if invocation.is_memcg == Some(false))
}
