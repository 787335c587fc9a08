//! `page_counter_try_charge`: memory grows, 64 pages or a huge page at a time. Attached only with
//! `--growth`.
//!
//! The kernel charges the counter of one memcg and walks up from there. If no limit on the way is
//! near, the probe does only that walk. Runs without `oom_lock`, on any CPU, also in interrupts.
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "verifier: a value passed by itself is copied to the stack, which has 512 bytes"
)]
#![expect(unsafe_code, reason = "borrows map values")]

mod maps;
mod stacks;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use oomwhy_common::{
    event::{GrowingProcessEvent, MAX_LEVELS, kind},
    growth::{
        self, COARSE_NS, Charged, EPOCH_NS, Extremes, FINE_NS, Level, NEAR_LEVELS, NO_LIMIT_PAGES,
        POINTS, Point, Ring, Step,
    },
    maps::hint,
};

use self::maps::{
    CHARGED, CHARGES, CURVES, Charge, GROWING, NO_CURVE, REPORTED_NS, SCRATCH, Scratch,
};
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped, offset},
    maps::{load, read_volatile, store},
    objects::{cgroup, memcg, task},
};

/// Shortest time between two reports of growing processes, ns: each costs userspace a read of
/// /proc.
const REPORT_EVERY_NS: u64 = 100_000_000;

// kernel-proto: mm/page_counter.c bool page_counter_try_charge(struct page_counter *counter,
//               unsigned long nr_pages, struct page_counter **fail)
#[fexit]
fn page_counter_try_charge_ret(ctx: FExitContext) -> i32 {
    // Slot 3 is the return value, a bool whose upper bytes are garbage.
    if ctx.arg::<u64>(3) as u8 != 0
        && let Some(counter) = Object::<Argument>::new(ctx.arg(0))
        && is_near_limit(counter)
    {
        charged(&ctx, counter, ctx.arg(1));
    }
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_page_counter_try_charge(ctx: ProbeContext) -> u32 {
    if let (Some(counter), Some(pages)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1))
        && Object::<Untyped>::new(counter as *const u8).is_some_and(is_near_limit)
        && CHARGES.insert(kernel::current_address(), Charge { counter, pages }, 0).is_err()
    {
        stacks::count(growth::DROPPED);
    }
    0
}

// kernel-proto: as above
#[kretprobe]
fn kretprobe_page_counter_try_charge(ctx: RetProbeContext) -> u32 {
    let task = kernel::current_address();
    if let Some(call) = CHARGES.get_ptr_mut(task) {
        let Charge { counter, pages } = load(call);
        let _ = CHARGES.remove(task);
        if ctx.ret::<u64>() as u8 != 0
            && let Some(counter) = Object::<Untyped>::new(counter as *const u8)
        {
            charged(&ctx, counter, pages);
        }
    }
    0
}

/// Whether usage is near a limit anywhere from here to the root, so that growth is recorded.
#[inline(always)]
fn is_near_limit<O: Origin>(leaf: Object<O>) -> bool {
    let mut counter = leaf;
    for _ in 0..MAX_LEVELS {
        let (Some(usage), Some(max)) = (memcg::usage(counter), memcg::max(counter)) else {
            return false;
        };
        if is_near(usage, max) {
            return true;
        }
        let Some(parent) = counter.follow(offset!(counter_parent)) else {
            return false;
        };
        counter = parent;
    }
    false
}

/// Whether usage is near this limit. Both are in pages.
#[inline(always)]
fn is_near(usage: u64, max: u64) -> bool {
    max < NO_LIMIT_PAGES && usage.wrapping_mul(100) >= max * kernel::growth_above_percent()
}

