//! The reduced BTF of real kernels, for tests. `cargo xtask fixtures` makes it.

use std::{fs, path::PathBuf};

use super::{
    btf::KernelBtf,
    facts::{BtfFacts, BtfSource, HookKind, HostFacts, WantedHook},
    files::{CgroupMounts, Lockdown, Privileges},
    kallsyms::Kallsyms,
};
use crate::model::hook::Hook;

/// One kernel of each supported series.
pub(crate) const SERIES: [&str; 6] = ["5.10-pid", "5.10", "6.1", "6.12", "6.18", "7.3"];

/// Some hooks, for tests that need any.
pub(crate) const HOOKS: &[WantedHook] = &[
    function(Hook::OutOfMemory, &["out_of_memory"]),
    function(Hook::OomBadness, &["oom_badness"]),
    function(Hook::OomKillProcess, &["oom_kill_process"]),
    function(Hook::OomEvaluateTask, &["oom_evaluate_task"]),
    function(Hook::ExitMmap, &["exit_mmap"]),
    WantedHook { hook: Hook::MarkVictim, names: &["mark_victim"], kind: HookKind::Tracepoint },
    WantedHook { hook: Hook::CgroupMkdir, names: &["cgroup_mkdir"], kind: HookKind::Tracepoint },
];

const fn function(hook: Hook, names: &'static [&'static str]) -> WantedHook {
    WantedHook { hook, names, kind: HookKind::Function }
}

pub(super) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/btf"))
}

pub(crate) fn path(series: &str) -> PathBuf {
    folder().join(format!("{series}.btf"))
}

/// The BTF of a series, with [`HOOKS`].
pub(crate) fn btf(series: &str) -> KernelBtf {
    btf_with(series, HOOKS)
}

/// A host with the kernel of a series, on which nothing is missing.
pub(crate) fn host(series: &str, hooks: &[WantedHook]) -> HostFacts {
    HostFacts {
        btf: BtfFacts::collect(&btf_with(series, hooks), hooks),
        btf_source: BtfSource::Kernel,
        kprobes: true,
        sysfs: true,
        perf_event_paranoid: Some(3),
        mark_format: None,
        kallsyms: Kallsyms {
            is_read: true,
            functions: series.starts_with("5.10").then(split_badness).into_iter().collect(),
            per_cpu_offset: Some(0xffff_ffff_8200_0000),
            stats_index: Some(0xffff_ffff_8200_1000),
            oom_lock: Some(0xffff_ffff_8200_2000),
            oom_killer_disabled: Some(0xffff_ffff_8200_3000),
            oom_notify_list: Some(0xffff_ffff_8200_4000),
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

/// The parts into which the compiler of 5.10 splits `oom_badness`.
pub(crate) fn split_badness() -> (Hook, Vec<String>) {
    (Hook::OomBadness, ["oom_badness", "oom_badness.part.0"].map(str::to_owned).to_vec())
}

/// The BTF of a series, with these hooks.
pub(crate) fn btf_with(series: &str, hooks: &[WantedHook]) -> KernelBtf {
    KernelBtf::from_bytes(&fs::read(path(series)).expect("a fixture"), hooks).expect("valid BTF")
}
