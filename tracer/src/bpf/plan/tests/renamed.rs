//! A kernel that renames a hooked function: one string in the table is enough.

use std::fs;

use super::*;
use crate::host::{btf::KernelBtf, facts::WantedHook, files::Root};

const HOOK: Hook = Hook::OomKillProcess;
const TODAY: &str = "oom_kill_process";
/// As long as the name of today, because it takes its place in the BTF.
const TOMORROW: &str = "oom_slay_process";

/// The table after one string was added.
fn table() -> Vec<WantedHook> {
    let mut hooks = wanted();
    for wanted in hooks.iter_mut().filter(|wanted| wanted.hook == HOOK) {
        wanted.names = &[TOMORROW, TODAY];
    }
    hooks
}

/// The BTF of 6.12, with this name of the function.
fn btf(name: &str) -> Vec<u8> {
    let mut bytes = fs::read(fixtures::path("6.12")).expect("a fixture");
    let old = format!("\0{TODAY}\0");
    let at = bytes.windows(old.len()).position(|part| part == old.as_bytes()).expect("the name");
    bytes[at + 1..=at + name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// The facts of such a kernel, from its BTF and /proc/kallsyms.
fn collect(name: &str, hooks: &[WantedHook]) -> (HostFacts, Resolved) {
    let btf = KernelBtf::from_bytes(&btf(name), hooks).expect("valid BTF");
    let functions = ["out_of_memory", "oom_badness", "mem_cgroup_out_of_memory", name];
    let symbols = functions.map(|name| ["1 t ", name, "\n"].concat()).concat();
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("proc")).expect("a folder");
    fs::write(folder.path().join("proc/kallsyms"), symbols).expect("a file");
    let facts = HostFacts {
        btf_source: BtfSource::Kernel,
        kprobes: true,
        sysfs: true,
        ..HostFacts::collect(&Root::new(folder.path()), Some(&btf), hooks)
    };
    (facts, offsets::resolve(&btf))
}

#[test]
fn renamed_function_is_attached_by_its_new_name_in_fentry_and_kprobe_tiers() {
    let (facts, resolved) = collect(TOMORROW, &table());
    for (tier, kind) in [(Tier::Fentry, ProgramKind::Fentry), (Tier::Kprobe, ProgramKind::Kprobe)] {
        let plan = plan(tier, &facts, &resolved).expect("a plan");
        let programs = plan.programs.iter().filter(|planned| planned.hook == HOOK);
        let kinds: Vec<ProgramKind> = programs.map(|planned| planned.kind).collect();
        assert_eq!(kinds, [kind, kind]);
        assert_eq!(plan.symbol(HOOK), TOMORROW);
        assert_eq!(plan.symbol(Hook::OutOfMemory), "out_of_memory");
        assert!(!missing(&plan).contains(&"victims.chosen"));
    }
}

#[test]
fn renamed_function_is_missing_without_its_new_name() {
    let (facts, resolved) = collect(TOMORROW, &wanted());
    for tier in [Tier::Fentry, Tier::Kprobe] {
        let plan = plan(tier, &facts, &resolved).expect("a plan");
        assert!(plan.programs.iter().all(|planned| planned.hook != HOOK));
        assert!(missing(&plan).contains(&"victims.chosen"));
    }
}

#[test]
fn old_name_is_found_after_a_new_one_was_added() {
    let (facts, resolved) = collect(TODAY, &table());
    for tier in [Tier::Fentry, Tier::Kprobe] {
        assert_eq!(plan(tier, &facts, &resolved).expect("a plan").symbol(HOOK), TODAY);
    }
}

#[test]
fn btf_for_the_loader_has_the_new_name() {
    let hooks = KernelBtf::from_bytes(&btf(TOMORROW), &table()).expect("valid BTF").hooks();
    assert!(hooks.windows(TOMORROW.len()).any(|part| part == TOMORROW.as_bytes()));
}
