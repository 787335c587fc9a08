//! Plans of a host with one fact changed at a time.

use super::*;
use crate::{
    bpf::hooks::wanted,
    host::{
        facts::{BtfFacts, BtfSource, HookKind},
        fixtures,
        kallsyms::Kallsyms,
        offsets,
    },
};

/// A kernel like 6.12 on which nothing is missing.
fn ideal() -> (HostFacts, Resolved) {
    on("6.12")
}

pub(super) fn on(series: &str) -> (HostFacts, Resolved) {
    let resolved = offsets::resolve(&fixtures::btf_with(series, &wanted()));
    (fixtures::host(series, &wanted()), resolved)
}

/// The symbols of all functions that BTF has.
pub(super) fn show_symbols(facts: &mut HostFacts) {
    let functions = HOOKS.iter().filter(|spec| spec.kind == HookKind::Function);
    for hook in functions.map(|spec| spec.hook) {
        if let Some(name) = facts.btf.name(hook) {
            facts.kallsyms.functions.entry(hook).or_insert_with(|| vec![name.to_owned()]);
        }
    }
}

fn planned(facts: &HostFacts, resolved: &Resolved) -> Plan {
    plan(Tier::Fentry, facts, resolved).expect("a plan")
}

pub(super) fn programs_of(plan: &Plan) -> Vec<&str> {
    plan.programs.iter().map(|planned| planned.program).collect()
}

pub(super) fn missing(plan: &Plan) -> Vec<&str> {
    plan.missing.iter().map(|missing| missing.field.as_str()).collect()
}

pub(super) fn forget(resolved: &mut Resolved, field: &'static str) {
    resolved.matched.retain(|found| found.field != field);
    resolved.missing.push(offsets::Missing { field, why: "a test took it".into() });
}

#[test]
fn ideal_kernel_has_every_program_and_field() {
    let (facts, resolved) = ideal();
    let plan = planned(&facts, &resolved);
    assert_eq!(missing(&plan), [""; 0]);
    assert_eq!(
        programs_of(&plan),
        [
            "mark_victim_task",
            "oom_kill_task",
            "oom_kill_process",
            "oom_kill_process_limits",
            "oom_badness_ret",
            "cgroup_mkdir",
            "mem_cgroup_print_oom_meminfo_ret",
            "signal_generate",
            "do_group_exit",
            "wake_reaper",
            "start_task_reaping",
            "finish_task_reaping",
            "skip_task_reaping",
            "sched_process_exit",
            "exit_mmap_ret",
            "exit_mmap",
            "out_of_memory",
            "mem_cgroup_out_of_memory",
        ]
    );
    let settings = plan.settings;
    assert_eq!(settings.end_facts, end_facts::EVALUATED | end_facts::PRINTED);
    assert_eq!(settings.oom_lock, 0xffff_ffff_8200_2000);
    assert_eq!(settings.oom_killer_disabled, 0xffff_ffff_8200_3000);
    assert_eq!(settings.oom_notify_list, 0xffff_ffff_8200_4000);
    assert_eq!((settings.typed_loads, settings.probe_read), (1, 1));
    assert_eq!((settings.current_task_btf, settings.kill_task_hooked), (1, 1));
    assert_eq!(settings.victim_by_pid, 0);
    assert_eq!((settings.per_cpu_offsets, settings.possible_cpus), (0xffff_ffff_8200_0000, 2));
}

#[test]
fn supported_kernels_miss_no_field() {
    for series in fixtures::SERIES {
        let (facts, resolved) = on(series);
        assert_eq!(missing(&planned(&facts, &resolved)), [""; 0], "{series}");
    }
}

#[test]
fn kind_of_program_follows_from_its_name() {
    for series in fixtures::SERIES {
        let (mut facts, resolved) = on(series);
        facts.lockdown = Lockdown::Confidentiality;
        for planned in planned(&facts, &resolved).programs {
            let kind = match planned.program {
                name if name.ends_with("_ret") => ProgramKind::Fexit,
                "mark_victim_task" | "mark_victim_pid" | "cgroup_mkdir" | "signal_generate"
                | "sched_process_exit" | "wake_reaper" => ProgramKind::TpBtf,
                name if name.ends_with("_task_reaping") => ProgramKind::TpBtf,
                _ => ProgramKind::Fentry,
            };
            assert_eq!(planned.kind, kind, "{series}: {}", planned.program);
        }
    }
}

