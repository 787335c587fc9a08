//! oomwhy's probes on the OOM path: facts only, bounded work, no policy, no text.
//!
//! `out_of_memory` is always called under the kernel's `oom_lock`, so at most one invocation runs
//! at a time and one global scratch area ([`maps::STATE`]) serves all of its hooks. A per-CPU one
//! would be wrong: the scan reschedules between two hooks and can migrate.
//!
//! Reading order: [`kernel`] (how kernel memory is read), [`objects`] (what is read),
//! [`maps`], [`emit`], then the probes, one file per stage of an invocation.
#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "verifier: typed pointers lose their type in a call on old kernels"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "verifier: an index has a bound that it sees, an iterator's end pointer has none"
)]
#![allow(
    linker_messages,
    reason = "bpf-linker looks for the compiler's LLVM first, and says so where it takes its own"
)]
#![expect(clippy::needless_pass_by_value, reason = "the shape of a program that aya's macros want")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "sizes are small constants, helper results are checked, registers hold raw values"
)]

mod emit;
mod growth_maps;
mod growth_stacks;
mod kernel;
mod log;
mod maps;
mod objects;
mod probes;
mod record;
mod threads;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No probe can panic: every index is masked and every division is by a constant.
    loop {}
}

#[expect(unsafe_code, reason = "the section attribute is how the kernel learns the license")]
// SAFETY: the kernel reads this section as a NUL-terminated string.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
