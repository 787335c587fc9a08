//! The live run: ring readable, time passing, a signal. Owns the order of shutdown.

mod finder;
mod pinned;

use std::{
    fs,
    io::{self, Write as _},
    time::Duration,
};

use self::finder::Finder;
pub(crate) use self::pinned::{Heir, Resume};
use bytes::Bytes;
use oomwhy_common::{
    event::{EventHeader, RepeatsEvent, WaitEvent, kind},
    valid,
};
use thiserror::Error;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep, sleep_until},
};
use zerocopy::{FromZeros as _, IntoBytes as _};

use crate::{
    bpf::{
        load::{LoadError, Losses, Probes},
        pin::PinError,
        ring::Ring,
    },
    enrich::{
        finder::Enrichment,
        stack_finder::StackFinder,
        stacks::{Answer, Found},
        victim_proc,
    },
    growth,
    host::{
        cgroup_paths::CgroupPaths,
        clock, footprint,
        group_counter::{Group, GroupCounter},
        kill_counter::KillCounter,
        system::SystemFiles,
    },
    model::{account::Account, facts::Fact},
    pipeline::{
        Pipeline, PipelineError,
        assemble::RUN_SETTLES_AFTER_NS,
        gaps::{self},
        recording::{Recorder, RecordingError},
    },
    symbolize::kernel::KernelSymbols,
};

/// A step of the wall clock that is worth noting. ns.
const CLOCK_STEP_NS: u64 = 10_000_000;

/// Memory is given back once nothing has happened for so long: kills come in company, and to get the
/// program's pages back takes a few hundred microseconds.
const RESTS_AFTER: Duration = Duration::from_mins(1);

/// Time after which kills are compared with the kernel's count though nothing happened.
pub(crate) const CROSS_CHECK: Duration = Duration::from_mins(10);

