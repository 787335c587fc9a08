//! The reduced BTF of real kernels, for tests. `cargo xtask fixtures` makes it.

use std::{fs, path::PathBuf};

use super::{
    btf::KernelBtf,
    facts::{HookKind, WantedHook},
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

pub(crate) fn path(series: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/btf");
    PathBuf::from(folder).join(format!("{series}.btf"))
}

/// The BTF of a series, with [`HOOKS`].
pub(crate) fn btf(series: &str) -> KernelBtf {
    btf_with(series, HOOKS)
}

/// The BTF of a series, with these hooks.
pub(crate) fn btf_with(series: &str, hooks: &[WantedHook]) -> KernelBtf {
    KernelBtf::from_bytes(&fs::read(path(series)).expect("a fixture"), hooks).expect("valid BTF")
}
