//! A host with one fact changed at a time: the exit code, the missing reason and the fix.

use std::path::Path;

use super::*;
use crate::{
    bpf::{
        hooks::wanted,
        plan::{MissingField, plan},
    },
    fmt::width,
    host::{fixtures, kallsyms::Kallsyms, offsets},
    model::hook::Hook,
};

/// A host on which nothing is missing.
fn facts(series: &str) -> HostFacts {
    fixtures::host(series, &wanted())
}

/// Every planned program was attached.
fn attached(facts: &HostFacts) -> Trial {
    let resolved = offsets::resolve(&fixtures::btf(facts.kernel.as_deref().unwrap()));
    let plan = plan(Tier::Fentry, facts, &resolved).unwrap();
    let mut trial = trial::nothing(Path::new("/sys/kernel/btf/vmlinux"));
    trial.alternatives = unavailable::alternatives(facts, &resolved);
    trial.tier = Some(Tier::Fentry);
    trial.planned = Some(plan.programs.iter().map(|planned| planned.hook).collect());
    let hooks = plan.programs.iter().map(|planned| planned.hook.key().to_owned());
    trial.hooks = hooks.map(|key| (key, "fentry".to_owned())).collect();
    trial.missing = plan.missing;
    trial
}

fn checked(facts: &HostFacts, trial: &Trial) -> Check {
    evaluate(facts, &Policy::default(), trial)
}

fn fixes(check: &Check) -> Vec<&str> {
    let fields = check.fields.iter().flat_map(|group| &group.missing);
    fields.filter_map(|missing| missing.reason.fix.as_deref()).collect()
}

fn text_of(check: &Check) -> String {
    anstream::adapter::strip_str(&text::text(check, width::DEFAULT)).to_string()
}

#[test]
fn full_report_is_available_on_every_kernel() {
    for series in ["5.10", "6.1", "6.12", "6.18", "7.3"] {
        let mut facts = facts(series);
        if matches!(series, "5.10" | "6.1") {
            facts.cgroups.v1_memory = Some("/sys/fs/cgroup/memory".into());
        }
        let check = checked(&facts, &attached(&facts));
        assert_eq!((check.exit, check.full), (Exit::Ok, true), "{series}: {}", text_of(&check));
        assert!(check.questions.iter().all(|question| question.missing.is_empty()));
        assert!(check.cgroups.paths);
    }
}

#[test]
fn hidden_addresses_name_the_missing_permission() {
    let mut facts = facts("6.12");
    facts.kallsyms = Kallsyms { is_read: true, ..Kallsyms::default() };
    let check = checked(&facts, &attached(&facts));
    assert_eq!(check.exit, Exit::NotPermitted);
    assert!(!fixes(&check).is_empty() && fixes(&check).iter().all(|it| it.contains("CAP_SYSLOG")));
}

#[test]
fn lockdown_names_every_missing_permission() {
    let mut facts = facts("6.12");
    facts.lockdown = Lockdown::Confidentiality;
    let check = checked(&facts, &attached(&facts));
    assert_eq!(check.exit, Exit::NotPermitted);
    assert!(fixes(&check).iter().all(|fix| fix.starts_with("boot without lockdown")));
    facts.kallsyms.stats_index = None;
    facts.kallsyms.per_cpu_offset = None;
    let check = checked(&facts, &attached(&facts));
    let both = |fix: &&str| fix.contains("lockdown") && fix.contains("CAP_SYSLOG");
    assert!(fixes(&check).iter().any(both), "{:?}", fixes(&check));
}

#[test]
fn unsupported_hook_ends_with_69() {
    let mut facts = facts("6.12");
    facts.btf.functions.remove(&Hook::ExitMmap);
    let check = checked(&facts, &attached(&facts));
    assert_eq!(check.exit, Exit::Unavailable);
    assert_eq!(fixes(&check), [""; 0]);
    let text = text_of(&check);
    assert!(text.contains("fix: only another kernel helps"), "{text}");
    assert!(text.contains("without victims.freed_after_ns"), "{text}");
}

