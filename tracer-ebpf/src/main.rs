//! oomwhy's probes on the OOM path. They report facts only: bounded work, no policy, no text.
//!
//! `out_of_memory` is always called under the kernel's `oom_lock`, so at most one invocation runs
//! at a time and one global scratch area ([`maps::STATE`]) serves all of its hooks. A per-CPU area
//! would be wrong: the scan of the tasks reschedules between two hooks and can migrate.
//!
//! Reading order: [`probes`] lists the hooks and their files. [`kernel`] shows how probes read
//! kernel memory, and [`objects`] has the fields that they read. [`maps`], [`record`] and [`emit`]
//! show how the values reach user space.
#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "verifier: typed pointers lose their type in a call on old kernels"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "verifier: it sees the bound of an index; the end pointer of an iterator has none"
)]
#![allow(
    linker_messages,
    reason = "bpf-linker looks for the compiler's LLVM first and reports when it uses its own"
)]
#![expect(clippy::needless_pass_by_value, reason = "aya's macros require this shape of a program")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "sizes are small constants, helper results are checked, registers hold raw values"
)]

mod emit;
mod kernel;
mod log;
mod maps;
mod objects;
mod probes;
mod record;
mod stacks;
mod threads;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No probe can panic: every index is masked and every division is by a constant.
    loop {}
}

#[expect(unsafe_code, reason = "the kernel reads the license from this section")]
// SAFETY: the kernel reads this section as a NUL-terminated string.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
