//! `oomwhy watch`: inspects the host, plans, attaches and runs.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anstyle::Style;
use tokio::runtime::{self, Runtime};

use super::{
    Failure,
    attach::{self, Attached, Ours, Watching},
    output_file::{LiveOutput, Used, open_appended},
    outputs::{OpenedHistory, live_outputs, log, open_history, resumed_outputs},
    pinned::{self, Pins},
    startup, stop_deadline, watch_log,
};
use crate::{
    bpf::{
        COMMANDS_OF_A_RUN,
        load::Probes,
        pin::{Attachment, TakenOver},
    },
    cli::{Attach, WatchArgs},
    commands::exit::Exit,
    enrich::{enrichment::Enrichment, name_lookup::Lookup, privacy::Privacy, shares},
    fmt::{
        lines::{Lines, log_stderr},
        sanitize::shown,
        units::count,
        width,
    },
    growth,
    history::DEFAULT_DIR,
    host::{
        btf::BtfError,
        cgroupfs::{kill_counter::CgroupKillCounter, paths::CgroupPaths},
        clock,
        confinement::{Source, confine_tracer},
        disposable,
        facts::HostFacts,
        files::Root,
        kept_open::raise_open_limit,
        oom_score_adj::{Protection, protect_self},
        opener,
        procfs::{kill_counter::KillCounter, system::SystemFiles},
    },
    model::{hook::Hook, host::Host, report::Missing},
    pipeline::{
        Pipeline, PipelineConfig, PipelineError, Stats,
        dedup_writer::{SharedDestination, lock, reported_to},
        live::{CROSS_CHECK, Heir, Live, LiveError, Resume, RunRecording},
        recording,
        sink::SinkError,
    },
};

/// How long a report waits for its victims to exit. The OOM reaper starts after 2 s and may retry
/// for another second.
const CLOSE_AFTER: Duration = Duration::from_secs(10);

/// Traces until a signal or until `--count` is reached.
pub(crate) fn watch(arguments: &WatchArgs) -> Result<(), Failure> {
    super::filter(&arguments.select)?;
    let privacy = super::privacy(&arguments.privacy)?;
    let root = Root::default();
    if arguments.attach == Attach::Kmsg {
        return watch_the_log(arguments, None);
    }
    let used = files_in_use(arguments);
    let pin_dir = arguments.pin.as_deref();
    let mut pins = pin_dir.map(|dir| Pins::find(dir, arguments, &used)).transpose()?;
    let to = match &pins {
        Some(pins) => To::Once(Arc::clone(&pins.out)),
        None => To::Plain(open_appended(&arguments.output.to, &used)?),
    };
    let Attached { facts, attachment, mut ours } =
        match attach::attach(&root, arguments, pins.as_mut())? {
            Watching::Probes(attached) => *attached,
            Watching::KernelLog(refusal) => return watch_the_log(arguments, Some(&refusal)),
        };
    if arguments.output.verbose {
        log_probes(ours.probes());
    }
    protect_self(Protection::of_run(arguments.store.store));
    raise_open_limit();
    let shows_diagnostics = !arguments.output.quiet;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(&error))?;
    let count = arguments.select.count;
    let history = None;
    let mut watch = Watch { arguments, privacy, root, facts, attachment, count, history };
    let prepared = watch.prepare(&mut ours, true)?;
    watch.history = Some(open_history(&arguments.store, &prepared.host)?);
    // No thread runs yet. The privileges of this one become those of all.
    confine(ours.probes());
    opener::start();
    if let (Some(pins), Ours::Pinned(ours)) = (&mut pins, &ours)
        && watch.run_out_all(pins, ours, &runtime)?
    {
        return Ok(());
    }
    let (mut live, mut banner) = watch.live(prepared, ours, to, None)?;
    let run = stop_deadline::enforce(live.pipeline().outputs());
    let run = run.map_err(|error| Failure::runtime(&error))?;
    if let Some(dir) = &arguments.pin {
        banner.line(Style::new(), format!("pinned in {}", shown(dir)));
    }
    let result = runtime.block_on(live.run(|| {
        if shows_diagnostics {
            log_stderr(&banner);
        }
    }));
    live.close_outputs();
    drop(run);
    if shows_diagnostics {
        log_end(&live, arguments.pin.as_deref());
    }
    ended(result)
}

/// Prints what the run did, and what is left of it.
fn log_end(live: &Live, pin_dir: Option<&Path>) {
    log_stderr(summary(live.pipeline().stats()));
    log_refused(live);
    if let Some(dir) = pin_dir {
        let dir = shown(dir);
        log_stderr(format!("the probes stay attached: `oomwhy unpin {dir}` ends that"));
    }
}

