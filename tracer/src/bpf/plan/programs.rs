//! Hooks to programs: each has one per means. Part of [`super`]: pure.

use oomwhy_common::settings::Settings;

use super::{
    Candidates, How, Planned,
    hooks::{Hooks, Means},
};
use crate::host::support::{HostFacts, MarkVictim};

/// The programs at a function's entry: hook, by trampoline, by kprobe. Empty: none is needed.
const ENTRY: &[(&str, &str, &str)] = &[
    ("out_of_memory", "out_of_memory", "kprobe_out_of_memory"),
    ("oom_kill_process", "oom_kill_process", "kprobe_oom_kill_process"),
    ("__oom_kill_process", "oom_kill_task", "kprobe_oom_kill_task"),
    ("mem_cgroup_out_of_memory", "", "kprobe_mem_cgroup_out_of_memory"),
    (
        "mem_cgroup_oom_synchronize",
        "mem_cgroup_oom_synchronize",
        "kprobe_mem_cgroup_oom_synchronize",
    ),
    ("exit_mmap", "exit_mmap", "kprobe_exit_mmap"),
    ("oom_badness", "", "kprobe_candidate"),
    ("oom_evaluate_task", "", "kprobe_candidate"),
];

/// The programs at its return, likewise.
const RETURN: &[(&str, &str, &str)] = &[
    ("out_of_memory", "out_of_memory_ret", "kretprobe_out_of_memory"),
    (
        "mem_cgroup_out_of_memory",
        "mem_cgroup_out_of_memory_ret",
        "kretprobe_mem_cgroup_out_of_memory",
    ),
    (
        "mem_cgroup_oom_synchronize",
        "mem_cgroup_oom_synchronize_ret",
        "kretprobe_mem_cgroup_oom_synchronize",
    ),
    (
        "mem_cgroup_print_oom_meminfo",
        "mem_cgroup_print_oom_meminfo_ret",
        "kretprobe_mem_cgroup_print_oom_meminfo",
    ),
    ("exit_mmap", "exit_mmap_ret", "kretprobe_exit_mmap"),
    ("oom_badness", "oom_badness_ret", "kretprobe_oom_badness"),
    ("oom_evaluate_task", "oom_evaluate_task_ret", "kretprobe_oom_evaluate_task"),
];

/// The programs at a tracepoint: with typed arguments, with raw ones.
const TRACEPOINT: &[(&str, &str, &str)] = &[
    ("cgroup_mkdir", "cgroup_mkdir", "raw_cgroup_mkdir"),
    ("signal_generate", "signal_generate", "raw_signal_generate"),
    ("signal_deliver", "signal_deliver", "raw_signal_deliver"),
    ("wake_reaper", "wake_reaper", "raw_wake_reaper"),
    ("start_task_reaping", "start_task_reaping", "raw_start_task_reaping"),
    ("finish_task_reaping", "finish_task_reaping", "raw_finish_task_reaping"),
    ("skip_task_reaping", "skip_task_reaping", "raw_skip_task_reaping"),
    ("sched_process_exit", "sched_process_exit", "raw_sched_process_exit"),
];

/// The list while it is made.
struct List<'a> {
    hooks: &'a Hooks,
    programs: Vec<Planned>,
}

impl List<'_> {
    fn entry(&mut self, hook: &str) {
        self.function(ENTRY, hook, How::Fentry, How::Kprobe);
    }

    /// The second program at the choice.
    fn places(&mut self) {
        let table =
            [("oom_kill_process", "oom_kill_process_limits", "kprobe_oom_kill_process_limits")];
        self.function(&table, "oom_kill_process", How::Fentry, How::Kprobe);
    }

    fn exit(&mut self, hook: &str) {
        self.function(RETURN, hook, How::Fexit, How::Kretprobe);
    }

    fn function(
        &mut self,
        table: &[(&'static str, &'static str, &'static str)],
        hook: &str,
        by_trampoline: How,
        by_kprobe: How,
    ) {
        let Some(&(hook, trampoline, kprobe)) = table.iter().find(|(name, ..)| *name == hook)
        else {
            return;
        };
        match self.hooks.means(hook) {
            Some(Means::Trampoline) => self.push(trampoline, hook, by_trampoline),
            Some(Means::Kprobe) => self.push(kprobe, hook, by_kprobe),
            _ => {}
        }
    }

    fn tracepoint(&mut self, table: &[(&'static str, &'static str, &'static str)], hook: &str) {
        let Some(&(hook, typed, raw)) = table.iter().find(|(name, ..)| *name == hook) else {
            return;
        };
        match self.hooks.means(hook) {
            Some(Means::TypedTracepoint) => self.push(typed, hook, How::TpBtf),
            Some(Means::RawTracepoint) => self.push(raw, hook, How::RawTp),
            _ => {}
        }
    }

    fn push(&mut self, program: &'static str, hook: &'static str, how: How) {
        if !program.is_empty() {
            self.programs.push(Planned { program, hook, how });
        }
    }
}

/// All of them, in the order in which they are attached.
pub(super) fn all(
    hooks: &Hooks,
    facts: &HostFacts,
    candidates: Candidates,
    settings: &Settings,
) -> Vec<Planned> {
    let mut list = List { hooks, programs: Vec::new() };
    // Inner hooks first: an invocation that begins while we attach is then seen whole or not at
    // all, since out_of_memory's entry opens the frame.
    match facts.btf.mark_victim {
        MarkVictim::Task => list.tracepoint(
            &[("mark_victim", "mark_victim_task", "raw_mark_victim_task")],
            "mark_victim",
        ),
        MarkVictim::Pid => list.tracepoint(
            &[("mark_victim", "mark_victim_pid", "raw_mark_victim_pid")],
            "mark_victim",
        ),
        MarkVictim::Absent => {}
    }
    list.entry("__oom_kill_process");
    list.entry("oom_kill_process");
    list.places();
    match candidates {
        Candidates::Badness => {
            list.exit("oom_badness");
            list.entry("oom_badness");
        }
        Candidates::BadnessPart => {
            list.exit("oom_badness");
            list.entry("oom_evaluate_task");
        }
        Candidates::EvaluateTask => {
            list.exit("oom_evaluate_task");
            list.entry("oom_evaluate_task");
        }
        Candidates::Nobody => {}
    }
    list.tracepoint(TRACEPOINT, "cgroup_mkdir");
    around(&mut list, settings);
    list.exit("out_of_memory");
    list.entry("out_of_memory");
    list.exit("mem_cgroup_out_of_memory");
    list.entry("mem_cgroup_out_of_memory");
    list.programs
}

/// What is told besides the decision itself: what the memory was, who dies along, what becomes of
/// the victims, who waits.
fn around(list: &mut List<'_>, settings: &Settings) {
    if settings.probe_read != 0 {
        list.exit("mem_cgroup_print_oom_meminfo");
    }
    for (name, ..) in TRACEPOINT.iter().filter(|(name, ..)| *name != "cgroup_mkdir") {
        list.tracepoint(TRACEPOINT, name);
    }
    for function in ["exit_mmap", "mem_cgroup_oom_synchronize"] {
        list.exit(function);
        list.entry(function);
    }
}
