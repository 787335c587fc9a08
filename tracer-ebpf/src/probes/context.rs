//! The context of a task: command line, executable, parents, user stack. It is read while the task
//! runs: the trigger's at the first `__oom_kill_process`, a victim's when it begins to exit. The
//! victim still has all its memory then; /proc/PID/cmdline is empty a few ms later.
#![expect(unsafe_code, reason = "hands scratch memory to the string helper")]

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use oomwhy_common::{
    event::{CONTEXT_BYTES, ContextHead, NAME_LEN, PARENTS, ParentEntry, context, kind},
    valid,
};

use crate::{
    emit,
    kernel::{self, Current, Object},
    maps::{self, CONTEXT_SHED, Context, State, VICTIM_MMS, VictimMm, read_volatile},
    objects::{file, memory, task},
    stacks,
};

/// Names and mounts of a path that are walked; a longer path is truncated.
const MAX_STEPS: usize = 24;

// kernel-proto: kernel/exit.c void do_group_exit(int exit_code)
#[fentry]
fn do_group_exit(ctx: FEntryContext) -> i32 {
    if is_by_signal(ctx.arg(0)) {
        sigkill_delivered(&ctx);
    }
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_do_group_exit(ctx: ProbeContext) -> u32 {
    if ctx.arg(0).is_some_and(is_by_signal) {
        sigkill_delivered(&ctx);
    }
    0
}

/// Whether an exit code is that of a signal. A process that exits by itself has its status in the
/// second byte, so this ends the probe for nearly all processes. A victim's code is SIGKILL, or the
/// signal whose core dump SIGKILL interrupted.
#[inline(always)]
fn is_by_signal(exit_code: i32) -> bool {
    const SIGNAL: i32 = 0x7f;
    exit_code & SIGNAL != 0
}

/// The current task begins to exit because of a signal. A function of its own, because the program
/// runs for each exit: see `victim::sigkill_sent`.
#[inline(never)]
fn sigkill_delivered<C: EbpfContext>(ctx: &C) {
    let _ = victim(ctx);
}

#[inline(always)]
fn victim<C: EbpfContext>(ctx: &C) -> Option<()> {
    let current = kernel::current()?;
    let memory = task::mm(current)?;
    let entry = VICTIM_MMS.get_ptr_mut(memory.address())?;
    let victim = maps::load(entry);
    if is_victim(victim) {
        // Each thread of a victim exits here; the first one emits the context.
        if victim.sigkill_delivered != 0 {
            return None;
        }
        maps::store(entry, VictimMm { sigkill_delivered: 1, ..victim });
    } else if !is_leader() {
        return None;
    }
    let slot = if emit::pressure() == 0 { maps::take_context() } else { None };
    let Some((slot, scratch)) = slot else {
        maps::store(entry, VictimMm { sigkill_delivered: 1 | CONTEXT_SHED, ..victim });
        emit::count_shed();
        return None;
    };
    let now = emit::now();
    cmdline(scratch, victim.seq, now, memory);
    exe(scratch, victim.seq, now, memory);
    parents(scratch, victim.seq, now, current);
    user_stack(ctx, scratch, victim.seq, now);
    maps::return_context(slot);
    Some(())
}

/// Whether the current process was marked, rather than one that shares its memory.
#[inline(always)]
fn is_victim(victim: VictimMm) -> bool {
    (bpf_get_current_pid_tgid() >> 32) as i32 == victim.tgid
}

/// Whether the current task is the leader, which emits the context of a process that shares a
/// victim's memory.
#[inline(always)]
fn is_leader() -> bool {
    let pid_tgid = bpf_get_current_pid_tgid();
    (pid_tgid >> 32) as i32 == pid_tgid as i32
}

/// Emits the trigger's context, under `oom_lock`, at the first `__oom_kill_process`. If the trigger
/// is the chosen task, it exits soon and the rest is emitted there.
#[inline(always)]
pub(super) fn trigger(state: &mut State) {
    if state.pressure >= emit::SHEDS_CONTEXT {
        state.shed |= valid::shed::CONTEXT;
        emit::count_shed();
        return;
    }
    let invocation = &state.invocation;
    let is_chosen = invocation.header.valid & valid::invocation::CHOSEN != 0
        && invocation.chosen.tgid == invocation.trigger.tgid;
    let (seq, now) = (state.seq, emit::now());
    let scratch = &mut state.context;
    let Some(current) = kernel::current() else {
        return;
    };
    // A kernel thread has no memory of its own.
    let Some(memory) = task::mm(current) else {
        return;
    };
    cmdline(scratch, seq, now, memory);
    if !is_chosen {
        exe(scratch, seq, now, memory);
        parents(scratch, seq, now, current);
    }
}

/// Emits the part in the scratch area, `head.len` bytes of it.
#[inline(always)]
fn emit(scratch: &mut Context, seq: u64, now: u64, part: u32, is_read: bool) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let len = read_volatile(&scratch.head.len).min(CONTEXT_BYTES as u32);
    let size = size_of::<ContextHead>() + len as usize;
    let known = if is_read { valid::context::READ } else { 0 };
    scratch.head.header = emit::header(kind::CONTEXT, seq, now, known, size);
    scratch.head.tgid = (pid_tgid >> 32) as i32;
    scratch.head.tid = pid_tgid as i32;
    scratch.head.part = part;
    scratch.head.len = len;
    emit::record(scratch, size);
}

#[inline(always)]
fn cmdline(scratch: &mut Context, seq: u64, now: u64, memory: Object<Current>) {
    // In a pinned ring buffer a secret would stay until a tracer reads it.
    if !kernel::cmdlines_allowed() {
        return;
    }
    let (Some(start), Some(end)) = (memory::arg_start(memory), memory::arg_end(memory)) else {
        return;
    };
    let length = end.saturating_sub(start);
    scratch.head.truncated = u32::from(length > CONTEXT_BYTES as u64);
    scratch.head.len = length.min(CONTEXT_BYTES as u64) as u32;
    let mut is_read = kernel::read_user(&mut scratch.body, start, &scratch.head.len).is_some();
    if !is_read {
        // A later page may have been reclaimed: the part on the first page is better than nothing.
        const PAGE: u64 = 4096;
        let on_page = PAGE - (start & (PAGE - 1));
        scratch.head.truncated = 1;
        scratch.head.len = length.min(on_page).min(CONTEXT_BYTES as u64) as u32;
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
        // verifier: the mask bounds the index; `body` has room for one name behind CONTEXT_BYTES.
        // The length is read back, so that all paths through the loop look alike.
        let start = read_volatile(&scratch.head.len) as usize & (CONTEXT_BYTES - 1);
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
        // The idle task is the parent of init and of itself.
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
    let body = scratch.body.first_chunk_mut::<CONTEXT_BYTES>();
    let written = body.and_then(|body| stacks::user_bytes(ctx, body));
    scratch.head.len = written.unwrap_or_default() as u32;
    scratch.head.truncated = 0;
    emit(scratch, seq, now, context::USER_STACK, written.is_some());
}
