//! Writes records into the ring buffer, or counts them as dropped. Nothing else sends data to
//! userspace.
#![expect(unsafe_code, reason = "calls the ring buffer helper and updates per-CPU counters")]

use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ringbuf_output,
};
use oomwhy_common::{
    counters,
    event::{EventHeader, kind},
};

use zerocopy::{FromBytes, FromZeros};

use crate::maps::{COUNTERS, RING, increment};

/// The current time, `CLOCK_BOOTTIME` ns.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The CPU that runs the probe.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_smp_processor_id() }
}

/// A header for a record of `size` bytes. The caller passes `now` so that records that belong
/// together take the time once: that costs as much as a short record.
#[inline(always)]
pub(crate) fn header(kind: u32, seq: u64, now: u64, valid: u64, size: usize) -> EventHeader {
    EventHeader { boottime_ns: now, seq, valid, kind, size: size as u32, cpu: cpu(), reserved: 0 }
}

/// Writes the first `size` bytes of `record`, which starts with its header, or counts the drop.
///
/// verifier: `size` is passed beside the header because a value read back from a map is unbounded.
#[inline(always)]
pub(crate) fn record<T>(record: &T, size: usize, kind: u32) {
    let size = size.min(size_of::<T>());
    // SAFETY: `record` is a map value of at least `size` bytes.
    let status = unsafe {
        bpf_ringbuf_output(
            (&raw const RING).cast_mut().cast(),
            core::ptr::from_ref(record).cast_mut().cast(),
            size as u64,
            0,
        )
    };
    if status < 0 {
        count_drop(kind);
    }
}

/// Builds a record in the ring buffer itself, for probes that run without `oom_lock` and so have
/// no scratch area. `fill` gets zeroed memory and returns the validity bits.
#[inline(always)]
pub(crate) fn reserved<T: FromZeros + 'static>(
    kind: u32,
    seq: u64,
    fill: impl FnOnce(&mut T) -> u64,
) {
    let Some(mut entry) = RING.reserve::<T>(0) else {
        count_drop(kind);
        return;
    };
    let record = entry.write(T::new_zeroed());
    let valid = fill(record);
    let header = header(kind, seq, now(), valid, size_of::<T>());
    // SAFETY: every record starts with its header, and ring memory is 8-byte aligned.
    unsafe { core::ptr::from_mut(record).cast::<EventHeader>().write(header) };
    entry.submit(0);
}

/// Builds a record in the ring buffer, without zeros first: `fill` writes all of it. If `fill`
/// fails, the record counts as dropped.
#[inline(always)]
pub(crate) fn filled<T: FromBytes + 'static>(kind: u32, fill: impl FnOnce(&mut T) -> Option<()>) {
    let Some(mut entry) = RING.reserve::<T>(0) else {
        count_drop(kind);
        return;
    };
    // SAFETY: ring memory, which is always mapped; every `T` here is valid for any bytes.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    if fill(record).is_some() {
        entry.submit(0);
    } else {
        entry.discard(0);
        count_drop(kind);
    }
}

/// Counts a record of `kind` that found no room, and notes when.
#[inline(always)]
pub(crate) fn count_drop(kind: u32) {
    const _: () = assert!(counters::DROPPED + kind::LAST < counters::FIRST_DROP_NS);
    increment(&COUNTERS, counters::DROPPED + kind);
    let now = now();
    if let Some(first) = COUNTERS.get_ptr_mut(counters::FIRST_DROP_NS) {
        // SAFETY: this CPU's own slot of a per-CPU array.
        let first = unsafe { &mut *first };
        if *first == 0 {
            *first = now;
        }
    }
    if let Some(last) = COUNTERS.get_ptr_mut(counters::LAST_DROP_NS) {
        // SAFETY: this CPU's own slot of a per-CPU array.
        unsafe { *last = now };
    }
}
