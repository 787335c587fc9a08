//! aya lives here and in [`crate::bpf::ring`]: loads the programs, sets their constants, attaches the
//! plan, reads the counters.

use std::collections::BTreeMap;

use aya::{
    Btf, Ebpf, EbpfError, Endianness,
    maps::{HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues, RingBuf},
    programs::{ProgramFd, ProgramType, links::FdLink},
    sys::{BpfHelper, is_helper_supported},
};
use aya_obj::{
    EbpfSectionKind,
    maps::{LegacyMap, bpf_map_def},
};
use oomwhy_common::{
    counters,
    event::kind,
    maps::{QuietRun, WAIT_CONTINUES_WITHIN_NS, Wait},
    offsets::KernelOffsets,
    settings::Settings,
};
use thiserror::Error;
use zerocopy::{FromBytes as _, IntoBytes};

use super::{growth_maps, load_without_btf, programs};
use crate::bpf::plan::{How, Plan, Planned};

/// The programs, built from `tracer-ebpf` by `build.rs`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oomwhy"));

/// Why the probes do not run.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// The kernel or its policy refuses BPF: with the errno.
    #[error("the kernel refuses {what}: {errno}")]
    Refused {
        /// Which program or map.
        what: String,
        /// What it said.
        errno: std::io::Error,
    },
    /// The verifier rejects a program: a bug of ours, or a kernel that we do not know.
    #[error("the kernel's verifier rejects {program}\n{log}")]
    Verifier {
        /// Which program.
        program: &'static str,
        /// The end of its log.
        log: String,
    },
    /// Anything else, with what was being done.
    #[error("cannot {what}: {why}")]
    Other {
        /// What was being done.
        what: String,
        /// What went wrong.
        why: String,
    },
}

/// The probes, attached. Dropping it detaches them.
#[derive(Debug)]
pub(crate) struct Probes {
    /// The object they were loaded from, where it holds a link or a log; it is as big as all else.
    #[cfg_attr(not(feature = "probe-log"), expect(dead_code, reason = "held, not asked"))]
    pub(super) ebpf: Option<Ebpf>,
    /// Its maps.
    pub(super) maps: BTreeMap<String, Map>,
    /// Program: what attaches it, if that can be pinned.
    pub(super) links: Vec<(&'static str, Option<FdLink>)>,
    /// The growth recorder's program, whose skipped calls the kernel counts.
    pub(super) growth: Option<ProgramFd>,
    /// Hook: how it is attached.
    pub hooks: BTreeMap<String, String>,
    /// What the verifier made of each program: (program, instructions it walked), where the kernel
    /// tells (5.16 and later).
    pub verified: Vec<(String, u32)>,
    /// Optional hooks that could not be attached: program and reason.
    pub failed: Vec<(Planned, String)>,
    /// The verifier rejected one of them.
    pub(super) rejected: bool,
    /// What the probes were loaded with, in the end.
    pub settings: Settings,
}

/// What the per-CPU counters say, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Records that found no room.
    pub count: u64,
    /// The first since they were asked for the time before, `CLOCK_BOOTTIME` ns; 0 for none.
    pub first_ns: u64,
    /// The latest, `CLOCK_BOOTTIME` ns; 0 for none.
    pub last_ns: u64,
}

/// Loads and attaches what the plan says: with plain loads as far as this kernel's verifier takes
/// them, which only trying tells. `hooks` is BTF with the ids of the hooks.
pub(crate) fn attach(
    plan: &Plan,
    offsets: &KernelOffsets,
    hooks: &[u8],
    ring_bytes: Option<u32>,
) -> Result<Probes, LoadError> {
    let btf = Btf::parse(hooks, Endianness::default())
        .map_err(|error| other("read the kernel's BTF", &error))?;
    let mut best = None;
    for settings in attempts(plan.settings) {
        let probes = attach_with(plan, &settings, offsets, &btf, ring_bytes);
        match probes {
            Ok(probes) if !probes.rejected => return Ok(probes),
            Err(error @ LoadError::Refused { .. }) => return Err(error),
            result => best = Some(better(best, result)),
        }
    }
    best.unwrap_or_else(|| Err(missing_map("RING")))
}

/// From the cheapest way to read kernel memory to the one that every verifier takes.
fn attempts(settings: Settings) -> Vec<Settings> {
    let counters = Settings { typed_counters: 0, ..settings };
    let mut attempts = vec![settings];
    if settings.typed_loads == 0 {
        return attempts;
    }
    if settings.typed_counters != 0 {
        attempts.push(counters);
    }
    if settings.probe_read != 0 {
        attempts.push(Settings { typed_loads: 0, ..counters });
    }
    attempts
}

