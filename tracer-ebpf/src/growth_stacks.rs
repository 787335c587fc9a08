//! From where memory grows: both stacks of a charge.
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "verifier: what is passed by itself is copied to the stack, which has 512 bytes"
)]
#![expect(unsafe_code, reason = "calls helpers with map memory, counts in map values")]

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_F_USER_BUILD_ID, BPF_F_USER_STACK, bpf_stack_build_id_status::BPF_STACK_BUILD_ID_IP,
    },
    helpers::generated::bpf_get_stack,
};
use oomwhy_common::{
    event::{USER_FRAMES, UserFrame},
    growth::{self, CHARGES_PER_KERNEL_STACK, KERNEL_FRAMES, UserStack},
};

use crate::growth_maps::{GROWTH_COUNTERS, KERNEL_STACKS, Scratch, USER_STACKS};

/// Charges from a user stack that each have their kernel stack unwound.
const FIRST_CHARGES: u64 = 4;

/// Both stacks into their maps, their hashes into the key. `tgid` 0: the user stack is somebody
/// else's.
///
/// The kernel's is unwound at one place: our own program is in it, by the place of the call.
#[inline(always)]
pub(crate) fn stacks<C: EbpfContext>(ctx: &C, scratch: &mut Scratch, tgid: u64) {
    scratch.key.user_stack = if tgid == 0 { 0 } else { unwind_user(ctx, scratch, tgid) };
    let known = USER_STACKS.get_ptr_mut(scratch.key.user_stack);
    scratch.key.kernel_stack = known.map_or(0, latest_kernel_stack);
    if scratch.key.kernel_stack == 0 {
        scratch.key.kernel_stack = unwind_kernel(ctx, scratch);
        if let Some(known) = known {
            // SAFETY: as below.
            let known = unsafe { &mut *known };
            known.kernel_stack = scratch.key.kernel_stack;
            // The kernel looks up files only where it gets the lock of the address space at once, which
            // khugepaged or another thread may have held. It is the same stack: its addresses have
            // the same hash.
            if known.frames[0].status == BPF_STACK_BUILD_ID_IP as i32 {
                find_files(ctx, known);
            }
        } else if scratch.key.user_stack != 0 {
            keep_user_stack(ctx, scratch);
        }
    }
}

/// That of the charges from a user stack which counts for this one as well; 0: it is to be unwound.
#[inline(always)]
fn latest_kernel_stack(known: *mut UserStack) -> u64 {
    // SAFETY: a live map value of plain numbers. Another CPU may count at the same time: then one is
    // unwound more, or less.
    let known = unsafe { &mut *known };
    known.charges += 1;
    // The first ones may be of page tables.
    let is_due = known.charges < FIRST_CHARGES || known.charges % CHARGES_PER_KERNEL_STACK == 0;
    if is_due { 0 } else { known.kernel_stack }
}

/// Hash of the addresses, and of whose they are; 0: there are none.
#[inline(always)]
fn unwind_user<C: EbpfContext>(ctx: &C, scratch: &mut Scratch, tgid: u64) -> u64 {
    const BYTES: u32 = (USER_FRAMES * size_of::<u64>()) as u32;
    let frames = scratch.ips.as_mut_ptr().cast();
    let flags = u64::from(BPF_F_USER_STACK);
    // SAFETY: the helper writes exactly the given size, that of the array.
    let written = unsafe { bpf_get_stack(ctx.as_ptr(), frames, BYTES, flags) };
    if written <= 0 {
        return 0;
    }
    hash(&scratch.ips, written as u64, tgid)
}

/// Keeps it and returns its hash; 0: there is none.
#[inline(always)]
fn unwind_kernel<C: EbpfContext>(ctx: &C, scratch: &mut Scratch) -> u64 {
    const BYTES: u32 = (KERNEL_FRAMES * size_of::<u64>()) as u32;
    let frames = scratch.kernel_stack.frames.as_mut_ptr().cast();
    // SAFETY: the helper writes exactly the given size, that of the array.
    let written = unsafe { bpf_get_stack(ctx.as_ptr(), frames, BYTES, 0) };
    if written <= 0 {
        return 0;
    }
    let hash = hash(&scratch.kernel_stack.frames, written as u64, 0);
    if KERNEL_STACKS.get_ptr(hash).is_none()
        && KERNEL_STACKS.insert(hash, &scratch.kernel_stack, 0).is_err()
    {
        bump(growth::DROPPED);
    }
    hash
}

#[inline(always)]
fn keep_user_stack<C: EbpfContext>(ctx: &C, scratch: &mut Scratch) {
    scratch.user_stack.charges = 0;
    scratch.user_stack.kernel_stack = scratch.key.kernel_stack;
    if find_files(ctx, &mut scratch.user_stack) <= 0
        || USER_STACKS.insert(scratch.key.user_stack, &scratch.user_stack, 0).is_err()
    {
        bump(growth::DROPPED);
    }
}

/// The stack as places in files: a walk through what is mapped, so once. Returns what the helper does.
#[inline(always)]
fn find_files<C: EbpfContext>(ctx: &C, stack: &mut UserStack) -> i64 {
    const BYTES: u32 = size_of::<[UserFrame; USER_FRAMES]>() as u32;
    let flags = u64::from(BPF_F_USER_STACK | BPF_F_USER_BUILD_ID);
    // SAFETY: the helper writes exactly the given size, that of the array.
    unsafe { bpf_get_stack(ctx.as_ptr(), stack.frames.as_mut_ptr().cast(), BYTES, flags) }
}

/// Of the first `bytes` of the frames. Never 0.
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

/// Counts one more in [`GROWTH_COUNTERS`].
#[inline(always)]
pub(crate) fn bump(counter: u32) {
    if let Some(value) = GROWTH_COUNTERS.get_ptr_mut(counter) {
        // SAFETY: this CPU's own slot of a per-CPU array.
        unsafe { *value += 1 };
    }
}
