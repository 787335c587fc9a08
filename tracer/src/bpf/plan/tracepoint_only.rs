//! The plan of the tracepoint tier, which attaches to `oom:mark_victim` only. Part of [`super`]:
//! pure.
//!
//! With BTF, the probe reads the victim's task as in the better tiers. Without, it reads the record
//! of the tracepoint, as tracefs describes it, and userspace reads the rest from /proc while the
//! victim is still alive.

use std::collections::BTreeMap;

use oomwhy_common::settings::{MarkLayout, Settings};

use super::{MissingField, Plan, Planned, Refusal, attach_methods, nameless};
use crate::{
    bpf::hooks::{ProgramKind, TRACEPOINT_ONLY},
    host::{
        facts::{BtfSource, HostFacts, MarkVictim},
        files::Lockdown,
        offsets::Resolved,
    },
    model::{hook::Hook, report::Tier},
};

/// Fields that `oom:mark_victim` does not have.
const BEYOND: &[&str] = &[
    "reason",
    "constraint",
    "message",
    "totalpages",
    "nodemask",
    "mems_allowed",
    "oom_memcg",
    "limit_chain",
    "candidates",
    "trigger.gfp_mask",
    "trigger.order",
    "victims.chosen",
    "victims.points",
    "victims.exited_after_ns",
    "victims.freed_after_ns",
    "victims.freed_bytes",
    "victims.reaped",
    "victims.shares_mm_with",
    "victims_total",
    "system",
];

/// Plans for this host.
pub(super) fn plan(facts: &HostFacts, resolved: &Resolved) -> Result<Plan, Refusal> {
    let kind = program_kind(facts, resolved)?;
    let program = TRACEPOINT_ONLY
        .iter()
        .find(|program| program.kind == kind && program.fits(facts.btf.mark_victim))
        .ok_or(Refusal::NoVictim)?
        .name;
    let layout = facts.mark_format.filter(|_| kind == ProgramKind::Tracepoint);
    let has_fields = match layout {
        Some(format) => format.has_fields(),
        None => facts.btf.mark_victim == MarkVictim::Task,
    };
    Ok(Plan {
        tier: Tier::Tracepoint,
        programs: vec![Planned { program, hook: Hook::MarkVictim, kind }],
        symbols: symbols(facts),
        settings: settings(kind, facts),
        mark_layout: layout.map_or(MarkLayout::NONE, |format| format.layout),
        missing: missing(kind, facts.btf.mark_victim, has_fields),
    })
}

fn symbols(facts: &HostFacts) -> BTreeMap<Hook, String> {
    let hook = Hook::MarkVictim;
    let name = facts.btf.name(hook).filter(|name| *name != hook.key());
    name.map(|name| (hook, name.to_owned())).into_iter().collect()
}

fn program_kind(facts: &HostFacts, resolved: &Resolved) -> Result<ProgramKind, Refusal> {
    let is_confidential = facts.lockdown == Lockdown::Confidentiality;
    let is_named = nameless(resolved).is_none();
    match (facts.btf.mark_victim, facts.btf_source) {
        (MarkVictim::Task, BtfSource::Kernel) if is_named => return Ok(ProgramKind::TpBtf),
        (MarkVictim::Task, BtfSource::Given) if is_named && !is_confidential => {
            return Ok(ProgramKind::RawTp);
        }
        (MarkVictim::Pid, _) => return Ok(ProgramKind::RawTp),
        _ => {}
    }
    if is_confidential {
        return Err(Refusal::Forbidden {
            what: "lockdown=confidentiality forbids the records of tracepoints",
            fix: "`--attach fentry` does without, where the kernel has BTF",
        });
    }
    if facts.mark_format.is_none() {
        return Err(Refusal::Unsupported {
            what: "neither BTF nor tracefs describes what oom:mark_victim passes",
            fix: "`mount -t tracefs tracefs /sys/kernel/tracing`, or `--attach kmsg`",
        });
    }
    attach_methods::perf_events(facts)?;
    Ok(ProgramKind::Tracepoint)
}

fn settings(kind: ProgramKind, facts: &HostFacts) -> Settings {
    let probe_read = facts.lockdown != Lockdown::Confidentiality;
    Settings {
        per_cpu_offsets: facts.kallsyms.per_cpu_offset.unwrap_or_default(),
        possible_cpus: facts.possible_cpus.unwrap_or_default(),
        typed_loads: u32::from(kind == ProgramKind::TpBtf),
        typed_counters: u32::from(kind == ProgramKind::TpBtf && !probe_read),
        current_task_btf: u32::from(kind == ProgramKind::TpBtf && facts.btf.current_task_btf),
        probe_read: u32::from(probe_read),
        ..Settings::default()
    }
}

fn missing(kind: ProgramKind, mark_victim: MarkVictim, has_fields: bool) -> Vec<MissingField> {
    let why = "tier tracepoint: oom:mark_victim only shows which task is marked to die";
    let mut missing: Vec<MissingField> = Vec::new();
    let mut add = |field: &str, why: &str| {
        missing.push(MissingField { field: field.to_owned(), why: why.to_owned() });
    };
    let marked = "tier tracepoint: a task that is marked was killed, or was dying by itself; one \
                  that was chosen and was gone already is not seen";
    add("outcome", marked);
    for field in BEYOND {
        add(field, why);
    }
    let reads_task = kind != ProgramKind::Tracepoint && mark_victim == MarkVictim::Task;
    if !reads_task {
        add("victims.start_time", "oom:mark_victim passes none, and /proc has it in ticks only");
    }
    if !has_fields {
        let why = "oom:mark_victim passes a thread id only: the rest is read from /proc, a moment \
                   later, unless the victim is the trigger";
        add("victims (as of the mark)", why);
    }
    if kind == ProgramKind::Tracepoint {
        let why = "there is no BTF of this kernel; give it with --btf FILE";
        add("trigger.oom_score_adj", why);
        add("trigger.cgroup", why);
    }
    missing
}