/// Why a live run ends badly.
#[derive(Debug, Error)]
pub(crate) enum LiveError {
    /// The runtime or the ring.
    #[error("cannot wait for events")]
    Wait(#[from] io::Error),
    /// The kernel side.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An output.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The recording.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Pinned probes.
    #[error(transparent)]
    Pin(#[from] PinError),
}

/// A live run.
pub(crate) struct Live {
    probes: Probes,
    pipeline: Pipeline,
    recorder: Option<Recorder>,
    finder: Finder,
    realtime_offset_ns: i64,
    losses: Losses,
    kill_counter: Option<KillCounter>,
    group_counter: Option<GroupCounter>,
    cross_check: Duration,
    /// When something happened last, if memory was not given back since.
    worked_at: Option<Instant>,
    /// Where what is not told is kept for the next run.
    kept: Option<pinned::Kept>,
    /// The memory controller is in the unified hierarchy.
    memory_on_v2: bool,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Enough reports were written.
    Enough,
    /// Asked for by a signal.
    Asked,
}

impl Live {
    /// Ties the parts together. `cgroup_paths`: for paths that the probes did not read.
    pub(crate) fn new(
        probes: Probes,
        pipeline: Pipeline,
        recorder: Option<Recorder>,
        cgroup_paths: Option<CgroupPaths>,
        enrichment: Enrichment,
        realtime_offset_ns: i64,
    ) -> Self {
        let symbols = KernelSymbols::default();
        let memory_on_v2 = pipeline.host().memory_on_v2 == Some(true);
        let stacks = StackFinder::default();
        let found = Vec::new();
        let finder =
            Finder { symbols, enrichment, stacks, cgroup_paths, system: None, growth: None, found };
        Self {
            probes,
            pipeline,
            recorder,
            finder,
            realtime_offset_ns,
            losses: Losses::default(),
            kill_counter: None,
            group_counter: None,
            cross_check: CROSS_CHECK,
            worked_at: None,
            kept: None,
            memory_on_v2,
        }
    }

    /// Whether the probes' maps can be read with the capabilities that are left.
    pub(crate) fn maps_are_readable(&self) -> bool {
        self.probes.maps_are_readable()
    }

    /// Reads the host's memory when it runs out.
    pub(crate) fn watch_system(&mut self, files: SystemFiles) {
        self.finder.system = Some(files);
    }

    /// Reads what the growth recorder keeps, when memory runs out. Gives why `oomwhy risk` will not find
    /// it, if so.
    pub(crate) fn watch_growth(&mut self) -> Result<Option<io::Error>, LiveError> {
        let above_percent = self.probes.settings.growth_above_percent;
        self.finder.growth = self.probes.take_growth()?.map(growth::Recorder::new);
        let known = self.finder.growth.as_mut().map(|it| it.make_known(above_percent));
        Ok(known.and_then(Result::err))
    }

    /// Compares with the kernel's count of kills, at the latest after so much time.
    pub(crate) fn cross_check(&mut self, counter: KillCounter, every: Duration) {
        self.kill_counter = Some(counter);
        self.cross_check = every;
    }

    /// Compares with the counts of memory cgroups that were over their limit, and with those of this
    /// one from the start.
    pub(crate) fn cross_check_groups(
        &mut self,
        counter: GroupCounter,
        first: Option<&Group>,
    ) -> Result<(), LiveError> {
        self.group_counter = Some(counter);
        first.map_or(Ok(()), |group| self.count_kills_in(group))
    }

    /// Runs until a signal, or until enough reports were written. `ready` is called once
    /// everything listens.
    pub(crate) async fn run(&mut self, ready: impl FnOnce()) -> Result<(), LiveError> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut ring = Ring::new(self.probes.take_ring()?)?;
        #[cfg(feature = "probe-log")]
        let _printing = self.probes.take_log()?.map(|log| tokio::spawn(log.print()));
        // One clock for all rounds: records that keep coming must not put off what is due. It
        // runs only while something waits for time to pass: an idle host is not woken.
        let mut ticks = interval(Duration::from_nanos(RUN_SETTLES_AFTER_NS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The only thing that wakes an idle host.
        let mut cross_checks = interval_at(Instant::now() + self.cross_check, self.cross_check);
        cross_checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let answered = self.finder.stacks.stacks.answered();
        let mut keep = self.keeper();
        let mut done = self.take_left(&mut ring)?;
        self.count_kills()?;
        ready();
        footprint::give_back();
        let ending = loop {
            if done {
                break Ending::Enough;
            }
            done = tokio::select! {
                batch = ring.next_batch(&mut keep) => self.take(&batch?)?,
                () = answered.notified() => self.take_names()?,
                _ = ticks.tick(), if self.pipeline.is_waiting() => self.tick(&mut ring)?,
                () = quiet_since(self.worked_at), if self.worked_at.is_some() => self.rest(),
                _ = cross_checks.tick(), if self.kill_counter.is_some() => self.tick(&mut ring)?,
                () = either(&mut interrupt, &mut terminate) => break Ending::Asked,
            };
        };
        if ending == Ending::Asked {
            self.settle(&mut ring).await?;
        }
        // What comes after enough is left to the next run, where there is one.
        if ending == Ending::Asked || self.kept.is_none() {
            self.finish()?;
        }
        // Who has enough leaves kills in the ring.
        if ending == Ending::Asked { self.count_kills() } else { Ok(()) }
    }

    /// The pipeline, for its statistics.
    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// What the work took is given back. Nothing is done by it.
    fn rest(&mut self) -> bool {
        footprint::give_back();
        self.worked_at = None;
        false
    }

    fn take(&mut self, batch: &[Bytes]) -> Result<bool, LiveError> {
        self.worked_at = Some(Instant::now());
        self.note_clock()?;
        self.note_losses()?;
        for record in batch {
            if self.take_one(record)? {
                return Ok(true);
            }
        }
        self.forget_told()
    }

    fn take_one(&mut self, record: &Bytes) -> Result<bool, LiveError> {
        if let Some(victim) = self.complete(record)? {
            let accounts = self.pipeline.take(&victim, &mut self.finder)?;
            self.report(accounts)?;
        }
        // What must not be seen is not kept either.
        if let Some(recorder) = self.recorder.as_mut().filter(|_| self.pipeline.admits(record)) {
            recorder.record(record)?;
        }
        let accounts = self.pipeline.take(record, &mut self.finder)?;
        let done = self.report(accounts)?;
        for seq in self.finder.stacks.stacks.new_seqs() {
            self.note(Fact::Awaited { seq })?;
        }
        Ok(done)
    }

    /// Names of frames have come, or take too long.
    fn take_names(&mut self) -> Result<bool, LiveError> {
        for Answer { seq, found } in self.finder.stacks.stacks.answers() {
            match found {
                Found::Process { pid, names } => {
                    if let Ok(pid) = i32::try_from(pid) {
                        self.note(Fact::UserNames { seq, pid, names })?;
                    }
                }
                Found::Kernel(mut symbols) => {
                    let known = &self.pipeline.findings_mut().symbols;
                    symbols.retain(|ip, _| !known.contains_key(ip));
                    for (ip, symbol) in symbols {
                        self.note(Fact::Symbol { ip, symbol })?;
                    }
                }
            }
        }
        for seq in self.finder.stacks.stacks.settled() {
            self.note(Fact::Settled { seq })?;
            let accounts = self.pipeline.settle(seq);
            if self.report(accounts)? {
                return Ok(true);
            }
        }
        self.forget_told()
    }

    /// A mark that says little: the record of the victim that goes before it, of what /proc tells now.
    fn complete(&mut self, record: &Bytes) -> Result<Option<Bytes>, LiveError> {
        let Some(mark) = victim_proc::unfinished(record) else {
            return Ok(None);
        };
        let found = victim_proc::read("/proc".as_ref(), mark.tid);
        // The kernel's own word, where the memory controller is in the unified hierarchy.
        let is_current = mark.header.valid & valid::mark::CURRENT != 0;
        let mut cgroup_id = (is_current && self.memory_on_v2).then_some(mark.cgroup_id);
        if let Some(path) = found.as_ref().and_then(|found| found.cgroup.as_ref())
            && let Some(paths) = &self.finder.cgroup_paths
            && let Some(id) = victim_proc::cgroup_id(paths.mount(), path)
        {
            cgroup_id.get_or_insert(id);
            self.note(Fact::CgroupPath { id, path: path.clone() })?;
        }
        let page_size = u64::try_from(rustix::param::page_size()).unwrap_or(u64::MAX);
        let victim = victim_proc::victim(&mark, found.as_ref(), cgroup_id, page_size);
        let victim = victim.map(|victim| Bytes::copy_from_slice(victim.as_bytes()));
        if let (Some(recorder), Some(victim)) = (&mut self.recorder, &victim) {
            recorder.record(victim)?;
        }
        Ok(victim)
    }

    fn report(&mut self, accounts: Vec<Account>) -> Result<bool, LiveError> {
        self.hand_over(&accounts);
        let done = self.pipeline.report(accounts, &mut self.finder)?;
        let found = std::mem::take(&mut self.finder.found);
        for fact in &found {
            self.keep_fact(fact);
        }
        if let Some(recorder) = &mut self.recorder {
            for fact in &found {
                recorder.fact(fact)?;
            }
        }
        for group in self.pipeline.new_groups() {
            self.count_kills_in(&group)?;
        }
        Ok(done)
    }

    /// Time has passed while something waits for it: a run of invocations without a victim for
    /// more of the same, kills for being compared with the kernel's count.
    fn tick(&mut self, ring: &mut Ring) -> Result<bool, LiveError> {
        if self.drain(ring)? {
            return Ok(true);
        }
        self.note_losses()?;
        if self.take_names()? {
            return Ok(true);
        }
        for (seq, oom_memcg) in self.pipeline.waiting() {
            if let Some(run) = self.probes.quiet_run(oom_memcg)
                && run.seq == seq
                && run.count > 1
            {
                let record = repeats_record(seq, run.count, run.last_ns);
                self.take_one(&record)?;
            }
        }
        for tid in self.pipeline.waiting_tasks() {
            if let Some(last_ns) = self.probes.wait_ended(tid, clock::boottime_ns()) {
                self.take_one(&wait_ended_record(tid, last_ns))?;
            }
        }
        let now = clock::boottime_ns();
        self.note(Fact::Tick(now))?;
        let due = self.pipeline.due(now);
        if self.report(due)? {
            return Ok(true);
        }
        self.count_kills()?;
        self.forget_told()
    }

    /// Takes what is in the ring. Returns whether enough was reported.
    fn drain(&mut self, ring: &mut Ring) -> Result<bool, LiveError> {
        let mut keep = self.keeper();
        loop {
            let batch = ring.drain(&mut keep);
            if batch.is_empty() {
                return Ok(false);
            }
            if self.take(&batch)? {
                return Ok(true);
            }
        }
    }

    /// The last look around before the end: only kills that are not explained are waited for.
    async fn settle(&mut self, ring: &mut Ring) -> Result<(), LiveError> {
        if self.tick(ring)? || !self.pipeline.is_comparing() {
            return Ok(());
        }
        sleep(Duration::from_nanos(gaps::SETTLES_AFTER_NS)).await;
        self.tick(ring)?;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), LiveError> {
        self.note_losses()?;
        self.note(Fact::End)?;
        let left = self.pipeline.finish();
        if !self.report(left)? {
            self.forget_told()?;
        }
        Ok(())
    }

    /// A fact that counts from here on: into the pipeline and into the recording.
    fn note(&mut self, fact: Fact) -> Result<(), LiveError> {
        if let Some(recorder) = &mut self.recorder {
            recorder.fact(&fact)?;
        }
        Ok(self.pipeline.learn(fact)?)
    }

    /// Reads the kernel's count of kills; the ring must have been emptied.
    fn count_kills(&mut self) -> Result<(), LiveError> {
        // A counter that was there at the start and cannot be read now is no reason to stop.
        if let Some(kills) = self.kill_counter.as_mut().and_then(KillCounter::read) {
            self.note(Fact::KillsCounted { kills, at_ns: clock::boottime_ns() })?;
        }
        self.pipeline.groups_to_count().iter().try_for_each(|group| self.count_kills_in(group))
    }

    fn count_kills_in(&mut self, group: &Group) -> Result<(), LiveError> {
        let kills = self.group_counter.as_ref().and_then(|counter| counter.read(group));
        let Group { id, path } = group.clone();
        self.note(Fact::GroupKillsCounted { id, path, kills, at_ns: clock::boottime_ns() })
    }

    fn note_losses(&mut self) -> Result<(), LiveError> {
        let losses = self.probes.losses()?;
        if losses.count != self.losses.count {
            self.losses = losses;
            let Losses { count, first_ns, last_ns } = losses;
            self.note(Fact::Drops { count, first_ns, last_ns })?;
        }
        Ok(())
    }

    /// The wall clock can be set while we run; records carry `CLOCK_BOOTTIME`.
    fn note_clock(&mut self) -> Result<(), LiveError> {
        let offset = clock::realtime_offset_ns();
        if offset.abs_diff(self.realtime_offset_ns) > CLOCK_STEP_NS {
            self.realtime_offset_ns = offset;
            self.note(Fact::RealtimeOffset(offset))?;
        }
        Ok(())
    }
}

/// The record that the kernel side would write if the run ended now.
fn repeats_record(seq: u64, count: u64, last_ns: u64) -> Bytes {
    let header = header::<RepeatsEvent>(kind::REPEATS, seq, last_ns);
    Bytes::copy_from_slice(RepeatsEvent { header, count, last_ns }.as_bytes())
}

/// The record that the kernel side would write if it could know that a wait is over.
fn wait_ended_record(tid: i32, last_ns: u64) -> Bytes {
    let mut record = WaitEvent::new_zeroed();
    record.header = header::<WaitEvent>(kind::WAIT, 0, last_ns);
    record.trigger.tid = tid;
    record.ended = 1;
    Bytes::copy_from_slice(record.as_bytes())
}

fn header<T>(kind: u32, seq: u64, boottime_ns: u64) -> EventHeader {
    EventHeader {
        boottime_ns,
        seq,
        valid: 0,
        kind,
        size: u32::try_from(size_of::<T>()).unwrap_or_default(),
        cpu: 0,
        reserved: 0,
    }
}

/// Over when nothing has happened for a while.
async fn quiet_since(worked_at: Option<Instant>) {
    sleep_until(worked_at.unwrap_or_else(Instant::now) + RESTS_AFTER).await;
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Makes the tracer the last one the OOM killer would take. Best effort: needs CAP_SYS_RESOURCE.
pub(crate) fn protect_self() {
    let file = fs::File::options().write(true).open("/proc/self/oom_score_adj");
    // Without the permission the tracer is as killable as anyone: not a reason not to run.
    let _ = file.and_then(|mut file| file.write_all(b"-1000"));
}
