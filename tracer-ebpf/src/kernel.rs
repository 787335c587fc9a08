//! Reads kernel memory. No other file does: one pointer type, one load.
//!
//! Two back ends behind the same getter, chosen by a frozen constant, so that the verifier prunes
//! the other one and one object serves every tier:
//! - typed: a plain load through a pointer whose BTF type the verifier knows. It needs no helper,
//!   so it works under lockdown=confidentiality. A bad pointer reads as 0 instead of a fault.
//! - untyped: `bpf_probe_read_kernel`, which fails on a bad pointer.
#![expect(unsafe_code, reason = "reads kernel memory; nothing else in this crate does")]

use core::{marker::PhantomData, mem::MaybeUninit, ptr};

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_task,
    generated::{
        bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_probe_read_kernel_str,
        bpf_probe_read_user,
    },
};
use oomwhy_common::{
    offsets::{ABSENT, KernelOffsets},
    settings::{MarkLayout, Settings},
};

use crate::maps::read_volatile;

/// Offsets of this kernel. The loader sets and freezes them before it loads the programs.
// SAFETY: the name is unique in this object; the loader finds the table by it.
#[unsafe(no_mangle)]
static OFFSETS: KernelOffsets = KernelOffsets::NONE;

/// Switches of this run. The loader sets and freezes them before it loads the programs.
// SAFETY: as for OFFSETS.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings {
    per_cpu_offsets: 0,
    stat_fields: 0,
    possible_cpus: 0,
    typed_loads: 0,
    probe_read: 0,
    current_task_btf: 0,
    kill_task_hooked: 0,
    victim_by_pid: 0,
    typed_counters: 0,
    growth_above_percent: 0,
    no_cmdlines: 0,
    end_facts: 0,
    oom_lock: 0,
    oom_killer_disabled: 0,
    oom_notify_list: 0,
    counts_waits: 0,
    reserved: 0,
};

/// Layout of a tracepoint's record. The loader sets and freezes it before it loads the programs.
// SAFETY: as for OFFSETS.
#[unsafe(no_mangle)]
static MARK_LAYOUT: MarkLayout = MarkLayout::NONE;

/// Offsets of the fields in the record of `oom:mark_victim`.
#[inline(always)]
pub(crate) fn mark_layout() -> MarkLayout {
    // SAFETY: a read of a live, aligned static.
    unsafe { ptr::read_volatile(&raw const MARK_LAYOUT) }
}

/// Reads one setting. Volatile, because LLVM would fold the value in this file into the program.
macro_rules! setting {
    ($field:ident) => {{
        // SAFETY: a read of a live, aligned static.
        unsafe { ptr::read_volatile(&raw const SETTINGS.$field) }
    }};
}

/// One offset of the running kernel, or [`ABSENT`].
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::offset_at(core::mem::offset_of!(
            oomwhy_common::offsets::KernelOffsets,
            $field
        ))
    };
}
pub(crate) use offset;

/// The table's entry at byte `position`. Volatile for the same reason as `setting!`.
#[inline(always)]
#[expect(clippy::cast_ptr_alignment, reason = "every field of the table is a u32")]
pub(crate) fn offset_at(position: usize) -> u32 {
    let entry = (&raw const OFFSETS).cast::<u8>().wrapping_add(position).cast::<u32>();
    // SAFETY: `offset!` passes the position of a u32 field of the live, aligned static.
    unsafe { ptr::read_volatile(entry) }
}

/// Where a pointer comes from, which decides how it may be read.
pub(crate) trait Origin: Copy {
    /// Whether the verifier knows the pointer's type.
    fn typed() -> bool;
}

/// An argument of the hooked function, or a pointer reached from one through typed fields.
#[derive(Clone, Copy)]
pub(crate) struct Argument;

impl Origin for Argument {
    #[inline(always)]
    fn typed() -> bool {
        setting!(typed_loads) != 0
    }
}

/// The current task, or a pointer reached from it through typed fields.
#[derive(Clone, Copy)]
pub(crate) struct Current;

impl Origin for Current {
    #[inline(always)]
    fn typed() -> bool {
        setting!(typed_loads) != 0 && setting!(current_task_btf) != 0
    }
}

/// A pointer whose type the verifier cannot know: `void *`, or a container of a typed one.
#[derive(Clone, Copy)]
pub(crate) struct Untyped;

impl Origin for Untyped {
    #[inline(always)]
    fn typed() -> bool {
        false
    }
}

/// A non-null pointer to a kernel object. Only this file can dereference it.
#[derive(Clone, Copy)]
pub(crate) struct Object<O> {
    base: *const u8,
    origin: PhantomData<O>,
}

impl<O: Origin> Object<O> {
    /// Wraps a pointer; `None` if it is null.
    #[inline(always)]
    pub(crate) fn new(base: *const u8) -> Option<Self> {
        if base.is_null() {
            return None;
        }
        Some(Self { base, origin: PhantomData })
    }

