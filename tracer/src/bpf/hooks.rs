//! The table of hooks: their names in the kernel, the programs that are attached to them, and the
//! fields that reports lose without them.
//!
//! If a kernel renames a function, put the new name in front of `names`. Everything else follows
//! from the table: the data read from BTF and kallsyms, the plan, `source.missing`, `check`.

use crate::{
    host::{
        facts::{HookKind, MarkVictim, WantedHook},
        offsets::{VICTIM_MEMORY, joined},
    },
    model::hook::Hook,
};

/// How a hook can be attached on a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AttachMethod {
    /// A BPF trampoline at a function.
    Trampoline,
    /// A breakpoint at a function.
    Kprobe,
    /// A tracepoint whose arguments have types, from the kernel's BTF.
    TypedTracepoint,
    /// A tracepoint whose arguments are plain numbers for the verifier.
    RawTracepoint,
}

/// The type of a BPF program, which decides how it is attached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ProgramKind {
    Fentry,
    Fexit,
    TpBtf,
    Kprobe,
    Kretprobe,
    RawTp,
    /// Reads the record of the tracepoint, as tracefs describes it, through a perf event.
    Tracepoint,
}

impl ProgramKind {
    /// The value in `source.hooks`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::TpBtf => "tp_btf",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::RawTp => "raw_tp",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// Whether the program runs when the function returns.
    pub(crate) fn is_return(self) -> bool {
        matches!(self, Self::Fexit | Self::Kretprobe)
    }

    /// Whether a program of this type is attached by this method.
    pub(crate) fn is_for(self, method: AttachMethod) -> bool {
        match method {
            AttachMethod::Trampoline => matches!(self, Self::Fentry | Self::Fexit),
            AttachMethod::Kprobe => matches!(self, Self::Kprobe | Self::Kretprobe),
            AttachMethod::TypedTracepoint => self == Self::TpBtf,
            AttachMethod::RawTracepoint => self == Self::RawTp,
        }
    }
}

/// A program of the BPF object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) kind: ProgramKind,
    pub(crate) name: &'static str,
    /// The arguments of `oom:mark_victim` that the program reads; `None` for other hooks.
    reads: Option<MarkVictim>,
}

impl Program {
    /// Whether the program reads the arguments that this kernel's `oom:mark_victim` passes.
    pub(crate) fn fits(&self, mark_victim: MarkVictim) -> bool {
        self.reads.is_none_or(|reads| reads == mark_victim)
    }
}

/// Why the fields are missing if the hook cannot be attached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Why {
    /// The reason why it cannot be attached.
    NotAttached,
    /// That reason, and its consequence.
    NotAttachedAnd(&'static str),
    Text(&'static str),
}

/// The description of a hook.
#[derive(Debug)]
pub(crate) struct HookSpec {
    pub(crate) hook: Hook,
    /// Names in the kernel, newest first.
    pub(crate) names: &'static [&'static str],
    pub(crate) kind: HookKind,
    /// Programs by kind, the ones at the return first: an entry whose return is not attached would
    /// leave its note behind.
    pub(crate) programs: &'static [Program],
    /// Without it no invocation is seen at all.
    pub(crate) is_essential: bool,
    /// The programs need no argument of the function, only the moment of its return. So they also
    /// fit a copy of it whose arguments the compiler changed.
    pub(crate) is_return_only: bool,
    /// Fields of the report that are missing without it.
    pub(crate) lost_without: &'static [&'static str],
    pub(crate) lost_because: Why,
    /// Its contribution to a report, for `check`; empty if `check` does not list it.
    pub(crate) summary: &'static str,
}

const FUNCTION: HookSpec = HookSpec {
    hook: Hook::OutOfMemory,
    names: &[],
    kind: HookKind::Function,
    programs: &[],
    is_essential: false,
    is_return_only: false,
    lost_without: &[],
    lost_because: Why::NotAttached,
    summary: "",
};
const TRACEPOINT: HookSpec = HookSpec { kind: HookKind::Tracepoint, ..FUNCTION };

const fn fentry(name: &'static str) -> Program {
    Program { kind: ProgramKind::Fentry, name, reads: None }
}

const fn fexit(name: &'static str) -> Program {
    Program { kind: ProgramKind::Fexit, name, reads: None }
}

const fn kprobe(name: &'static str) -> Program {
    Program { kind: ProgramKind::Kprobe, name, reads: None }
}

