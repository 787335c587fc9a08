//! `oom_kill_process`, once more: the paths and limits of who takes part.
//!
//! verifier: a program of its own, for in the one that writes the invocation's record all of this
//! would be walked again for each way in which a field of the record can be absent.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use super::invocation;
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped, offset},
    maps::{State, own_invocation},
    objects::{cgroup, memcg, oom_control, task},
    record::{self, forgotten},
};

// kernel-proto: mm/oom_kill.c void oom_kill_process(struct oom_control *oc, const char *message)
#[fentry]
fn oom_kill_process_places(ctx: FEntryContext) -> i32 {
    chosen::<Argument>(ctx.arg(0));
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_oom_kill_process_places(ctx: ProbeContext) -> u32 {
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

/// Emits the paths of oom_memcg, chosen and trigger, each cgroup once, and the limits of the chosen
/// task's cgroup; without one, those of oom_memcg.
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
        [&state.task_memcg, &state.oom_memcg_id, &state.trigger_memcg].map(forgotten);
    // Where the chosen task lives in oom_memcg itself, its limits are at hand as typed pointers.
    let at_hand = chosen.is_none() || task_memcg == oom_memcg || !kernel::untyped_reads_allowed();
    if let Some(memcg) = oom_control::memcg(oc).flatten() {
        if let Some(cgroup) = memcg::cgroup(memcg) {
            record::path(&mut state.path, seq, now, cgroup);
        }
        if at_hand {
            record::levels(&mut state.levels, seq, now, oom_memcg, memcg);
        }
    }
    if let Some(css) = chosen.and_then(task::memory_css)
        && task_memcg != oom_memcg
    {
        if let Some(cgroup) = css.follow(offset!(css_cgroup)) {
            record::path(&mut state.path, seq, now, cgroup);
        }
        // The css is the first member of its mem_cgroup; the verifier doesn't know that.
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