#[inline(always)]
fn charged<C, O>(ctx: &C, counter: Object<O>, pages: u64) -> Option<()>
where
    C: EbpfContext,
    O: Origin,
{
    let memcg = counter.untyped().container(offset!(memcg_memory));
    let leaf = identity(memcg)?;
    let scratch = SCRATCH.get_ptr_mut(emit::cpu())?;
    // SAFETY: this CPU's own entry, and a run that interrupts another one only looks at `is_busy`.
    let scratch = unsafe { &mut *scratch };
    if read_volatile(&scratch.is_busy) != 0 {
        stacks::count(growth::DROPPED);
        return None;
    }
    scratch.is_busy = 1;
    record(ctx, scratch, counter, memcg, leaf, pages);
    scratch.is_busy = 0;
    Some(())
}

/// Records a charge of `pages` pages. `leaf` is the cgroup id of `memcg`, which has `counter`.
#[inline(always)]
fn record<C, O>(
    ctx: &C,
    scratch: &mut Scratch,
    counter: Object<O>,
    memcg: Object<Untyped>,
    leaf: u64,
    pages: u64,
) where
    C: EbpfContext,
    O: Origin,
{
    let now = emit::now();
    scratch.near = [0; NEAR_LEVELS];
    points(scratch, counter, leaf, now);
    let is_own = kernel::current()
        .and_then(task::memory_css)
        .is_some_and(|css| css.address() == memcg.address());
    let tgid = if is_own { bpf_get_current_pid_tgid() >> 32 } else { 0 };
    scratch.key.cgroup_id = leaf;
    scratch.key.tgid = tgid;
    scratch.key.cpu = u64::from(emit::cpu());
    stacks::unwind(ctx, scratch, tgid);
    count(scratch, pages, now / EPOCH_NS);
    if tgid != 0 {
        report(tgid, now);
    }
}

/// Cgroup id of the memcg around a counter, if the counter is its memory counter. `None` for the
/// counters of swap, kmem or huge pages: only a memcg's cgroup points back to the same address.
#[inline(always)]
fn identity(memcg: Object<Untyped>) -> Option<u64> {
    let cgroup = memcg::cgroup(memcg)?;
    // The css is the first member of its mem_cgroup.
    if cgroup::memory(cgroup)? != memcg.address() {
        return None;
    }
    cgroup::id(cgroup)
}

/// Adds a point for each level near its limit and keeps the ids of these levels in the scratch
/// area. `leaf_id` is the id of the lowest level.
#[inline(always)]
fn points<O: Origin>(scratch: &mut Scratch, leaf: Object<O>, leaf_id: u64, now: u64) -> Option<()> {
    let mut counter = leaf;
    scratch.n_near = 0;
    for level in 0..MAX_LEVELS {
        let (usage, max) = (memcg::usage(counter)?, memcg::max(counter)?);
        if is_near(usage, max) {
            let id = if level == 0 {
                leaf_id
            } else {
                identity(counter.untyped().container(offset!(memcg_memory)))?
            };
            // verifier: a number that is read back is opaque. Otherwise it would walk each level
            // once for each number of near levels below it.
            let found = read_volatile(&scratch.n_near);
            *scratch.near.get_mut(found as usize)? = id;
            scratch.n_near = found + 1;
            point(id, Point { t_ns: now, usage, max });
        }
        counter = counter.follow(offset!(counter_parent))?;
    }
    None
}

/// Adds a point to the rings that are due. Two CPUs at the same time may add one twice.
#[inline(always)]
fn point(id: u64, point: Point) -> Option<()> {
    let curve = if let Some(curve) = CURVES.get_ptr_mut(id) {
        curve
    } else {
        let empty = NO_CURVE.get_ptr(0)?;
        // SAFETY: a live map value that nobody writes.
        let empty = unsafe { &*empty };
        // If there is no memory or another CPU was faster, the lookup below shows it.
        let _ = CURVES.insert(id, empty, u64::from(BPF_NOEXIST));
        CURVES.get_ptr_mut(id)?
    };
    // SAFETY: a live map value of plain numbers.
    let curve = unsafe { &mut *curve };
    put(&mut curve.fine, curve.latest, point, FINE_NS)?;
    put(&mut curve.coarse, curve.latest, point, COARSE_NS)?;
    curve.latest = point;
    Some(())
}

