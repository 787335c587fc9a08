//! One fact flipped at a time.

use super::*;
use crate::host::{
    files, fixtures,
    kallsyms::Kallsyms,
    offsets,
    support::{BtfFacts, BtfSource, FUNCTIONS},
};

/// A kernel like 6.12 on which nothing is missing.
fn ideal() -> (HostFacts, Resolved) {
    on("6.12")
}

pub(super) fn on(series: &str) -> (HostFacts, Resolved) {
    let btf = fixtures::btf(series);
    let facts = HostFacts {
        btf: BtfFacts::collect(&btf),
        btf_source: BtfSource::Kernel,
        kprobes: true,
        perf_event_paranoid: Some(3),
        mark_format: None,
        kallsyms: Kallsyms {
            functions: BTreeMap::new(),
            badness_is_split: Some(series.starts_with("5.10")),
            per_cpu_offset: Some(0xffff_ffff_8200_0000),
            stat_places: Some(0xffff_ffff_8200_1000),
        },
        lockdown: Lockdown::None,
        possible_cpus: Some(2),
        possible_nodes: Some(1),
        privileges: None,
        cgroups: files::CgroupMounts::default(),
        kernel: None,
        boot_id: None,
        host: None,
        page_size: 4096,
    };
    (facts, offsets::resolve(&btf))
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
fn nothing_is_missing_where_the_kernel_has_everything() {
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
            "signal_deliver",
            "wake_reaper",
            "start_task_reaping",
            "finish_task_reaping",
            "skip_task_reaping",
            "sched_process_exit",
            "exit_mmap_ret",
            "exit_mmap",
            "out_of_memory_ret",
            "out_of_memory",
            "mem_cgroup_out_of_memory_ret",
        ]
    );
    let settings = plan.settings;
    assert_eq!((settings.typed_loads, settings.probe_read), (1, 1));
    assert_eq!((settings.current_task_btf, settings.kill_task_hooked), (1, 1));
    assert_eq!(settings.victim_by_pid, 0);
    assert_eq!((settings.per_cpu_offsets, settings.possible_cpus), (0xffff_ffff_8200_0000, 2));
}

#[test]
fn every_supported_kernel_has_a_plan_that_lacks_nothing() {
    for series in fixtures::SERIES {
        let (facts, resolved) = on(series);
        assert_eq!(missing(&planned(&facts, &resolved)), [""; 0], "{series}");
    }
}

#[test]
fn the_way_a_program_is_attached_follows_from_its_name() {
    for series in fixtures::SERIES {
        let (mut facts, resolved) = on(series);
        facts.lockdown = Lockdown::Confidentiality;
        for planned in planned(&facts, &resolved).programs {
            let how = match planned.program {
                name if name.ends_with("_ret") => How::Fexit,
                "mark_victim_task" | "mark_victim_pid" | "cgroup_mkdir" | "signal_generate"
                | "signal_deliver" | "sched_process_exit" | "wake_reaper" => How::TpBtf,
                name if name.ends_with("_task_reaping") => How::TpBtf,
                _ => How::Fentry,
            };
            assert_eq!(planned.how, how, "{series}: {}", planned.program);
        }
    }
}

#[test]
fn without_out_of_memory_there_is_no_plan() {
    let (mut facts, resolved) = ideal();
    facts.btf.functions.remove("out_of_memory");
    assert_eq!(plan(Tier::Fentry, &facts, &resolved).err(), Some(Refusal::NoInvocation));
}

#[test]
fn without_btf_there_is_no_plan() {
    let (mut facts, resolved) = ideal();
    facts.btf = BtfFacts::default();
    assert!(matches!(plan(Tier::Fentry, &facts, &resolved).err(), Some(Refusal::NoInvocation)));
}