/// The one of two attempts that hooks more.
fn better(
    best: Option<Result<Probes, LoadError>>,
    next: Result<Probes, LoadError>,
) -> Result<Probes, LoadError> {
    match (best, next) {
        (Some(Ok(best)), Ok(next)) if next.failed.len() >= best.failed.len() => Ok(best),
        (Some(Ok(best)), Err(_)) => Ok(best),
        (_, next) => next,
    }
}

fn attach_with(
    plan: &Plan,
    settings: &Settings,
    offsets: &KernelOffsets,
    btf: &Btf,
    ring_bytes: Option<u32>,
) -> Result<Probes, LoadError> {
    let mut ebpf = load(plan, settings, offsets, ring_bytes)?;
    let mut loaded = programs::load_all(&mut ebpf, btf, &plan.programs);
    let mut hooks = BTreeMap::new();
    let mut failed = Vec::new();
    let mut rejected = false;
    let mut links = Vec::new();
    for &planned in &plan.programs {
        let result = loaded.remove(planned.program).unwrap_or_else(|| Err(programs::lost(planned)));
        let symbol = plan.symbols.get(planned.hook).map_or(planned.hook, String::as_str);
        match result.and_then(|()| programs::attach(&mut ebpf, planned, symbol)) {
            Ok(link) => {
                links.push((planned.program, link));
                let how = described(planned, symbol);
                hooks
                    .entry(planned.hook.to_owned())
                    .and_modify(|others: &mut String| also(others, &how))
                    .or_insert(how);
            }
            Err(error) if is_essential(planned, plan) => return Err(error),
            Err(error) => {
                rejected |= matches!(error, LoadError::Verifier { .. });
                failed.push((planned, error.to_string()));
            }
        }
    }
    let names: Vec<String> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
    // The log's own stays where aya-log looks for it.
    let names = names.into_iter().filter(|name| name != "AYA_LOGS");
    let maps = names.filter_map(|name| ebpf.take_map(&name).map(|map| (name, map)));
    let maps = maps.collect();
    let verified = verified(&ebpf);
    let growth = growth_maps::program(&ebpf, &plan.programs);
    let is_needed = cfg!(feature = "probe-log") || links.iter().any(|(_, link)| link.is_none());
    let ebpf = is_needed.then_some(ebpf);
    Ok(Probes { ebpf, maps, links, growth, hooks, verified, failed, rejected, settings: *settings })
}

fn verified(ebpf: &Ebpf) -> Vec<(String, u32)> {
    let verified = |(name, program): (&str, &aya::programs::Program)| {
        let walked = program.info().ok()?.verified_instruction_count()?;
        Some((name.to_owned(), walked))
    };
    ebpf.programs().filter_map(verified).collect()
}

/// Whether probes may call bpf_probe_read_kernel, by trying: lockdown=confidentiality forbids it,
/// and shows only where securityfs is mounted. `None` where trying tells nothing.
pub(crate) fn probe_read_allowed() -> Option<bool> {
    // Tracing programs cannot be tried without a target; kprobe programs have the same helpers.
    is_helper_supported(ProgramType::KProbe, BpfHelper::BPF_FUNC_probe_read_kernel).ok()
}

/// Without these no invocation is seen at all; in the tracepoint tier, nobody.
fn is_essential(planned: Planned, plan: &Plan) -> bool {
    planned.hook == "out_of_memory" || plan.programs.len() == 1
}

/// One more way in which a hook is attached, unless another program has it already.
fn also(others: &mut String, how: &str) {
    if others.split('+').all(|other| other != how) {
        others.push('+');
        others.push_str(how);
    }
}

/// How a hook is attached, and to what if that has another name.
fn described(planned: Planned, symbol: &str) -> String {
    let how = planned.how.word();
    if symbol == planned.hook { how.to_owned() } else { format!("{how}({symbol})") }
}

fn load(
    plan: &Plan,
    settings: &Settings,
    offsets: &KernelOffsets,
    ring_bytes: Option<u32>,
) -> Result<Ebpf, LoadError> {
    let mut loader = load_without_btf::ebpf_loader();
    // Field offsets are ours: no relocation against the kernel's BTF, no second copy of it.
    loader.btf(None).override_global("OFFSETS", offsets.as_bytes(), true).override_global(
        "SETTINGS",
        settings.as_bytes(),
        true,
    );
    loader.override_global("MARK_LAYOUT", plan.mark_layout.as_bytes(), true);
    // Only kretprobes need to know what their calls were given.
    if !plan.programs.iter().any(|planned| planned.how == How::Kretprobe) {
        loader.map_max_entries("CALLS", 1);
    }
    for (name, entries) in growth_maps::sizes(&plan.programs, settings.possible_cpus) {
        loader.map_max_entries(name, entries);
    }
    if let Some(bytes) = ring_bytes {
        loader.map_max_entries("RING", bytes);
    }
    loader.load(OBJECT).map_err(|error| match error {
        EbpfError::MapError(MapError::CreateError { name, io_error, .. }) => {
            LoadError::Refused { what: format!("BPF map {name}"), errno: io_error }
        }
        error => other("load the BPF object", &error),
    })
}

