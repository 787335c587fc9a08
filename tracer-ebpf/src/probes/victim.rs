//! A task is marked as a victim, `oom:mark_victim`. The kernel holds the victim's `task_lock`, so
//! the victim still has all its memory, which cannot shrink while it is read.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, kprobe, raw_tracepoint},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext, RawTracePointContext},
};
use oomwhy_common::{
    event::{VictimEvent, cause, mm},
    valid,
};

use super::{SIGKILL, choice, context, invocation, stat};
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped},
    log::probe_log,
    maps::{State, VICTIM_MMS, VictimMm, load, own_invocation, read_volatile, register_victim},
    objects::{memory, task},
    record, threads,
};

// kernel-proto: mm/oom_kill.c void __oom_kill_process(struct task_struct *victim,
//               const char *message)
#[fentry]
fn oom_kill_task(ctx: FEntryContext) -> i32 {
    if let Some(state) = own_invocation() {
        oom_kill_call::<Argument>(state, ctx.arg(0));
    }
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_oom_kill_task(ctx: ProbeContext) -> u32 {
    if let Some(state) = own_invocation()
        && let Some(task) = ctx.arg(0)
    {
        oom_kill_call::<Untyped>(state, task);
    }
    0
}

#[inline(always)]
fn oom_kill_call<O: Origin>(state: &mut State, task: *const u8) {
    state.oom_kill_calls += 1;
    state.marked = 0;
    stat::before_kill(state);
    // If mark_victim passes a bare pid, its probe emits the facts that are read here.
    if kernel::victim_by_pid()
        && let Some(task) = Object::<O>::new(task)
        && let Some(known) = describe_process(&mut state.victim, task)
    {
        state.victim.header.valid = known;
        state.victim_ready = 1;
    }
    // verifier: here and not in `choice`, where it would be walked again for each path that leads
    // out of it.
    if state.oom_kill_calls == 1 {
        context::trigger(state);
    }
}

// kernel-proto (from 5.10): include/trace/events/oom.h mark_victim(struct task_struct *task,
//               uid_t uid)
#[btf_tracepoint]
fn mark_victim_task(ctx: BtfTracePointContext) -> i32 {
    probe_log!(&ctx, "mark_victim");
    mark_task::<Argument>(ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_mark_victim_task(ctx: RawTracePointContext) -> i32 {
    mark_task::<Untyped>(ctx.arg(0));
    0
}

#[inline(always)]
fn mark_task<O: Origin>(task: *const u8) {
    if let Some(state) = own_invocation()
        && let Some(task) = Object::<O>::new(task)
        && let Some(known) = describe(&mut state.victim, task)
    {
        emit_victim(state, known);
    }
}

// kernel-proto (before 5.10): include/trace/events/oom.h mark_victim(int pid)
// It has had a task since 6.9, and since the stable releases that took this over.
#[btf_tracepoint]
fn mark_victim_pid(ctx: BtfTracePointContext) -> i32 {
    mark_pid(ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_mark_victim_pid(ctx: RawTracePointContext) -> i32 {
    mark_pid(ctx.arg(0));
    0
}

#[inline(always)]
fn mark_pid(tid: i32) {
    let Some(state) = own_invocation() else {
        return;
    };
    let mut known = state.victim.header.valid;
    if state.victim_ready == 0 {
        // Marked without __oom_kill_process: the trigger or the chosen task is dying anyway.
        let mut facts = state.invocation.trigger;
        known = record::trigger(&mut facts);
        if facts.tid != tid {
            facts = state.invocation.chosen;
            known = 0;
        }
        state.victim.task = facts;
        state.victim.mm = 0;
        known = if known & valid::trigger::TASK == 0 { 0 } else { valid::victim::TASK };
    }
    // find_lock_task_mm() may have moved on to another thread of the process.
    state.victim.task.tid = tid;
    state.victim_ready = 0;
    emit_victim(state, known);
}

#[inline(always)]
fn emit_victim(state: &mut State, known: u64) {
    let now = emit::now();
    // A process that shares the memory of a victim was recorded with that victim.
    state.marked = u32::from(!is_recorded(state));
    // verifier: an opaque number, so that it walks the following code once.
    if read_volatile(&state.marked) != 0 {
        let cause = if state.victims == 0 { cause::MARKED } else { cause::GROUP_MEMBER };
        state.processes += 1;
        record::kill(state, now, known, cause);
    }
    state.victims += 1;
    if state.victims == 1 {
        state.first_tgid = state.victim.task.tgid;
        invocation::begin_wait_for_victim(state);
        if state.kill_calls == 0 {
            // Marked without a choice, so no other probe emits the invocation.
            state.invocation.considered = 0;
            choice::emit_described(state);
        }
    }
    let (seq, mm) = (state.seq, state.victim.mm);
    if mm != 0 {
        let task = &state.victim.task;
        let (oom_memcg_id, tgid, tid) = (state.oom_memcg_id, task.tgid, task.tid);
        register_victim(mm, VictimMm { seq, oom_memcg_id, tgid, tid, sigkill_delivered: 0 });
    }
    record::victim(state, now, known);
}

/// Whether the process that is marked already has a compact record. If a group is killed, the
/// kernel kills its first victim again as one of the members, and also each member that shares the
/// memory of another one.
#[inline(always)]
fn is_recorded(state: &State) -> bool {
    let (tgid, mm) = (state.victim.task.tgid, state.victim.mm);
    if state.victims == 0 {
        return false;
    }
    if state.first_tgid == tgid {
        return true;
    }
    // Sharers are unknown if the hook that sees their signals is not attached.
    state.has_sharers != 0
        && VICTIM_MMS.get_ptr_mut(mm).map(load).is_some_and(|victim| {
            let VictimMm { seq, tgid: owner, .. } = victim;
            seq == state.seq && owner != tgid
        })
}

/// `info` of a signal that the kernel itself sends, `SEND_SIG_PRIV`, as the OOM killer does.
const SEND_SIG_PRIV: u64 = 1;

// kernel-proto: include/trace/events/signal.h signal_generate(int sig, struct kernel_siginfo *info,
//               struct task_struct *task, int group, int result)
#[btf_tracepoint]
fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) == SIGKILL && ctx.arg::<u64>(1) == SEND_SIG_PRIV {
        sigkill_sent::<Argument>(ctx.arg(2));
    }
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_signal_generate(ctx: RawTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) == SIGKILL && ctx.arg::<u64>(1) == SEND_SIG_PRIV {
        sigkill_sent::<Untyped>(ctx.arg(2));
    }
    0
}

/// A function of its own, because the program runs for each signal: to save the registers that this
/// code needs would more than double the program's instructions.
#[inline(never)]
fn sigkill_sent<O: Origin>(task: *const u8) {
    // A task that has left `out_of_memory` may kill others: the init of a container does when it
    // dies.
    let is_inside = kernel::holds_oom_lock();
    if is_inside != Some(false)
        && let Some(state) = own_invocation()
        && let Some(task) = Object::<O>::new(task)
    {
        if state.marked != 0 {
            mm_sharer(state, task, is_inside.is_some());
        } else if state.oom_kill_calls > 0 || !kernel::kill_task_hooked() {
            let _ = chosen_victim(state, task);
        }
    }
}

/// Registers the victim before it is marked. It may exit on another CPU as soon as the caller
/// releases `siglock`, and the hooks there must find it.
#[inline(always)]
fn chosen_victim<O: Origin>(state: &State, task: Object<O>) -> Option<()> {
    let (tgid, tid) = (task::tgid(task)?, task::tid(task)?);
    let (seq, oom_memcg_id) = (state.seq, state.oom_memcg_id);
    let victim = VictimMm { seq, oom_memcg_id, tgid, tid, sigkill_delivered: 0 };
    register_victim(task::mm(task)?.address(), victim);
    Some(())
}

/// Emits another process that shares the memory of the victim just marked. The kernel kills it
/// without a log line and without a mark. Its memory is the victim's, so it is not counted again.
///
/// If it is unknown whether the current task is inside of `out_of_memory`, the other one must have
/// that memory. A zombie has none.
#[inline(always)]
fn mm_sharer<O: Origin>(state: &mut State, task: Object<O>, is_inside: bool) -> Option<()> {
    let victim_mm = state.victim.mm;
    if victim_mm != 0 && task::mm(task).map_or(!is_inside, |mm| mm.address() != victim_mm) {
        return None;
    }
    let known = record::victim_task(&mut state.victim, task)? | valid::victim::SHARES_MM;
    let now = emit::now();
    state.has_sharers = 1;
    state.processes += 1;
    record::kill(state, now, known, cause::SHARES_MM);
    record::victim(state, now, known);
    Some(())
}

/// Describes the thread that will be marked: the given one or, if it has exited, the one with the
/// memory.
#[inline(always)]
fn describe_process<O: Origin>(victim: &mut VictimEvent, of: Object<O>) -> Option<u64> {
    if task::mm(of).is_none()
        && let Some(thread) = threads::with_memory(of)
    {
        return describe(victim, thread);
    }
    describe(victim, of)
}

/// Fills the record except for its header. Returns bits of [`valid::victim`].
#[inline(always)]
pub(super) fn describe<O: Origin>(victim: &mut VictimEvent, of: Object<O>) -> Option<u64> {
    let mut known = record::victim_task(victim, of)?;
    victim.mm = 0;
    if let Some(mm) = task::mm(of) {
        victim.mm = mm.address();
        if counters(victim, mm).is_some() {
            known |= valid::victim::MM;
        }
        if batches(victim, mm).is_some() {
            known |= valid::victim::PER_CPU;
        }
    }
    Some(known)
}

#[inline(always)]
fn counters<O: Origin>(victim: &mut VictimEvent, memory: Object<O>) -> Option<()> {
    memory::counts(&mut victim.counts, memory)?;
    victim.total_vm = memory::total_vm(memory)?;
    victim.pgtables_bytes = memory::pgtables_bytes(memory)?;
    Some(())
}

#[inline(always)]
fn batches<O: Origin>(victim: &mut VictimEvent, memory: Object<O>) -> Option<()> {
    for index in 0..mm::COUNT {
        victim.per_cpu[index] = memory::per_cpu(memory, index)?;
    }
    Some(())
}
