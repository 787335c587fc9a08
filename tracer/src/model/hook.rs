//! The places in the kernel where programs are attached. How each is found and which programs it
//! gets is in `bpf/hooks.rs`.

use super::host::Host;

/// A kernel function or tracepoint.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Hook {
    OutOfMemory,
    MemCgroupOutOfMemory,
    MemCgroupOomSynchronize,
    OomEvaluateTask,
    OomBadness,
    OomKillProcess,
    MemCgroupPrintOomMeminfo,
    KillProcess,
    MarkVictim,
    SignalGenerate,
    WakeReaper,
    StartTaskReaping,
    FinishTaskReaping,
    SkipTaskReaping,
    SchedProcessExit,
    ExitMmap,
    DoGroupExit,
    CgroupMkdir,
    PageCounterTryCharge,
}

impl Hook {
    /// The key in `source.hooks`. It stays the same if the kernel renames the function.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out_of_memory",
            Self::MemCgroupOutOfMemory => "mem_cgroup_out_of_memory",
            Self::MemCgroupOomSynchronize => "mem_cgroup_oom_synchronize",
            Self::OomEvaluateTask => "oom_evaluate_task",
            Self::OomBadness => "oom_badness",
            Self::OomKillProcess => "oom_kill_process",
            Self::MemCgroupPrintOomMeminfo => "mem_cgroup_print_oom_meminfo",
            Self::KillProcess => "__oom_kill_process",
            Self::MarkVictim => "mark_victim",
            Self::SignalGenerate => "signal_generate",
            Self::WakeReaper => "wake_reaper",
            Self::StartTaskReaping => "start_task_reaping",
            Self::FinishTaskReaping => "finish_task_reaping",
            Self::SkipTaskReaping => "skip_task_reaping",
            Self::SchedProcessExit => "sched_process_exit",
            Self::ExitMmap => "exit_mmap",
            Self::DoGroupExit => "do_group_exit",
            Self::CgroupMkdir => "cgroup_mkdir",
            Self::PageCounterTryCharge => "page_counter_try_charge",
        }
    }
}

impl Host {
    /// Whether a program is attached there.
    pub(crate) fn has_hook(&self, hook: Hook) -> bool {
        self.hooks.contains_key(hook.key())
    }

    /// Whether the probes read the context of victims. Up to wire version 3 they read it at
    /// `signal_deliver`.
    pub(crate) fn reads_victim_context(&self) -> bool {
        self.has_hook(Hook::DoGroupExit) || self.hooks.contains_key("signal_deliver")
    }
}