pub(super) fn other(what: &str, error: &dyn std::error::Error) -> LoadError {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        why = format!("{why}: {inner}");
        source = inner.source();
    }
    LoadError::Other { what: what.to_owned(), why }
}

impl Probes {
    /// Takes the ring out; once.
    pub(crate) fn take_ring(&mut self) -> Result<RingBuf<MapData>, LoadError> {
        let map = self.maps.remove("RING").ok_or_else(|| missing_map("RING"))?;
        RingBuf::try_from(map).map_err(|error| other("open the ring", &error))
    }

    /// The log of the probes; once. Probes that were taken over have none.
    #[cfg(feature = "probe-log")]
    pub fn take_log(&mut self) -> std::io::Result<Option<crate::bpf::log::ProbeLog>> {
        self.ebpf.as_mut().map(crate::bpf::log::ProbeLog::new).transpose()
    }

    /// Whether this process may read the maps.
    pub(crate) fn maps_are_readable(&self) -> bool {
        let counters = self.maps.get("COUNTERS").and_then(|map| PerCpuArray::try_from(map).ok());
        counters.is_some_and(|counters: PerCpuArray<_, u64>| counters.get(&0, 0).is_ok())
    }

    /// Records lost so far.
    pub(crate) fn losses(&mut self) -> Result<Losses, LoadError> {
        let map = self.maps.get_mut("COUNTERS").ok_or_else(|| missing_map("COUNTERS"))?;
        let mut counters: PerCpuArray<_, u64> =
            map.try_into().map_err(|error: MapError| other("open the counters", &error))?;
        let failed = |error: MapError| other("read the counters", &error);
        // Taken away before the drops are counted, so that each is behind the `first` it is told
        // with or the next one.
        let first = counters.get(&counters::FIRST_DROP_NS, 0).map_err(failed)?;
        let first_ns = first.iter().copied().filter(|&ns| ns != 0).min();
        if first_ns.is_some()
            && let Ok(none) = PerCpuValues::try_from(vec![0; first.len()])
        {
            counters.set(counters::FIRST_DROP_NS, none, 0).map_err(failed)?;
        }
        let mut losses = Losses::default();
        for kind in 0..=kind::LAST {
            let dropped = counters.get(&(counters::DROPPED + kind), 0).map_err(failed)?;
            losses.count += dropped.iter().sum::<u64>();
        }
        if losses.count > 0 {
            let last = counters.get(&counters::LAST_DROP_NS, 0).map_err(failed)?;
            losses.last_ns = last.iter().copied().max().unwrap_or(0);
            losses.first_ns = first_ns.unwrap_or(losses.last_ns);
        }
        Ok(losses)
    }

    /// The run of a memcg (0: global) as it stands now.
    pub(crate) fn quiet_run(&self, oom_memcg: u64) -> Option<QuietRun> {
        let map = self.maps.get("QUIET_RUNS")?;
        let runs: BpfHashMap<_, u64, [u64; size_of::<QuietRun>() / 8]> = map.try_into().ok()?;
        QuietRun::read_from_bytes(runs.get(&oom_memcg, 0).ok()?.as_bytes()).ok()
    }
}

impl Probes {
    /// When a thread's wait for a memcg whose OOM killer is disabled ended, `CLOCK_BOOTTIME` ns.
    /// `None` while it waits. One that was pushed out of the map, or has died waiting, has ended.
    pub(crate) fn wait_ended(&self, tid: i32, now_ns: u64) -> Option<u64> {
        let waiting = self.maps.get("WAITING")?;
        let waiting: BpfHashMap<_, u64, [u64; size_of::<Wait>() / 8]> = waiting.try_into().ok()?;
        match waiting.get(&u64::try_from(tid).ok()?, 0) {
            Ok(words) => {
                let Wait { last_ns, inside, .. } = Wait::read_from_bytes(words.as_bytes()).ok()?;
                let is_over = now_ns.saturating_sub(last_ns) >= WAIT_CONTINUES_WITHIN_NS;
                (inside == 0 && is_over).then_some(last_ns)
            }
            Err(MapError::KeyNotFound) => Some(now_ns),
            Err(_) => None,
        }
    }
}

/// Makes a map that is in no BPF object.
pub(super) fn create_map(name: &str, def: bpf_map_def) -> Result<MapData, MapError> {
    let map = aya_obj::Map::Legacy(LegacyMap {
        def,
        inner_def: None,
        section_index: 0,
        section_kind: EbpfSectionKind::Maps,
        symbol_index: None,
        data: Vec::new(),
    });
    MapData::create(map, name, None)
}

pub(super) fn missing_map(name: &str) -> LoadError {
    LoadError::Other {
        what: format!("find map {name}"),
        why: "it is not in the BPF object: a build error".to_owned(),
    }
}
