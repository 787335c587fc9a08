//! The other tiers, and hooks that come from another one.

use oomwhy_common::offsets::ABSENT;

use super::*;
use crate::{
    bpf::plan::hooks::{Hooks, Means},
    host::{files::Privileges, mark_format::MarkFormat},
};

/// A kernel that has everything, and shows its symbols.
fn shown(series: &str) -> (HostFacts, Resolved) {
    let (mut facts, resolved) = on(series);
    for name in FUNCTIONS.iter().filter(|name| facts.btf.has(name)) {
        facts.kallsyms.functions.insert(name, vec![(*name).to_owned()]);
    }
    if series.starts_with("5.10") {
        rename(&mut facts, "oom_badness", &["oom_badness", "oom_badness.part.0"]);
    }
    (facts, resolved)
}

fn rename(facts: &mut HostFacts, function: &'static str, symbols: &[&str]) {
    let symbols = symbols.iter().map(|&it| it.to_owned()).collect();
    facts.kallsyms.functions.insert(function, symbols);
}

fn kprobe(facts: &HostFacts, resolved: &Resolved) -> Plan {
    plan(Tier::Kprobe, facts, resolved).expect("a plan")
}

fn how(plan: &Plan, program: &str) -> Option<(&'static str, How)> {
    let planned = plan.programs.iter().find(|planned| planned.program == program)?;
    Some((planned.hook, planned.how))
}

fn refused(tier: Tier, facts: &HostFacts, resolved: &Resolved) -> (bool, String) {
    let refusal = plan(tier, facts, resolved).expect_err("a refusal");
    (refusal.is_forbidden(), refusal.to_string())
}

#[test]
fn kprobes_tell_all_that_trampolines_tell_on_every_kernel() {
    for series in fixtures::SERIES {
        let (facts, resolved) = shown(series);
        let plan = kprobe(&facts, &resolved);
        assert_eq!(missing(&plan), [""; 0], "{series}");
        let settings = plan.settings;
        assert_eq!((settings.typed_loads, settings.typed_counters), (0, 0), "{series}");
        assert_eq!((settings.probe_read, settings.current_task_btf), (1, 0), "{series}");
        let trampolines = [How::Fentry, How::Fexit];
        assert!(plan.programs.iter().all(|it| !trampolines.contains(&it.how)), "{series}");
        let entry = ("out_of_memory", How::Kprobe);
        assert_eq!(how(&plan, "kprobe_out_of_memory"), Some(entry), "{series}");
    }
}

#[test]
fn the_points_of_5_10_come_from_the_part_of_oom_badness_that_is_called() {
    let (facts, resolved) = shown("5.10");
    let plan = kprobe(&facts, &resolved);
    assert_eq!(how(&plan, "kprobe_candidate"), Some(("oom_evaluate_task", How::Kprobe)));
    assert_eq!(how(&plan, "kretprobe_oom_badness"), Some(("oom_badness", How::Kretprobe)));
    assert_eq!(plan.symbols.get("oom_badness").map(String::as_str), Some("oom_badness.part.0"));

    let (facts, resolved) = shown("6.12");
    let plan = kprobe(&facts, &resolved);
    assert_eq!(how(&plan, "kprobe_candidate"), Some(("oom_badness", How::Kprobe)));
    assert_eq!(plan.symbols.len(), 0);
}

#[test]
fn a_part_that_is_not_the_only_one_is_not_trusted() {
    let (mut facts, resolved) = shown("5.10");
    rename(&mut facts, "oom_badness", &["oom_badness.part.0", "oom_badness.constprop.0"]);
    let plan = kprobe(&facts, &resolved);
    assert_eq!(
        how(&plan, "kretprobe_oom_evaluate_task"),
        Some(("oom_evaluate_task", How::Kretprobe))
    );
    assert_eq!((how(&plan, "kretprobe_oom_badness"), missing(&plan).len()), (None, 0));
}

#[test]
fn a_function_without_btf_gets_a_kprobe_and_the_others_keep_their_trampolines() {
    let (mut facts, resolved) = shown("6.12");
    facts.btf.functions.remove("oom_kill_process");
    let plan = planned(&facts, &resolved);
    assert_eq!((plan.tier, missing(&plan).len()), (Tier::Fentry, 0));
    let by_kprobe = Some(("oom_kill_process", How::Kprobe));
    assert_eq!(how(&plan, "kprobe_oom_kill_process"), by_kprobe);
    assert_eq!(how(&plan, "oom_kill_task"), Some(("__oom_kill_process", How::Fentry)));
    // Not where kprobes are forbidden.
    facts.lockdown = Lockdown::Confidentiality;
    let plan = planned(&facts, &resolved);
    assert_eq!(how(&plan, "kprobe_oom_kill_process"), None);
    let why = plan.missing.iter().find(|it| it.field == "victims.points").map(|it| it.why.as_str());
    assert!(why.is_some_and(|why| why.contains("forbids kprobes")), "{why:?}");
}

#[test]
fn a_copy_with_other_arguments_costs_its_own_fields_only() {
    for suffix in [".isra.0", ".constprop.0", ".part.0"] {
        let (mut facts, resolved) = shown("6.12");
        facts.btf.functions.remove("oom_kill_process");
        rename(&mut facts, "oom_kill_process", &[&format!("oom_kill_process{suffix}")]);
        for plan in [planned(&facts, &resolved), kprobe(&facts, &resolved)] {
            assert_eq!(how(&plan, "kprobe_oom_kill_process"), None, "{suffix}");
            assert_eq!(missing(&plan), ["message", "victims.chosen", "victims.points"]);
            let why = plan.missing.first().map(|missing| missing.why.clone()).unwrap_or_default();
            assert!(why.contains(&format!("oom_kill_process{suffix}")), "{why}");
        }
    }
}

