use super::*;
use crate::host::{
    facts::{BtfFacts, BtfSource},
    files::CgroupMounts,
    kallsyms::Kallsyms,
};
use crate::model::hook::Hook;

const BPF: u64 = 1 << Privileges::BPF;
const PERFMON: u64 = 1 << Privileges::PERFMON;
const SYS_ADMIN: u64 = 1 << Privileges::SYS_ADMIN;
const SYS_RESOURCE: u64 = 1 << Privileges::SYS_RESOURCE;

fn facts(capabilities: u64) -> HostFacts {
    HostFacts {
        btf: BtfFacts {
            functions: [(Hook::OutOfMemory, "out_of_memory")].into(),
            current_task_btf: true,
            ..BtfFacts::default()
        },
        btf_source: BtfSource::Kernel,
        kprobes: true,
        sysfs: true,
        perf_event_paranoid: Some(3),
        mark_format: None,
        kallsyms: Kallsyms::default(),
        lockdown: Lockdown::Integrity,
        possible_cpus: None,
        possible_nodes: None,
        privileges: Some(Privileges { uid: 1000, capabilities }),
        cgroups: CgroupMounts::default(),
        kernel: None,
        boot_id: None,
        host: None,
        page_size: 4096,
    }
}

fn policy() -> Policy {
    Policy { last_capability: Some(40), memlock_bytes: Some(64 << 10), ..Policy::default() }
}

#[track_caller]
fn check(facts: &HostFacts, policy: &Policy, why: &str, fix: &str) {
    let denial = explain(facts, policy);
    assert!(denial.why.starts_with(why), "{denial:?}");
    assert!(denial.fix.contains(fix), "{denial:?}");
}

#[test]
fn missing_capability_is_named() {
    check(&facts(0), &policy(), "CAP_BPF and CAP_PERFMON are not held", "setcap");
    check(&facts(BPF), &policy(), "CAP_PERFMON is not held", "setcap");
    check(&facts(PERFMON), &policy(), "CAP_BPF is not held", "setcap");
}

#[test]
fn sys_admin_is_named_before_5_8() {
    let old = Policy { last_capability: Some(37), ..policy() };
    check(&facts(0), &old, "CAP_SYS_ADMIN is not held", "sudo");
}

#[test]
fn capabilities_of_user_namespace_do_not_count() {
    let policy = Policy { in_user_namespace: Some(true), ..policy() };
    check(&facts(u64::MAX), &policy, "the capabilities are those of a user namespace", "rootful");
}

#[test]
fn memlock_is_named_if_the_kernel_counts_maps() {
    let mut old = facts(BPF | PERFMON);
    old.btf.current_task_btf = false;
    check(&old, &policy(), "RLIMIT_MEMLOCK is 64 KiB", "ulimit -l unlimited");
    let unlimited = Policy { memlock_bytes: None, ..policy() };
    check(&old, &unlimited, "this kernel's policy", "seccomp");
    old.privileges = Some(Privileges { uid: 0, capabilities: SYS_ADMIN | SYS_RESOURCE });
    check(&old, &policy(), "this kernel's policy", "seccomp");
}

#[test]
fn other_denials_are_policy_with_the_lockdown_mode() {
    for capabilities in [BPF | PERFMON, SYS_ADMIN] {
        let why = explain(&facts(capabilities), &policy()).why;
        assert!(why.contains("lockdown is integrity"), "{why}");
    }
}

#[test]
fn eperm_and_eacces_are_denials() {
    assert!(is_denial(&io::Error::from_raw_os_error(1)));
    assert!(is_denial(&io::Error::from_raw_os_error(13)));
    assert!(!is_denial(&io::Error::from_raw_os_error(22)));
}