const fn kretprobe(name: &'static str) -> Program {
    Program { kind: ProgramKind::Kretprobe, name, reads: None }
}

const fn tp_btf(name: &'static str) -> Program {
    Program { kind: ProgramKind::TpBtf, name, reads: None }
}

const fn raw_tp(name: &'static str) -> Program {
    Program { kind: ProgramKind::RawTp, name, reads: None }
}

const fn of_task(program: Program) -> Program {
    Program { reads: Some(MarkVictim::Task), ..program }
}

const fn of_pid(program: Program) -> Program {
    Program { reads: Some(MarkVictim::Pid), ..program }
}

/// The programs of the tracepoint tier, which attaches one of them to `oom:mark_victim`.
pub(crate) const TRACEPOINT_ONLY: &[Program] = &[
    of_task(tp_btf("tracepoint_task")),
    of_task(raw_tp("raw_tracepoint_task")),
    of_pid(raw_tp("raw_tracepoint_pid")),
    Program { kind: ProgramKind::Tracepoint, name: "tracepoint_record", reads: None },
];

/// All hooks, in the order in which an invocation passes them.
pub(crate) static HOOKS: [HookSpec; 19] = [
    HookSpec {
        hook: Hook::OutOfMemory,
        names: &["out_of_memory"],
        programs: &[
            // No program at the return: its frame would be in the stack that the kernel prints
            // inside.
            fentry("out_of_memory"),
            kprobe("kprobe_out_of_memory"),
        ],
        is_essential: true,
        summary: "start, end, trigger, constraint and outcome of an invocation",
        ..FUNCTION
    },
    HookSpec {
        hook: Hook::MemCgroupOutOfMemory,
        names: &["mem_cgroup_out_of_memory"],
        programs: &[fentry("mem_cgroup_out_of_memory"), kprobe("kprobe_mem_cgroup_out_of_memory")],
        lost_without: &["outcome"],
        lost_because: Why::NotAttachedAnd("`reclaimed` is not seen"),
        summary: "invocations that needed no kill: memory was freed meanwhile",
        ..FUNCTION
    },
    // With cgroup v1 only. A kernel without it has no task that waits, so nothing is lost.
    HookSpec {
        hook: Hook::MemCgroupOomSynchronize,
        names: &["mem_cgroup_oom_synchronize"],
        programs: &[
            fexit("mem_cgroup_oom_synchronize_ret"),
            fentry("mem_cgroup_oom_synchronize"),
            kretprobe("kretprobe_mem_cgroup_oom_synchronize"),
            kprobe("kprobe_mem_cgroup_oom_synchronize"),
        ],
        summary: "tasks that wait for free memory (cgroup v1)",
        ..FUNCTION
    },
    HookSpec {
        hook: Hook::OomEvaluateTask,
        names: &["oom_evaluate_task"],
        programs: &[
            fexit("oom_evaluate_task_ret"),
            kretprobe("kretprobe_oom_evaluate_task"),
            kprobe("kprobe_candidate"),
        ],
        // One of this and `oom_badness` is enough.
        lost_without: &["candidates"],
        summary: "candidates, with points that oomwhy recomputes",
        ..FUNCTION
    },
    HookSpec {
        hook: Hook::OomBadness,
        names: &["oom_badness"],
        programs: &[
            fexit("oom_badness_ret"),
            kretprobe("kretprobe_oom_badness"),
            kprobe("kprobe_candidate"),
        ],
        lost_without: &["candidates"],
        summary: "candidates, with the kernel's points",
        ..FUNCTION
    },
    HookSpec {
        hook: Hook::OomKillProcess,
        names: &["oom_kill_process"],
        programs: &[
            fentry("oom_kill_process"),
            fentry("oom_kill_process_limits"),
            kprobe("kprobe_oom_kill_process"),
            kprobe("kprobe_oom_kill_process_limits"),
        ],
        lost_without: &["message", "victims.chosen", "victims.points"],
        summary: "the chosen process, the kernel's message, limits, stacks",
        ..FUNCTION
    },
    HookSpec {
        hook: Hook::MemCgroupPrintOomMeminfo,
        names: &["mem_cgroup_print_oom_meminfo"],
        programs: &[
            fexit("mem_cgroup_print_oom_meminfo_ret"),
            kretprobe("kretprobe_mem_cgroup_print_oom_meminfo"),
        ],
        is_return_only: true,
        // Without it, `no_victim` looks like `victim_pending`.
        lost_without: &["oom_memcg.stat", "outcome"],
        summary: "memory.stat of the cgroup that hit its limit",
        ..FUNCTION
    },
    HookSpec {
        hook: Hook::KillProcess,
        names: &["__oom_kill_process"],
        programs: &[fentry("oom_kill_task"), kprobe("kprobe_oom_kill_task")],
        lost_without: &["outcome"],
        lost_because: Why::NotAttachedAnd(
            "`already_exiting` cannot be distinguished from `killed`",
        ),
        summary: "each victim, just before it is killed",
        ..FUNCTION
    },
    HookSpec {
        hook: Hook::MarkVictim,
        names: &["mark_victim"],
        programs: &[
            of_task(tp_btf("mark_victim_task")),
            of_task(raw_tp("raw_mark_victim_task")),
            of_pid(tp_btf("mark_victim_pid")),
            of_pid(raw_tp("raw_mark_victim_pid")),
        ],
        lost_without: &joined::<{ 1 + VICTIM_MEMORY.len() }>(
            &["victims.marked_at_ns"],
            VICTIM_MEMORY,
        ),
        lost_because: Why::Text(
            "oom:mark_victim is unknown in this kernel: only the chosen task is seen",
        ),
        summary: "each victim, with its memory, when it is marked to die",
        ..TRACEPOINT
    },
    HookSpec {
        hook: Hook::SignalGenerate,
        names: &["signal_generate"],
        programs: &[tp_btf("signal_generate"), raw_tp("raw_signal_generate")],
        lost_without: &["victims.shares_mm_with"],
        lost_because: Why::Text(
            "no tracepoint signal_generate: processes that share a victim's memory are not seen",
        ),
        summary: "processes that are killed because they share a victim's memory",
        ..TRACEPOINT
    },
    HookSpec {
        hook: Hook::WakeReaper,
        names: &["wake_reaper"],
        programs: &[tp_btf("wake_reaper"), raw_tp("raw_wake_reaper")],
        summary: "when the kernel wakes the OOM reaper for a victim",
        ..TRACEPOINT
    },
    HookSpec {
        hook: Hook::StartTaskReaping,
        names: &["start_task_reaping"],
        programs: &[tp_btf("start_task_reaping"), raw_tp("raw_start_task_reaping")],
        lost_without: &["victims.reaped"],
        lost_because: Why::Text("no tracepoints of the oom reaper"),
        summary: "when the OOM reaper starts to free a victim's memory",
        ..TRACEPOINT
    },
    HookSpec {
        hook: Hook::FinishTaskReaping,
        names: &["finish_task_reaping"],
        programs: &[tp_btf("finish_task_reaping"), raw_tp("raw_finish_task_reaping")],
        lost_without: &["victims.reaped"],
        lost_because: Why::Text("no tracepoints of the oom reaper"),
        summary: "when the OOM reaper has freed a victim's memory",
        ..TRACEPOINT
    },
    HookSpec {
        hook: Hook::SkipTaskReaping,
        names: &["skip_task_reaping"],
        programs: &[tp_btf("skip_task_reaping"), raw_tp("raw_skip_task_reaping")],
        summary: "when the OOM reaper skips a victim",
        ..TRACEPOINT
    },
    HookSpec {
        hook: Hook::SchedProcessExit,
        names: &["sched_process_exit"],
        programs: &[tp_btf("sched_process_exit"), raw_tp("raw_sched_process_exit")],
        lost_without: &["victims.exited_after_ns"],
        lost_because: Why::Text("no tracepoint sched_process_exit"),
        summary: "when a victim exits",
        ..TRACEPOINT
    },
    HookSpec {
        hook: Hook::ExitMmap,
        names: &["exit_mmap"],
        programs: &[
            fexit("exit_mmap_ret"),
            fentry("exit_mmap"),
            kretprobe("kretprobe_exit_mmap"),
            kprobe("kprobe_exit_mmap"),
        ],
        lost_without: &["victims.freed_after_ns"],
        summary: "when all memory of a victim is free",
        ..FUNCTION
    },
    HookSpec {
        hook: Hook::DoGroupExit,
        names: &["do_group_exit"],
        programs: &[fentry("do_group_exit"), kprobe("kprobe_do_group_exit")],
        lost_without: &["victims.cmdline", "victims.exe", "victims.parents", "victims.user_stack"],
        lost_because: Why::NotAttachedAnd("victims cannot be read before they die"),
        summary: "a victim's command line, executable, parents and user stack",
        ..FUNCTION
    },
    HookSpec {
        hook: Hook::CgroupMkdir,
        names: &["cgroup_mkdir"],
        programs: &[tp_btf("cgroup_mkdir"), raw_tp("raw_cgroup_mkdir")],
        // Where probes cannot read the names of cgroups.
        lost_without: &["oom_memcg.path", "trigger.cgroup.path", "victims.cgroup.path"],
        summary: "names of containers; under lockdown, paths of cgroups",
        ..TRACEPOINT
    },
    // With --growth only.
    HookSpec {
        hook: Hook::PageCounterTryCharge,
        names: &["page_counter_try_charge"],
        programs: &[
            fexit("page_counter_try_charge_ret"),
            kretprobe("kretprobe_page_counter_try_charge"),
            kprobe("kprobe_page_counter_try_charge"),
        ],
        lost_without: &["growth"],
        ..FUNCTION
    },
];