#[test]
fn refusal_is_printed_once_and_no_question_is_answered() {
    let facts = facts("6.12");
    let mut trial = attached(&facts);
    trial.tier = None;
    trial.hooks.clear();
    trial.refused = Some(Unavailable::permission("CAP_BPF is not held", "sudo"));
    let check = checked(&facts, &trial);
    assert_eq!((check.exit, check.full), (Exit::NotPermitted, false));
    let text = text_of(&check);
    assert_eq!(text.matches("CAP_BPF is not held").count(), 1, "{text}");
    assert!(check.questions.iter().all(|question| question.available.is_empty()));
    assert!(!check.cgroups.paths);
}

#[test]
fn question_has_one_verdict() {
    let facts = facts("6.12");
    let mut trial = attached(&facts);
    let missing = |field: &str| MissingField { field: field.to_owned(), why: "x".to_owned() };
    let verdicts = |trial: &Trial| {
        let questions = checked(&facts, trial).questions;
        questions.iter().map(Question::verdict).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(verdicts(&trial), "yes yes yes yes yes");
    trial.missing = vec![missing("victims.anon_rss_bytes")];
    assert_eq!(verdicts(&trial), "partly yes yes yes yes");
    trial.missing = vec![missing("oom_memcg"), missing("limit_chain")];
    assert_eq!(verdicts(&trial), "yes no yes yes partly");
    trial.missing.push(missing("candidates"));
    assert_eq!(verdicts(&trial), "yes no partly yes no");
    trial.tier = None;
    assert_eq!(verdicts(&trial), "no no no no no");
}

#[test]
fn group_without_any_of_its_fields_is_not_available() {
    let facts = facts("6.12");
    let mut trial = attached(&facts);
    let missing = |field: &str| MissingField { field: field.to_owned(), why: "x".to_owned() };
    trial.missing = vec![missing("candidates"), missing("victims.points")];
    let check = checked(&facts, &trial);
    let tier = |name: &str| check.fields.iter().find(|group| group.name == name).unwrap().tier;
    assert_eq!((tier("candidates"), tier("choice")), (None, Some(Tier::Fentry)));
    let why = check.questions.iter().find(|question| question.question == 'Y').unwrap();
    assert!(!why.available.iter().any(|it| it.contains("evaluated")), "{why:?}");
    assert_eq!(
        why.missing,
        ["each task that the kernel evaluated, with its points", "victims.points"]
    );
    let text = text_of(&check);
    assert!(text.contains("partly  Y  Why that process?"), "{text}");
}

#[test]
fn hook_that_cannot_be_attached_is_missing_alone() {
    let facts = facts("6.12");
    let mut trial = attached(&facts);
    trial.hooks.remove("exit_mmap");
    trial.failed = vec![(Hook::ExitMmap, hooks::failure("rejected\nlog"))];
    let check = checked(&facts, &trial);
    let missing: Vec<_> = check.hooks.iter().filter(|hook| hook.missing().is_some()).collect();
    assert!(matches!(missing.as_slice(), [status] if status.hook == Hook::ExitMmap));
    assert_eq!(check.exit, Exit::Unavailable);
}

#[test]
fn text_of_the_host_is_escaped() {
    let mut facts = facts("6.12");
    facts.cgroups.v2 = Some("/mnt/\u{1b}[2J".into());
    facts.kernel = Some("6.12".to_owned());
    let text = text_of(&checked(&facts, &attached(&facts)));
    assert!(!text.contains('\u{1b}') && text.contains("\\x1b[2J"), "{text}");
}

#[test]
fn field_of_every_plan_has_a_group() {
    for series in fixtures::SERIES {
        let mut bare = facts(series);
        bare.kernel = Some((*series).to_owned());
        bare.lockdown = Lockdown::Confidentiality;
        bare.kallsyms = Kallsyms::default();
        bare.btf.tracepoints.clear();
        let kept = [Hook::OutOfMemory, Hook::OomKillProcess];
        bare.btf.functions.retain(|hook, _| kept.contains(hook));
        let trial = attached(&bare);
        let grouped: usize =
            groups::all(&bare, &trial).iter().map(|group| group.missing.len()).sum();
        assert_eq!(grouped, trial.missing.len(), "{series}");
    }
}
