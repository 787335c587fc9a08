//! `oom_kill_process`: the kernel has chosen. The invocation's record is written here, before any
//! task is killed. Its description begins at the entry of `out_of_memory`.
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

use super::{candidate, invocation};
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped, offset},
    log::probe_log,
    maps::{State, own_invocation, read_volatile},
    objects::{oom_control, task},
    record, stacks,
};

// kernel-proto: mm/oom_kill.c void oom_kill_process(struct oom_control *oc, const char *message)
#[fentry]
fn oom_kill_process(ctx: FEntryContext) -> i32 {
    chose::<_, Argument>(&ctx, ctx.arg(0), ctx.arg(1), None);
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_oom_kill_process(ctx: ProbeContext) -> u32 {
    if let (Some(oc), Some(message)) = (ctx.arg(0), ctx.arg(1)) {
        chose::<_, Untyped>(&ctx, oc, message, stacks::unseen_caller(&ctx));
    }
    0
}

#[inline(always)]
fn chose<C: EbpfContext, O: Origin>(
    ctx: &C,
    oc: *const u8,
    message: *const u8,
    caller: Option<u64>,
) -> Option<()> {
    let state = own_invocation()?;
    let oc = Object::<O>::new(oc)?;
    probe_log!(ctx, "oom_kill_process, {} evaluated", state.candidates.head.considered);
    state.kill_calls += 1;
    state.oom_memcg = oom_control::memcg(oc).flatten().map_or(0, Object::address);
    invocation::end_run(state);
    record::raise_pressure(state);
    add_stacks(ctx, state, caller);
    if let Some(chosen) = oom_control::chosen(oc).and_then(Object::<O>::new) {
        candidate::list_chosen(state, chosen);
    }
    let now = emit::now();
    let event = &mut state.invocation;
    event.chosen.cgroup_id = 0;
    let mut known = state.shed | (state.described & !valid::invocation::AT_ENTRY);
    known |= control(event, oc) | copy_message(event, message) | chosen(event, oc);
    event.considered = state.candidates.head.considered;
    event.choice_made = 1;
    emit_invocation(event, state.seq, now, known);
    emit_candidates(state, now);
    Some(())
}

/// Describes the invocation as far as it is known at entry, in the scratch area.
#[inline(always)]
pub(super) fn describe<O: Origin>(state: &mut State, oc: Object<O>) {
    let event = &mut state.invocation;
    // Fields that stay unknown must not keep the values of the previous invocation.
    event.trigger.cgroup_id = 0;
    event.oom_memcg.id = 0;
    event.started_ns = state.started_ns;
    event.choice_made = 0;
    no_stacks(event);
    let known = record::trigger(&mut event.trigger) | control(event, oc);
    state.described = known | valid::invocation::AT_ENTRY;
}

/// Adds the trigger's stacks, unless they are already there or the ring is short of room.
#[inline(always)]
pub(super) fn add_stacks<C: EbpfContext>(ctx: &C, state: &mut State, caller: Option<u64>) {
    const STACKS: u64 = valid::invocation::KERNEL_STACK | valid::invocation::USER_STACK;
    if state.described & STACKS != 0 {
        return;
    }
    if read_volatile(&state.pressure) >= emit::SHEDS_STACKS {
        record::shed(state, valid::shed::STACKS);
    } else {
        state.described |= trigger_stacks(ctx, &mut state.invocation, caller);
    }
}

/// Reads the `oom_control` again, because the kernel has filled it in since the entry. The current
/// task is inside `out_of_memory`.
#[inline(always)]
pub(super) fn refresh(state: &mut State) {
    if let Some(oc) = Object::<Untyped>::new(state.oom_control as *const u8) {
        let known = control(&mut state.invocation, oc);
        if known & valid::invocation::OOM_CONTROL != 0 {
            state.described = (state.described & !valid::invocation::AT_ENTRY) | known;
        }
    }
}

/// Emits the invocation as it is described in the scratch area.
#[inline(always)]
pub(super) fn emit_described(state: &mut State) {
    let known = state.described | state.shed;
    emit_invocation(&mut state.invocation, state.seq, emit::now(), known);
}

/// Emits the invocation without the empty end of its stacks.
#[inline(always)]
pub(super) fn emit_invocation(event: &mut InvocationEvent, seq: u64, now: u64, known: u64) {
    let frames = read_volatile(&event.user_frames).min(USER_FRAMES as u32) as usize;
    let has_stacks = known & valid::shed::STACKS == 0;
    let size = if has_stacks {
        offset_of!(InvocationEvent, user_stack) + frames * size_of::<UserFrame>()
    } else {
        offset_of!(InvocationEvent, kernel_stack)
    };
    event.header = emit::header(kind::INVOCATION, seq, now, known, size);
    emit::record(event, size);
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

/// Marks both stacks as absent.
#[inline(always)]
fn no_stacks(event: &mut InvocationEvent) {
    event.kernel_frames = 0;
    event.user_frames = 0;
}

/// Unwinds the trigger's stacks into the record. Returns bits of [`valid::invocation`].
#[inline(always)]
pub(super) fn trigger_stacks<C: EbpfContext>(
    ctx: &C,
    event: &mut InvocationEvent,
    caller: Option<u64>,
) -> u64 {
    let mut known = 0;
    no_stacks(event);
    let frames = &mut event.kernel_stack;
    let written = match caller {
        Some(caller) => stacks::kernel_with_caller(ctx, frames, caller),
        None => stacks::kernel(ctx, frames),
    };
    if let Some(bytes) = written {
        event.kernel_frames = bytes as u32 / size_of::<u64>() as u32;
        known |= valid::invocation::KERNEL_STACK;
    }
    if let Some(bytes) = stacks::user(ctx, &mut event.user_stack) {
        event.user_frames = bytes as u32 / size_of::<UserFrame>() as u32;
        known |= valid::invocation::USER_STACK;
    }
    known
}

/// Emits the table of candidates, unless the ring is short of room.
#[inline(always)]
pub(super) fn emit_candidates(state: &mut State, now: u64) {
    let (seq, candidates) = (state.seq, &mut state.candidates);
    let recorded = candidates.head.recorded as usize;
    if recorded == 0 || recorded > candidates.list.len() {
        return;
    }
    if read_volatile(&state.pressure) >= emit::SHEDS_CONTEXT {
        record::shed(state, valid::shed::CANDIDATES);
        return;
    }
    let size = size_of::<CandidatesHead>() + recorded * size_of::<CandidateEntry>();
    candidates.head.header = emit::header(kind::CANDIDATES, seq, now, state.shed, size);
    emit::record(candidates, size);
}
