//! Who a task is, read in its own context: the trigger's when the first one is shot, a victim's when
//! it meets its SIGKILL. Its memory is still whole then: /proc/PID/cmdline is empty a few ms later.
#![expect(unsafe_code, reason = "hands scratch memory to the stack helper")]

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_USER_BUILD_ID, BPF_F_USER_STACK},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_stack},
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use oomwhy_common::{
    event::{CONTEXT_BYTES, ContextHead, NAME_LEN, PARENTS, ParentEntry, context, kind},
    valid,
};

use crate::{
    emit,
    kernel::{self, Current, Object},
    maps::{self, CONTEXT, Context, MARKED, Marked, State},
    objects::{file, memory, task},
    record,
};

/// Names and mounts of a path that are walked.
const MAX_STEPS: usize = 24;

// kernel-proto: include/trace/events/signal.h signal_deliver(int sig, struct kernel_siginfo *info,
//               struct k_sigaction *ka)
#[btf_tracepoint]
fn signal_deliver(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) == SIGKILL {
        let _ = victim(&ctx);
    }
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_signal_deliver(ctx: RawTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) == SIGKILL {
        let _ = victim(&ctx);
    }
    0
}

const SIGKILL: i32 = 9;

/// Runs with interrupts off (the caller holds `siglock`), so a scratch area per CPU is race-free.
#[inline(always)]
fn victim<C: EbpfContext>(ctx: &C) -> Option<()> {
    let current = kernel::current()?;
    let memory = task::mm(current)?;
    let marked = MARKED.get_ptr_mut(memory.address())?;
    let known = maps::load(marked);
    if is_victim(known) {
        // Each thread of a victim meets the signal: one of them tells.
        if known.met != 0 {
            return None;
        }
        maps::store(marked, Marked { met: 1, ..known });
    } else if !is_leader() {
        return None;
    }
    let scratch = CONTEXT.get_ptr_mut(0)?;
    // SAFETY: this CPU's own slot, and nobody else runs here; see above.
    let scratch = unsafe { &mut *scratch };
    let now = emit::now();
    cmdline(scratch, known.seq, now, memory);
    exe(scratch, known.seq, now, memory);
    parents(scratch, known.seq, now, current);
    user_stack(ctx, scratch, known.seq, now);
    Some(())
}

/// Whether current is of the process that was marked, not one that shares its memory.
#[inline(always)]
fn is_victim(marked: Marked) -> bool {
    (bpf_get_current_pid_tgid() >> 32) as i32 == marked.tgid
}

/// Of a process that shares a victim's memory, the first thread tells.
#[inline(always)]
fn is_leader() -> bool {
    let pid_tgid = bpf_get_current_pid_tgid();
    (pid_tgid >> 32) as i32 == pid_tgid as i32
}

/// The trigger, under `oom_lock`, when the first one is shot. A trigger that is the chosen one will
/// meet its SIGKILL at once, and tells the rest there.
#[inline(always)]
pub(super) fn trigger(state: &mut State) {
    let invocation = &state.invocation;
    let is_chosen = invocation.header.valid & valid::CHOSEN != 0
        && invocation.chosen.tgid == invocation.trigger.tgid;
    let (seq, now) = (state.seq, emit::now());
    let scratch = &mut state.context;
    let Some(current) = kernel::current() else {
        return;
    };
    // A kernel thread has none.
    let Some(memory) = task::mm(current) else {
        return;
    };
    cmdline(scratch, seq, now, memory);
    if !is_chosen {
        exe(scratch, seq, now, memory);
        parents(scratch, seq, now, current);
    }
}

/// Emits the part that stands in the scratch area, `len` bytes of it.
#[inline(always)]
fn emit(scratch: &mut Context, seq: u64, now: u64, part: u32, is_read: bool) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let len = record::forgotten(&scratch.head.len).min(CONTEXT_BYTES as u32);
    let size = size_of::<ContextHead>() + len as usize;
    let known = if is_read { valid::CONTEXT_READ } else { 0 };
    scratch.head.header = emit::header(kind::CONTEXT, seq, now, known, size);
    scratch.head.tgid = (pid_tgid >> 32) as i32;
    scratch.head.tid = pid_tgid as i32;
    scratch.head.part = part;
    scratch.head.len = len;
    emit::record(scratch, size, kind::CONTEXT);
}

