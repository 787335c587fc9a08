//! `oomwhy watch`: look at the host, plan, attach, run.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::Failure;
use crate::{
    cgroup_paths::CgroupPaths,
    cli::WatchArgs,
    clock,
    enrich::{finder::Enrichment, worker::Worker},
    exit::Exit,
    host::Host,
    kernel::{
        btf::{BtfError, KernelBtf},
        files::{Lockdown, Privileges, Root, btf_path},
        offsets,
        plan::{MissingField, Plan, plan, without_counters},
        support::HostFacts,
    },
    kill_counter::KillCounter,
    live::{CROSS_CHECK, Live, LiveError, protect_self},
    loader::{self, LoadError, Probes},
    pipeline::{PipelineError, Stats},
    recording::Recorder,
    report::{Missing, Tier},
    sink::SinkError,
    system::SystemFiles,
};

/// How long a report waits for its victims to be gone: the reaper comes after 2 s, and tries for
/// another.
const CLOSE_AFTER: Duration = Duration::from_secs(10);

/// Traces until a signal or until enough reports were written.
pub fn watch(arguments: &WatchArgs) -> Result<(), Failure> {
    let filter = super::filter(&arguments.select)?;
    let privacy = super::privacy(&arguments.privacy)?;
    let to = super::open_output(&arguments.output, arguments.record.as_deref())?;
    let root = Root::default();
    let btf_file = btf_path(&root, arguments.btf.as_deref());
    let (facts, plan, probes) = attach(&root, &btf_file, arguments)?;
    if arguments.output.verbose {
        talk_about(&probes);
    }
    protect_self();
    let kill_counter = KillCounter::open(&root);
    let close_after = arguments.close_after.unwrap_or(CLOSE_AFTER);
    let mut host = host(&facts, &plan, &probes, close_after);
    host.missing.extend(kill_counter.as_ref().err().map(without_kill_counter));
    let system = SystemFiles::open(&root, host.page_size);
    host.missing.extend(without_system(&system));
    host.missing.extend(privacy.missing(&host.missing));
    let recorder = arguments.record.as_deref().map(|path| Recorder::create(path, &host));
    let recorder = recorder.transpose().map_err(|error| Failure::runtime(&error))?;
    let banner = banner(&host);
    let realtime_offset_ns = host.realtime_offset_ns;
    let enrichment = enrichment(&host, &facts);
    let mut pipeline = super::pipeline(host, &arguments.output, filter, arguments.select.count, to);
    pipeline.set_privacy(privacy);
    let cgroup_paths = cgroup_mount(&facts).map(|mount| match plan.settings.probe_read {
        // The probes cannot read names: all paths come from here, so it must be warm.
        0 => CgroupPaths::scan(&mount),
        _ => CgroupPaths::new(&mount),
    });
    let mut live =
        Live::new(probes, pipeline, recorder, cgroup_paths, enrichment, realtime_offset_ns);
    if let Ok(files) = system {
        live.watch_system(files);
    }
    if let Ok(counter) = kill_counter {
        live.cross_check(counter, arguments.cross_check.unwrap_or(CROSS_CHECK));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(&error))?;
    let talkative = !arguments.output.quiet;
    let result = runtime.block_on(live.run(|| {
        if talkative {
            talk(&banner);
        }
    }));
    if talkative {
        talk(&summary(live.pipeline().stats()));
    }
    match result {
        Err(LiveError::Pipeline(PipelineError::Sink(SinkError::BrokenPipe))) => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

fn attach(
    root: &Root,
    btf_file: &Path,
    arguments: &WatchArgs,
) -> Result<(HostFacts, Plan, Probes), Failure> {
    let btf = KernelBtf::open(btf_file).map_err(|error| unusable_btf(&error))?;
    let resolved = offsets::resolve(&btf);
    if arguments.output.verbose {
        talk(resolved.to_string().trim_end());
    }
    let mut facts = HostFacts::collect(root, Some(&btf));
    if loader::probe_read_allowed() == Some(false) {
        facts.lockdown = Lockdown::Confidentiality;
    }
    let hooks = btf.hooks();
    drop(btf);
    let plan = plan(&facts, &resolved).map_err(|refusal| Failure::unavailable(&refusal))?;
    let probes = loader::attach(&plan, &resolved.offsets, &hooks, arguments.ring_size)
        .map_err(|error| refused(&error, &facts))?;
    Ok((facts, plan, probes))
}

/// No BTF is the kernel's fault, bad BTF is somebody else's.
pub(super) fn unusable_btf(error: &BtfError) -> Failure {
    match error {
        BtfError::Absent { .. } => Failure::unavailable(error),
        _ => Failure::runtime(error),
    }
}

/// Says what is missing: "Operation not permitted" alone helps nobody.
fn refused(error: &LoadError, facts: &HostFacts) -> Failure {
    let LoadError::Refused { what, errno } = error else {
        return Failure::unavailable(error);
    };
    let denied = matches!(errno.raw_os_error(), Some(1 | 13));
    let Some(privileges) = facts.privileges.filter(|_| denied) else {
        return Failure::unavailable(error);
    };
    let missing: Vec<&str> = [(Privileges::BPF, "CAP_BPF"), (Privileges::PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|(capability, _)| !privileges.has(*capability))
        .map(|(_, name)| name)
        .collect();
    let hint = if missing.is_empty() || privileges.has(Privileges::SYS_ADMIN) {
        let lockdown = format!("{:?}", facts.lockdown).to_lowercase();
        format!(
            "this kernel's policy forbids tracing BPF (lockdown, LSM or a hardened build), \
             though the capabilities are there; lockdown is {lockdown}"
        )
    } else {
        format!("{} not held: run as root, e.g. `sudo oomwhy`", missing.join(" and "))
    };
    Failure {
        exit: Exit::NotPermitted,
        message: format!("the kernel does not permit {what} ({errno})\nhint: {hint}"),
    }
}

/// What people who look into a kernel want to know of the probes.
fn talk_about(probes: &Probes) {
    for (program, walked) in probes.verified() {
        talk(&format!("{program}: {walked} instructions verified"));
    }
    for (planned, why) in &probes.failed {
        talk(&format!("{}: {why}", planned.program));
    }
}

fn host(facts: &HostFacts, plan: &Plan, probes: &Probes, close_after: Duration) -> Host {
    let planned = plan.missing.iter().cloned().chain(without_counters(&probes.settings));
    let planned = planned.map(|MissingField { field, why }| Missing { field, why });
    let failed = probes.failed.iter().map(|(planned, why)| Missing {
        field: format!("hook {}", planned.hook),
        why: why.lines().next().unwrap_or_default().to_owned(),
    });
    Host {
        boot_id: facts.boot_id.clone(),
        hostname: facts.host.clone(),
        kernel: facts.kernel.clone(),
        page_size: facts.page_size,
        realtime_offset_ns: clock::realtime_offset_ns(),
        gfp_flags: facts.btf.gfp.clone(),
        tier: Tier::Fentry,
        hooks: probes.hooks.clone(),
        missing: planned.chain(failed).collect(),
        memory_on_v2: memory_on_v2(facts),
        memcg_stat: facts.btf.memcg_stat.clone(),
        close_after_ns: u64::try_from(close_after.as_nanos()).unwrap_or(u64::MAX),
    }
}

/// The memory controller is on one hierarchy only: where a v1 one is mounted, it is there.
fn memory_on_v2(facts: &HostFacts) -> Option<bool> {
    match (&facts.cgroups.v1_memory, &facts.cgroups.v2) {
        (Some(_), _) => Some(false),
        (None, Some(_)) => Some(true),
        (None, None) => None,
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

/// Looks things up on a thread of its own, beginning with the containers that run already.
fn enrichment(host: &Host, facts: &HostFacts) -> Enrichment {
    let has_context = host.hooks.contains_key("signal_deliver")
        && !host.missing.iter().any(|missing| missing.field == "victims.cmdline");
    let mut enrichment = Enrichment::new(Worker::new(PathBuf::from("/")), has_context);
    if let Some(mount) = cgroup_mount(facts) {
        enrichment.scan(mount);
    }
    enrichment
}

fn banner(host: &Host) -> String {
    let kernel = host.kernel.as_deref().unwrap_or("this kernel");
    let first = format!("Tracing OOM kills on {kernel} (fentry). Ctrl-C to stop.");
    let missing = host.missing.iter();
    let missing = missing.map(|Missing { field, why }| format!("not available: {field} ({why})"));
    std::iter::once(first).chain(missing).collect::<Vec<_>>().join("\n")
}

fn summary(stats: Stats) -> String {
    let Stats { records, undecodable, lost, unseen, reports, filtered } = stats;
    let parts = [
        (true, format!("{reports} OOM report{}", if reports == 1 { "" } else { "s" })),
        (filtered > 0, format!("{filtered} filtered out")),
        (lost > 0, format!("{lost} records lost")),
        (unseen > 0, format!("{unseen} kill{} not seen", if unseen == 1 { "" } else { "s" })),
        (undecodable > 0, format!("{undecodable} of {records} records not understood")),
    ];
    let said: Vec<String> =
        parts.into_iter().filter(|(said, _)| *said).map(|(_, part)| part).collect();
    said.join(", ")
}

/// stderr is talk; nobody may be listening.
fn talk(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
