//! The hooks, in the order in which the kernel reaches them. A fentry or fexit program and a kprobe
//! or kretprobe are thin shells around one body; so are the typed and the raw tracepoint.
//!
//! | hook | file | emits |
//! |---|---|---|
//! | `page_counter_try_charge` | [`growth`] | growing processes; the rest stays in maps |
//! | `cgroup:cgroup_mkdir` | [`cgroup_made`] | the path of a new cgroup |
//! | `mem_cgroup_oom_synchronize` | [`wait`] | a task that waits (cgroup v1) |
//! | `mem_cgroup_out_of_memory` | [`memcg_call`] | calls that need no invocation |
//! | `out_of_memory` | [`invocation`] | ends, runs without a victim, paths |
//! | `oom_badness`, `oom_evaluate_task` | [`candidate`] | nothing; fills the table |
//! | `oom_kill_process` | [`choice`] | the invocation and its candidates |
//! | `oom_kill_process` | [`paths_and_limits`] | cgroup paths and the chain of limits |
//! | `mem_cgroup_print_oom_meminfo` | [`stat`] | an invocation in which no task can be killed |
//! | `__oom_kill_process`, `oom:mark_victim` | [`victim`] | the victim |
//! | `signal:signal_generate` | [`victim`] | processes that share the victim's memory |
//! | `do_group_exit` | [`context`] | command line, executable, parents, user stack |
//! | `oom:wake_reaper` and the other reaper events | [`exit_and_reap`] | steps of the reaper |
//! | `sched:sched_process_exit`, `exit_mmap` | [`exit_and_reap`] | exit, freed memory |
//! | `oom:mark_victim` alone | [`tracepoint_only`] | the victim, in the tracepoint tier |

mod candidate;
mod cgroup_made;
mod choice;
mod context;
mod exit_and_reap;
mod growth;
mod invocation;
mod memcg_call;
mod paths_and_limits;
mod stat;
mod tracepoint_only;
mod victim;
mod wait;

/// The signal with which the OOM killer kills (`SIGKILL`).
const SIGKILL: i32 = 9;