#[test]
fn plan_without_out_of_memory_is_refused() {
    let (mut facts, resolved) = ideal();
    facts.btf.functions.remove(&Hook::OutOfMemory);
    assert_eq!(plan(Tier::Fentry, &facts, &resolved).err(), Some(Refusal::NoInvocation));
}

#[test]
fn plan_without_btf_is_refused() {
    let (mut facts, resolved) = ideal();
    facts.btf = BtfFacts::default();
    assert!(matches!(plan(Tier::Fentry, &facts, &resolved).err(), Some(Refusal::NoInvocation)));
}

#[test]
fn chosen_task_is_the_victim_if_mark_victim_is_unknown() {
    let (mut facts, mut resolved) = ideal();
    facts.btf.mark_victim = MarkVictim::Absent;
    let made = planned(&facts, &resolved);
    assert!(missing(&made).contains(&"victims.marked_at_ns"));
    assert!(missing(&made).contains(&"victims.anon_rss_bytes"));
    assert!(!programs_of(&made).iter().any(|name| name.starts_with("mark_victim")));

    forget(&mut resolved, "oc_chosen");
    assert_eq!(plan(Tier::Fentry, &facts, &resolved).err(), Some(Refusal::NoVictim));
}

#[test]
fn choice_is_missing_without_oom_kill_process() {
    let (mut facts, resolved) = ideal();
    facts.btf.functions.remove(&Hook::OomKillProcess);
    let made = planned(&facts, &resolved);
    assert_eq!(missing(&made), ["message", "victims.chosen", "victims.points"]);
    assert!(!programs_of(&made).contains(&"oom_kill_process"));

    facts.btf.mark_victim = MarkVictim::Absent;
    assert_eq!(plan(Tier::Fentry, &facts, &resolved).err(), Some(Refusal::NoVictim));
}

#[test]
fn plan_without_identity_of_tasks_is_refused() {
    for field in IDENTITY {
        let (facts, mut resolved) = ideal();
        forget(&mut resolved, field);
        let why = "a test took it".to_owned();
        assert_eq!(
            plan(Tier::Fentry, &facts, &resolved).err(),
            Some(Refusal::NoIdentity { field, why })
        );
    }
}

#[test]
fn old_mark_victim_needs_oom_kill_task() {
    let (mut facts, resolved) = ideal();
    facts.btf.mark_victim = MarkVictim::Pid;
    let made = planned(&facts, &resolved);
    assert_eq!(programs_of(&made).get(..2), Some(&["mark_victim_pid", "oom_kill_task"][..]));
    assert_eq!((made.settings.victim_by_pid, missing(&made)), (1, vec![]));

    facts.btf.functions.remove(&Hook::KillProcess);
    let made = planned(&facts, &resolved);
    assert!(!programs_of(&made).contains(&"oom_kill_task"));
    assert!(missing(&made).contains(&"outcome"));
    assert!(missing(&made).contains(&"victims.cgroup"));
    assert!(missing(&made).contains(&"victims.anon_rss_bytes"));

    facts.btf.functions.remove(&Hook::OomKillProcess);
    assert_eq!(plan(Tier::Fentry, &facts, &resolved).err(), Some(Refusal::NoVictim));
}

#[test]
fn candidates_come_from_the_hook_that_fires() {
    let (mut facts, resolved) = ideal();
    let hook = |facts: &HostFacts| {
        let plan = planned(facts, &resolved);
        let programs = programs_of(&plan);
        let seen = ["oom_badness_ret", "oom_evaluate_task_ret"]
            .into_iter()
            .filter(|name| programs.contains(name))
            .collect::<Vec<_>>();
        (seen, missing(&plan).contains(&"candidates"))
    };
    assert_eq!(hook(&facts), (vec!["oom_badness_ret"], false));
    facts.kallsyms.functions.extend([fixtures::split_badness()]);
    assert_eq!(hook(&facts), (vec!["oom_evaluate_task_ret"], false));
    facts.kallsyms.is_read = false;
    assert_eq!(hook(&facts), (vec!["oom_evaluate_task_ret"], false));
    facts.btf.functions.remove(&Hook::OomEvaluateTask);
    assert_eq!(hook(&facts), (vec!["oom_badness_ret"], false));
    facts.kallsyms.is_read = true;
    assert_eq!(hook(&facts), (vec![], true));
    facts.kallsyms.functions.clear();
    assert_eq!(hook(&facts), (vec!["oom_badness_ret"], false));
    facts.btf.functions.remove(&Hook::OomBadness);
    assert_eq!(hook(&facts), (vec![], true));
}