/// Gives up what was needed only to attach the probes.
fn confine(probes: &Probes) {
    let maps_are_readable = &|| probes.maps_are_readable();
    let source = Source::Probes { bpf_commands: COMMANDS_OF_A_RUN, maps_are_readable };
    for failure in confine_tracer(&source) {
        log_stderr(failure);
    }
}

/// Prints what reports may lack, because look-ups are limited.
fn log_refused(live: &Live) {
    let by_helpers = disposable::n_refused();
    if by_helpers > 0 {
        let refused = count(by_helpers, "look-up");
        log_stderr(format!("{refused} refused, because earlier helper processes hang"));
    }
    let by_shares = shares::n_refused();
    if by_shares > 0 {
        let refused = count(by_shares, "look-up");
        log_stderr(format!("{refused} refused, because a cgroup had used up its share of them"));
    }
    let evicted = live.n_evicted();
    if evicted > 0 {
        let dropped = count(evicted, "kept result");
        log_stderr(format!("{dropped} of look-ups dropped to make room for others"));
    }
}

/// The files that a run reads or writes besides its output.
fn files_in_use(arguments: &WatchArgs) -> Vec<Used<'_>> {
    let recording = arguments.record.as_deref().map(Used::Recording);
    let btf = arguments.btf.as_deref().map(Used::Input);
    let store = &arguments.store;
    let dir = store.dir.as_deref().unwrap_or(Path::new(DEFAULT_DIR));
    let history = store.store.then_some(Used::History(dir));
    recording.into_iter().chain(btf).chain(history).collect()
}

fn watch_the_log(arguments: &WatchArgs, refusal: Option<&Failure>) -> Result<(), Failure> {
    if arguments.pin.is_some() {
        let message = "--pin needs probes, and --attach kmsg has none\n\
                       hint: use --attach auto, or leave out --pin"
            .to_owned();
        return Err(Failure { exit: Exit::Usage, message });
    }
    if arguments.growth {
        if refusal.is_none() {
            let message = "--growth needs probes, and --attach kmsg has none\n\
                           hint: use --attach auto, or leave out --growth"
                .to_owned();
            return Err(Failure { exit: Exit::Usage, message });
        }
        log_stderr("growth is not recorded, because there are no probes");
    }
    let filter = super::filter(&arguments.select)?;
    let to = open_appended(&arguments.output.to, &files_in_use(arguments))?;
    watch_log::watch(arguments, filter, to, refusal)
}

