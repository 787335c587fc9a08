//! One host changed at a time: the verdict, whose fault it is, the mend.

use std::path::Path;

use super::*;
use crate::{
    bpf::plan::plan,
    host::{
        files::Privileges,
        fixtures,
        kallsyms::Kallsyms,
        offsets,
        support::{BtfFacts, BtfSource},
    },
};

/// A host on which nothing is missing.
fn facts(series: &str) -> HostFacts {
    HostFacts {
        btf: BtfFacts::collect(&fixtures::btf(series)),
        btf_source: BtfSource::Kernel,
        kprobes: true,
        perf_event_paranoid: Some(3),
        mark_format: None,
        kallsyms: Kallsyms {
            functions: std::collections::BTreeMap::new(),
            badness_is_split: Some(series.starts_with("5.10")),
            per_cpu_offset: Some(0xffff_ffff_8200_0000),
            stat_places: Some(0xffff_ffff_8200_1000),
        },
        lockdown: Lockdown::None,
        possible_cpus: Some(2),
        possible_nodes: Some(1),
        privileges: Some(Privileges { uid: 0, capabilities: u64::MAX }),
        cgroups: CgroupMounts { v2: Some("/sys/fs/cgroup".into()), v1_memory: None },
        kernel: Some(series.to_owned()),
        boot_id: None,
        host: None,
        page_size: 4096,
    }
}

/// Every planned program was attached.
fn attached(facts: &HostFacts) -> Trial {
    let resolved = offsets::resolve(&fixtures::btf(facts.kernel.as_deref().unwrap()));
    let plan = plan(Tier::Fentry, facts, &resolved).unwrap();
    let mut trial = trial::nothing(Path::new("/sys/kernel/btf/vmlinux"));
    trial.others = lack::otherwise(facts, &resolved);
    trial.tier = Some(Tier::Fentry);
    trial.planned = Some(plan.programs.iter().map(|planned| planned.hook).collect());
    let hooks = plan.programs.iter().map(|planned| (planned.hook.to_owned(), "fentry".to_owned()));
    trial.hooks = hooks.collect();
    trial.missing = plan.missing;
    trial
}

fn checked(facts: &HostFacts, trial: &Trial) -> Check {
    judge(facts, &Policy::default(), trial)
}

fn mends(check: &Check) -> Vec<&str> {
    let fields = check.fields.iter().flat_map(|group| &group.missing);
    fields.filter_map(|missing| missing.lack.mend.as_deref()).collect()
}

#[test]
fn the_full_report_is_to_be_had_on_every_kernel() {
    for series in ["5.10", "6.1", "6.12", "6.18", "7.3"] {
        let mut facts = facts(series);
        if matches!(series, "5.10" | "6.1") {
            facts.cgroups.v1_memory = Some("/sys/fs/cgroup/memory".into());
        }
        let check = checked(&facts, &attached(&facts));
        assert_eq!((check.exit, check.full), (Exit::Ok, true), "{series}: {}", text::text(&check));
        assert!(check.questions.iter().all(|question| question.does_not_tell.is_empty()));
        assert!(check.cgroups.paths);
    }
}

#[test]
fn hidden_addresses_lack_a_permission_and_name_it() {
    let mut facts = facts("6.12");
    facts.kallsyms = Kallsyms { badness_is_split: Some(false), ..Kallsyms::default() };
    let check = checked(&facts, &attached(&facts));
    assert_eq!(check.exit, Exit::NotPermitted);
    assert!(!mends(&check).is_empty() && mends(&check).iter().all(|it| it.contains("CAP_SYSLOG")));
}

#[test]
fn lockdown_lacks_a_permission_and_more_facts_that_lack_are_all_named() {
    let mut facts = facts("6.12");
    facts.lockdown = Lockdown::Confidentiality;
    let check = checked(&facts, &attached(&facts));
    assert_eq!(check.exit, Exit::NotPermitted);
    assert!(mends(&check).iter().all(|mend| mend.starts_with("boot without lockdown")));
    facts.kallsyms.stat_places = None;
    facts.kallsyms.per_cpu_offset = None;
    let check = checked(&facts, &attached(&facts));
    let both = |mend: &&str| mend.contains("lockdown") && mend.contains("CAP_SYSLOG");
    assert!(mends(&check).iter().any(both), "{:?}", mends(&check));
}

#[test]
fn what_only_another_kernel_has_ends_with_69() {
    let mut facts = facts("6.12");
    facts.btf.functions.remove("exit_mmap");
    let check = checked(&facts, &attached(&facts));
    assert_eq!(check.exit, Exit::Unavailable);
    assert_eq!(mends(&check), [""; 0]);
    let said = text::text(&check);
    assert!(said.contains("mend: another kernel"), "{said}");
    assert!(said.contains("without victims.freed_after_ns"), "{said}");
}

#[test]
fn a_refusal_is_said_once_and_nothing_is_told() {
    let facts = facts("6.12");
    let mut trial = attached(&facts);
    trial.tier = None;
    trial.hooks.clear();
    trial.refused = Some(Lack::permission("CAP_BPF is not held", "sudo"));
    let check = checked(&facts, &trial);
    assert_eq!((check.exit, check.full), (Exit::NotPermitted, false));
    let said = text::text(&check);
    assert_eq!(said.matches("CAP_BPF is not held").count(), 1, "{said}");
    assert!(check.questions.iter().all(|question| question.tells.is_empty()));
    assert!(!check.cgroups.paths);
}

#[test]
fn a_hook_that_could_not_be_attached_is_missing_alone() {
    let facts = facts("6.12");
    let mut trial = attached(&facts);
    trial.hooks.remove("exit_mmap");
    trial.failed = vec![("exit_mmap".to_owned(), hooks::failure("rejected\nlog"))];
    let check = checked(&facts, &trial);
    let missing: Vec<_> = check.hooks.iter().filter(|hook| hook.lack().is_some()).collect();
    assert!(matches!(missing.as_slice(), [hook] if hook.name == "exit_mmap"));
    assert_eq!(check.exit, Exit::Unavailable);
}

#[test]
fn nothing_that_a_host_says_reaches_the_terminal_unescaped() {
    let mut facts = facts("6.12");
    facts.cgroups.v2 = Some("/mnt/\u{1b}[2J".into());
    facts.kernel = Some("6.12".to_owned());
    let said = text::text(&checked(&facts, &attached(&facts)));
    assert!(!said.contains('\u{1b}') && said.contains("\\x1b[2J"), "{said}");
}

#[test]
fn every_field_that_a_plan_can_miss_has_a_group() {
    for series in fixtures::SERIES {
        let mut bare = facts(series);
        bare.kernel = Some((*series).to_owned());
        bare.lockdown = Lockdown::Confidentiality;
        bare.kallsyms = Kallsyms::default();
        bare.btf.tracepoints.clear();
        bare.btf.functions.retain(|name| ["out_of_memory", "oom_kill_process"].contains(name));
        let trial = attached(&bare);
        let grouped: usize =
            groups::all(&bare, &trial).iter().map(|group| group.missing.len()).sum();
        assert_eq!(grouped, trial.missing.len(), "{series}");
    }
}