#[test]
fn the_chosen_task_is_a_victim_where_mark_victim_is_unknown() {
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
fn without_oom_kill_process_the_choice_is_not_known() {
    let (mut facts, resolved) = ideal();
    facts.btf.functions.remove("oom_kill_process");
    let made = planned(&facts, &resolved);
    assert_eq!(missing(&made), ["message", "victims.chosen", "victims.points"]);
    assert!(!programs_of(&made).contains(&"oom_kill_process"));

    facts.btf.mark_victim = MarkVictim::Absent;
    assert_eq!(plan(Tier::Fentry, &facts, &resolved).err(), Some(Refusal::NoVictim));
}

#[test]
fn a_task_that_cannot_be_named_is_no_report() {
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
fn the_old_mark_victim_is_completed_by_oom_kill_task() {
    let (mut facts, resolved) = ideal();
    facts.btf.mark_victim = MarkVictim::Pid;
    let made = planned(&facts, &resolved);
    assert_eq!(programs_of(&made).get(..2), Some(&["mark_victim_pid", "oom_kill_task"][..]));
    assert_eq!((made.settings.victim_by_pid, missing(&made)), (1, vec![]));

    facts.btf.functions.remove("__oom_kill_process");
    let made = planned(&facts, &resolved);
    assert!(!programs_of(&made).contains(&"oom_kill_task"));
    assert!(missing(&made).contains(&"outcome"));
    assert!(missing(&made).contains(&"victims.cgroup"));
    assert!(missing(&made).contains(&"victims.anon_rss_bytes"));

    facts.btf.functions.remove("oom_kill_process");
    assert_eq!(plan(Tier::Fentry, &facts, &resolved).err(), Some(Refusal::NoVictim));
}

#[test]
fn candidates_come_from_whichever_hook_fires() {
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
    facts.kallsyms.badness_is_split = Some(true);
    assert_eq!(hook(&facts), (vec!["oom_evaluate_task_ret"], false));
    facts.kallsyms.badness_is_split = None;
    assert_eq!(hook(&facts), (vec!["oom_evaluate_task_ret"], false));
    facts.btf.functions.remove("oom_evaluate_task");
    assert_eq!(hook(&facts), (vec!["oom_badness_ret"], false));
    facts.kallsyms.badness_is_split = Some(true);
    assert_eq!(hook(&facts), (vec![], true));
    facts.kallsyms.badness_is_split = Some(false);
    assert_eq!(hook(&facts), (vec!["oom_badness_ret"], false));
    facts.btf.functions.remove("oom_badness");
    assert_eq!(hook(&facts), (vec![], true));
}

#[test]
fn without_oom_kill_task_shots_are_not_counted() {
    let (mut facts, resolved) = ideal();
    facts.btf.functions.remove("__oom_kill_process");
    let plan = planned(&facts, &resolved);
    assert_eq!(plan.settings.kill_task_hooked, 0);
    assert_eq!(missing(&plan), ["outcome"]);
    assert!(!programs_of(&plan).contains(&"oom_kill_task"));
}

#[test]
fn without_mem_cgroup_out_of_memory_reclaimed_is_not_seen() {
    let (mut facts, resolved) = ideal();
    facts.btf.functions.remove("mem_cgroup_out_of_memory");
    let plan = planned(&facts, &resolved);
    assert_eq!(missing(&plan), ["outcome"]);
    assert!(!programs_of(&plan).contains(&"mem_cgroup_out_of_memory_ret"));
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
    facts.btf.tracepoints.remove("cgroup_mkdir");
    let plan = planned(&facts, &resolved);
    assert!(!programs_of(&plan).contains(&"cgroup_mkdir"));
    assert!(missing(&plan).contains(&"oom_memcg.path"));
}

#[test]
fn confidentiality_without_a_typed_current_task_costs_the_trigger_part_of_its_facts() {
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
fn hidden_addresses_cost_names_and_exactness_where_counters_are_per_cpu() {
    let names = "trigger.kernel_stack.symbol";
    for (series, lacks) in [("6.1", &[names][..]), ("6.12", &["victims (exact rss)", names][..])] {
        let (mut facts, resolved) = on(series);
        facts.kallsyms.per_cpu_offset = None;
        let plan = planned(&facts, &resolved);
        assert_eq!(plan.settings.per_cpu_offsets, 0);
        assert_eq!(missing(&plan), lacks, "{series}");
    }
}

#[test]
fn a_missing_offset_costs_its_own_fields_only() {
    let (facts, mut resolved) = ideal();
    forget(&mut resolved, "kernfs_name");
    let plan = planned(&facts, &resolved);
    assert_eq!(missing(&plan), ["oom_memcg.path", "trigger.cgroup.path", "victims.cgroup.path"]);
    let why = plan.missing.first().map(|missing| missing.why.as_str());
    assert_eq!(why, Some("not in the kernel's BTF: a test took it"));
}

#[test]
fn without_signal_deliver_victims_are_not_met() {
    let (mut facts, resolved) = ideal();
    facts.btf.tracepoints.remove("signal_deliver");
    let plan = planned(&facts, &resolved);
    assert!(!programs_of(&plan).contains(&"signal_deliver"));
    assert_eq!(
        missing(&plan),
        ["victims.cmdline", "victims.exe", "victims.parents", "victims.user_stack"]
    );
}

mod tiers;