fn ended(result: Result<(), LiveError>) -> Result<(), Failure> {
    match result {
        Err(LiveError::Pipeline(PipelineError::Sink(SinkError::BrokenPipe))) => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

/// The destination of the reports.
enum To {
    /// The output of this run only.
    Plain(LiveOutput),
    /// The output of several runs, in which each report is written once.
    Once(SharedDestination),
}

/// The parts of a run that need more privileges than the run itself.
struct Prepared {
    host: Host,
    kill_counter: io::Result<KillCounter>,
    system: io::Result<SystemFiles>,
    recording: Option<RunRecording>,
    growth: Option<growth::Recorder>,
}

/// The options and facts of a run.
struct Watch<'a> {
    arguments: &'a WatchArgs,
    privacy: Privacy,
    root: Root,
    facts: HostFacts,
    attachment: Attachment,
    count: Option<u64>,
    /// The history, for the next run. Only one can be open, so later runs open it again.
    history: Option<OpenedHistory>,
}

impl Watch<'_> {
    /// Reports the invocations that older probes saw before their successors were attached. Then
    /// detaches and removes the older probes. Returns whether enough was reported.
    fn run_out_all(
        &mut self,
        pins: &mut Pins,
        ours: &TakenOver,
        runtime: &Runtime,
    ) -> Result<bool, Failure> {
        let mut others = std::mem::take(&mut pins.others).into_iter().peekable();
        while let Some(other) = others.next() {
            let heir = others.peek().unwrap_or(ours);
            let heir = Heir { journal: Arc::clone(&heir.journal), since_ns: heir.since_ns };
            let folder = other.folder();
            let out = Arc::clone(&pins.out);
            let mut other = Ours::Pinned(other);
            let prepared = self.prepare(&mut other, false)?;
            let (mut live, _) = self.live(prepared, other, To::Once(out), Some(heir))?;
            ended(runtime.block_on(live.run_out(|| folder.detach().map_err(LiveError::from))))?;
            let n_reports = live.pipeline().stats().reports;
            if !self.arguments.output.quiet {
                log_stderr(format!(
                    "{} from the probes that this run replaces",
                    count(n_reports, "OOM report")
                ));
            }
            self.count = self.count.map(|count| count.saturating_sub(n_reports));
            if self.count == Some(0) {
                return Ok(true);
            }
            live.close_outputs();
            if live.is_delivered() {
                folder.remove().map_err(|error| pinned::failure(&error))?;
            } else {
                log_stderr("the output is blocked; a later run removes the replaced probes");
            }
        }
        Ok(false)
    }

    /// Opens what a run reads and writes besides its outputs. A run that `is_last` is not only
    /// about probes that are replaced.
    fn prepare(&self, ours: &mut Ours, is_last: bool) -> Result<Prepared, Failure> {
        let Self { arguments, root, facts, .. } = self;
        let kill_counter = KillCounter::open(root);
        let close_after = arguments.close_after.unwrap_or(CLOSE_AFTER);
        let attachment = ours.attachment().unwrap_or(&self.attachment);
        let mut host = host(facts, attachment, ours.probes(), close_after);
        if !is_last && host.hooks.remove(Hook::PageCounterTryCharge.key()).is_some() {
            host.missing.push(foreign_growth());
        }
        host.missing.extend(kill_counter.as_ref().err().map(without_kill_counter));
        let system = SystemFiles::open(root, host.page_size);
        host.missing.extend(without_system(&system));
        host.missing.extend(self.privacy.missing(&host.missing));
        let path = arguments.record.as_deref().filter(|_| is_last);
        let recording = path
            .map(|path| recording::Writer::create(path, &host))
            .transpose()
            .map_err(|error| Failure::runtime(&error))?
            .map(|writer| RunRecording::new(writer, log()));
        let growth = if is_last { growth_recorder(ours.probes_mut())? } else { None };
        Ok(Prepared { host, kill_counter, system, recording, growth })
    }

    /// Starts the threads of a run. Returns the run and its start-up lines.
    fn live(
        &mut self,
        prepared: Prepared,
        ours: Ours,
        to: To,
        heir: Option<Heir>,
    ) -> Result<(Live, Lines), Failure> {
        let Prepared { host, kill_counter, system, recording, growth } = prepared;
        let banner = self.banner(&host);
        let realtime_offset_ns = host.realtime_offset_ns;
        let enrichment = enrichment(&host, &self.facts);
        let (probes, pipeline, resume) = self.pipeline(host, ours, to, heir)?;
        let Self { arguments, facts, .. } = self;
        let cgroup_paths = cgroup_mount(facts).map(|mount| CgroupPaths::new(&mount));
        let mut live =
            Live::new(probes, pipeline, recording, cgroup_paths, enrichment, realtime_offset_ns);
        if let Some(resume) = resume {
            live.resume(resume);
        }
        if let Ok(files) = system {
            live.watch_system(files);
        }
        if let Some(recorder) = growth {
            live.watch_growth(recorder);
        }
        if let Ok(counter) = kill_counter {
            live.cross_check(counter, arguments.cross_check.unwrap_or(CROSS_CHECK));
        }
        if let Some(mount) = cgroup_mount(facts) {
            let counter = CgroupKillCounter::new(&mount, memory_on_v2(facts) == Some(true));
            // A pattern that is the path of a group.
            let first = arguments.select.cgroup.as_deref().and_then(|path| counter.find(path));
            live.cross_check_groups(counter, first.as_ref())
                .map_err(|error| Failure::runtime(&error))?;
        }
        Ok((live, banner))
    }

    fn banner(&self, host: &Host) -> Lines {
        startup::banner(host, self.arguments.output.verbose, width::of_stderr())
    }

    fn pipeline(
        &mut self,
        host: Host,
        ours: Ours,
        to: To,
        heir: Option<Heir>,
    ) -> Result<(Probes, Pipeline, Option<Resume>), Failure> {
        let Self { arguments, count, privacy, history, .. } = self;
        let filter = super::filter(&arguments.select)?;
        let history = match history.take() {
            Some(history) => history,
            None => open_history(&arguments.store, &host)?,
        };
        let output = &arguments.output;
        let (probes, outputs, resume) = match (ours, to) {
            (Ours::Pinned(ours), To::Once(out)) => {
                let TakenOver { probes, journal, entries, since_ns, .. } = ours;
                let reported = reported_to(&out, &entries, &mut lock(&journal));
                let reported = reported.map_err(|error| Failure::runtime(&error))?;
                let outputs = resumed_outputs(output, &out, Arc::clone(&journal), history)?;
                let resume = Resume { journal, entries, reported, since_ns, heir };
                (probes, outputs, Some(resume))
            }
            (ours, to) => {
                let to = match to {
                    To::Plain(to) => to,
                    To::Once(out) => LiveOutput::shared(&output.to, out),
                };
                (ours.into_probes(), live_outputs(output, to, history)?, None)
            }
        };
        let (count, privacy) = (*count, privacy.clone());
        let config = PipelineConfig { host, outputs, filter, count, privacy };
        Ok((probes, Pipeline::new(config), resume))
    }
}

