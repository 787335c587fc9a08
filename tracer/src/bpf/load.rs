//! Loads the programs, sets their constants, attaches them according to the plan, and reads the
//! counters.

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

use super::{
    growth_maps,
    hooks::ProgramKind,
    load_without_btf,
    plan::{Plan, Planned},
    programs,
};

use crate::fmt::errors::with_sources;

/// The programs, built from `tracer-ebpf` by `build.rs`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oomwhy"));

/// Why the programs could not be loaded, attached or read.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// The kernel or its policy refuses BPF.
    #[error(
        "the kernel refuses {what}: {errno}\nhint: `oomwhy check` shows what this host supports"
    )]
    Refused {
        /// A program or map.
        what: String,
        errno: std::io::Error,
    },
    /// A bug of oomwhy, or a kernel that it was not tested on.
    #[error(
        "the kernel's verifier rejects {program}\nhint: `--attach auto` uses another \
         tier if there is one; please report this log\n{log}"
    )]
    Verifier {
        program: &'static str,
        /// The end of the verifier's log.
        log: String,
    },
    #[error("cannot {what}: {why}")]
    Other { what: String, why: String },
}

/// The attached programs. Dropping it detaches them.
#[derive(Debug)]
pub(crate) struct Probes {
    /// The object that they were loaded from, if it holds a link or a log. It is as big as
    /// everything else together.
    #[cfg_attr(not(feature = "probe-log"), expect(dead_code, reason = "only held, for its links"))]
    pub(super) ebpf: Option<Ebpf>,
    pub(super) maps: BTreeMap<String, Map>,
    /// Per program the link, if that can be pinned.
    pub(super) links: Vec<(&'static str, Option<FdLink>)>,
    /// The program of the growth recorder, whose skipped calls the kernel counts.
    pub(super) growth: Option<ProgramFd>,
    /// Per key of a hook how it is attached, as in `source.hooks`.
    pub hooks: BTreeMap<String, String>,
    /// Per program the number of instructions that the verifier walked, since 5.16.
    pub verified: Vec<(String, u32)>,
    /// Programs of optional hooks that could not be attached, each with the reason.
    pub failed: Vec<(Planned, String)>,
    /// Whether the verifier rejected one of them.
    pub(super) rejected: bool,
    /// The settings that the programs were loaded with, after all attempts.
    pub settings: Settings,
}

/// The sums of the per-CPU counters of lost records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LostRecords {
    /// Records for which the ring had no room.
    pub count: u64,
    /// The first loss since the previous reading, `CLOCK_BOOTTIME` ns; 0 for none.
    pub first_ns: u64,
    /// The latest loss, `CLOCK_BOOTTIME` ns; 0 for none.
    pub last_ns: u64,
}

/// Loads and attaches the programs of the plan. It tries plain loads first, because only trying
/// shows which of them this kernel's verifier accepts. `hooks` is BTF with the ids of the hooks.
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
        match attach_with(plan, &settings, offsets, &btf, ring_bytes) {
            Ok(probes) if !probes.rejected => return Ok(probes),
            Err(error @ LoadError::Refused { .. }) => return Err(error),
            result => best = Some(better(best, result)),
        }
    }
    best.unwrap_or_else(|| Err(missing_map("RING")))
}

/// From the cheapest way to read kernel memory to the one that every verifier accepts.
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

/// The attempt that attached more programs.
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
    let mut loaded = programs::load_all(&mut ebpf, btf, plan);
    let mut hooks = BTreeMap::new();
    let mut failed = Vec::new();
    let mut rejected = false;
    let mut links = Vec::new();
    for &planned in &plan.programs {
        let result =
            loaded.remove(planned.program).unwrap_or_else(|| Err(programs::not_in_object(planned)));
        let symbol = plan.symbol(planned.hook);
        match result.and_then(|()| programs::attach(&mut ebpf, planned, symbol)) {
            Ok(link) => {
                links.push((planned.program, link));
                let how = describe(planned, symbol);
                hooks
                    .entry(planned.hook.key().to_owned())
                    .and_modify(|others: &mut String| append(others, &how))
                    .or_insert(how);
            }
            Err(error) if is_essential(planned, plan) => return Err(error),
            Err(error) => {
                rejected |= matches!(error, LoadError::Verifier { .. });
                failed.push((planned, error.to_string()));
            }
        }
    }
    let maps = take_maps(&mut ebpf);
    let verified = verified(&ebpf);
    let growth = growth_maps::program(&ebpf, &plan.programs);
    let is_needed = cfg!(feature = "probe-log") || links.iter().any(|(_, link)| link.is_none());
    let ebpf = is_needed.then_some(ebpf);
    Ok(Probes { ebpf, maps, links, growth, hooks, verified, failed, rejected, settings: *settings })
}

fn take_maps(ebpf: &mut Ebpf) -> BTreeMap<String, Map> {
    let names: Vec<String> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
    names
        .into_iter()
        // aya-log looks for this one in the object.
        .filter(|name| name != "AYA_LOGS")
        .filter_map(|name| ebpf.take_map(&name).map(|map| (name, map)))
        .collect()
}

fn verified(ebpf: &Ebpf) -> Vec<(String, u32)> {
    let verified = |(name, program): (&str, &aya::programs::Program)| {
        let walked = program.info().ok()?.verified_instruction_count()?;
        Some((name.to_owned(), walked))
    };
    ebpf.programs().filter_map(verified).collect()
}

