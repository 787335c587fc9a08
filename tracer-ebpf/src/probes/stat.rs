//! The statistics of the oom_memcg's memory, before any task is killed.
//!
//! The kernel flushes a memcg's statistics when it prints its report and reads them then. The probe
//! does the same, as `mem_cgroup_print_oom_meminfo` returns. If that report is suppressed, the
//! statistics are read at the first `__oom_kill_process`, as old as the latest flush.
//!
//! The counters are emitted raw, with the kernel's own table of their indexes. Userspace gives them
//! names.

use aya_ebpf::{
    EbpfContext,
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use oomwhy_common::{
    event::{StatEvent, end_facts, kind},
    valid,
};

use super::invocation;
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped},
    maps::{State, own_invocation},
    objects::{memcg, oom_control},
};

/// `State::stat_stage` once the record is filled.
const FILLED: u32 = 1;
/// `State::stat_stage` once the record is emitted.
const EMITTED: u32 = 2;

// kernel-proto: mm/memcontrol.c void mem_cgroup_print_oom_meminfo(struct mem_cgroup *memcg)
// The kernel prints the stack before it calls this.
#[fexit]
fn mem_cgroup_print_oom_meminfo_ret(ctx: FExitContext) -> i32 {
    if let Some(state) = own_invocation()
        && let Some(memcg) = Object::<Argument>::new(ctx.arg(0))
    {
        printed(&ctx, state, memcg);
    }
    0
}

// kernel-proto: as above
// The kernel calls it for the memcg of the `oom_control`.
#[kretprobe]
fn kretprobe_mem_cgroup_print_oom_meminfo(ctx: RetProbeContext) -> u32 {
    if let Some(state) = own_invocation()
        && let Some(oc) = Object::<Untyped>::new(state.oom_control as *const u8)
        && let Some(memcg) = oom_control::memcg(oc).flatten()
    {
        printed(&ctx, state, memcg);
    }
    0
}

#[inline(always)]
fn printed<C: EbpfContext, O: Origin>(ctx: &C, state: &mut State, memcg: Object<O>) {
    fill(state, memcg, 1);
    if state.kill_calls != 0 {
        return;
    }
    // Without a choice, the kernel prints this because it found no task to kill.
    if has_chosen(state) {
        // It printed for a choice whose probe it skipped. So this does not show the outcome.
        state.facts_known &= !end_facts::PRINTED;
    } else {
        invocation::nobody_eligible(ctx, state, memcg);
    }
}

/// Whether the kernel has chosen a task, by its own `oom_control`. The current task is inside
/// `out_of_memory`.
#[inline(always)]
fn has_chosen(state: &State) -> bool {
    Object::<Untyped>::new(state.oom_control as *const u8)
        .and_then(oom_control::chosen)
        .is_some_and(|chosen| !chosen.is_null())
}

/// Emits the statistics before a task is killed. Reads them now if that was not done yet.
#[inline(always)]
pub(super) fn before_kill(state: &mut State) {
    if state.stat_stage == 0
        && let Some(memcg) = Object::<Untyped>::new(state.oom_memcg as *const u8)
    {
        fill(state, memcg, 0);
    }
    emit_filled(state);
}

/// Emits the statistics if they were read, once per invocation.
#[inline(always)]
pub(super) fn emit_filled(state: &mut State) {
    if state.stat_stage != FILLED {
        return;
    }
    state.stat_stage = EMITTED;
    if state.pressure >= emit::SHEDS_PATHS {
        state.shed |= valid::shed::STAT;
        emit::count_shed();
        return;
    }
    let size = size_of::<StatEvent>();
    let known = state.stat.header.valid | state.shed;
    state.stat.header = emit::header(kind::STAT, state.seq, emit::now(), known, size);
    emit::record(&state.stat, size);
}

#[inline(always)]
fn fill<O: Origin>(state: &mut State, memcg: Object<O>, fresh: u32) {
    let stat = &mut state.stat;
    stat.fresh = fresh;
    stat.header.valid = 0;
    let Some(counters) = memcg::stat_counters(memcg) else {
        return;
    };
    if kernel::copy_block(&mut stat.counters, counters).is_none() {
        return;
    }
    if kernel::copy_block(&mut stat.fields, kernel::stat_fields()).is_some() {
        stat.header.valid = valid::stat::FIELDS;
    }
    state.stat_stage = FILLED;
}
