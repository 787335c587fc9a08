//! The live run: waits for the rings, for time and for signals. Owns the order of the shutdown.

mod drops;
mod ends;
mod live_facts;
mod pinned;
mod records;
mod run_recording;

use std::{collections::BTreeMap, io, time::Duration};

use self::live_facts::LiveFacts;
pub(crate) use self::{
    pinned::{Heir, Resume},
    run_recording::RunRecording,
};
use bytes::Bytes;
use oomwhy_common::valid;
use thiserror::Error;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep, sleep_until};
use zerocopy::IntoBytes as _;

use crate::{
    bpf::{
        counts::{KillsLost, LostRecords},
        load::{LoadError, Probes},
        pin::PinError,
        ring::{Rings, TakeKills},
    },
    enrich::{
        enrichment::Enrichment,
        kernel_lookup::KernelLookup,
        stack_symbolizer::StackSymbolizer,
        symbol_requests::{FoundNames, SymbolAnswer},
        victim_proc,
    },
    growth,
    host::{
        cgroupfs::{
            self,
            kill_counter::{CgroupKillCounter, CountedCgroup},
            paths::CgroupPaths,
        },
        clock, footprint,
        procfs::{kill_counter::KillCounter, system::SystemFiles},
    },
    model::{account::Account, facts::Fact},
    pipeline::{
        Pipeline, PipelineError, assemble::RUN_SETTLES_AFTER_NS, gaps, recording::RecordingError,
        stop_signals::StopSignals,
    },
};

/// Steps of the wall clock below this are ignored, ns.
const CLOCK_STEP_NS: u64 = 10_000_000;

/// Memory is returned to the kernel after this much silence. Kills come in bursts, and a page that
/// was returned takes a few hundred microseconds to read again.
const RELEASES_MEMORY_AFTER: Duration = Duration::from_mins(1);

/// The skipped runs of the programs are read at most this often: each program has a file for it.
const MISSES_READ_EVERY: Duration = Duration::from_secs(1);

/// Dropped hints and look-ups are reported at most this often: a hostile container can make the
/// probes drop hints all the time.
const DROPS_READ_EVERY: Duration = Duration::from_mins(1);

/// Reports are compared with the kernel's count of kills at least this often.
pub(crate) const CROSS_CHECK: Duration = Duration::from_mins(10);

