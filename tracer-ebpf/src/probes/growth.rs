//! `page_counter_try_charge`: memory grows, 64 pages or a huge page at a time. Attached only when
//! growth is recorded.
//!
//! The kernel charges the counter of one memcg and walks up from there. What has no limit, or is far
//! from it, costs that walk and no more. Runs without `oom_lock`, on any CPU, also in interrupts.
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "verifier: what is passed by itself is copied to the stack, which has 512 bytes"
)]
#![expect(unsafe_code, reason = "calls helpers with map memory, counts in map values")]

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_NOEXIST,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, generated::bpf_get_smp_processor_id,
    },
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use oomwhy_common::{
    event::{GrowerEvent, MAX_LEVELS, kind},
    growth::{
        self, COARSE_NS, Charged, EPOCH_NS, Extremes, FINE_NS, Level, NEAR_LEVELS, NO_LIMIT_PAGES,
        POINTS, Point, Ring, Step,
    },
};

use crate::{
    emit,
    growth_maps::{CHARGED, CHARGES, CURVES, GROWERS, NO_CURVE, SCRATCH, Scratch, TOLD_NS},
    growth_stacks::{bump, stacks},
    kernel::{self, Argument, Object, Origin, Untyped, offset},
    maps::RING,
    objects::{cgroup, memcg, task},
};

/// Userspace is not told of growing processes faster than this: each costs it a look at /proc.
const TELL_EVERY_NS: u64 = 100_000_000;
/// Nor where more than this part of the ring waits to be read.
const TELL_BELOW: u64 = 8;

// kernel-proto: mm/page_counter.c bool page_counter_try_charge(struct page_counter *counter,
//               unsigned long nr_pages, struct page_counter **fail)
#[fexit]
fn page_counter_try_charge_ret(ctx: FExitContext) -> i32 {
    // Slot 3 is the return value, a bool: its upper bytes are garbage.
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
        && CHARGES.insert(kernel::current_address(), [counter, pages], 0).is_err()
    {
        bump(growth::DROPPED);
    }
    0
}

// kernel-proto: as above
#[kretprobe]
fn kretprobe_page_counter_try_charge(ctx: RetProbeContext) -> u32 {
    let task = kernel::current_address();
    if let Some(call) = CHARGES.get_ptr_mut(task) {
        let [counter, pages] = crate::maps::load(call);
        let _ = CHARGES.remove(task);
        if ctx.ret::<u64>() as u8 != 0
            && let Some(counter) = Object::<Untyped>::new(counter as *const u8)
        {
            charged(&ctx, counter, pages);
        }
    }
    0
}

/// Whether a limit from here to the root is so near that growth is recorded.
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

/// Pages.
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
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's own entry, and the program does not interrupt itself.
    let scratch = unsafe { &mut *scratch };
    let now = emit::now();
    scratch.near = [0; NEAR_LEVELS];
    points(scratch, counter, leaf, now);
    let is_own = kernel::current()
        .and_then(task::memory_css)
        .is_some_and(|css| css.address() == memcg.address());
    let tgid = if is_own { bpf_get_current_pid_tgid() >> 32 } else { 0 };
    scratch.key.cgroup_id = leaf;
    scratch.key.tgid = tgid;
    // SAFETY: the helper has no preconditions.
    scratch.key.cpu = u64::from(unsafe { bpf_get_smp_processor_id() });
    stacks(ctx, scratch, tgid);
    count(scratch, pages, now / EPOCH_NS);
    if tgid != 0 {
        tell(tgid, now);
    }
    Some(())
}

/// Id of the cgroup of what would be a memcg if this were its memory counter. `None` if it is another
/// one, of swap, kmem or huge pages: nothing else points back to the same address.
#[inline(always)]
fn identity(memcg: Object<Untyped>) -> Option<u64> {
    let cgroup = memcg::cgroup(memcg)?;
    // The css is the first member of its mem_cgroup.
    if cgroup::memory(cgroup)? != memcg.address() {
        return None;
    }
    cgroup::id(cgroup)
}

