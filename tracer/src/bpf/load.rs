//! Loads the programs, sets their constants, attaches them according to the plan, and reads the
//! counters.

use std::collections::BTreeMap;

use aya::{
    Btf, Ebpf, EbpfError, Endianness, VerifierLogLevel,
    maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError, RingBuf},
    programs::{ProgramFd, ProgramType, links::FdLink},
    sys::{BpfHelper, is_helper_supported},
};
use aya_obj::{
    EbpfSectionKind,
    maps::{LegacyMap, bpf_map_def},
};
use oomwhy_common::{
    event::{CandidatesHead, InvocationEvent, ReclaimedEvent},
    maps::{InvocationState, QuietRun, STATE_BYTES, WAIT_CONTINUES_WITHIN_NS, Wait},
    offsets::KernelOffsets,
    settings::Settings,
};
use thiserror::Error;
use zerocopy::{FromBytes as _, IntoBytes};

use super::{
    growth_maps,
    hooks::ProgramKind,
    load_without_btf,
    misses::{self, Programs},
    plan::{Plan, Planned},
    programs,
    ring::RingMaps,
    verified::{self, Verified},
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
    /// The programs, whose skipped runs the kernel counts. Empty if the probes were taken over
    /// without CAP_SYS_ADMIN.
    pub(super) programs: Programs,
    /// Per key of a hook how it is attached, as in `source.hooks`.
    pub hooks: BTreeMap<String, String>,
    /// The numbers of instructions that the verifier walked, if the kernel keeps them.
    pub verified: Verified,
    /// Programs of optional hooks that could not be attached, each with the reason.
    pub failed: Vec<(Planned, String)>,
    /// Whether the verifier rejected one of them.
    pub(super) rejected: bool,
    /// The settings that the programs were loaded with, after all attempts.
    pub settings: Settings,
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
    let mut ebpf = load(plan, settings, offsets, ring_bytes, VerifierLogLevel::default())?;
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
    let verified = verified::by_info(&ebpf);
    let programs = misses::programs(&ebpf, &plan.programs);
    let growth = growth_maps::counting(&programs);
    let is_needed = cfg!(feature = "probe-log") || links.iter().any(|(_, link)| link.is_none());
    let ebpf = is_needed.then_some(ebpf);
    let settings = *settings;
    Ok(Probes { ebpf, maps, links, growth, programs, hooks, verified, failed, rejected, settings })
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

/// Creates the maps of the object. `log` is what the verifier logs of a program that it rejects.
pub(super) fn load(
    plan: &Plan,
    settings: &Settings,
    offsets: &KernelOffsets,
    ring_bytes: Option<u32>,
    log: VerifierLogLevel,
) -> Result<Ebpf, LoadError> {
    let mut loader = load_without_btf::ebpf_loader();
    loader.verifier_log_level(log);
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

pub(super) fn other(what: &str, error: &(dyn std::error::Error + 'static)) -> LoadError {
    LoadError::Other { what: what.to_owned(), why: with_sources(error) }
}

impl Probes {
    /// Takes the ring buffers; succeeds once.
    pub(crate) fn take_rings(&mut self) -> Result<RingMaps, LoadError> {
        let mut take = |name: &str| self.maps.remove(name).map(RingBuf::try_from).transpose();
        let failed = |error: MapError| other("open a ring buffer", &error);
        Ok(RingMaps {
            details: take("RING").map_err(failed)?.ok_or_else(|| missing_map("RING"))?,
            kills: take("KILLS").map_err(failed)?,
            hints: take("HINTS").map_err(failed)?,
        })
    }

    /// Takes the log of the probes; once. Probes that were taken over have none.
    #[cfg(feature = "probe-log")]
    pub fn take_log(&mut self) -> std::io::Result<Option<crate::bpf::log::ProbeLog>> {
        self.ebpf.as_mut().map(crate::bpf::log::ProbeLog::new).transpose()
    }

    /// The current run of a memcg (0: global).
    pub(crate) fn quiet_run(&self, oom_memcg: u64) -> Option<QuietRun> {
        let map = self.maps.get("QUIET_RUNS")?;
        let runs: BpfHashMap<_, u64, [u64; size_of::<QuietRun>() / 8]> = map.try_into().ok()?;
        QuietRun::read_from_bytes(runs.get(&oom_memcg, 0).ok()?.as_bytes()).ok()
    }
}

/// The current or latest invocation, as the probes have stored it.
#[derive(Debug)]
pub(crate) struct LatestInvocation {
    pub state: InvocationState,
    pub event: InvocationEvent,
    /// Number of tasks that the kernel has evaluated so far.
    pub considered: u32,
}

impl Probes {
    /// The current or latest invocation. `None` without one, and from probes of another build.
    pub(crate) fn latest_invocation(&self) -> Option<LatestInvocation> {
        let state: Array<_, [u64; STATE_BYTES / 8]> = self.maps.get("STATE")?.try_into().ok()?;
        let words = state.get(&0, 0).ok()?;
        let (state, rest) = InvocationState::read_from_prefix(words.as_bytes()).ok()?;
        let (event, rest) = InvocationEvent::read_from_prefix(rest).ok()?;
        let (candidates, _) = CandidatesHead::read_from_prefix(rest).ok()?;
        let considered = candidates.considered;
        (state.task != 0).then_some(LatestInvocation { state, event, considered })
    }

    /// Takes the calls of `mem_cgroup_out_of_memory` before `before_ns` that have led to no
    /// invocation, as records. If the task calls again meanwhile, its new call may be removed in
    /// place of the old one.
    pub(crate) fn take_calls_without_invocation(&mut self, before_ns: u64) -> Vec<Vec<u8>> {
        const WORDS: usize = size_of::<ReclaimedEvent>() / 8;
        let calls = self.maps.get_mut("MEMCG_CALLS").and_then(|map| map.try_into().ok());
        let Some(mut calls): Option<BpfHashMap<_, u64, [u64; WORDS]>> = calls else {
            return Vec::new();
        };
        let is_over = |words: &[u64; WORDS]| {
            ReclaimedEvent::ref_from_bytes(words.as_bytes())
                .is_ok_and(|call| call.header.boottime_ns < before_ns)
        };
        let over: Vec<_> = calls.iter().flatten().filter(|(_, words)| is_over(words)).collect();
        // Calls that cannot be removed are left to the probes.
        let taken = over.into_iter().filter(|(task, _)| calls.remove(task).is_ok());
        taken.map(|(_, words)| words.as_bytes().to_vec()).collect()
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
