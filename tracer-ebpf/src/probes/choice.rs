//! `oom_kill_process`: the choice is made. The invocation's record is written here, before
//! anybody is killed; or at the end of an invocation in which nobody was chosen.
#![expect(unsafe_code, reason = "hands map memory to the stack and string helpers")]

use core::mem::offset_of;

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_USER_BUILD_ID, BPF_F_USER_STACK},
    helpers::generated::bpf_get_stack,
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use oomwhy_common::{
    event::{
        CandidateEntry, CandidatesHead, InvocationEvent, KERNEL_FRAMES, MESSAGE_LEN, USER_FRAMES,
        UserFrame, kind,
    },
    valid,
};

use super::{invocation, places};
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped, offset},
    log::probe_log,
    maps::{Candidates, State, own_invocation},
    objects::{oom_control, task},
    record,
};

// kernel-proto: mm/oom_kill.c void oom_kill_process(struct oom_control *oc, const char *message)
#[fentry]
fn oom_kill_process(ctx: FEntryContext) -> i32 {
    choose::<_, Argument>(&ctx, ctx.arg(0), ctx.arg(1));
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_oom_kill_process(ctx: ProbeContext) -> u32 {
    if let (Some(oc), Some(message)) = (ctx.arg(0), ctx.arg(1)) {
        choose::<_, Untyped>(&ctx, oc, message);
    }
    0
}

#[inline(always)]
fn choose<C: EbpfContext, O: Origin>(ctx: &C, oc: *const u8, message: *const u8) -> Option<()> {
    let state = own_invocation()?;
    let oc = Object::<O>::new(oc)?;
    probe_log!(ctx, "oom_kill_process, {} weighed", state.candidates.head.considered);
    state.kill_calls += 1;
    state.oom_memcg = oom_control::memcg(oc).flatten().map_or(0, Object::address);
    invocation::end_run(state, oc);
    emit(ctx, state, oc, Some(message));
    Some(())
}

/// Emits the invocation and its candidates. `message` is there when a choice was made: then a
/// program of its own tells the paths and limits.
#[inline(always)]
pub(super) fn emit<C: EbpfContext, O: Origin>(
    ctx: &C,
    state: &mut State,
    oc: Object<O>,
    message: Option<*const u8>,
) {
    let now = emit::now();
    let event = &mut state.invocation;
    // What is not known of this invocation must not be what was known of the one before.
    event.trigger.cgroup_id = 0;
    event.oom_memcg.id = 0;
    event.chosen.cgroup_id = 0;
    let mut known = record::trigger(&mut event.trigger);
    known |= control(event, oc);
    known |= stacks(ctx, event);
    event.started_ns = state.started_ns;
    event.considered = state.candidates.head.considered;
    event.choice_made = u32::from(message.is_some());
    if let Some(message) = message {
        known |= words(event, message);
        known |= chosen(event, oc);
    }
    emit_invocation(event, state.seq, now, known);
    emit_candidates(&mut state.candidates, state.seq, now);
    if message.is_none() {
        places::emit(state, oc, None);
    }
}

/// Emits the invocation, without the empty end of the user stack.
#[inline(always)]
pub(super) fn emit_invocation(event: &mut InvocationEvent, seq: u64, now: u64, known: u64) {
    let frames = record::forgotten(&event.user_frames).min(USER_FRAMES as u32) as usize;
    let size = offset_of!(InvocationEvent, user_stack) + frames * size_of::<UserFrame>();
    event.header = emit::header(kind::INVOCATION, seq, now, known, size);
    emit::record(event, size, kind::INVOCATION);
}

/// Who was chosen. Returns the validity bits.
#[inline(always)]
fn chosen<O: Origin>(event: &mut InvocationEvent, oc: Object<O>) -> u64 {
    let Some(chosen) = oom_control::chosen(oc).and_then(Object::<O>::new) else {
        return 0;
    };
    let _ = record::home(&mut event.chosen, chosen);
    if record::identity(&mut event.chosen, chosen).is_some() { valid::CHOSEN } else { 0 }
}

/// The kernel's words for this kill.
#[inline(always)]
fn words(event: &mut InvocationEvent, message: *const u8) -> u64 {
    // SAFETY: `event.message` is MESSAGE_LEN bytes long.
    let copied =
        unsafe { kernel::read_string(message, event.message.as_mut_ptr(), MESSAGE_LEN as u32) };
    if copied.is_some() { valid::MESSAGE } else { 0 }
}

/// What `oom_control` says. Returns the validity bits.
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
        known |= valid::OOM_CONTROL;
    }
    if let Some(nodes) = oom_control::nodemask(oc) {
        event.nodemask = nodes;
        known |= valid::NODEMASK;
    }
    if let Some(nodes) = kernel::current().and_then(task::mems_allowed) {
        event.mems_allowed = nodes;
        known |= valid::MEMS_ALLOWED;
    }
    if let Some(memcg) = oom_control::memcg(oc) {
        known |= valid::DOMAIN;
        if let Some(memcg) = memcg {
            known |= record::memcg(&mut event.oom_memcg, memcg);
        }
    }
    known
}

/// The trigger's stacks, straight into the record. Returns the validity bits.
#[inline(always)]
pub(super) fn stacks<C: EbpfContext>(ctx: &C, event: &mut InvocationEvent) -> u64 {
    const KERNEL_BYTES: u32 = (KERNEL_FRAMES * size_of::<u64>()) as u32;
    const USER_BYTES: u32 = (USER_FRAMES * size_of::<UserFrame>()) as u32;
    let mut known = 0;
    event.kernel_frames = 0;
    event.user_frames = 0;
    let kernel_stack = event.kernel_stack.as_mut_ptr().cast();
    // SAFETY: the helper writes at most the given size, that of the array.
    let written = unsafe { bpf_get_stack(ctx.as_ptr(), kernel_stack, KERNEL_BYTES, 0) };
    if written > 0 {
        event.kernel_frames = written as u32 / size_of::<u64>() as u32;
        known |= valid::KERNEL_STACK;
    }
    let flags = u64::from(BPF_F_USER_STACK | BPF_F_USER_BUILD_ID);
    let user_stack = event.user_stack.as_mut_ptr().cast();
    // SAFETY: as above.
    let written = unsafe { bpf_get_stack(ctx.as_ptr(), user_stack, USER_BYTES, flags) };
    if written > 0 {
        event.user_frames = written as u32 / size_of::<UserFrame>() as u32;
        known |= valid::USER_STACK;
    }
    known
}

/// Emits the candidate table.
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
