//! `oom_kill_process`: the kernel has chosen. The invocation's record is written here, before any
//! task is killed, or at the end of an invocation in which no task was chosen.
#![expect(unsafe_code, reason = "hands map memory to the string helper")]

use core::mem::offset_of;

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use oomwhy_common::{
    event::{
        CandidateEntry, CandidatesHead, InvocationEvent, MESSAGE_LEN, USER_FRAMES, UserFrame, kind,
    },
    valid,
};

use super::{candidate, invocation, paths_and_limits};
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped, offset},
    log::probe_log,
    maps::{Candidates, State, own_invocation, read_volatile},
    objects::{oom_control, task},
    record, stacks,
};

// kernel-proto: mm/oom_kill.c void oom_kill_process(struct oom_control *oc, const char *message)
#[fentry]
fn oom_kill_process(ctx: FEntryContext) -> i32 {
    chose::<_, Argument>(&ctx, ctx.arg(0), ctx.arg(1));
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_oom_kill_process(ctx: ProbeContext) -> u32 {
    if let (Some(oc), Some(message)) = (ctx.arg(0), ctx.arg(1)) {
        chose::<_, Untyped>(&ctx, oc, message);
    }
    0
}

#[inline(always)]
fn chose<C: EbpfContext, O: Origin>(ctx: &C, oc: *const u8, message: *const u8) -> Option<()> {
    let state = own_invocation()?;
    let oc = Object::<O>::new(oc)?;
    probe_log!(ctx, "oom_kill_process, {} evaluated", state.candidates.head.considered);
    state.kill_calls += 1;
    state.oom_memcg = oom_control::memcg(oc).flatten().map_or(0, Object::address);
    invocation::end_run(state, oc);
    emit(ctx, state, oc, Some(message));
    Some(())
}

/// Emits the invocation and its candidates. `message` is `Some` if the kernel chose: then
/// [`paths_and_limits`] emits the rest in a program of its own.
#[inline(always)]
pub(super) fn emit<C: EbpfContext, O: Origin>(
    ctx: &C,
    state: &mut State,
    oc: Object<O>,
    message: Option<*const u8>,
) {
    let now = emit::now();
    let event = &mut state.invocation;
    // Fields that stay unknown must not keep the values of the previous invocation.
    event.trigger.cgroup_id = 0;
    event.oom_memcg.id = 0;
    event.chosen.cgroup_id = 0;
    let mut known = record::trigger(&mut event.trigger);
    known |= control(event, oc);
    known |= trigger_stacks(ctx, event);
    event.started_ns = state.started_ns;
    event.considered = state.candidates.head.considered;
    event.choice_made = u32::from(message.is_some());
    if let Some(message) = message {
        known |= copy_message(event, message);
        known |= chosen(event, oc);
        if let Some(chosen) = oom_control::chosen(oc).and_then(Object::<O>::new) {
            candidate::list_chosen(state, chosen);
        }
    }
    let event = &mut state.invocation;
    emit_invocation(event, state.seq, now, known);
    emit_candidates(&mut state.candidates, state.seq, now);
    if message.is_none() {
        paths_and_limits::emit(state, oc, None);
    }
}

/// Emits the invocation without the empty end of the user stack.
#[inline(always)]
pub(super) fn emit_invocation(event: &mut InvocationEvent, seq: u64, now: u64, known: u64) {
    let frames = read_volatile(&event.user_frames).min(USER_FRAMES as u32) as usize;
    let size = offset_of!(InvocationEvent, user_stack) + frames * size_of::<UserFrame>();
    event.header = emit::header(kind::INVOCATION, seq, now, known, size);
    emit::record(event, size, kind::INVOCATION);
}

/// Fills in the chosen task. Returns bits of [`valid::invocation`].
#[inline(always)]
fn chosen<O: Origin>(event: &mut InvocationEvent, oc: Object<O>) -> u64 {
    let Some(chosen) = oom_control::chosen(oc).and_then(Object::<O>::new) else {
        return 0;
    };
    let _ = record::cgroup_id(&mut event.chosen, chosen);
    record::identity(&mut event.chosen, chosen).map_or(0, |()| valid::invocation::CHOSEN)
}

/// Copies the kernel's message for this kill. Returns bits of [`valid::invocation`].
#[inline(always)]
fn copy_message(event: &mut InvocationEvent, message: *const u8) -> u64 {
    // SAFETY: `event.message` is MESSAGE_LEN bytes long.
    let copied =
        unsafe { kernel::read_string(message, event.message.as_mut_ptr(), MESSAGE_LEN as u32) };
    copied.map_or(0, |_| valid::invocation::MESSAGE)
}

/// Fills in the fields of `oom_control`. Returns bits of [`valid::invocation`] and
/// [`valid::oom_memcg`].
#[inline(always)]
fn control<O: Origin>(event: &mut InvocationEvent, oc: Object<O>) -> u64 {
    let mut known = 0;
    if let (Some(totalpages), Some(gfp_mask), Some(order), Some(constraint), Some(points)) = (
        oom_control::totalpages(oc),
        oc.get(offset!(oc_gfp_mask)),
        oc.get(offset!(oc_order)),
        oc.get(offset!(oc_constraint)),
        oc.get(offset!(oc_chosen_points)),
    ) {
        event.totalpages = totalpages;
        event.gfp_mask = gfp_mask;
        event.order = order;
        event.constraint = constraint;
        event.chosen_points = points;
        known |= valid::invocation::OOM_CONTROL;
    }
    if let Some(nodes) = oom_control::nodemask(oc) {
        event.nodemask = nodes;
        known |= valid::invocation::NODEMASK;
    }
    if let Some(nodes) = kernel::current().and_then(task::mems_allowed) {
        event.mems_allowed = nodes;
        known |= valid::invocation::MEMS_ALLOWED;
    }
    if let Some(memcg) = oom_control::memcg(oc) {
        known |= valid::oom_memcg::POINTER;
        if let Some(memcg) = memcg {
            known |= record::memcg(&mut event.oom_memcg, memcg);
        }
    }
    known
}

/// Unwinds the trigger's stacks into the record. Returns bits of [`valid::invocation`].
#[inline(always)]
pub(super) fn trigger_stacks<C: EbpfContext>(ctx: &C, event: &mut InvocationEvent) -> u64 {
    let mut known = 0;
    event.kernel_frames = 0;
    event.user_frames = 0;
    if let Some(bytes) = stacks::kernel(ctx, &mut event.kernel_stack) {
        event.kernel_frames = bytes as u32 / size_of::<u64>() as u32;
        known |= valid::invocation::KERNEL_STACK;
    }
    if let Some(bytes) = stacks::user(ctx, &mut event.user_stack) {
        event.user_frames = bytes as u32 / size_of::<UserFrame>() as u32;
        known |= valid::invocation::USER_STACK;
    }
    known
}

/// Emits the table of candidates.
#[inline(always)]
fn emit_candidates(candidates: &mut Candidates, seq: u64, now: u64) {
    let recorded = candidates.head.recorded as usize;
    if recorded == 0 || recorded > candidates.list.len() {
        return;
    }
    let size = size_of::<CandidatesHead>() + recorded * size_of::<CandidateEntry>();
    candidates.head.header = emit::header(kind::CANDIDATES, seq, now, 0, size);
    emit::record(candidates, size, kind::CANDIDATES);
}