    /// The address of the object, as an identity.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.base as u64
    }

    /// The same object without its type, e.g. to get to the container of a member.
    #[inline(always)]
    pub(crate) fn untyped(self) -> Object<Untyped> {
        Object { base: self.base, origin: PhantomData }
    }

    /// Loads a plain value at `offset`. `T` is an integer or a byte array of the field's size.
    #[inline(always)]
    pub(crate) fn get<T: Copy>(self, offset: u32) -> Option<T> {
        if offset == ABSENT {
            return None;
        }
        let field = self.base.wrapping_add(offset as usize).cast::<T>();
        if O::typed() {
            // SAFETY: a BTF-typed kernel pointer plus a constant offset of one of its fields; the
            // kernel turns a fault of such a load into 0.
            Some(unsafe { ptr::read_volatile(field) })
        } else if setting!(probe_read) != 0 {
            probe_read(field)
        } else {
            None
        }
    }

    /// Follows the pointer at `offset`; `None` if it is null.
    #[inline(always)]
    pub(crate) fn follow(self, offset: u32) -> Option<Self> {
        Self::new(self.get::<*const u8>(offset)?)
    }

    /// The address that is `bytes` further on.
    #[inline(always)]
    pub(crate) fn at(self, bytes: u32) -> Self {
        Self { base: self.base.wrapping_add(bytes as usize), origin: PhantomData }
    }

    /// The object embedded at `offset`.
    #[inline(always)]
    pub(crate) fn member(self, offset: u32) -> Option<Self> {
        if offset == ABSENT {
            return None;
        }
        Some(self.at(offset))
    }
}

impl Object<Untyped> {
    /// The object that embeds this one `bytes` from its start.
    #[inline(always)]
    pub(crate) fn container(self, bytes: u32) -> Self {
        Self { base: self.base.wrapping_sub(bytes as usize), origin: PhantomData }
    }
}

/// Reads any kernel address; `None` if the read fails.
///
/// verifier: the result is read back volatile. Otherwise LLVM hoists the read of the stack slot
/// above the call, onto paths where kernels before 6.3 see it as not initialized.
#[inline(always)]
fn probe_read<T: Copy>(field: *const T) -> Option<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let size = size_of::<T>() as u32;
    // SAFETY: the helper writes `size` bytes into `value` and checks `field`.
    let status = unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size, field.cast()) };
    if status != 0 {
        return None;
    }
    // SAFETY: written by the helper; every `T` here is an integer, an array or a pointer, valid
    // for any bytes.
    Some(unsafe { ptr::read_volatile(value.as_ptr()) })
}

/// The current task, as an object.
#[inline(always)]
pub(crate) fn current() -> Option<Object<Current>> {
    let task = if setting!(current_task_btf) != 0 {
        // SAFETY: the helper has no preconditions; the setting says that the kernel has it.
        unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const()
    } else {
        current_address() as *const u8
    };
    Object::new(task)
}

/// Address of the current task, as an identity.
#[inline(always)]
pub(crate) fn current_address() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// Id of the current thread.
#[inline(always)]
pub(crate) fn current_tid() -> i32 {
    bpf_get_current_pid_tgid() as i32
}

/// Whether this kernel allows reads through pointers whose type the verifier does not know.
#[inline(always)]
pub(crate) fn untyped_reads_allowed() -> bool {
    setting!(probe_read) != 0
}

/// Whether plain loads reach the rss counters.
#[inline(always)]
pub(crate) fn typed_counters() -> bool {
    setting!(typed_counters) != 0
}

/// The share of a limit at or above which growth is recorded, percent.
#[inline(always)]
pub(crate) fn growth_above_percent() -> u64 {
    u64::from(setting!(growth_above_percent))
}

/// Whether command lines may be read.
#[inline(always)]
pub(crate) fn cmdlines_allowed() -> bool {
    setting!(no_cmdlines) == 0
}

/// Whether `__oom_kill_process` is hooked.
#[inline(always)]
pub(crate) fn kill_task_hooked() -> bool {
    setting!(kill_task_hooked) != 0
}

/// Bits of `end_facts` whose hooks are attached.
#[inline(always)]
pub(crate) fn hooked_end_facts() -> u32 {
    setting!(end_facts)
}

/// Whether invocations that wait for a victim are counted with its kill.
#[inline(always)]
pub(crate) fn counts_waits() -> bool {
    setting!(counts_waits) != 0
}

/// Address of the task that holds `oom_lock`. 0 if it is free, `None` if that is unknown.
#[inline(always)]
pub(crate) fn oom_lock_owner() -> Option<u64> {
    /// The low bits of the owner word are flags, in a mutex and in an rt_mutex.
    const FLAGS: u64 = 7;
    let owner: u64 = global(setting!(oom_lock))?.get(offset!(mutex_owner))?;
    Some(owner & !FLAGS)
}