/// A missing BTF is a missing kernel feature. A broken one is a failure.
pub(super) fn unusable_btf(error: &BtfError) -> Failure {
    match error {
        BtfError::Absent { .. } => Failure::unavailable(error),
        _ => Failure::runtime(error),
    }
}

/// The growth recorder, if the probes have one. `oomwhy risk` finds it from now on.
fn growth_recorder(probes: &mut Probes) -> Result<Option<growth::Recorder>, Failure> {
    let above_percent = probes.settings.growth_above_percent;
    let maps = probes.take_growth().map_err(|error| Failure::runtime(&error))?;
    let mut recorder = maps.map(growth::Recorder::new);
    if let Some(Err(error)) = recorder.as_mut().map(|it| it.register(above_percent)) {
        log_stderr(format!("`oomwhy risk` will not find the growth recorder: {error}"));
    }
    Ok(recorder)
}

/// Prints how the probes were loaded, for --verbose.
fn log_probes(probes: &Probes) {
    for (program, walked) in &probes.verified {
        log_stderr(format!("{program}: {walked} instructions verified"));
    }
    for (planned, why) in &probes.failed {
        log_stderr(format!("{}: {why}", planned.program));
    }
}

fn host(
    facts: &HostFacts,
    attachment: &Attachment,
    probes: &Probes,
    close_after: Duration,
) -> Host {
    Host {
        boot_id: facts.boot_id.clone(),
        hostname: facts.host.clone(),
        kernel: facts.kernel.clone(),
        page_size: facts.page_size,
        realtime_offset_ns: clock::realtime_offset_ns(),
        gfp_flags: facts.btf.gfp.clone(),
        tier: attachment.tier,
        hooks: probes.hooks.clone(),
        missing: attachment.missing.clone(),
        memory_on_v2: memory_on_v2(facts),
        memcg_stat: facts.btf.memcg_stat.clone(),
        close_after_ns: u64::try_from(close_after.as_nanos()).unwrap_or(u64::MAX),
    }
}

/// The memory controller is on one hierarchy only: on v1 if a v1 one is mounted.
fn memory_on_v2(facts: &HostFacts) -> Option<bool> {
    match (&facts.cgroups.v1_memory, &facts.cgroups.v2) {
        (Some(_), _) => Some(false),
        (None, Some(_)) => Some(true),
        (None, None) => None,
    }
}

/// Only the maps of this very build are known to have the layout that this build reads.
fn foreign_growth() -> Missing {
    Missing {
        field: "growth".to_owned(),
        why: "it was recorded by probes that this run replaces, whose maps are not read".to_owned(),
    }
}

fn without_kill_counter(error: &io::Error) -> Missing {
    Missing {
        field: "gap".to_owned(),
        why: format!("the kernel's count of kills, oom_kill in /proc/vmstat: {error}"),
    }
}

fn without_system(files: &io::Result<SystemFiles>) -> Option<Missing> {
    let missing = |field: &str, why| Some(Missing { field: field.to_owned(), why });
    match files {
        Err(error) => missing("system", format!("/proc/meminfo: {error}")),
        Ok(files) if !files.has_zones() => {
            missing("system.nodes", "/proc/zoneinfo cannot be read".to_owned())
        }
        Ok(_) => None,
    }
}

fn cgroup_mount(facts: &HostFacts) -> Option<PathBuf> {
    facts.cgroups.v1_memory.clone().or_else(|| facts.cgroups.v2.clone())
}

/// Starts the look-ups, first of all containers that are already running.
fn enrichment(host: &Host, facts: &HostFacts) -> Enrichment {
    let has_context = host.reads_victim_context()
        && !host.missing.iter().any(|missing| missing.field == "victims.cmdline");
    let mount = cgroup_mount(facts);
    let lookup = Lookup::new(PathBuf::from("/"), mount.clone());
    let mut enrichment = Enrichment::new(lookup, has_context);
    if let Some(mount) = mount {
        enrichment.scan(mount);
    }
    enrichment
}

pub(super) fn summary(stats: Stats) -> String {
    let Stats { records, undecodable, lost, missed, unseen, reports, filtered, .. } = stats;
    let parts = [
        (true, count(reports, "OOM report")),
        (filtered > 0, format!("{filtered} filtered out")),
        (lost > 0, format!("{} lost", count(lost, "record"))),
        (missed > 0, format!("{} skipped by the kernel", count(missed, "probe run"))),
        (unseen > 0, format!("{} not seen", count(unseen, "kill"))),
        (undecodable > 0, format!("{undecodable} of {} not understood", count(records, "record"))),
    ];
    let shown: Vec<String> =
        parts.into_iter().filter(|(is_shown, _)| *is_shown).map(|(_, part)| part).collect();
    shown.join(", ")
}