#[test]
fn a_copy_serves_where_no_argument_is_needed() {
    let (mut facts, resolved) = shown("6.12");
    let hook = "mem_cgroup_print_oom_meminfo";
    facts.btf.functions.remove(hook);
    rename(&mut facts, hook, &["mem_cgroup_print_oom_meminfo.isra.0"]);
    let plan = planned(&facts, &resolved);
    assert_eq!(how(&plan, "kretprobe_mem_cgroup_print_oom_meminfo"), Some((hook, How::Kretprobe)));
    let symbol = plan.symbols.get(hook).map(String::as_str);
    assert_eq!(symbol, Some("mem_cgroup_print_oom_meminfo.isra.0"));
}

#[test]
fn a_suffix_of_the_link_time_optimizer_says_nothing_about_arguments() {
    let (mut facts, resolved) = shown("6.12");
    rename(&mut facts, "oom_kill_process", &["oom_kill_process.llvm.77"]);
    let plan = kprobe(&facts, &resolved);
    let symbol = plan.symbols.get("oom_kill_process").map(String::as_str);
    assert_eq!((symbol, missing(&plan).len()), (Some("oom_kill_process.llvm.77"), 0));
}

#[test]
fn without_kallsyms_names_are_taken_from_btf() {
    let (mut facts, resolved) = shown("6.12");
    facts.kallsyms = Kallsyms::default();
    let plan = kprobe(&facts, &resolved);
    assert_eq!((plan.symbols.len(), missing(&plan).contains(&"candidates")), (0, false));
}

#[test]
fn each_thing_that_forbids_kprobes_is_named() {
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
    let (forbidden, why) = forbid(&|facts| facts.btf_source = BtfSource::Nobody);
    assert!(!forbidden && why.contains("--btf FILE"), "{why}");
    let (forbidden, why) = forbid(&|facts| facts.privileges = user(1 << Privileges::PERFMON));
    assert!(forbidden && why.contains("perf_event_paranoid"), "{why}");
    // What is allowed.
    let (mut facts, resolved) = shown("6.12");
    facts.privileges = user(1 << Privileges::SYS_ADMIN);
    assert!(plan(Tier::Kprobe, &facts, &resolved).is_ok());
    (facts.privileges, facts.perf_event_paranoid) = (user(1 << Privileges::PERFMON), Some(2));
    assert!(plan(Tier::Kprobe, &facts, &resolved).is_ok());
    facts.lockdown = Lockdown::Integrity;
    assert!(plan(Tier::Kprobe, &facts, &resolved).is_ok());
}

#[test]
fn btf_from_a_file_means_no_trampolines_and_no_typed_tracepoints() {
    let (mut facts, resolved) = shown("6.12");
    facts.btf_source = BtfSource::Given;
    let (forbidden, why) = refused(Tier::Fentry, &facts, &resolved);
    assert!(!forbidden && why.contains("no BTF of its own"), "{why}");
    let plan = kprobe(&facts, &resolved);
    assert_eq!(how(&plan, "raw_mark_victim_task"), Some(("mark_victim", How::RawTp)));
    assert_eq!(how(&plan, "raw_sched_process_exit"), Some(("sched_process_exit", How::RawTp)));
    assert!(plan.programs.iter().all(|planned| planned.how != How::TpBtf));
    let hooks = Hooks::of(Tier::Kprobe, &facts);
    assert_eq!(hooks.means("signal_generate"), Some(Means::RawTracepoint));
}

#[test]
fn the_tracepoint_alone_is_read_by_the_best_means_there_are() {
    let alone = |facts: &HostFacts, resolved: &Resolved| {
        let plan = plan(Tier::Tracepoint, facts, resolved).expect("a plan");
        let [planned] = plan.programs[..] else { panic!("one program") };
        assert!(missing(&plan).contains(&"candidates") && missing(&plan).contains(&"outcome"));
        (planned.program, planned.how, plan.settings.typed_loads, plan.mark_layout.pid)
    };
    let (mut facts, resolved) = shown("6.12");
    assert_eq!(alone(&facts, &resolved), ("tracepoint_task", How::TpBtf, 1, ABSENT));
    facts.lockdown = Lockdown::Confidentiality;
    assert_eq!(alone(&facts, &resolved), ("tracepoint_task", How::TpBtf, 1, ABSENT));
    facts.lockdown = Lockdown::None;
    facts.btf_source = BtfSource::Given;
    assert_eq!(alone(&facts, &resolved), ("raw_tracepoint_task", How::RawTp, 0, ABSENT));
    facts.btf.mark_victim = MarkVictim::Pid;
    assert_eq!(alone(&facts, &resolved), ("raw_tracepoint_pid", How::RawTp, 0, ABSENT));
    facts.btf = BtfFacts::default();
    facts.btf_source = BtfSource::Nobody;
    let layout = MarkLayout { pid: 8, ..MarkLayout::NONE };
    facts.mark_format = Some(MarkFormat { layout });
    let nothing = Resolved::nothing();
    assert_eq!(alone(&facts, &nothing), ("tracepoint_record", How::Tracepoint, 0, 8));
}

#[test]
fn the_record_of_the_tracepoint_needs_tracefs_and_perf_events() {
    let nothing = Resolved::nothing();
    let (mut facts, _) = shown("6.12");
    facts.btf = BtfFacts::default();
    facts.btf_source = BtfSource::Nobody;
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
fn the_kernel_log_has_no_probes() {
    let (facts, resolved) = shown("6.12");
    assert!(!refused(Tier::Kmsg, &facts, &resolved).0);
}