/// Whether the current task holds `oom_lock`. `None` if that is unknown.
#[inline(always)]
pub(crate) fn holds_oom_lock() -> Option<bool> {
    oom_lock_owner().map(|owner| owner == current_address())
}

/// Whether the OOM killer is off because the machine suspends. `None` if that is unknown.
#[inline(always)]
pub(crate) fn oom_killer_disabled() -> Option<bool> {
    global(setting!(oom_killer_disabled))?.get::<u8>(0).map(|disabled| disabled != 0)
}

/// Whether a driver asked to be notified before a task is killed. `None` if that is unknown.
#[inline(always)]
pub(crate) fn has_oom_notifiers() -> Option<bool> {
    let first = global(setting!(oom_notify_list))?.get::<u64>(offset!(notifier_head))?;
    Some(first != 0)
}

/// A global variable of the kernel.
#[inline(always)]
fn global(address: u64) -> Option<Object<Untyped>> {
    Object::new(address as *const u8)
}

/// Whether `mark_victim` passes a bare pid.
#[inline(always)]
pub(crate) fn victim_by_pid() -> bool {
    setting!(victim_by_pid) != 0
}

/// Copies the NUL-terminated string at `source` into `target`. Returns its length with the NUL.
///
/// `char *` has no BTF type that plain loads could use, so this fails under
/// lockdown=confidentiality.
///
/// # Safety
/// `target` must be valid for writes of `room` bytes.
#[inline(always)]
pub(crate) unsafe fn read_string(source: *const u8, target: *mut u8, room: u32) -> Option<u32> {
    if setting!(probe_read) == 0 {
        return None;
    }
    // SAFETY: the helper writes at most `room` bytes, which the caller vouches for, and checks
    // `source`.
    let length = unsafe { bpf_probe_read_kernel_str(target.cast(), room, source.cast()) };
    if length <= 0 || length > i64::from(room) {
        return None;
    }
    Some(length as u32)
}

/// Copies up to `len` bytes of the current task's own memory at `source` into `target`. It never
/// faults: it fails if a page is not present.
///
/// It also fails if kernel memory must not be read: aya then replaces the helper by the one that
/// reads either kind of memory, which the kernel refuses as well.
#[inline(always)]
pub(crate) fn read_user<const N: usize>(
    target: &mut [u8; N],
    source: u64,
    len: &u32,
) -> Option<()> {
    if setting!(probe_read) == 0 {
        return None;
    }
    // verifier: volatile, so that it sees one bounded number.
    let len = read_volatile(len).min(N as u32);
    // SAFETY: the helper writes `len` bytes into `target` and checks `source`.
    let status =
        unsafe { bpf_probe_read_user(target.as_mut_ptr().cast(), len, source as *const _) };
    (status == 0 && len > 0).then_some(())
}

/// Fills `target` with the kernel memory at `source`. Fails if `source` is 0.
#[inline(always)]
pub(crate) fn copy_block<T>(target: &mut T, source: u64) -> Option<()> {
    if source == 0 || setting!(probe_read) == 0 {
        return None;
    }
    let size = size_of::<T>() as u32;
    // SAFETY: the helper writes `size` bytes into `target` and checks `source`; the arrays of
    // integers in records are valid for any bytes.
    let status =
        unsafe { bpf_probe_read_kernel(ptr::from_mut(target).cast(), size, source as *const _) };
    (status == 0).then_some(())
}

/// Address of the kernel's table that maps a memcg's statistics to counters. 0 if unknown.
#[inline(always)]
pub(crate) fn stat_fields() -> u64 {
    setting!(stat_fields)
}

/// Sum over all CPUs of the batches of an `s32 __percpu *` counter. `None` if it is unknown.
#[inline(always)]
pub(crate) fn per_cpu_sum(counters: u64) -> Option<i64> {
    /// On hosts with more CPUs the sum stays unknown, because the loop must be bounded.
    const MAX_CPUS: u32 = 512;
    let offsets = setting!(per_cpu_offsets);
    let cpus = setting!(possible_cpus);
    if offsets == 0 || cpus == 0 || cpus > MAX_CPUS || setting!(probe_read) == 0 {
        return None;
    }
    let mut sum = 0_i64;
    for cpu in 0..MAX_CPUS {
        if cpu >= cpus {
            break;
        }
        let entry = Object::<Untyped>::new((offsets + u64::from(cpu) * 8) as *const u8)?;
        let per_cpu_offset: u64 = entry.get(0)?;
        let batch = Object::<Untyped>::new(counters.wrapping_add(per_cpu_offset) as *const u8)?;
        sum += i64::from(batch.get::<i32>(0)?);
    }
    Some(sum)
}
