//! Plans of the kprobe and tracepoint tiers, and kprobes in the fentry tier.

use oomwhy_common::offsets::ABSENT;

use super::*;
use crate::{
    bpf::hooks::AttachMethod,
    host::{files::Privileges, mark_format::MarkFormat},
};

/// A kernel that has everything, and shows its symbols.
fn shown(series: &str) -> (HostFacts, Resolved) {
    let (mut facts, resolved) = on(series);
    show_symbols(&mut facts);
    (facts, resolved)
}

fn rename(facts: &mut HostFacts, function: Hook, symbols: &[&str]) {
    let symbols = symbols.iter().map(|&it| it.to_owned()).collect();
    facts.kallsyms.functions.insert(function, symbols);
}

fn kprobe(facts: &HostFacts, resolved: &Resolved) -> Plan {
    plan(Tier::Kprobe, facts, resolved).expect("a plan")
}

fn attached(plan: &Plan, program: &str) -> Option<(Hook, ProgramKind)> {
    let planned = plan.programs.iter().find(|planned| planned.program == program)?;
    Some((planned.hook, planned.kind))
}

fn refused(tier: Tier, facts: &HostFacts, resolved: &Resolved) -> (bool, String) {
    let refusal = plan(tier, facts, resolved).expect_err("a refusal");
    (refusal.is_forbidden(), refusal.to_string())
}

#[test]
fn kprobes_miss_no_field_on_any_kernel() {
    for series in fixtures::SERIES {
        let (facts, resolved) = shown(series);
        let plan = kprobe(&facts, &resolved);
        assert_eq!(missing(&plan), [""; 0], "{series}");
        let settings = plan.settings;
        assert_eq!((settings.typed_loads, settings.typed_counters), (0, 0), "{series}");
        assert_eq!((settings.probe_read, settings.current_task_btf), (1, 0), "{series}");
        let trampolines = [ProgramKind::Fentry, ProgramKind::Fexit];
        assert!(plan.programs.iter().all(|it| !trampolines.contains(&it.kind)), "{series}");
        let entry = (Hook::OutOfMemory, ProgramKind::Kprobe);
        assert_eq!(attached(&plan, "kprobe_out_of_memory"), Some(entry), "{series}");
    }
}

#[test]
fn points_of_5_10_come_from_the_called_part_of_oom_badness() {
    let (facts, resolved) = shown("5.10");
    let plan = kprobe(&facts, &resolved);
    assert_eq!(
        attached(&plan, "kprobe_candidate"),
        Some((Hook::OomEvaluateTask, ProgramKind::Kprobe))
    );
    assert_eq!(
        attached(&plan, "kretprobe_oom_badness"),
        Some((Hook::OomBadness, ProgramKind::Kretprobe))
    );
    assert_eq!(plan.symbols.get(&Hook::OomBadness).map(String::as_str), Some("oom_badness.part.0"));

    let (facts, resolved) = shown("6.12");
    let plan = kprobe(&facts, &resolved);
    assert_eq!(attached(&plan, "kprobe_candidate"), Some((Hook::OomBadness, ProgramKind::Kprobe)));
    assert_eq!(plan.symbols.len(), 0);
}

#[test]
fn one_of_several_parts_is_not_used() {
    let (mut facts, resolved) = shown("5.10");
    rename(&mut facts, Hook::OomBadness, &["oom_badness.part.0", "oom_badness.constprop.0"]);
    let plan = kprobe(&facts, &resolved);
    assert_eq!(
        attached(&plan, "kretprobe_oom_evaluate_task"),
        Some((Hook::OomEvaluateTask, ProgramKind::Kretprobe))
    );
    assert_eq!((attached(&plan, "kretprobe_oom_badness"), missing(&plan).len()), (None, 0));
}

#[test]
fn function_without_btf_gets_a_kprobe_in_the_fentry_tier() {
    let (mut facts, resolved) = shown("6.12");
    facts.btf.functions.remove(&Hook::OomKillProcess);
    let plan = planned(&facts, &resolved);
    assert_eq!((plan.tier, missing(&plan).len()), (Tier::Fentry, 0));
    let by_kprobe = Some((Hook::OomKillProcess, ProgramKind::Kprobe));
    assert_eq!(attached(&plan, "kprobe_oom_kill_process"), by_kprobe);
    assert_eq!(attached(&plan, "oom_kill_task"), Some((Hook::KillProcess, ProgramKind::Fentry)));
    // Not where kprobes are forbidden.
    facts.lockdown = Lockdown::Confidentiality;
    let plan = planned(&facts, &resolved);
    assert_eq!(attached(&plan, "kprobe_oom_kill_process"), None);
    let why = plan.missing.iter().find(|it| it.field == "victims.points").map(|it| it.why.as_str());
    assert!(why.is_some_and(|why| why.contains("forbids kprobes")), "{why:?}");
}