#[inline(always)]
fn cmdline(scratch: &mut Context, seq: u64, now: u64, memory: Object<Current>) {
    // In a pinned ring it would lie until somebody reads it.
    if !kernel::cmdlines_allowed() {
        return;
    }
    let (Some(start), Some(end)) = (memory::arg_start(memory), memory::arg_end(memory)) else {
        return;
    };
    let whole = end.saturating_sub(start);
    scratch.head.truncated = u32::from(whole > CONTEXT_BYTES as u64);
    scratch.head.len = whole.min(CONTEXT_BYTES as u64) as u32;
    let mut is_read = kernel::read_user(&mut scratch.body, start, &scratch.head.len).is_some();
    if !is_read {
        // Its later page may have been reclaimed: what is on the first one is better than nothing.
        const PAGE: u64 = 4096;
        let on_page = PAGE - (start & (PAGE - 1));
        scratch.head.truncated = 1;
        scratch.head.len = whole.min(on_page).min(CONTEXT_BYTES as u64) as u32;
        is_read = kernel::read_user(&mut scratch.body, start, &scratch.head.len).is_some();
    }
    if !is_read {
        scratch.head.len = 0;
    }
    emit(scratch, seq, now, context::CMDLINE, is_read);
}

#[inline(always)]
fn exe(scratch: &mut Context, seq: u64, now: u64, memory: Object<Current>) {
    if !kernel::untyped_reads_allowed() {
        return;
    }
    scratch.head.len = 0;
    scratch.head.truncated = 1;
    let is_read = path(scratch, memory).is_some();
    emit(scratch, seq, now, context::EXE, is_read);
}

/// Copies the names from the executable up to the root of its mount namespace.
#[inline(always)]
fn path(scratch: &mut Context, memory: Object<Current>) -> Option<()> {
    let file = memory::exe_file(memory)?;
    let mut node = file::dentry(file)?;
    let mut mount = file::mount(file)?;
    for _ in 0..MAX_STEPS {
        let parent = file::parent(node)?;
        if node.address() == file::root_of(mount)?.address() || parent.address() == node.address() {
            let above = file::mount_above(mount)?;
            if above.address() == mount.address() {
                scratch.head.truncated = 0;
                break;
            }
            node = file::mounted_on(mount)?;
            mount = above;
            continue;
        }
        // verifier: the mask bounds the index; `body` has room for one name behind CONTEXT_BYTES. The
        // length is read back, so that all ways through the loop look alike.
        let start = record::forgotten(&scratch.head.len) as usize & (CONTEXT_BYTES - 1);
        // SAFETY: `start` + NAME_LEN is within `body`.
        let copied = unsafe {
            kernel::read_string(
                file::name(node)?,
                scratch.body.as_mut_ptr().wrapping_add(start),
                NAME_LEN as u32,
            )
        };
        let len = start as u32 + copied?;
        scratch.head.len = len;
        if len >= CONTEXT_BYTES as u32 {
            break;
        }
        node = parent;
    }
    Some(())
}

#[inline(always)]
fn parents(scratch: &mut Context, seq: u64, now: u64, of: Object<Current>) {
    scratch.head.len = 0;
    scratch.head.truncated = 1;
    let is_read = ancestors(scratch, of).is_some();
    emit(scratch, seq, now, context::PARENTS, is_read);
}

#[inline(always)]
fn ancestors(scratch: &mut Context, of: Object<Current>) -> Option<()> {
    let mut task = of;
    for index in 0..PARENTS {
        task = task::real_parent(task)?;
        let tgid = task::tgid(task)?;
        // The idle task is the parent of init, and its own.
        if tgid == 0 {
            scratch.head.truncated = 0;
            break;
        }
        let comm = task::comm(task)?;
        let entry = ParentEntry { tgid, reserved: 0, comm };
        maps::put(&mut scratch.body, index, entry)?;
        scratch.head.len = (size_of::<ParentEntry>() * (index + 1)) as u32;
    }
    Some(())
}

#[inline(always)]
fn user_stack<C: EbpfContext>(ctx: &C, scratch: &mut Context, seq: u64, now: u64) {
    let flags = u64::from(BPF_F_USER_STACK | BPF_F_USER_BUILD_ID);
    let body = scratch.body.as_mut_ptr().cast();
    // SAFETY: the helper writes at most the given size, which `body` has.
    let written = unsafe { bpf_get_stack(ctx.as_ptr(), body, CONTEXT_BYTES as u32, flags) };
    scratch.head.len = if written > 0 { written as u32 } else { 0 };
    scratch.head.truncated = 0;
    emit(scratch, seq, now, context::USER_STACK, written > 0);
}
