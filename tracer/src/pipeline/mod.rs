//! Records in, reports out: decode, assemble, compose, filter, sinks. The same for a live run and
//! for a replay; what differs is who finds the facts ([`FactSource`]).

pub(crate) mod assemble;
pub(crate) mod decode;
pub(crate) mod delivery;
pub(crate) mod filter;
pub(crate) mod gaps;
pub(crate) mod kernel_log;
pub(crate) mod live;
pub(crate) mod recording;
pub(crate) mod replay;
pub(crate) mod sink;

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use thiserror::Error;

use crate::{
    bpf::journal::{FINAL, LOSSES, Note, PROVISIONAL, Unfinished},
    compose::{compose, fingerprint::fingerprint, verdict::verdict},
    enrich::privacy::Privacy,
    host::group_counter::Group,
    model::{
        account::{Account, Stage},
        events::{Body, Event},
        facts::{Fact, Findings},
        handover::Share,
        host::Host,
        recorded_growth::{Chosen, Recorded},
        report::{Cgroup, GapReport, LossReport, OomReport, Record, SCHEMA, System, Tier},
    },
    pipeline::{
        assemble::{Amid, Assembler},
        decode::decode,
        delivery::Telling,
        filter::Filter,
        gaps::{Gap, Gaps, GroupGaps, Reading},
        sink::{Sink, SinkError},
    },
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
    /// The choice was made in an invocation that the limit of this memcg, by its id, brought: what grew
    /// there before.
    fn growth(&mut self, _seq: u64, _oom_memcg: u64, _chosen: Chosen) -> Option<Box<Recorded>> {
        None
    }
    /// A process grows near a limit.
    fn grows(&mut self, _tgid: i32) {}
}