#[test]
fn outcome_is_missing_without_oom_kill_task() {
    let (mut facts, resolved) = ideal();
    facts.btf.functions.remove(&Hook::KillProcess);
    let plan = planned(&facts, &resolved);
    assert_eq!(plan.settings.kill_task_hooked, 0);
    assert_eq!(missing(&plan), ["outcome"]);
    assert!(!programs_of(&plan).contains(&"oom_kill_task"));
}

#[test]
fn outcome_is_missing_without_mem_cgroup_out_of_memory() {
    let (mut facts, resolved) = ideal();
    facts.btf.functions.remove(&Hook::MemCgroupOutOfMemory);
    let plan = planned(&facts, &resolved);
    assert_eq!(missing(&plan), ["outcome"]);
    assert!(!programs_of(&plan).contains(&"mem_cgroup_out_of_memory"));
}

#[test]
fn confidentiality_costs_strings_and_untyped_pointers() {
    let (mut facts, resolved) = ideal();
    facts.lockdown = Lockdown::Confidentiality;
    let plan = planned(&facts, &resolved);
    assert_eq!(plan.settings.probe_read, 0);
    assert_eq!(
        missing(&plan),
        [
            "message",
            "victims.vpid",
            "nodemask",
            "limit_chain (below oom_memcg)",
            "candidates (memory, where the leader has exited)",
            "trigger.exe",
            "victims.exe",
            "trigger.cmdline",
            "victims.cmdline",
            "victims (exact rss)",
            "oom_memcg.stat",
        ]
    );
    assert!(programs_of(&plan).contains(&"cgroup_mkdir"));
}

#[test]
fn confidentiality_without_cgroup_mkdir_costs_paths() {
    let (mut facts, resolved) = ideal();
    facts.lockdown = Lockdown::Confidentiality;
    facts.btf.tracepoints.remove(&Hook::CgroupMkdir);
    let plan = planned(&facts, &resolved);
    assert!(!programs_of(&plan).contains(&"cgroup_mkdir"));
    assert!(missing(&plan).contains(&"oom_memcg.path"));
}

#[test]
fn confidentiality_without_typed_current_task_costs_trigger_fields() {
    let (mut facts, resolved) = ideal();
    facts.lockdown = Lockdown::Confidentiality;
    facts.btf.current_task_btf = false;
    let plan = planned(&facts, &resolved);
    assert_eq!(plan.settings.current_task_btf, 0);
    assert!(missing(&plan).contains(&"trigger.cgroup"));

    facts.lockdown = Lockdown::None;
    assert_eq!(missing(&planned(&facts, &resolved)), [""; 0]);
}

#[test]
fn integrity_and_unknown_lockdown_cost_nothing() {
    for lockdown in [Lockdown::Integrity, Lockdown::Unknown] {
        let (mut facts, resolved) = ideal();
        facts.lockdown = lockdown;
        let plan = planned(&facts, &resolved);
        assert_eq!((plan.settings.probe_read, missing(&plan).len()), (1, 0));
    }
}

#[test]
fn hidden_addresses_cost_names_and_exact_per_cpu_counters() {
    let names = "trigger.kernel_stack.symbol";
    for (series, fields) in [("6.1", &[names][..]), ("6.12", &["victims (exact rss)", names][..])] {
        let (mut facts, resolved) = on(series);
        facts.kallsyms.per_cpu_offset = None;
        let plan = planned(&facts, &resolved);
        assert_eq!(plan.settings.per_cpu_offsets, 0);
        assert_eq!(missing(&plan), fields, "{series}");
    }
}

#[test]
fn missing_offset_costs_its_own_fields_only() {
    let (facts, mut resolved) = ideal();
    forget(&mut resolved, "kernfs_name");
    let plan = planned(&facts, &resolved);
    assert_eq!(missing(&plan), ["oom_memcg.path", "trigger.cgroup.path", "victims.cgroup.path"]);
    let why = plan.missing.first().map(|missing| missing.why.as_str());
    assert_eq!(why, Some("not in the kernel's BTF: a test took it"));
}

#[test]
fn victim_processes_are_unknown_without_do_group_exit() {
    let (mut facts, resolved) = ideal();
    facts.btf.functions.remove(&Hook::DoGroupExit);
    let plan = planned(&facts, &resolved);
    assert!(!programs_of(&plan).contains(&"do_group_exit"));
    assert_eq!(
        missing(&plan),
        ["victims.cmdline", "victims.exe", "victims.parents", "victims.user_stack"]
    );
}

mod renamed;
mod tiers;
