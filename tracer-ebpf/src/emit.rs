//! Writes records into the ring buffers, or counts them as lost. Nothing else sends data to
//! userspace.
//!
//! There are three ring buffers. `KILLS` has one compact record per killed process, and the ends of
//! invocations for which `RING` has no room. `RING` has the details. If it is short of room, the
//! probes shed details: see [`pressure`]. `HINTS` has new cgroups and growing processes.
#![expect(unsafe_code, reason = "calls the ring buffer helper and updates counters")]

use aya_ebpf::{
    helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ringbuf_output},
    maps::RingBuf,
};
use oomwhy_common::{
    counters,
    event::{EndEvent, EventHeader, KillEvent, kind},
    maps::{ENDS_BYTES, HINTS_PER_SECOND, KILLS_BYTES},
};

use zerocopy::{FromBytes, FromZeros};

use crate::maps::{
    HINT_BUDGETS, HINTS, HINTS_WANTED, HintBudget, KILLS, KILLS_LOST, LOST, RING, increment, load,
    store,
};

/// `BPF_RB_NO_WAKEUP` of `bpf_ringbuf_output`.
const NO_WAKEUP: u64 = 1;
/// `BPF_RB_AVAIL_DATA` of `bpf_ringbuf_query`: unread bytes.
const AVAIL_DATA: u64 = 0;
/// `BPF_RB_RING_SIZE` of `bpf_ringbuf_query`.
const RING_SIZE: u64 = 1;

/// From this [`pressure`] on, candidates and the context of tasks are shed: more than half of the
/// ring is unread.
pub(crate) const SHEDS_CONTEXT: u32 = 1;
/// From this [`pressure`] on, statistics, paths and limits are shed too: more than three quarters
/// are unread.
pub(crate) const SHEDS_PATHS: u32 = 2;
/// From this [`pressure`] on, stacks are shed too: more than seven eighths are unread.
pub(crate) const SHEDS_STACKS: u32 = 3;

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

/// How short of room the ring of details is: 0 or one of the `SHEDS_` constants.
#[inline(always)]
pub(crate) fn pressure() -> u32 {
    let (unread, size) = (RING.query(AVAIL_DATA), RING.query(RING_SIZE));
    if unread <= size / 2 {
        return 0;
    }
    // verifier: a sum instead of branches, so that it walks the following code once.
    SHEDS_CONTEXT + u32::from(unread > size / 4 * 3) + u32::from(unread > size / 8 * 7)
}

/// Counts details that were shed.
#[inline(always)]
pub(crate) fn count_shed() {
    increment(&LOST, counters::SHED);
}

/// Writes the first `size` bytes of `record`, which starts with its header, or counts the drop.
///
/// verifier: `size` is passed beside the header because a value read back from a map is unbounded.
#[inline(always)]
pub(crate) fn record<T>(record: &T, size: usize) {
    if !output(&RING, record, size.min(size_of::<T>()), 0) {
        count_drop();
    }
}

/// Writes the end of an invocation. Without the end of a kill, the report would wait for the next
/// invocation, so that one goes to the kills if the details have no room.
#[inline(always)]
pub(crate) fn end(record: &EndEvent) {
    const SIZE: usize = size_of::<EndEvent>();
    if output(&RING, record, SIZE, 0) {
        return;
    }
    if record.processes == 0 || !output(&KILLS, record, SIZE, NO_WAKEUP) {
        count_drop();
    }
}

/// Writes the first `size` bytes of `record` into a ring buffer. False if there is no room.
#[inline(always)]
fn output<T>(ring: &RingBuf, record: &T, size: usize, flags: u64) -> bool {
    // SAFETY: `record` is a map value of at least `size` bytes.
    let status = unsafe {
        bpf_ringbuf_output(
            core::ptr::from_ref(ring).cast_mut().cast(),
            core::ptr::from_ref(record).cast_mut().cast(),
            size as u64,
            flags,
        )
    };
    status >= 0
}