#[test]
fn copy_with_other_arguments_costs_its_own_fields_only() {
    for suffix in [".isra.0", ".constprop.0", ".part.0"] {
        let (mut facts, resolved) = shown("6.12");
        facts.btf.functions.remove(&Hook::OomKillProcess);
        rename(&mut facts, Hook::OomKillProcess, &[&format!("oom_kill_process{suffix}")]);
        for plan in [planned(&facts, &resolved), kprobe(&facts, &resolved)] {
            assert_eq!(attached(&plan, "kprobe_oom_kill_process"), None, "{suffix}");
            assert_eq!(missing(&plan), ["message", "victims.chosen", "victims.points"]);
            let why = plan.missing.first().map(|missing| missing.why.clone()).unwrap_or_default();
            assert!(why.contains(&format!("oom_kill_process{suffix}")), "{why}");
        }
    }
}

#[test]
fn copy_is_used_if_no_argument_is_needed() {
    let (mut facts, resolved) = shown("6.12");
    let hook = Hook::MemCgroupPrintOomMeminfo;
    facts.btf.functions.remove(&hook);
    rename(&mut facts, hook, &["mem_cgroup_print_oom_meminfo.isra.0"]);
    let plan = planned(&facts, &resolved);
    assert_eq!(
        attached(&plan, "kretprobe_mem_cgroup_print_oom_meminfo"),
        Some((hook, ProgramKind::Kretprobe))
    );
    let symbol = plan.symbols.get(&hook).map(String::as_str);
    assert_eq!(symbol, Some("mem_cgroup_print_oom_meminfo.isra.0"));
}

#[test]
fn suffix_of_link_time_optimizer_keeps_the_arguments() {
    let (mut facts, resolved) = shown("6.12");
    rename(&mut facts, Hook::OomKillProcess, &["oom_kill_process.llvm.77"]);
    let plan = kprobe(&facts, &resolved);
    let symbol = plan.symbols.get(&Hook::OomKillProcess).map(String::as_str);
    assert_eq!((symbol, missing(&plan).len()), (Some("oom_kill_process.llvm.77"), 0));
}

#[test]
fn names_come_from_btf_without_kallsyms() {
    let (mut facts, resolved) = shown("6.12");
    facts.kallsyms = Kallsyms::default();
    let plan = kprobe(&facts, &resolved);
    assert_eq!((plan.symbols.len(), missing(&plan).contains(&"candidates")), (0, false));
}

#[test]
fn refusal_names_what_forbids_kprobes() {
    let forbid = |change: &dyn Fn(&mut HostFacts)| {
        let (mut facts, resolved) = shown("6.12");
        change(&mut facts);
        refused(Tier::Kprobe, &facts, &resolved)
    };
    let user = |capabilities| Some(Privileges { uid: 1000, capabilities });
    let (forbidden, why) = forbid(&|facts| facts.lockdown = Lockdown::Confidentiality);
    assert!(forbidden && why.contains("lockdown=confidentiality"), "{why}");
    let (forbidden, why) = forbid(&|facts| facts.kprobes = false);
    assert!(!forbidden && why.contains("CONFIG_KPROBE_EVENTS"), "{why}");
    assert!(!why.contains("/sys"), "{why}");
    let (forbidden, why) = forbid(&|facts| (facts.kprobes, facts.sysfs) = (false, false));
    assert!(!forbidden && why.contains("/sys is not mounted"), "{why}");
    let (forbidden, why) = forbid(&|facts| facts.btf_source = BtfSource::Absent);
    assert!(!forbidden && why.contains("--btf FILE"), "{why}");
    let (forbidden, why) = forbid(&|facts| facts.privileges = user(1 << Privileges::PERFMON));
    assert!(forbidden && why.contains("perf_event_paranoid"), "{why}");
    // Hosts that allow kprobes.
    let (mut facts, resolved) = shown("6.12");
    facts.privileges = user(1 << Privileges::SYS_ADMIN);
    assert!(plan(Tier::Kprobe, &facts, &resolved).is_ok());
    (facts.privileges, facts.perf_event_paranoid) = (user(1 << Privileges::PERFMON), Some(2));
    assert!(plan(Tier::Kprobe, &facts, &resolved).is_ok());
    facts.lockdown = Lockdown::Integrity;
    assert!(plan(Tier::Kprobe, &facts, &resolved).is_ok());
}

