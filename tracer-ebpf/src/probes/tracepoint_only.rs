//! The tracepoint tier: `oom:mark_victim` is the only hook. It shows the victim, and the current
//! task is the trigger, because it is inside `out_of_memory`.
//!
//! All callers of `mark_oom_victim` hold `oom_lock`, so the global scratch area serves here too.
#![expect(unsafe_code, reason = "calls helpers, one of them with record memory")]

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::bpf_get_current_cgroup_id,
    },
    macros::{btf_tracepoint, raw_tracepoint, tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};
use oomwhy_common::{
    event::{COMM_LEN, MarkEvent, cause, domain, kind},
    valid,
};

use super::{choice, victim};
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped},
    maps::{State, read_volatile, state},
    objects::{cgroup, task},
    record,
};

// kernel-proto (from 5.10): include/trace/events/oom.h mark_victim(struct task_struct *task,
//               uid_t uid)
#[btf_tracepoint]
fn tracepoint_task(ctx: BtfTracePointContext) -> i32 {
    mark_task::<_, Argument>(&ctx, ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_tracepoint_task(ctx: RawTracePointContext) -> i32 {
    mark_task::<_, Untyped>(&ctx, ctx.arg(0));
    0
}

// kernel-proto (before 5.10): include/trace/events/oom.h mark_victim(int pid)
// It has had a task since 6.9, and since the stable releases that took this over.
#[raw_tracepoint]
fn raw_tracepoint_pid(ctx: RawTracePointContext) -> i32 {
    let tid = ctx.arg::<i32>(0);
    if let Some(state) = begin(&ctx) {
        let known = match kernel::current() {
            Some(current) if tid == current_tid() => victim(state, current),
            _ => 0,
        };
        mark(state, tid, |_| known);
    }
    0
}

// The record of the same tracepoint, which has no prototype.
#[tracepoint]
fn tracepoint_record(ctx: TracePointContext) -> u32 {
    if let Some(record) = Object::<Untyped>::new(ctx.as_ptr().cast::<u8>().cast_const())
        && let Some(tid) = record.get::<i32>(kernel::mark_layout().pid)
        && let Some(state) = begin(&ctx)
    {
        mark(state, tid, |event| {
            let mut known = 0;
            if tid == current_tid() {
                current_task(event);
                known |= valid::mark::CURRENT;
            }
            if fields(event, record).is_some() {
                known |= valid::mark::FIELDS;
            }
            known
        });
    }
    0
}

#[inline(always)]
fn mark_task<C: EbpfContext, O: Origin>(ctx: &C, of: *const u8) -> Option<()> {
    let task = Object::<O>::new(of)?;
    let tid = task::tid(task)?;
    let state = begin(ctx)?;
    let known = victim(state, task);
    mark(state, tid, |_| known);
    Some(())
}

/// Emits the invocation, of which only the trigger is known.
#[inline(always)]
fn begin<C: EbpfContext>(ctx: &C) -> Option<&'static mut State> {
    let state = state()?;
    let now = emit::now();
    state.seq += 1;
    state.oom_memcg_id = 0;
    state.domain = domain::UNKNOWN.into();
    state.shed = 0;
    state.detailed_victims = 0;
    let event = &mut state.invocation;
    event.trigger.cgroup_id = 0;
    let known = record::trigger(&mut event.trigger) | choice::trigger_stacks(ctx, event, None);
    event.started_ns = now;
    event.considered = 0;
    event.choice_made = 0;
    choice::emit_invocation(event, state.seq, now, known);
    Some(state)
}

/// Emits the victim and the cgroup paths. Returns bits of [`valid::mark`].
#[inline(always)]
fn victim<O: Origin>(state: &mut State, of: Object<O>) -> u64 {
    state.victim.task.cgroup_id = 0;
    let Some(known) = victim::describe(&mut state.victim, of) else {
        return 0;
    };
    let now = emit::now();
    record::kill(state, now, known, cause::MARKED);
    record::victim(state, now, known);
    if let Some(cgroup) = task::memory_cgroup(of) {
        record::path(&mut state.path, state.seq, now, cgroup);
    }
    let victim_cgroup = read_volatile(&state.victim.task.cgroup_id);
    if let Some(cgroup) = kernel::current().and_then(task::memory_cgroup)
        && cgroup::id(cgroup).is_some_and(|id| id != victim_cgroup)
    {
        record::path(&mut state.path, state.seq, now, cgroup);
    }
    valid::mark::VICTIM_REPORTED
}

/// Emits the mark, the last record of the invocation. `fill` returns bits of [`valid::mark`].
#[inline(always)]
fn mark(state: &State, tid: i32, fill: impl Fn(&mut MarkEvent) -> u64) {
    emit::reserved(kind::MARK, state.seq, |event: &mut MarkEvent| {
        event.tid = tid;
        fill(event)
    });
}

#[inline(always)]
fn current_tid() -> i32 {
    bpf_get_current_pid_tgid() as i32
}

/// Fills in the fields of the current task that helpers return. It is the marked task.
#[inline(always)]
fn current_task(event: &mut MarkEvent) {
    event.tgid = (bpf_get_current_pid_tgid() >> 32) as i32;
    event.uid = bpf_get_current_uid_gid() as u32;
    event.comm = bpf_get_current_comm().unwrap_or_default();
    // SAFETY: the helper has no preconditions.
    event.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
}

/// Copies the other fields of the tracepoint's record. `None` if one of them is missing.
#[inline(always)]
fn fields(event: &mut MarkEvent, record: Object<Untyped>) -> Option<()> {
    let layout = kernel::mark_layout();
    event.total_vm_kib = record.get(layout.total_vm)?;
    event.anon_kib = record.get(layout.anon_rss)?;
    event.file_kib = record.get(layout.file_rss)?;
    event.shmem_kib = record.get(layout.shmem_rss)?;
    event.pgtables_kib = record.get(layout.pgtables)?;
    event.uid = record.get(layout.uid)?;
    event.oom_score_adj = record.get::<i16>(layout.oom_score_adj)?.into();
    // __data_loc: offset in the lower half, length in the upper one.
    let offset = record.get::<u32>(layout.comm)? & 0xffff;
    let comm = record.at(offset).address() as *const u8;
    // SAFETY: `event.comm` is COMM_LEN bytes long.
    unsafe { kernel::read_string(comm, event.comm.as_mut_ptr(), COMM_LEN as u32) }?;
    Some(())
}