/// Row N is that of the Nth hook: [`Hook::spec`] finds it by number.
const _: () = {
    let mut row = 0;
    while row < HOOKS.len() {
        assert!(HOOKS[row].hook as usize == row);
        row += 1;
    }
};

impl Hook {
    pub(crate) fn spec(self) -> &'static HookSpec {
        &HOOKS[self as usize]
    }
}

/// Whether the records of a program show that a victim is gone.
pub(crate) fn sees_end(program: &str) -> bool {
    const ENDS: [&str; 2] = ["victims.exited_after_ns", "victims.freed_after_ns"];
    HOOKS.iter().any(|hook| {
        hook.programs.iter().any(|it| it.name == program)
            && hook.lost_without.iter().any(|field| ENDS.contains(field))
    })
}

/// The names that the host looks for in the kernel's BTF and symbols.
pub(crate) fn wanted() -> Vec<WantedHook> {
    let wanted =
        |spec: &HookSpec| WantedHook { hook: spec.hook, names: spec.names, kind: spec.kind };
    HOOKS.iter().map(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{facts::BtfFacts, fixtures};

    fn facts(series: &str) -> BtfFacts {
        let hooks = wanted();
        BtfFacts::collect(&fixtures::btf_with(series, &hooks), &hooks)
    }

    #[test]
    fn every_hook_exists_on_every_kernel_except_one_of_cgroup_v1() {
        for series in fixtures::SERIES {
            let facts = facts(series);
            for hook in HOOKS.iter().map(|spec| spec.hook) {
                let is_optional = hook == Hook::MemCgroupOomSynchronize;
                let is_v1 = ["5.10-pid", "5.10", "6.1"].contains(&series);
                assert_eq!(facts.name(hook).is_some(), !is_optional || is_v1, "{series}: {hook:?}");
            }
        }
    }

    #[test]
    fn every_hook_has_a_program_for_each_of_its_attach_methods() {
        for spec in &HOOKS {
            let methods = match spec.kind {
                HookKind::Function => [AttachMethod::Trampoline, AttachMethod::Kprobe],
                HookKind::Tracepoint => {
                    [AttachMethod::TypedTracepoint, AttachMethod::RawTracepoint]
                }
            };
            for method in methods {
                let has_program = spec.programs.iter().any(|program| program.kind.is_for(method));
                assert!(has_program, "{:?}: {method:?}", spec.hook);
            }
        }
    }

    #[test]
    fn programs_at_the_return_come_before_those_at_the_entry() {
        for spec in &HOOKS {
            for method in [AttachMethod::Trampoline, AttachMethod::Kprobe] {
                let programs = spec.programs.iter().filter(|program| program.kind.is_for(method));
                let returns: Vec<bool> = programs.map(|program| program.kind.is_return()).collect();
                assert!(returns.is_sorted_by(|a, b| a >= b), "{:?}", spec.hook);
            }
        }
    }

    /// The kernel prints its stack inside these functions.
    #[test]
    fn function_on_printed_stack_has_no_program_at_the_return() {
        for hook in
            [Hook::OutOfMemory, Hook::MemCgroupOutOfMemory, Hook::OomKillProcess, Hook::KillProcess]
        {
            let programs = hook.spec().programs;
            assert!(programs.iter().all(|program| !program.kind.is_return()), "{hook:?}");
        }
    }

    #[test]
    fn key_is_a_name_that_the_kernel_has_or_had() {
        for spec in &HOOKS {
            assert!(spec.names.contains(&spec.hook.key()), "{:?}", spec.hook);
        }
    }
}
