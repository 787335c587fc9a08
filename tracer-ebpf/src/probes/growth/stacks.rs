//! The code that allocates: the user stack and the kernel stack of a charge.
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "verifier: a value passed by itself is copied to the stack, which has 512 bytes"
)]
#![expect(unsafe_code, reason = "counts in map values")]

use aya_ebpf::{EbpfContext, bindings::bpf_stack_build_id_status::BPF_STACK_BUILD_ID_IP};
use oomwhy_common::growth::{self, CHARGES_PER_KERNEL_STACK, UserStack};

use super::maps::{GROWTH_COUNTERS, KERNEL_STACKS, Scratch, USER_STACKS};
use crate::{maps::increment, stacks};

/// The first charges from a user stack each have their kernel stack unwound.
const FIRST_CHARGES: u64 = 4;

/// Puts both stacks into their maps and their hashes into the key. If `tgid` is 0, the user stack
/// is that of a process that does not own the memory, and is left out.
///
/// The kernel stack is unwound at one place in the code, because it contains our own program with
/// the address of the call.
#[inline(always)]
pub(super) fn unwind<C: EbpfContext>(ctx: &C, scratch: &mut Scratch, tgid: u64) {
    scratch.key.user_stack = if tgid == 0 { 0 } else { unwind_user(ctx, scratch, tgid) };
    let known = USER_STACKS.get_ptr_mut(scratch.key.user_stack);
    scratch.key.kernel_stack = known.map_or(0, latest_kernel_stack);
    if scratch.key.kernel_stack == 0 {
        scratch.key.kernel_stack = unwind_kernel(ctx, scratch);
        if let Some(known) = known {
            // SAFETY: as in `latest_kernel_stack`.
            let known = unsafe { &mut *known };
            known.kernel_stack = scratch.key.kernel_stack;
            // The kernel looks up files only if it gets the lock of the address space at once.
            // Another thread or khugepaged may have held it before. The stack is the same: its
            // addresses have the same hash.
            if known.frames[0].status == BPF_STACK_BUILD_ID_IP as i32 {
                let _ = stacks::user(ctx, &mut known.frames);
            }
        } else if scratch.key.user_stack != 0 {
            keep_user_stack(ctx, scratch);
        }
    }
}

/// The kernel stack for which a charge from this user stack counts. 0 if it must be unwound.
#[inline(always)]
fn latest_kernel_stack(known: *mut UserStack) -> u64 {
    // SAFETY: a live map value of plain numbers. If another CPU counts at the same time, one stack
    // more or less is unwound.
    let known = unsafe { &mut *known };
    known.charges += 1;
    // The first charges may be for page tables.
    let is_due = known.charges < FIRST_CHARGES || known.charges % CHARGES_PER_KERNEL_STACK == 0;
    if is_due { 0 } else { known.kernel_stack }
}

/// Hash of the process and its return addresses. 0 if there is no user stack.
#[inline(always)]
fn unwind_user<C: EbpfContext>(ctx: &C, scratch: &mut Scratch, tgid: u64) -> u64 {
    let written = stacks::user_addresses(ctx, &mut scratch.ips);
    written.map_or(0, |bytes| hash(&scratch.ips, bytes, tgid))
}

/// Keeps the kernel stack and returns its hash. 0 if there is none.
#[inline(always)]
fn unwind_kernel<C: EbpfContext>(ctx: &C, scratch: &mut Scratch) -> u64 {
    let Some(bytes) = stacks::kernel(ctx, &mut scratch.kernel_stack.frames) else {
        return 0;
    };
    let hash = hash(&scratch.kernel_stack.frames, bytes, 0);
    if KERNEL_STACKS.get_ptr(hash).is_none()
        && KERNEL_STACKS.insert(hash, &scratch.kernel_stack, 0).is_err()
    {
        count(growth::DROPPED);
    }
    hash
}

#[inline(always)]
fn keep_user_stack<C: EbpfContext>(ctx: &C, scratch: &mut Scratch) {
    scratch.user_stack.charges = 0;
    scratch.user_stack.kernel_stack = scratch.key.kernel_stack;
    if stacks::user(ctx, &mut scratch.user_stack.frames).is_none()
        || USER_STACKS.insert(scratch.key.user_stack, &scratch.user_stack, 0).is_err()
    {
        count(growth::DROPPED);
    }
}

/// Hash of the first `bytes` bytes of the frames. Never 0.
#[inline(always)]
fn hash<const N: usize>(frames: &[u64; N], bytes: u64, seed: u64) -> u64 {
    let mut hash = seed ^ 0xcbf2_9ce4_8422_2325;
    for index in 0..N {
        if (index * size_of::<u64>()) as u64 >= bytes {
            break;
        }
        hash = (hash ^ frames[index]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    hash | 1
}

/// Adds 1 to a counter of [`GROWTH_COUNTERS`].
#[inline(always)]
pub(super) fn count(counter: u32) {
    increment(&GROWTH_COUNTERS, counter);
}