/// A point for each level near its limit, whose ids stay in the scratch area. `leaf_id` is that of the
/// lowest one.
#[inline(always)]
fn points<O: Origin>(scratch: &mut Scratch, leaf: Object<O>, leaf_id: u64, now: u64) -> Option<()> {
    let mut counter = leaf;
    let mut found = 0_usize;
    for level in 0..MAX_LEVELS {
        let (usage, max) = (memcg::usage(counter)?, memcg::max(counter)?);
        if is_near(usage, max) {
            let id = if level == 0 {
                leaf_id
            } else {
                identity(counter.untyped().container(offset!(memcg_memory)))?
            };
            *scratch.near.get_mut(found)? = id;
            found += 1;
            point(id, Point { t_ns: now, usage, max });
        }
        counter = counter.follow(offset!(counter_parent))?;
    }
    None
}

/// Puts a point into the rings that are due. CPUs that come here at once may put one twice.
#[inline(always)]
fn point(id: u64, point: Point) -> Option<()> {
    let curve = if let Some(curve) = CURVES.get_ptr_mut(id) {
        curve
    } else {
        let empty = NO_CURVE.get_ptr(0)?;
        // SAFETY: a live map value that nobody writes.
        let empty = unsafe { &*empty };
        // Without memory for it, or if another CPU was faster, the next line tells.
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

/// Keeps a point if it is due; until then what is lower or higher than all since the last one. Where nothing
/// was charged for as long, the charge before is a point, too: usage has been no higher since then.
#[inline(always)]
fn put(ring: &mut Ring, before: Point, point: Point, every_ns: u64) -> Option<()> {
    if ring.n != 0 && point.t_ns.wrapping_sub(before.t_ns) >= every_ns && before.t_ns != last(ring)?
    {
        push(ring, before)?;
    }
    let here = Level { t_ns: point.t_ns, usage: point.usage };
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

/// When the last point was put in.
#[inline(always)]
fn last(ring: &Ring) -> Option<u64> {
    Some(ring.steps.get((ring.n.wrapping_sub(1) % POINTS as u64) as usize)?.point.t_ns)
}

#[inline(always)]
fn push(ring: &mut Ring, point: Point) -> Option<()> {
    let step = Step { point, extremes: ring.since };
    *ring.steps.get_mut((ring.n % POINTS as u64) as usize)? = step;
    ring.n += 1;
    let here = Level { t_ns: point.t_ns, usage: point.usage };
    ring.since = Extremes { low: here, high: here };
    Some(())
}

/// Adds the pages to what the key has.
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
        bump(growth::NEW);
    } else {
        bump(growth::DROPPED);
    }
}

/// Only this CPU adds to it.
#[inline(always)]
fn add(known: &mut Charged, pages: u64, epoch: u64) {
    if known.epoch != epoch {
        known.pages_before = if known.epoch + 1 == epoch { known.pages } else { 0 };
        known.pages = 0;
        known.epoch = epoch;
    }
    known.pages += pages;
}

/// Tells userspace that the process that runs grows; once, and not too many at a time.
#[inline(always)]
fn tell(tgid: u64, now: u64) -> Option<()> {
    let mm = kernel::current().and_then(task::mm)?.address();
    let key = [mm, tgid];
    if GROWERS.get_ptr(key).is_some() {
        return None;
    }
    // While nobody reads it the ring is for kills. 0: BPF_RB_AVAIL_DATA, 1: BPF_RB_RING_SIZE.
    if RING.query(0) > RING.query(1) / TELL_BELOW {
        return None;
    }
    let last = TOLD_NS.get_ptr_mut(0)?;
    if now.wrapping_sub(crate::maps::load(last)) < TELL_EVERY_NS {
        return None;
    }
    crate::maps::store(last, now);
    let _ = GROWERS.insert(key, now, 0);
    emit::reserved(kind::GROWER, 0, |event: &mut GrowerEvent| {
        event.tgid = tgid as i32;
        0
    });
    Some(())
}
