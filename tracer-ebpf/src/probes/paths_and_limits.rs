//! `oom_kill_process`, a second program: the cgroup paths and limits of the oom_memcg, the chosen
//! task and the trigger.
//!
//! verifier: in the program that writes the invocation's record, the verifier would walk all of
//! this again for each way in which a field of the record can be absent.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use oomwhy_common::valid;

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

/// Emits the path and the limits of the chosen task's cgroup, and the other paths unless they were
/// emitted at entry.
#[inline(always)]
fn chosen<O: Origin>(oc: *const u8) -> Option<()> {
    let state = own_invocation()?;
    let oc = Object::<O>::new(oc)?;
    let oom_memcg = oom_control::memcg(oc).flatten();
    // This program may run before the one that writes the invocation.
    record::raise_pressure(state);
    if read_volatile(&state.pressure) >= emit::SHEDS_PATHS {
        record::shed(state, valid::shed::PATHS | valid::shed::LEVELS);
        return None;
    }
    emit_paths(state, oom_memcg);
    let (seq, now) = (state.seq, emit::now());
    let css = oom_control::chosen(oc).and_then(Object::<O>::new).and_then(task::memory_css);
    let chosen = css.and_then(|css| css.follow(offset!(css_cgroup)));
    state.task_memcg = chosen.and_then(cgroup::id).unwrap_or_default();
    // verifier: addresses, 0 for none. LLVM spills the empty part of an `Option`, which 5.10 does
    // not let it read back.
    let [css, chosen] = [css, chosen].map(|it| it.map_or(0, Object::address));
    let [task_memcg, oom_memcg_id, trigger_memcg] =
        [&state.task_memcg, &state.oom_memcg_id, &state.trigger_memcg].map(read_volatile);
    // If the chosen task is in the oom_memcg itself, typed pointers lead to its limits.
    if task_memcg == oom_memcg_id || !kernel::untyped_reads_allowed() {
        emit_levels(state, oom_memcg?);
        return Some(());
    }
    if let Some(cgroup) = Object::<O>::new(chosen as *const u8)
        && task_memcg != trigger_memcg
    {
        record::path(&mut state.path, seq, now, cgroup);
    }
    // The css is the first member of its mem_cgroup, but the verifier does not know that.
    let css = Object::<Untyped>::new(css as *const u8)?;
    record::levels(&mut state.levels, seq, now, task_memcg, css);
    Some(())
}

/// Emits the paths of the oom_memcg and the trigger, once per invocation, unless the ring is short
/// of room.
#[inline(always)]
pub(super) fn emit_paths<O: Origin>(state: &mut State, oom_memcg: Option<Object<O>>) {
    if state.paths_emitted != 0 {
        return;
    }
    state.paths_emitted = 1;
    if read_volatile(&state.pressure) >= emit::SHEDS_PATHS {
        record::shed(state, valid::shed::PATHS);
        return;
    }
    let (seq, now) = (state.seq, emit::now());
    if let Some(cgroup) = oom_memcg.and_then(memcg::cgroup) {
        record::path(&mut state.path, seq, now, cgroup);
    }
    let trigger = kernel::current().and_then(task::memory_cgroup);
    state.trigger_memcg = trigger.and_then(cgroup::id).unwrap_or_default();
    let [oom_memcg_id, trigger_memcg] =
        [&state.oom_memcg_id, &state.trigger_memcg].map(read_volatile);
    if let Some(cgroup) = trigger
        && trigger_memcg != oom_memcg_id
    {
        record::path(&mut state.path, seq, now, cgroup);
    }
}

/// Emits the limits of the oom_memcg, unless the ring is short of room.
#[inline(always)]
pub(super) fn emit_levels<O: Origin>(state: &mut State, oom_memcg: Object<O>) {
    if read_volatile(&state.pressure) >= emit::SHEDS_PATHS {
        record::shed(state, valid::shed::LEVELS);
        return;
    }
    let (seq, now) = (state.seq, emit::now());
    let id = read_volatile(&state.oom_memcg_id);
    record::levels(&mut state.levels, seq, now, id, oom_memcg);
}