/// Tries whether programs may call bpf_probe_read_kernel. lockdown=confidentiality forbids it, but
/// is visible only if securityfs is mounted. `None` if the attempt is not conclusive.
pub(crate) fn probe_read_allowed() -> Option<bool> {
    // A tracing program cannot be tried without a target. Kprobe programs have the same helpers.
    is_helper_supported(ProgramType::KProbe, BpfHelper::BPF_FUNC_probe_read_kernel).ok()
}

/// Without it no invocation is seen at all, or in the tracepoint tier no victim.
fn is_essential(planned: Planned, plan: &Plan) -> bool {
    planned.hook.spec().is_essential || plan.programs.len() == 1
}

/// Adds a way in which a hook is attached, unless another program has it already.
fn append(others: &mut String, how: &str) {
    if others.split('+').all(|other| other != how) {
        others.push('+');
        others.push_str(how);
    }
}

/// How a hook is attached, and to which symbol if that is not its key.
fn describe(planned: Planned, symbol: &str) -> String {
    let how = planned.kind.word();
    if symbol == planned.hook.key() { how.to_owned() } else { format!("{how}({symbol})") }
}

fn load(
    plan: &Plan,
    settings: &Settings,
    offsets: &KernelOffsets,
    ring_bytes: Option<u32>,
) -> Result<Ebpf, LoadError> {
    let mut loader = load_without_btf::ebpf_loader();
    // Offsets are resolved in userspace, so nothing is relocated against the kernel's BTF, and no
    // second copy of it is needed.
    loader.btf(None).override_global("OFFSETS", offsets.as_bytes(), true).override_global(
        "SETTINGS",
        settings.as_bytes(),
        true,
    );
    loader.override_global("MARK_LAYOUT", plan.mark_layout.as_bytes(), true);
    // Only kretprobes need the arguments of their calls.
    if !plan.programs.iter().any(|planned| planned.kind == ProgramKind::Kretprobe) {
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
            // A denial is not of this map: the order in which they are created is random.
            let what = match io_error.kind() {
                std::io::ErrorKind::PermissionDenied => "BPF maps".to_owned(),
                _ => format!("BPF map {name}"),
            };
            LoadError::Refused { what, errno: io_error }
        }
        error => other("load the BPF object", &error),
    })
}

pub(super) fn other(what: &str, error: &dyn std::error::Error) -> LoadError {
    LoadError::Other { what: what.to_owned(), why: with_sources(error) }
}

impl Probes {
    /// Takes the ring; succeeds once.
    pub(crate) fn take_ring(&mut self) -> Result<RingBuf<MapData>, LoadError> {
        let map = self.maps.remove("RING").ok_or_else(|| missing_map("RING"))?;
        RingBuf::try_from(map).map_err(|error| other("open the ring", &error))
    }

    /// Takes the log of the probes; once. Probes that were taken over have none.
    #[cfg(feature = "probe-log")]
    pub fn take_log(&mut self) -> std::io::Result<Option<crate::bpf::log::ProbeLog>> {
        self.ebpf.as_mut().map(crate::bpf::log::ProbeLog::new).transpose()
    }

    pub(crate) fn maps_are_readable(&self) -> bool {
        let counters = self.maps.get("COUNTERS").and_then(|map| PerCpuArray::try_from(map).ok());
        counters.is_some_and(|counters: PerCpuArray<_, u64>| counters.get(&0, 0).is_ok())
    }

    pub(crate) fn losses(&mut self) -> Result<LostRecords, LoadError> {
        let map = self.maps.get_mut("COUNTERS").ok_or_else(|| missing_map("COUNTERS"))?;
        let mut counters: PerCpuArray<_, u64> =
            map.try_into().map_err(|error: MapError| other("open the counters", &error))?;
        let failed = |error: MapError| other("read the counters", &error);
        // Reset before the drops are counted, so that each drop is after the `first` of this
        // reading or of the next one.
        let first = counters.get(&counters::FIRST_DROP_NS, 0).map_err(failed)?;
        let first_ns = first.iter().copied().filter(|&ns| ns != 0).min();
        if first_ns.is_some()
            && let Ok(none) = PerCpuValues::try_from(vec![0; first.len()])
        {
            counters.set(counters::FIRST_DROP_NS, none, 0).map_err(failed)?;
        }
        let mut losses = LostRecords::default();
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

    /// The current run of a memcg (0: global).
    pub(crate) fn quiet_run(&self, oom_memcg: u64) -> Option<QuietRun> {
        let map = self.maps.get("QUIET_RUNS")?;
        let runs: BpfHashMap<_, u64, [u64; size_of::<QuietRun>() / 8]> = map.try_into().ok()?;
        QuietRun::read_from_bytes(runs.get(&oom_memcg, 0).ok()?.as_bytes()).ok()
    }
}

impl Probes {
    /// When a thread stopped to wait for a memcg whose OOM killer is disabled, `CLOCK_BOOTTIME` ns.
    /// `None` while it waits. A thread that is no longer in the map (evicted or dead) has stopped.
    pub(crate) fn wait_ended(&self, tid: i32, now_ns: u64) -> Option<u64> {
        let waiting: BpfHashMap<_, u64, [u64; size_of::<Wait>() / 8]> =
            self.maps.get("WAITING")?.try_into().ok()?;
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

/// Creates a map that is in no BPF object.
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

/// Why the BPF object does not have a program or map.
pub(super) const NOT_IN_OBJECT: &str =
    "it is not in the BPF object\nhint: this build of oomwhy is incomplete, use another one";

pub(super) fn missing_map(name: &str) -> LoadError {
    LoadError::Other { what: format!("find map {name}"), why: NOT_IN_OBJECT.to_owned() }
}
