//! `mem_cgroup_out_of_memory`: calls `out_of_memory` for a memcg over its limit. Some calls return
//! without an invocation because usage is below the limit again.
//!
//! At the return `oom_lock` is not held, so there is no scratch area: the record is built in the
//! ring buffer itself.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use oomwhy_common::{
    event::{ReclaimedEvent, kind},
    maps::{QuietRun, RUN_ENDS_AFTER_NS},
    valid,
};

use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped},
    maps::{CALLS, Call, INVOKED, QUIET_RUNS, load, store},
    objects::{cgroup, memcg, task},
    record,
};

/// `QuietRun::ending` of calls without an invocation. No ending of an invocation has this value.
const NO_INVOCATION: u64 = 1 << 32;

// kernel-proto: mm/memcontrol.c bool mem_cgroup_out_of_memory(struct mem_cgroup *memcg,
//               gfp_t gfp_mask, int order)
#[fexit]
fn mem_cgroup_out_of_memory_ret(ctx: FExitContext) -> i32 {
    // INVOKED has an entry if this task's call led to an invocation. A dying task may exceed the
    // limit, so the return of its call does not mean that usage is below the limit.
    if INVOKED.remove(kernel::current_address()).is_err()
        && !kernel::current().is_some_and(task::is_dying)
        && let Some(memcg) = Object::<Argument>::new(ctx.arg(0))
    {
        no_invocation(memcg, ctx.arg(1), ctx.arg(2));
    }
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_mem_cgroup_out_of_memory(ctx: ProbeContext) -> u32 {
    if let (Some(object), Some(gfp_mask), Some(order)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        // If no memory is left for the insert, this call is not seen to return.
        let _ = CALLS.insert(kernel::current_address(), Call { object, gfp_mask, order }, 0);
    }
    0
}

// kernel-proto: as above
#[kretprobe]
fn kretprobe_mem_cgroup_out_of_memory(_ctx: RetProbeContext) -> u32 {
    let task = kernel::current_address();
    let invoked = INVOKED.remove(task).is_ok();
    if let Some(call) = CALLS.get_ptr_mut(task) {
        let Call { object, gfp_mask, order } = load(call);
        let _ = CALLS.remove(task);
        if !invoked
            && !kernel::current().is_some_and(task::is_dying)
            && let Some(memcg) = Object::<Untyped>::new(object as *const u8)
        {
            no_invocation(memcg, gfp_mask, order);
        }
    }
    0
}

#[inline(always)]
fn no_invocation<O: Origin>(memcg: Object<O>, gfp_mask: u32, order: i32) -> Option<()> {
    let id = memcg::cgroup(memcg).and_then(cgroup::id)?;
    let count = count(id);
    if !count.is_power_of_two() {
        return None;
    }
    emit::reserved(kind::RECLAIMED, 0, |event: &mut ReclaimedEvent| {
        let mut known = record::trigger(&mut event.trigger);
        known |= record::memcg(&mut event.oom_memcg, memcg);
        event.gfp_mask = gfp_mask;
        event.order = order;
        event.count = count;
        known | valid::oom_memcg::POINTER
    });
    Some(())
}

/// Counts one more call without an invocation for this memcg. Returns the calls in the run.
#[inline(always)]
fn count(memcg: u64) -> u64 {
    // A key space of its own, so that the run of invocations of the same memcg continues.
    let key = memcg | 1 << 63;
    let now = emit::now();
    if let Some(run) = QUIET_RUNS.get_ptr_mut(key) {
        let mut counted = load(run);
        if now.saturating_sub(counted.last_ns) < RUN_ENDS_AFTER_NS {
            counted.count += 1;
            counted.last_ns = now;
            store(run, counted);
            return counted.count;
        }
    }
    let run = QuietRun { seq: 0, ending: NO_INVOCATION, count: 1, last_ns: now };
    let _ = QUIET_RUNS.insert(key, run, 0);
    1
}
