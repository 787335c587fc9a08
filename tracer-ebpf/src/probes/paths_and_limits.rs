//! `oom_kill_process`, a second program: the cgroup paths and limits of the oom_memcg, the chosen
//! task and the trigger.
//!
//! verifier: in the program that writes the invocation's record, the verifier would walk all of
//! this again for each way in which a field of the record can be absent.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use super::invocation;
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped, offset},
    maps::{State, own_invocation, read_volatile},
    objects::{cgroup, memcg, oom_control, task},
    record,
};

// kernel-proto: mm/oom_kill.c void oom_kill_process(struct oom_control *oc, const char *message)
#[fentry]
fn oom_kill_process_limits(ctx: FEntryContext) -> i32 {
    chosen::<Argument>(ctx.arg(0));
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_oom_kill_process_limits(ctx: ProbeContext) -> u32 {
    if let Some(oc) = ctx.arg(0) {
        chosen::<Untyped>(oc);
    }
    0
}

#[inline(always)]
fn chosen<O: Origin>(oc: *const u8) -> Option<()> {
    let state = own_invocation()?;
    let oc = Object::<O>::new(oc)?;
    emit(state, oc, oom_control::chosen(oc).and_then(Object::<O>::new));
    Some(())
}

/// Emits the paths of the oom_memcg, the chosen task and the trigger, each cgroup once. Emits the
/// limits of the chosen task's cgroup or, if no task was chosen, of the oom_memcg.
#[inline(always)]
pub(super) fn emit<O: Origin>(state: &mut State, oc: Object<O>, chosen: Option<Object<O>>) {
    let now = emit::now();
    let seq = state.seq;
    state.task_memcg =
        chosen.and_then(task::memory_cgroup).and_then(cgroup::id).unwrap_or_default();
    state.oom_memcg_id = invocation::oom_memcg_id(oc);
    state.trigger_memcg =
        kernel::current().and_then(task::memory_cgroup).and_then(cgroup::id).unwrap_or_default();
    let [task_memcg, oom_memcg, trigger_memcg] =
        [&state.task_memcg, &state.oom_memcg_id, &state.trigger_memcg].map(read_volatile);
    // If the chosen task is in the oom_memcg itself, typed pointers lead to its limits.
    let is_typed = chosen.is_none() || task_memcg == oom_memcg || !kernel::untyped_reads_allowed();
    if let Some(memcg) = oom_control::memcg(oc).flatten() {
        if let Some(cgroup) = memcg::cgroup(memcg) {
            record::path(&mut state.path, seq, now, cgroup);
        }
        if is_typed {
            record::levels(&mut state.levels, seq, now, oom_memcg, memcg);
        }
    }
    if let Some(css) = chosen.and_then(task::memory_css)
        && task_memcg != oom_memcg
    {
        if let Some(cgroup) = css.follow(offset!(css_cgroup)) {
            record::path(&mut state.path, seq, now, cgroup);
        }
        // The css is the first member of its mem_cgroup, but the verifier does not know that.
        if kernel::untyped_reads_allowed() {
            record::levels(&mut state.levels, seq, now, task_memcg, css.untyped());
        }
    }
    if trigger_memcg != oom_memcg
        && trigger_memcg != task_memcg
        && let Some(cgroup) = kernel::current().and_then(task::memory_cgroup)
    {
        record::path(&mut state.path, seq, now, cgroup);
    }
}