#[test]
fn btf_of_a_file_allows_no_trampolines_and_no_typed_tracepoints() {
    let (mut facts, resolved) = shown("6.12");
    facts.btf_source = BtfSource::Given;
    let (forbidden, why) = refused(Tier::Fentry, &facts, &resolved);
    assert!(!forbidden && why.contains("no BTF of its own"), "{why}");
    let plan = kprobe(&facts, &resolved);
    assert_eq!(
        attached(&plan, "raw_mark_victim_task"),
        Some((Hook::MarkVictim, ProgramKind::RawTp))
    );
    assert_eq!(
        attached(&plan, "raw_sched_process_exit"),
        Some((Hook::SchedProcessExit, ProgramKind::RawTp))
    );
    assert!(plan.programs.iter().all(|planned| planned.kind != ProgramKind::TpBtf));
    let hooks = AttachableHooks::of(Tier::Kprobe, &facts);
    assert_eq!(hooks.method(Hook::SignalGenerate), Some(AttachMethod::RawTracepoint));
}

#[test]
fn tracepoint_tier_uses_the_best_program_kind() {
    let only_program = |facts: &HostFacts, resolved: &Resolved| {
        let plan = plan(Tier::Tracepoint, facts, resolved).expect("a plan");
        let [planned] = plan.programs[..] else { panic!("one program") };
        assert!(missing(&plan).contains(&"candidates") && missing(&plan).contains(&"outcome"));
        (planned.program, planned.kind, plan.settings.typed_loads, plan.mark_layout.pid)
    };
    let (mut facts, resolved) = shown("6.12");
    assert_eq!(only_program(&facts, &resolved), ("tracepoint_task", ProgramKind::TpBtf, 1, ABSENT));
    facts.lockdown = Lockdown::Confidentiality;
    assert_eq!(only_program(&facts, &resolved), ("tracepoint_task", ProgramKind::TpBtf, 1, ABSENT));
    facts.lockdown = Lockdown::None;
    facts.btf_source = BtfSource::Given;
    assert_eq!(
        only_program(&facts, &resolved),
        ("raw_tracepoint_task", ProgramKind::RawTp, 0, ABSENT)
    );
    facts.btf.mark_victim = MarkVictim::Pid;
    assert_eq!(
        only_program(&facts, &resolved),
        ("raw_tracepoint_pid", ProgramKind::RawTp, 0, ABSENT)
    );
    facts.btf = BtfFacts::default();
    facts.btf_source = BtfSource::Absent;
    let layout = MarkLayout { pid: 8, ..MarkLayout::NONE };
    facts.mark_format = Some(MarkFormat { layout });
    let nothing = Resolved::nothing();
    assert_eq!(
        only_program(&facts, &nothing),
        ("tracepoint_record", ProgramKind::Tracepoint, 0, 8)
    );
}

#[test]
fn record_of_tracepoint_needs_tracefs_and_perf_events() {
    let nothing = Resolved::nothing();
    let (mut facts, _) = shown("6.12");
    facts.btf = BtfFacts::default();
    facts.btf_source = BtfSource::Absent;
    let (forbidden, why) = refused(Tier::Tracepoint, &facts, &nothing);
    assert!(!forbidden && why.contains("mount -t tracefs"), "{why}");
    facts.mark_format = Some(MarkFormat { layout: MarkLayout::NONE });
    facts.privileges = Some(Privileges { uid: 1000, capabilities: 0 });
    assert!(refused(Tier::Tracepoint, &facts, &nothing).0);
    facts.privileges = None;
    assert!(plan(Tier::Tracepoint, &facts, &nothing).is_ok());
    facts.lockdown = Lockdown::Confidentiality;
    assert!(refused(Tier::Tracepoint, &facts, &nothing).0);
}

#[test]
fn kmsg_tier_has_no_plan() {
    let (facts, resolved) = shown("6.12");
    assert!(!refused(Tier::Kmsg, &facts, &resolved).0);
}