/// Writes the compact record of a kill, or counts it by its cause. The caller holds `oom_lock`, so
/// the count is exact. Does not wake the reader: the details that follow do.
#[inline(always)]
pub(crate) fn kill(record: &KillEvent, cause: u8) {
    let has_room = KILLS.query(AVAIL_DATA) <= u64::from(KILLS_BYTES - ENDS_BYTES);
    if has_room && output(&KILLS, record, size_of::<KillEvent>(), NO_WAKEUP) {
        return;
    }
    let now = now();
    if let Some(count) = KILLS_LOST.get_ptr_mut(u32::from(cause)) {
        store(count, load(count) + 1);
    }
    if let Some(first) = KILLS_LOST.get_ptr_mut(counters::kills::FIRST_NS)
        && load(first) == 0
    {
        store(first, now);
    }
    if let Some(last) = KILLS_LOST.get_ptr_mut(counters::kills::LAST_NS) {
        store(last, now);
    }
}

/// Whether the rate limit [`HINTS_PER_SECOND`] allows a hint of this kind
/// (`oomwhy_common::maps::hint`) now. Two CPUs that race here can pass one hint more.
#[inline(always)]
pub(crate) fn may_hint(kind: u32, now: u64) -> bool {
    const NS_PER_HINT: u64 = 1_000_000_000 / HINTS_PER_SECOND;
    let Some(budget) = HINT_BUDGETS.get_ptr_mut(kind) else {
        return false;
    };
    let HintBudget { left, counted_ns } = load(budget);
    let earned = now.saturating_sub(counted_ns) / NS_PER_HINT;
    let left = (left + earned).min(HINTS_PER_SECOND);
    if left == 0 {
        increment(&LOST, counters::HINTS);
        return false;
    }
    // The time towards the next hint is kept.
    let counted_ns =
        if earned > HINTS_PER_SECOND { now } else { counted_ns + earned * NS_PER_HINT };
    store(budget, HintBudget { left: left - 1, counted_ns });
    true
}

/// Whether a tracer reads hints.
#[inline(always)]
pub(crate) fn hints_are_wanted() -> bool {
    HINTS_WANTED.get_ptr_mut(0).is_some_and(|wanted| load(wanted) != 0)
}

/// Builds a hint in its ring buffer, as [`reserved`] does.
#[inline(always)]
pub(crate) fn reserved_hint<T: FromZeros + 'static>(kind: u32, fill: impl FnOnce(&mut T) -> u64) {
    if !build(&HINTS, kind, 0, fill) {
        increment(&LOST, counters::HINTS);
    }
}

/// Builds a record in the ring buffer itself, for probes that run without `oom_lock` and so have
/// no scratch area. `fill` gets zeroed memory and returns the validity bits.
#[inline(always)]
pub(crate) fn reserved<T: FromZeros + 'static>(kind: u32, seq: u64, fill: impl Fn(&mut T) -> u64) {
    if build(&RING, kind, seq, &fill) {
        return;
    }
    if kind != kind::END || !build(&KILLS, kind, seq, &fill) {
        count_drop();
    }
}

#[inline(always)]
fn build<T: FromZeros + 'static>(
    ring: &RingBuf,
    kind: u32,
    seq: u64,
    fill: impl FnOnce(&mut T) -> u64,
) -> bool {
    let Some(mut entry) = ring.reserve::<T>(0) else {
        return false;
    };
    let record = entry.write(T::new_zeroed());
    let valid = fill(record);
    let header = header(kind, seq, now(), valid, size_of::<T>());
    // SAFETY: every record starts with its header, and ring memory is 8-byte aligned.
    unsafe { core::ptr::from_mut(record).cast::<EventHeader>().write(header) };
    entry.submit(0);
    true
}

/// Builds a hint in its ring buffer, without zeroing the memory first: `fill` writes all of it. If
/// `fill` fails, the hint is counted as dropped.
#[inline(always)]
pub(crate) fn filled_hint<T: FromBytes + 'static>(fill: impl FnOnce(&mut T) -> Option<()>) {
    let Some(mut entry) = HINTS.reserve::<T>(0) else {
        increment(&LOST, counters::HINTS);
        return;
    };
    // SAFETY: ring memory, which is always mapped; every `T` here is valid for any bytes.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    if fill(record).is_some() {
        entry.submit(0);
    } else {
        entry.discard(0);
        increment(&LOST, counters::HINTS);
    }
}

/// Counts a detail for which `RING` had no room, and stores the time.
#[inline(always)]
fn count_drop() {
    increment(&LOST, counters::DETAILS);
    let now = now();
    if let Some(first) = LOST.get_ptr_mut(counters::FIRST_DROP_NS)
        && load(first) == 0
    {
        store(first, now);
    }
    if let Some(last) = LOST.get_ptr_mut(counters::LAST_DROP_NS) {
        store(last, now);
    }
}