/// Adds a point if it is due; until then keeps the lowest and highest usage since the last point.
/// If nothing was charged for that long, the previous charge becomes a point too: usage has not
/// been higher since.
#[inline(always)]
fn put(ring: &mut Ring, before: Point, point: Point, every_ns: u64) -> Option<()> {
    if ring.n != 0 && point.t_ns.wrapping_sub(before.t_ns) >= every_ns && before.t_ns != last(ring)?
    {
        push(ring, before)?;
    }
    let here = level(point);
    if here.usage < ring.since.low.usage || ring.n == 0 {
        ring.since.low = here;
    }
    if here.usage > ring.since.high.usage || ring.n == 0 {
        ring.since.high = here;
    }
    if ring.n == 0 || point.t_ns.wrapping_sub(last(ring)?) >= every_ns {
        push(ring, point)?;
    }
    Some(())
}

#[inline(always)]
fn level(point: Point) -> Level {
    Level { t_ns: point.t_ns, usage: point.usage }
}

/// Time of the last point of the ring.
#[inline(always)]
fn last(ring: &Ring) -> Option<u64> {
    Some(ring.steps.get((ring.n.wrapping_sub(1) % POINTS as u64) as usize)?.point.t_ns)
}

#[inline(always)]
fn push(ring: &mut Ring, point: Point) -> Option<()> {
    let step = Step { point, extremes: ring.since };
    *ring.steps.get_mut((ring.n % POINTS as u64) as usize)? = step;
    ring.n += 1;
    let here = level(point);
    ring.since = Extremes { low: here, high: here };
    Some(())
}

/// Adds the pages to those of the key in the scratch area.
#[inline(always)]
fn count(scratch: &mut Scratch, pages: u64, epoch: u64) {
    if let Some(known) = CHARGED.get_ptr_mut(scratch.key) {
        // SAFETY: a live map value of plain numbers.
        let known = unsafe { &mut *known };
        add(known, pages, epoch);
        known.near = scratch.near;
        return;
    }
    scratch.new = Charged {
        epoch,
        pages,
        pages_before: 0,
        near: scratch.near,
        comm: bpf_get_current_comm().unwrap_or_default(),
    };
    if CHARGED.insert(scratch.key, &scratch.new, u64::from(BPF_NOEXIST)).is_ok() {
        stacks::count(growth::NEW);
    } else {
        stacks::count(growth::DROPPED);
    }
}

/// Adds pages to an entry. Only this CPU adds to it, because the CPU is part of the key.
#[inline(always)]
fn add(known: &mut Charged, pages: u64, epoch: u64) {
    if known.epoch != epoch {
        known.pages_before = if known.epoch + 1 == epoch { known.pages } else { 0 };
        known.pages = 0;
        known.epoch = epoch;
    }
    known.pages += pages;
}

/// Reports that the current process grows, once per process and not too often.
#[inline(always)]
fn report(tgid: u64, now: u64) -> Option<()> {
    let mm = kernel::current().and_then(task::mm)?.address();
    let key = [mm, tgid];
    if GROWING.get_ptr(key).is_some() {
        return None;
    }
    if !emit::hints_are_wanted() {
        return None;
    }
    let reported_ns = REPORTED_NS.get_ptr_mut(0)?;
    if now.wrapping_sub(load(reported_ns)) < REPORT_EVERY_NS {
        return None;
    }
    store(reported_ns, now);
    if !emit::may_hint(hint::GROWING_PROCESS, now) {
        return None;
    }
    let _ = GROWING.insert(key, now, 0);
    emit::reserved_hint(kind::GROWING_PROCESS, |event: &mut GrowingProcessEvent| {
        event.tgid = tgid as i32;
        0
    });
    Some(())
}
