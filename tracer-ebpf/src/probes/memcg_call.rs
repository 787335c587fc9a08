//! `mem_cgroup_out_of_memory`: calls `out_of_memory` for a memcg over its limit. Some calls return
//! without an invocation because usage is below the limit again.
//!
//! Nothing is hooked at the return, see [`super::invocation`]. The map `MEMCG_CALLS` keeps a call
//! from its entry until `out_of_memory` is entered. If it is still there when the same task calls
//! again, it needed no invocation. If the task does not call again, userspace finds it in the map.
#![expect(unsafe_code, reason = "changes and emits a record in map memory")]

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use oomwhy_common::{
    event::{MemcgFacts, ReclaimedEvent, TaskFacts, kind},
    maps::{QuietRun, RUN_ENDS_AFTER_NS},
    valid,
};
use zerocopy::FromZeros as _;

use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped},
    maps::{MEMCG_CALLS, QUIET_RUNS, load, store},
    objects::task,
    record,
};

/// `QuietRun::ending` of calls without an invocation. No ending of an invocation has this value.
const NO_INVOCATION: u64 = 1 << 32;

// kernel-proto: mm/memcontrol.c bool mem_cgroup_out_of_memory(struct mem_cgroup *memcg,
//               gfp_t gfp_mask, int order)
#[fentry]
fn mem_cgroup_out_of_memory(ctx: FEntryContext) -> i32 {
    entered::<Argument>(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_mem_cgroup_out_of_memory(ctx: ProbeContext) -> u32 {
    if let (Some(memcg), Some(gfp_mask), Some(order)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        entered::<Untyped>(memcg, gfp_mask, order);
    }
    0
}

#[inline(always)]
fn entered<O: Origin>(memcg: *const u8, gfp_mask: u32, order: i32) {
    let key = kernel::current_address();
    if let Some(earlier) = MEMCG_CALLS.get_ptr_mut(key) {
        no_invocation(earlier);
    }
    // A dying task may exceed the limit, so it needs no invocation and usage stays as it is.
    if kernel::current().is_some_and(task::is_dying) {
        let _ = MEMCG_CALLS.remove(key);
        return;
    }
    let Some(memcg) = Object::<O>::new(memcg) else {
        return;
    };
    let mut call = ReclaimedEvent {
        header: emit::header(kind::RECLAIMED, 0, emit::now(), 0, SIZE),
        trigger: TaskFacts::new_zeroed(),
        oom_memcg: MemcgFacts::new_zeroed(),
        count: 1,
        order,
        gfp_mask,
    };
    call.header.valid = record::trigger(&mut call.trigger)
        | record::memcg(&mut call.oom_memcg, memcg)
        | valid::oom_memcg::POINTER;
    // If no memory is left for the insert, this call is not seen to need no invocation.
    let _ = MEMCG_CALLS.insert(key, call, 0);
}

const SIZE: usize = size_of::<ReclaimedEvent>();

/// Counts and emits a call that needed no invocation.
#[inline(always)]
fn no_invocation(call: *mut ReclaimedEvent) -> Option<()> {
    // SAFETY: a live map value just looked up. Only its own task writes it.
    let call = unsafe { &mut *call };
    // The key is a task's address, which may have belonged to another task before.
    if call.trigger.tid != kernel::current_tid() || call.oom_memcg.id == 0 {
        return None;
    }
    let count = count(call.oom_memcg.id);
    if count.is_power_of_two() {
        call.count = count;
        emit::record(call, SIZE);
    }
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