/// Why a live run ends badly.
#[derive(Debug, Error)]
pub(crate) enum LiveError {
    /// The runtime or the ring buffer failed.
    #[error("cannot wait for events")]
    Wait(#[from] io::Error),
    /// The probes cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An output failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The recording cannot be written.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Pinned probes cannot be read or removed.
    #[error(transparent)]
    Pin(#[from] PinError),
}

/// A live run: probes, pipeline and everything that reports are compared with.
pub(crate) struct Live {
    probes: Probes,
    pipeline: Pipeline,
    recording: Option<RunRecording>,
    facts: LiveFacts,
    realtime_offset_ns: i64,
    losses: LostRecords,
    /// Runs that the kernel skipped, by program, and when they were read.
    misses: BTreeMap<String, u64>,
    misses_read_at: Option<Instant>,
    drops: drops::Drops,
    kill_counter: Option<KillCounter>,
    group_counter: Option<CgroupKillCounter>,
    cross_check: Duration,
    /// Time of the latest record, unless memory was released since.
    worked_at: Option<Instant>,
    /// The journal for the next run.
    kept: Option<pinned::RunJournal>,
    /// The memory controller is on the unified hierarchy.
    memory_on_v2: bool,
    /// Ends of invocations that no record shows.
    ends: ends::Ends,
    /// Everything was reported that this run reports.
    is_finished: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StopReason {
    /// The wanted number of reports was written.
    CountReached,
    /// SIGINT or SIGTERM came.
    Signalled,
}

impl Live {
    /// A run that waits for [`Live::run`]. `cgroup_paths` finds the paths that the probes cannot
    /// read.
    pub(crate) fn new(
        probes: Probes,
        pipeline: Pipeline,
        recording: Option<RunRecording>,
        cgroup_paths: Option<CgroupPaths>,
        enrichment: Enrichment,
        realtime_offset_ns: i64,
    ) -> Self {
        let symbols = KernelLookup::default();
        let memory_on_v2 = pipeline.host().memory_on_v2 == Some(true);
        let stacks = StackSymbolizer::new(&enrichment.tenants());
        let found = Vec::new();
        let drops = drops::Drops::since_now(&probes);
        let facts = LiveFacts {
            symbols,
            enrichment,
            stacks,
            cgroup_paths,
            system: None,
            growth: None,
            found,
        };
        Self {
            probes,
            pipeline,
            recording,
            facts,
            realtime_offset_ns,
            losses: LostRecords::default(),
            misses: BTreeMap::new(),
            misses_read_at: None,
            drops,
            kill_counter: None,
            group_counter: None,
            cross_check: CROSS_CHECK,
            worked_at: None,
            kept: None,
            memory_on_v2,
            ends: ends::Ends::default(),
            is_finished: false,
        }
    }

    /// Reads the host's memory from these files when it runs out.
    pub(crate) fn watch_system(&mut self, files: SystemFiles) {
        self.facts.system = Some(files);
    }

    /// Reads the data of the growth recorder when memory runs out.
    pub(crate) fn watch_growth(&mut self, recorder: growth::Recorder) {
        self.facts.growth = Some(recorder);
    }

    /// Compares with the kernel's count of kills, at least this often.
    pub(crate) fn cross_check(&mut self, counter: KillCounter, every: Duration) {
        self.kill_counter = Some(counter);
        self.cross_check = every;
    }

    /// Compares with the counts of memory cgroups that were over their limit, and with the count of
    /// `first` from the start.
    pub(crate) fn cross_check_groups(
        &mut self,
        counter: CgroupKillCounter,
        first: Option<&CountedCgroup>,
    ) -> Result<(), LiveError> {
        self.group_counter = Some(counter);
        first.map_or(Ok(()), |group| self.count_kills_in(group))
    }

    /// Runs until a signal, or until the wanted number of reports was written. Calls `ready` once
    /// it listens to everything.
    pub(crate) async fn run(&mut self, ready: impl FnOnce()) -> Result<(), LiveError> {
        let mut stop = StopSignals::new()?;
        self.probes.want_hints(true)?;
        let mut rings = self.open_rings()?;
        #[cfg(feature = "probe-log")]
        let _printing = self.probes.take_log()?.map(|log| tokio::spawn(log.print()));
        // One clock for all iterations, so that a stream of records does not delay due reports. It
        // runs only while something waits for time to pass, so that it does not wake an idle host.
        let mut ticks = interval(Duration::from_nanos(RUN_SETTLES_AFTER_NS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The only thing that wakes an idle host.
        let mut cross_checks = interval_at(Instant::now() + self.cross_check, self.cross_check);
        cross_checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let answered = self.facts.stacks.requests.answered();
        let outputs_changed = self.pipeline.outputs_changed();
        let mut keep = self.keeper();
        let mut done = self.take_left(&mut rings)?;
        self.skip_earlier();
        self.count_kills()?;
        ready();
        footprint::trim();
        let reason = loop {
            if done {
                break StopReason::CountReached;
            }
            done = tokio::select! {
                batch = rings.next_batch(&mut keep) => self.handle_batch(&batch?)?,
                () = answered.notified() => self.handle_names()?,
                () = outputs_changed.notified() => self.handle_outputs()?,
                _ = ticks.tick(), if self.pipeline.is_waiting() => self.tick(&mut rings)?,
                () = self.ends.settled(), if self.ends.is_due() => self.read_end(&mut rings)?,
                () = quiet_since(self.worked_at), if self.worked_at.is_some() => {
                    self.release_memory()
                }
                _ = cross_checks.tick(), if self.kill_counter.is_some() => self.tick(&mut rings)?,
                () = stop.received() => break StopReason::Signalled,
            };
        };
        // Probes that stay attached need not write hints that no tracer reads.
        self.probes.want_hints(false)?;
        if reason == StopReason::Signalled {
            self.check_last(&mut rings).await?;
        }
        // With --count reached, open invocations are left to the next run, if there is one.
        if reason == StopReason::Signalled || self.kept.is_none() {
            self.finish()?;
        }
        // With --count reached, the remaining records are left in the ring for the next tracer, so
        // the counts would differ.
        if reason == StopReason::Signalled {
            self.count_kills()?;
        }
        Ok(self.recording.as_mut().map_or(Ok(()), RunRecording::take_failure)?)
    }

    /// With a journal, kills leave their ring no earlier than the details that belong to them.
    fn open_rings(&mut self) -> Result<Rings, LiveError> {
        // The probes cannot read names, so all paths come from this map. It needs the cgroups that
        // exist now; the probes report later ones.
        if let (0, Some(paths)) = (self.probes.settings.probe_read, &mut self.facts.cgroup_paths) {
            paths.scan_all();
        }
        let has_journal = self.kept.is_some();
        let take = if has_journal { TakeKills::WithDetails } else { TakeKills::Early };
        Ok(Rings::new(self.probes.take_rings()?, take)?)
    }

    /// The pipeline, for its statistics.
    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Number of names and other findings that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.pipeline.stats().evicted + self.facts.n_evicted()
    }

    /// Whether the output of several runs has written all reports.
    pub(crate) fn is_delivered(&self) -> bool {
        self.pipeline.is_delivered()
    }

    /// Ends the outputs. Each gets a moment to write what it has.
    pub(crate) fn close_outputs(&mut self) {
        self.pipeline.close_outputs();
        if self.is_finished {
            self.forget_delivered();
        }
    }

    fn handle_outputs(&mut self) -> Result<bool, LiveError> {
        self.pipeline.handle_outputs()?;
        self.forget_reported()
    }

    /// Returns freed memory to the kernel. Sends no report.
    fn release_memory(&mut self) -> bool {
        footprint::trim();
        self.worked_at = None;
        false
    }

    fn handle_batch(&mut self, batch: &[Bytes]) -> Result<bool, LiveError> {
        self.worked_at = Some(Instant::now());
        self.note_clock()?;
        self.note_losses()?;
        self.note_misses()?;
        self.ends.wait();
        if batch.iter().any(records::may_close) {
            self.read_waits()?;
        }
        for record in batch {
            if self.handle_record(record)? {
                return Ok(true);
            }
        }
        self.forget_reported()
    }

    fn handle_record(&mut self, record: &Bytes) -> Result<bool, LiveError> {
        if let Some(victim) = self.complete(record)? {
            let accounts = self.pipeline.handle_record(&victim, &mut self.facts)?;
            self.report(accounts)?;
        }
        // A recording must not keep data that reports may not show.
        if let Some(recording) = self.recording.as_mut().filter(|_| self.pipeline.admits(record)) {
            recording.record(record);
        }
        let accounts = self.pipeline.handle_record(record, &mut self.facts)?;
        let done = self.report(accounts)?;
        for seq in self.facts.stacks.requests.newly_awaited() {
            self.note(Fact::NamesAwaited { seq })?;
        }
        Ok(done)
    }

    /// Adds the names of frames that were found. Closes the reports that waited for them or have
    /// waited too long.
    fn handle_names(&mut self) -> Result<bool, LiveError> {
        for SymbolAnswer { seq, found, .. } in self.facts.stacks.requests.answers() {
            match found {
                FoundNames::Process { pid, names } => {
                    if let Ok(pid) = i32::try_from(pid) {
                        self.note(Fact::UserNames { seq, pid, names })?;
                    }
                }
                FoundNames::Kernel(mut symbols) => {
                    let known = &self.pipeline.findings().symbols;
                    symbols.retain(|ip, _| !known.contains_key(ip));
                    for (ip, symbol) in symbols {
                        self.note(Fact::Symbol { ip, symbol })?;
                    }
                }
            }
        }
        for seq in self.facts.stacks.requests.names_ready() {
            self.note(Fact::NamesReady { seq })?;
            let accounts = self.pipeline.names_ready(seq);
            if self.report(accounts)? {
                return Ok(true);
            }
        }
        self.forget_reported()
    }

    /// Makes the record of a victim from a mark without one and from the current data in /proc. The
    /// record precedes the mark.
    fn complete(&mut self, record: &Bytes) -> Result<Option<Bytes>, LiveError> {
        let Some(mark) = victim_proc::unfinished(record) else {
            return Ok(None);
        };
        let found = victim_proc::read("/proc".as_ref(), mark.tid);
        // On the unified hierarchy, the probe knows the cgroup of the current task.
        let is_current = mark.header.valid & valid::mark::CURRENT != 0;
        let mut cgroup_id = (is_current && self.memory_on_v2).then_some(mark.cgroup_id);
        if let Some(path) = found.as_ref().and_then(|found| found.cgroup.as_ref())
            && let Some(paths) = &self.facts.cgroup_paths
            && let Some(id) = cgroupfs::id(paths.mount(), path)
        {
            cgroup_id.get_or_insert(id);
            self.note(Fact::CgroupPath { id, path: path.clone() })?;
        }
        let page_size = u64::try_from(rustix::param::page_size()).unwrap_or(u64::MAX);
        let record = victim_proc::victim(&mark, found.as_ref(), cgroup_id, page_size)
            .map(|victim| Bytes::copy_from_slice(victim.as_bytes()));
        if let (Some(recording), Some(record)) = (&mut self.recording, &record) {
            recording.record(record);
        }
        Ok(record)
    }

    fn report(&mut self, accounts: Vec<Account>) -> Result<bool, LiveError> {
        self.hand_over(&accounts);
        let done = self.pipeline.report(accounts, &mut self.facts)?;
        let found = std::mem::take(&mut self.facts.found);
        for fact in &found {
            self.keep_fact(fact);
        }
        if let Some(recording) = &mut self.recording {
            for fact in &found {
                recording.fact(fact);
            }
        }
        for group in self.pipeline.new_groups() {
            self.count_kills_in(&group)?;
        }
        Ok(done)
    }

    /// Handles everything that waits for time to pass: runs of invocations without a victim,
    /// victims that are not gone, and comparisons with the kernel's count of kills.
    fn tick(&mut self, rings: &mut Rings) -> Result<bool, LiveError> {
        if self.drain(rings)? {
            return Ok(true);
        }
        self.note_losses()?;
        self.note_misses()?;
        if self.handle_names()? {
            return Ok(true);
        }
        if self.read_latest()? || self.read_runs()? {
            return Ok(true);
        }
        for tid in self.pipeline.waiting_tasks() {
            if let Some(last_ns) = self.probes.wait_ended(tid, clock::boottime_ns()) {
                self.handle_record(&records::wait_ended(tid, last_ns))?;
            }
        }
        let now = clock::boottime_ns();
        self.note(Fact::Tick(now))?;
        let due = self.pipeline.due(now);
        if self.report(due)? {
            return Ok(true);
        }
        self.count_kills()?;
        self.forget_reported()
    }

    /// Empties the rings. Returns whether the wanted number of reports is reached.
    fn drain(&mut self, rings: &mut Rings) -> Result<bool, LiveError> {
        let mut keep = self.keeper();
        loop {
            let batch = rings.drain(&mut keep);
            if batch.is_empty() {
                return Ok(false);
            }
            if self.handle_batch(&batch)? {
                return Ok(true);
            }
        }
    }

    /// Empties everything once more before the end. Waits only if the kernel has counted kills that
    /// are not explained.
    async fn check_last(&mut self, rings: &mut Rings) -> Result<(), LiveError> {
        self.ends.stop();
        let is_done = self.tick(rings)?;
        if is_done || !(self.pipeline.is_comparing() || self.ends.is_due()) {
            return Ok(());
        }
        sleep(Duration::from_nanos(gaps::SETTLES_AFTER_NS)).await;
        self.tick(rings)?;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), LiveError> {
        self.note_losses()?;
        self.misses_read_at = None;
        self.note_misses()?;
        self.note_drops()?;
        self.note(Fact::End)?;
        let left = self.pipeline.finish();
        if !self.report(left)? {
            self.forget_reported()?;
            self.is_finished = true;
        }
        Ok(())
    }

    /// Adds a fact that takes effect from here on to the pipeline and to the recording.
    fn note(&mut self, fact: Fact) -> Result<(), LiveError> {
        if let Some(recording) = &mut self.recording {
            recording.fact(&fact);
        }
        Ok(self.pipeline.learn(fact)?)
    }

    /// Reads the kernel's count of kills. The rings must be empty.
    fn count_kills(&mut self) -> Result<(), LiveError> {
        // If the counter could be read at the start and cannot be read now, the run goes on.
        if let Some(kills) = self.kill_counter.as_mut().and_then(KillCounter::read) {
            self.note(Fact::KillsCounted { kills, at_ns: clock::boottime_ns() })?;
        }
        self.pipeline.groups_to_count().iter().try_for_each(|group| self.count_kills_in(group))
    }

    fn count_kills_in(&mut self, group: &CountedCgroup) -> Result<(), LiveError> {
        let kills = self.group_counter.as_ref().and_then(|counter| counter.read(group));
        let CountedCgroup { id, path } = group.clone();
        self.note(Fact::GroupKillsCounted { id, path, kills, at_ns: clock::boottime_ns() })
    }

    fn note_losses(&mut self) -> Result<(), LiveError> {
        let losses = self.probes.losses()?;
        if losses.count != self.losses.count {
            self.losses = losses;
            let LostRecords { count, kills, first_ns, last_ns } = losses;
            let kills_by_reason = kills.map(KillsLost::by_reason).unwrap_or_default();
            let kills = kills.map(KillsLost::total);
            self.note(Fact::Drops { count, kills, kills_by_reason, first_ns, last_ns })?;
        }
        Ok(())
    }

    /// Adds the runs of programs that the kernel skipped since the last call.
    fn note_misses(&mut self) -> Result<(), LiveError> {
        if self.misses_read_at.is_some_and(|at| at.elapsed() < MISSES_READ_EVERY) {
            return Ok(());
        }
        self.misses_read_at = Some(Instant::now());
        let misses = self.probes.misses();
        let at_ns = clock::boottime_ns();
        for (program, &count) in &misses {
            if self.misses.get(program) != Some(&count) {
                let program = program.clone();
                self.note(Fact::ProbeMisses { program, count, at_ns })?;
            }
        }
        self.misses = misses;
        if self.drops.read_at.elapsed() >= DROPS_READ_EVERY { self.note_drops() } else { Ok(()) }
    }

    /// The wall clock can be set during a run; records have `CLOCK_BOOTTIME`.
    fn note_clock(&mut self) -> Result<(), LiveError> {
        let offset = clock::realtime_offset_ns();
        if offset.abs_diff(self.realtime_offset_ns) > CLOCK_STEP_NS {
            self.realtime_offset_ns = offset;
            self.note(Fact::RealtimeOffset(offset))?;
        }
        Ok(())
    }
}

/// Returns after [`RELEASES_MEMORY_AFTER`] without a record.
async fn quiet_since(worked_at: Option<Instant>) {
    sleep_until(worked_at.unwrap_or_else(Instant::now) + RELEASES_MEMORY_AFTER).await;
}
