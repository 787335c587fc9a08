//! Unwinds the stacks of the current task into map memory.
#![expect(unsafe_code, reason = "hands map memory to the stack helper")]

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_USER_BUILD_ID, BPF_F_USER_STACK},
    helpers::generated::bpf_get_stack,
    programs::ProbeContext,
};
use oomwhy_common::event::UserFrame;

/// Return addresses in the kernel, innermost first. Returns the number of bytes written, or
/// `None` if there is no stack.
#[inline(always)]
pub(crate) fn kernel<C: EbpfContext, const N: usize>(
    ctx: &C,
    frames: &mut [u64; N],
) -> Option<u64> {
    get(ctx, frames, 0)
}

/// As [`kernel`], with the caller that the unwinder does not see behind the innermost frame.
#[inline(always)]
pub(crate) fn kernel_with_caller<C: EbpfContext, const N: usize>(
    ctx: &C,
    frames: &mut [u64; N],
    caller: u64,
) -> Option<u64> {
    const FRAME: usize = size_of::<u64>();
    let rest = frames.as_mut_ptr().wrapping_add(1).cast();
    // SAFETY: the helper writes at most the given size, that of all frames but one.
    let written = unsafe { bpf_get_stack(ctx.as_ptr(), rest, ((N - 1) * FRAME) as u32, 0) };
    if written <= 0 {
        return None;
    }
    frames[0] = frames[1];
    frames[1] = caller;
    Some(written as u64 + FRAME as u64)
}

/// The caller of the function at whose entry this kprobe is, if the unwinder does not see it: on
/// arm64 it is in the link register until the function has made its frame.
#[inline(always)]
pub(crate) fn unseen_caller(ctx: &ProbeContext) -> Option<u64> {
    #[cfg(bpf_target_arch = "aarch64")]
    {
        const LINK_REGISTER: usize = 30;
        // SAFETY: the kernel passes the registers at the entry of the function.
        Some(unsafe { (*ctx.regs).regs[LINK_REGISTER] })
    }
    #[cfg(not(bpf_target_arch = "aarch64"))]
    {
        let _ = ctx;
        None
    }
}

/// Return addresses in user space, innermost first. Returns as [`kernel`] does.
#[inline(always)]
pub(crate) fn user_addresses<C: EbpfContext, const N: usize>(
    ctx: &C,
    frames: &mut [u64; N],
) -> Option<u64> {
    get(ctx, frames, BPF_F_USER_STACK)
}

/// Build ids and file offsets in user space, innermost first. The kernel walks the mappings of the
/// process for that. Returns as [`kernel`] does.
#[inline(always)]
pub(crate) fn user<C: EbpfContext, const N: usize>(
    ctx: &C,
    frames: &mut [UserFrame; N],
) -> Option<u64> {
    get(ctx, frames, BPF_F_USER_STACK | BPF_F_USER_BUILD_ID)
}

/// The frames of [`user`] as bytes, for records of varying length.
#[inline(always)]
pub(crate) fn user_bytes<C: EbpfContext, const N: usize>(
    ctx: &C,
    bytes: &mut [u8; N],
) -> Option<u64> {
    get(ctx, bytes, BPF_F_USER_STACK | BPF_F_USER_BUILD_ID)
}

#[inline(always)]
fn get<C: EbpfContext, T, const N: usize>(ctx: &C, frames: &mut [T; N], flags: u32) -> Option<u64> {
    let bytes = size_of::<[T; N]>() as u32;
    let memory = frames.as_mut_ptr().cast();
    // SAFETY: the helper writes at most the given size, that of the array.
    let written = unsafe { bpf_get_stack(ctx.as_ptr(), memory, bytes, u64::from(flags)) };
    (written > 0).then_some(written as u64)
}