/// The pipeline and its state.
pub struct Pipeline {
    host: Host,
    assembler: Assembler,
    findings: Findings,
    /// Invocations that sinks were told of and that are not closed yet, with the records that were
    /// lost before each.
    told: BTreeMap<u64, u64>,
    /// What another run told before this one, by key, and how far.
    told_before: BTreeMap<u64, u64>,
    /// What these probes report, if they are pinned and others were attached beside them.
    share: Share,
    /// It goes on where another run ended, and another one will where it ends: an invocation that
    /// has not ended is left to that one.
    is_resumed: bool,
    /// Where it is said what is being told, for an output that notes it.
    telling: Option<Telling>,
    /// Losses already told.
    lost_before: u64,
    lost_since_report: u64,
    gaps: Gaps,
    group_gaps: GroupGaps,
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
            findings: Findings::default(),
            told: BTreeMap::new(),
            told_before: BTreeMap::new(),
            share: Share::default(),
            is_resumed: false,
            telling: None,
            lost_before: 0,
            lost_since_report: 0,
            gaps: Gaps::default(),
            group_gaps: GroupGaps::new(host.memory_on_v2 == Some(true)),
            has_finished: false,
            filter,
            privacy: Privacy::default(),
            sinks: Vec::new(),
            events: None,
            count,
            stats: Stats::default(),
            host,
        }
    }

    /// What reports need to know of the host.
    pub fn host(&self) -> &Host {
        &self.host
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
        let growth = chosen(&event).and_then(|(memcg, chosen)| facts.growth(seq, memcg, chosen));
        if let Body::Grower(grower) = &event.body {
            facts.grows(grower.tgid);
        }
        if let Some(events) = &mut self.events {
            events.event(&event)?;
        }
        let done = self.assembler.push(event);
        if let Some((at_ns, memory)) = system {
            self.assembler.system(seq, at_ns, memory);
        }
        if let Some(recorded) = growth {
            self.assembler.growth(seq, recorded);
        }
        Ok(done)
    }

    /// Accounts that are due by `now_ns` without a further record.
    pub fn due(&mut self, now_ns: u64) -> Vec<Account> {
        self.assembler.due(now_ns)
    }

    /// What the report of an invocation waited for has come or is given up; see [`Fact::Awaited`].
    pub fn settle(&mut self, seq: u64) -> Vec<Account> {
        self.assembler.settle(seq).into_iter().collect()
    }

    /// Accounts that are left at the end.
    pub fn finish(&mut self) -> Vec<Account> {
        self.has_finished = true;
        if self.is_resumed { self.assembler.press() } else { self.assembler.finish() }
    }

    /// Accounts that cannot be kept any longer: all but those whose end has not come.
    pub fn press(&mut self) -> Vec<Account> {
        self.assembler.press()
    }

    /// What is not told to its end.
    pub fn unfinished(&self) -> Unfinished {
        self.assembler.unfinished()
    }

    /// What these probes report.
    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    /// Whether an invocation has begun whose end has not come.
    pub fn is_amid(&self) -> bool {
        self.assembler.amid() != Amid::Nothing
    }

    /// Says there what is being told.
    pub fn say_what_is_told(&mut self, telling: Telling) {
        self.telling = Some(telling);
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
        self.assembler.is_waiting() || self.is_comparing()
    }

    /// Whether the kernel has counted kills that are not explained yet.
    pub fn is_comparing(&self) -> bool {
        self.gaps.is_waiting() || !self.group_gaps.waiting().is_empty()
    }

    /// Memory cgroups whose own count is wanted.
    pub fn groups_to_count(&self) -> Vec<Group> {
        self.group_gaps.waiting()
    }

    /// Those of which nothing is known yet.
    pub fn new_groups(&self) -> Vec<Group> {
        self.group_gaps.new_groups()
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
            Fact::UserNames { seq, pid, names } => {
                let known = self.findings.user_names.entry((seq, pid)).or_default();
                known.places.extend(names.places);
                known.addresses.extend(names.addresses);
            }
            Fact::Awaited { seq } => {
                self.findings.names_asked.insert(seq);
                self.assembler.wait_for(seq);
            }
            Fact::Growth { seq, recorded } => self.assembler.growth(seq, recorded),
            Fact::RealtimeOffset(offset) => self.findings.realtime_offset_ns = Some(offset),
            Fact::Drops { count, first_ns, last_ns } => self.lost(count, first_ns, last_ns)?,
            Fact::KillsCounted { kills, at_ns } => self.counted(Reading { kills, at_ns })?,
            Fact::GroupKillsCounted { id, kills: None, .. } => self.group_gaps.forget(id),
            Fact::GroupKillsCounted { id, path, kills: Some(kills), at_ns } => {
                self.group_counted(Group { id, path }, Reading { kills, at_ns })?;
            }
            Fact::Resumed { told, since_ns, until_ns, handed_over } => {
                // Probes that are going to be removed have no next run.
                self.is_resumed = until_ns == u64::MAX;
                self.lost_before = told.get(&LOSSES).copied().unwrap_or_default();
                self.told_before = told;
                self.share = Share { since_ns, until_ns, handed_over };
            }
            Fact::Settled { .. } | Fact::Tick(_) | Fact::Pressed | Fact::End => {}
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
            let Some(told) = self.told_before(&account) else {
                continue;
            };
            if account.stage == Stage::Final {
                self.findings.drops = self.told.get(&account.seq).copied().unwrap_or_default();
            } else {
                self.gaps.saw_all_of(&account);
                self.findings.drops = std::mem::take(&mut self.lost_since_report);
                facts.find(&account, &mut self.findings);
            }
            facts.enrich(&account, &self.privacy, &mut self.findings);
            let report = compose(&account, &self.host, &self.findings);
            if account.stage != Stage::Final {
                self.group_gaps.saw(&account, &report);
            }
            if account.stage != Stage::Provisional {
                self.findings.processes.retain(|(seq, _), _| *seq != account.seq);
                self.findings.user_names.retain(|(seq, _), _| *seq != account.seq);
                self.findings.names_asked.remove(&account.seq);
            }
            if self.filter.passes(&report) {
                self.tell(&account, told, report)?;
            } else if account.stage != Stage::Final {
                self.stats.filtered += 1;
            }
        }
        Ok(self.is_done())
    }

    /// Tells a report that was not made of records. Returns whether the wanted number is reached.
    pub fn tell_report(&mut self, mut report: OomReport) -> Result<bool, PipelineError> {
        if self.is_done() {
            return Ok(true);
        }
        report.source.drops = Some(std::mem::take(&mut self.lost_since_report));
        if self.filter.passes(&report) {
            self.stats.reports += 1;
            self.write(&concluded(report))?;
        } else {
            self.stats.filtered += 1;
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

    fn tell(
        &mut self,
        account: &Account,
        told_before: u64,
        report: OomReport,
    ) -> Result<(), PipelineError> {
        let record = concluded(report);
        match account.stage {
            // No more of them than are wanted, for each will be closed.
            Stage::Provisional if self.count.is_none_or(|count| self.n_told() < count) => {
                self.told.insert(account.seq, self.findings.drops);
                if told_before == 0 {
                    self.telling(account.key(), PROVISIONAL);
                    self.sinks.iter_mut().try_for_each(|sink| sink.early(&record))?;
                }
            }
            Stage::Provisional => {}
            Stage::Final if self.told.remove(&account.seq).is_some() => {
                self.stats.reports += 1;
                self.telling(account.key(), FINAL);
                self.sinks.iter_mut().try_for_each(|sink| sink.late(&record))?;
            }
            Stage::Complete | Stage::Final => {
                self.stats.reports += 1;
                self.telling(account.key(), FINAL);
                self.write(&record)?;
            }
        }
        Ok(())
    }

    /// How far another run told it; `None` if that is all there is to tell, or if it is not this
    /// run's to tell.
    fn told_before(&mut self, account: &Account) -> Option<u64> {
        let mark = self.told_before.get(&account.key()).copied().unwrap_or_default();
        if mark == FINAL && account.stage != Stage::Provisional {
            // What comes again under the same number is news: a run that has become longer.
            self.told_before.remove(&account.key());
        }
        (mark != FINAL && self.share.has(account)).then_some(mark)
    }

    /// The next write tells this.
    fn telling(&self, key: u64, mark: u64) {
        if let Some(telling) = &self.telling {
            telling.set(Some(Note { key, mark }));
        }
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
        self.group_gaps.lost(new);
        let loss = LossReport {
            schema: SCHEMA,
            tier: (self.host.tier == Tier::Kmsg).then_some(Tier::Kmsg),
            host: self.host.hostname.clone(),
            boot_id: self.host.boot_id.clone(),
            count: new,
            first: self.time(first_ns),
            last: self.time(last_ns),
        };
        self.telling(LOSSES, count);
        self.write(&Record::Loss(loss))
    }

    fn counted(&mut self, reading: Reading) -> Result<(), PipelineError> {
        let gap = if self.has_finished {
            self.gaps.last_check(reading)
        } else {
            self.gaps.check(reading, self.assembler.amid())
        };
        let Some(gap) = gap else {
            return Ok(());
        };
        self.stats.unseen += gap.expected - gap.seen;
        self.tell_gap(gap, None)
    }

    fn group_counted(&mut self, group: Group, reading: Reading) -> Result<(), PipelineError> {
        self.group_gaps.watch(group.id, &group.path);
        let gap = if self.has_finished {
            self.group_gaps.last_check(group.id, reading)
        } else {
            self.group_gaps.check(group.id, reading, self.assembler.amid())
        };
        gap.map_or(Ok(()), |gap| self.tell_gap(gap, Some(group)))
    }

    fn tell_gap(&mut self, gap: Gap, group: Option<Group>) -> Result<(), PipelineError> {
        let Gap { expected, seen, drops, since_ns, at_ns } = gap;
        let cgroup = group.map(|Group { id, path }| Cgroup {
            id: Some(id.to_string()),
            path: Some(path),
            ..Cgroup::default()
        });
        let gap = GapReport {
            cgroup,
            schema: SCHEMA,
            time: Some(self.time(at_ns)),
            host: self.host.hostname.clone(),
            boot_id: self.host.boot_id.clone(),
            expected,
            seen,
            drops: Some(drops),
            since: self.time(since_ns),
        };
        if let Some(telling) = &self.telling {
            telling.set(None);
        }
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

/// In which memcg a choice was made, and how that stood then.
fn chosen(event: &Event) -> Option<(u64, Chosen)> {
    match &event.body {
        Body::Invocation(invocation) if invocation.choice_made => {
            let memcg = invocation.oom_memcg.as_ref()?;
            Some((memcg.id?, Chosen { at_ns: event.boottime_ns, memory: memcg.memory }))
        }
        _ => None,
    }
}

/// With what is made of all the rest.
fn concluded(mut report: OomReport) -> Record {
    report.verdict = Some(verdict(&report));
    // Last: it is made of what the others found.
    report.fingerprint = fingerprint(&report);
    Record::Oom(Box::new(report))
}
