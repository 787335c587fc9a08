//! `oom:mark_victim` where nothing else is hooked: who is marked to die, and by whose allocation,
//! for the task that runs is inside `out_of_memory`.
//!
//! All callers of `mark_oom_victim` hold `oom_lock`, so the scratch area serves here too.
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
    event::{COMM_LEN, MarkEvent, VictimEvent, kind},
    valid,
};

use super::{choice, victim};
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped},
    maps::{State, state},
    objects::{cgroup, task},
    record,
};

// kernel-proto (from 5.10): include/trace/events/oom.h mark_victim(struct task_struct *task,
//               uid_t uid)
#[btf_tracepoint]
fn alone_task(ctx: BtfTracePointContext) -> i32 {
    tell::<_, Argument>(&ctx, ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_alone_task(ctx: RawTracePointContext) -> i32 {
    tell::<_, Untyped>(&ctx, ctx.arg(0));
    0
}

// kernel-proto (before 5.10): include/trace/events/oom.h mark_victim(int pid)
// It has had a task since 6.9, and since the stable releases that took this over.
#[raw_tracepoint]
fn raw_alone_pid(ctx: RawTracePointContext) -> i32 {
    let tid = ctx.arg::<i32>(0);
    if let Some(state) = begin(&ctx) {
        let known = match kernel::current() {
            Some(current) if tid == current_tid() => described(state, current),
            _ => 0,
        };
        mark(state, tid, |_| known);
    }
    0
}

// The record of the same tracepoint, which has no prototype.
#[tracepoint]
fn record_alone(ctx: TracePointContext) -> u32 {
    if let Some(record) = Object::<Untyped>::new(ctx.as_ptr().cast::<u8>().cast_const())
        && let Some(tid) = record.get::<i32>(kernel::mark_layout().pid)
        && let Some(state) = begin(&ctx)
    {
        mark(state, tid, |event| {
            let mut known = 0;
            if tid == current_tid() {
                itself(event);
                known |= valid::MARK_CURRENT;
            }
            if fields(event, record).is_some() {
                known |= valid::MARK_FIELDS;
            }
            known
        });
    }
    0
}

#[inline(always)]
fn tell<C: EbpfContext, O: Origin>(ctx: &C, of: *const u8) -> Option<()> {
    let task = Object::<O>::new(of)?;
    let tid = task::tid(task)?;
    let state = begin(ctx)?;
    let known = described(state, task);
    mark(state, tid, |_| known);
    Some(())
}

/// The trigger: all that is known of the invocation.
#[inline(always)]
fn begin<C: EbpfContext>(ctx: &C) -> Option<&'static mut State> {
    let state = state()?;
    let now = emit::now();
    state.seq += 1;
    let event = &mut state.invocation;
    event.trigger.cgroup_id = 0;
    let known = record::trigger(&mut event.trigger) | choice::stacks(ctx, event);
    event.started_ns = now;
    event.considered = 0;
    event.choice_made = 0;
    choice::emit_invocation(event, state.seq, now, known);
    Some(state)
}

/// Emits the victim and where it lives. Returns the validity bit of the mark.
#[inline(always)]
fn described<O: Origin>(state: &mut State, of: Object<O>) -> u64 {
    state.victim.task.cgroup_id = 0;
    let Some(known) = victim::describe(&mut state.victim, of) else {
        return 0;
    };
    let now = emit::now();
    let size = size_of::<VictimEvent>();
    state.victim.header = emit::header(kind::VICTIM, state.seq, now, known, size);
    emit::record(&state.victim, size, kind::VICTIM);
    if let Some(cgroup) = task::memory_cgroup(of) {
        record::path(&mut state.path, state.seq, now, cgroup);
    }
    let home = record::forgotten(&state.victim.task.cgroup_id);
    if let Some(cgroup) = kernel::current().and_then(task::memory_cgroup)
        && cgroup::id(cgroup).is_some_and(|id| id != home)
    {
        record::path(&mut state.path, state.seq, now, cgroup);
    }
    valid::MARK_TOLD
}

#[inline(always)]
fn mark(state: &State, tid: i32, fill: impl FnOnce(&mut MarkEvent) -> u64) {
    emit::reserved(kind::MARK, state.seq, |event: &mut MarkEvent| {
        event.tid = tid;
        fill(event)
    });
}

#[inline(always)]
fn current_tid() -> i32 {
    bpf_get_current_pid_tgid() as i32
}

/// The marked task is current.
#[inline(always)]
fn itself(event: &mut MarkEvent) {
    event.tgid = (bpf_get_current_pid_tgid() >> 32) as i32;
    event.uid = bpf_get_current_uid_gid() as u32;
    event.comm = bpf_get_current_comm().unwrap_or_default();
    // SAFETY: the helper has no preconditions.
    event.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
}

/// The other fields of the record, where it has them.
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
    let place = record.get::<u32>(layout.comm)? & 0xffff;
    let comm = record.at(place).address() as *const u8;
    // SAFETY: `event.comm` is COMM_LEN bytes long.
    unsafe { kernel::read_string(comm, event.comm.as_mut_ptr(), COMM_LEN as u32) }?;
    Some(())
}
