//! `mem_cgroup_oom_synchronize`: a task waits because the OOM killer of its memcg is disabled
//! (cgroup v1, `memory.oom_control` 1). No task is killed, and the kernel logs nothing.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use oomwhy_common::{
    event::{WaitEvent, kind},
    maps::{WAIT_CONTINUES_WITHIN_NS, Wait},
    valid,
};

use crate::{
    emit,
    kernel::{self, Current, Object, offset},
    maps::{WAITING, load, store},
    objects::task,
    record,
};

// kernel-proto: mm/memcontrol.c bool mem_cgroup_oom_synchronize(bool handle)
#[fentry]
fn mem_cgroup_oom_synchronize(ctx: FEntryContext) -> i32 {
    entered(ctx.arg(0));
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_mem_cgroup_oom_synchronize(ctx: ProbeContext) -> u32 {
    entered(ctx.arg(0).unwrap_or_default());
    0
}

// kernel-proto: as above
//
// Only the return shows when a wait is over. Its frame is in a stack that the kernel prints only if
// memory.oom_control was set back to 0 between the failed charge and this call.
#[fexit]
fn mem_cgroup_oom_synchronize_ret(_ctx: FExitContext) -> i32 {
    left();
    0
}

// kernel-proto: as above
#[kretprobe]
fn kretprobe_mem_cgroup_oom_synchronize(_ctx: RetProbeContext) -> u32 {
    left();
    0
}

#[inline(always)]
fn entered(handle: u64) {
    // Without `handle` the function only clears the state of an earlier fault.
    if handle as u8 != 0
        && let Some(memcg) = kernel::current().and_then(task::memcg_in_oom)
    {
        begin(memcg);
    }
}

#[inline(always)]
fn left() {
    if let Some(wait) = WAITING.get_ptr_mut(tid()) {
        let ended = Wait { inside: 0, last_ns: emit::now(), ..load(wait) };
        store(wait, ended);
    }
}

/// Emits the begin of a wait. The end is not emitted, because each uncharge wakes all waiting
/// tasks: userspace reads it from the map.
#[inline(always)]
fn begin(memcg: Object<Current>) {
    let now = emit::now();
    if let Some(wait) = WAITING.get_ptr_mut(tid()) {
        let known = load(wait);
        if now.saturating_sub(known.last_ns) < WAIT_CONTINUES_WITHIN_NS {
            store(wait, Wait { inside: 1, last_ns: now, ..known });
            return;
        }
    }
    let _ = WAITING.insert(tid(), Wait { since_ns: now, last_ns: now, inside: 1 }, 0);
    emit::reserved(kind::WAIT, 0, |event: &mut WaitEvent| {
        // verifier: in this order. In the other one LLVM spills a register of which 5.10 knows that
        // it is empty.
        let known = record::memcg(&mut event.oom_memcg, memcg.untyped());
        known | record::trigger(&mut event.trigger) | request(event) | valid::oom_memcg::POINTER
    });
}

/// Fills in the allocation. Returns bits of [`valid::wait`].
#[inline(always)]
fn request(event: &mut WaitEvent) -> u64 {
    let Some(current) = kernel::current() else {
        return 0;
    };
    match (
        current.get(offset!(task_memcg_oom_gfp_mask)),
        current.get::<i32>(offset!(task_memcg_oom_order)),
    ) {
        (Some(gfp_mask), Some(order)) => {
            event.gfp_mask = gfp_mask;
            event.order = order as i16;
            valid::wait::REQUEST
        }
        _ => 0,
    }
}

#[inline(always)]
fn tid() -> u64 {
    bpf_get_current_pid_tgid() & u64::from(u32::MAX)
}
