//! The plan of the tracepoint tier: `oom:mark_victim` alone. Part of [`super`]: pure.
//!
//! Where there is BTF, the victim is read from its task as in the better tiers. Where there is none,
//! the tracepoint's record is, as tracefs describes it; what that does not tell, userspace reads from
//! /proc while the victim still lives.

use std::collections::BTreeMap;

use oomwhy_common::settings::{MarkLayout, Settings};

use super::{How, MissingField, Plan, Planned, Refusal, hooks, nameless};
use crate::{
    host::{
        files::Lockdown,
        offsets::Resolved,
        support::{BtfSource, HostFacts, MarkVictim},
    },
    model::report::Tier,
};

/// What nobody tells who sees victims only.
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
    "system",
];

/// Plans for this host.
pub(super) fn plan(facts: &HostFacts, resolved: &Resolved) -> Result<Plan, Refusal> {
    let how = means(facts, resolved)?;
    let program = match (how, facts.btf.mark_victim) {
        (How::TpBtf, _) => "tracepoint_task",
        (How::RawTp, MarkVictim::Task) => "raw_tracepoint_task",
        (How::RawTp, _) => "raw_tracepoint_pid",
        _ => "tracepoint_record",
    };
    let layout = facts.mark_format.filter(|_| how == How::Tracepoint);
    let has_fields = match layout {
        Some(format) => format.has_fields(),
        None => facts.btf.mark_victim == MarkVictim::Task,
    };
    Ok(Plan {
        tier: Tier::Tracepoint,
        programs: vec![Planned { program, hook: "mark_victim", how }],
        symbols: BTreeMap::new(),
        settings: settings(how, facts),
        mark_layout: layout.map_or(MarkLayout::NONE, |format| format.layout),
        missing: missing(program, has_fields),
    })
}

fn means(facts: &HostFacts, resolved: &Resolved) -> Result<How, Refusal> {
    let is_confidential = facts.lockdown == Lockdown::Confidentiality;
    let is_named = nameless(resolved).is_none();
    match (facts.btf.mark_victim, facts.btf_source) {
        (MarkVictim::Task, BtfSource::Kernel) if is_named => return Ok(How::TpBtf),
        (MarkVictim::Task, BtfSource::Given) if is_named && !is_confidential => {
            return Ok(How::RawTp);
        }
        (MarkVictim::Pid, _) => return Ok(How::RawTp),
        _ => {}
    }
    if is_confidential {
        return Err(Refusal::Forbidden {
            what: "lockdown=confidentiality forbids the records of tracepoints",
            mend: "`--attach fentry` does without, where the kernel has BTF",
        });
    }
    if facts.mark_format.is_none() {
        return Err(Refusal::Lacking {
            what: "neither BTF nor tracefs tells what oom:mark_victim passes",
            mend: "`mount -t tracefs tracefs /sys/kernel/tracing`, or `--attach kmsg`",
        });
    }
    hooks::perf_events(facts)?;
    Ok(How::Tracepoint)
}

fn settings(how: How, facts: &HostFacts) -> Settings {
    let probe_read = facts.lockdown != Lockdown::Confidentiality;
    Settings {
        per_cpu_offsets: facts.kallsyms.per_cpu_offset.unwrap_or_default(),
        possible_cpus: facts.possible_cpus.unwrap_or_default(),
        typed_loads: u32::from(how == How::TpBtf),
        typed_counters: u32::from(how == How::TpBtf && !probe_read),
        current_task_btf: u32::from(how == How::TpBtf && facts.btf.current_task_btf),
        probe_read: u32::from(probe_read),
        ..Settings::default()
    }
}

fn missing(program: &str, has_fields: bool) -> Vec<MissingField> {
    let why = "tier tracepoint: oom:mark_victim alone tells who is marked to die, no more";
    let mut missing: Vec<MissingField> = Vec::new();
    let mut add = |field: &str, why: &str| {
        missing.push(MissingField { field: field.to_owned(), why: why.to_owned() });
    };
    let marked = "tier tracepoint: a task that is marked was killed, or was dying by itself; one that \
                  was chosen and was gone already is not seen";
    add("outcome", marked);
    for field in BEYOND {
        add(field, why);
    }
    if matches!(program, "tracepoint_record" | "raw_tracepoint_pid") {
        add("victims.start_time", "oom:mark_victim passes none, and /proc has it in ticks only");
    }
    if !has_fields {
        let why = "oom:mark_victim passes a thread id only: the rest is read from /proc, a moment later, \
                   unless the victim is the trigger";
        add("victims (as of the mark)", why);
    }
    if program == "tracepoint_record" {
        let why = "there is no BTF of this kernel; give it with --btf FILE";
        add("trigger.oom_score_adj", why);
        add("trigger.cgroup", why);
    }
    missing
}
