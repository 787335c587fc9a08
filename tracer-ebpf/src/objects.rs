//! The fields that are read of each kernel object: one getter per field, in kernel units. Safe
//! code only; [`crate::kernel`] does the loads.

use oomwhy_common::{
    event::{COMM_LEN, mm},
    offsets::ABSENT,
};

use crate::kernel::{self, Object, Origin, Untyped, offset};

/// Fields of `struct task_struct`.
pub(crate) mod task {
    use super::{ABSENT, COMM_LEN, Object, Origin, offset};

    const PF_EXITING: u32 = 0x0000_0004;
    const PF_KTHREAD: u32 = 0x0020_0000;
    const SIGNAL_GROUP_EXIT: u32 = 0x0000_0004;

    #[inline(always)]
    pub(crate) fn tid<O: Origin>(task: Object<O>) -> Option<i32> {
        task.get(offset!(task_pid))
    }

    #[inline(always)]
    pub(crate) fn tgid<O: Origin>(task: Object<O>) -> Option<i32> {
        task.get(offset!(task_tgid))
    }

    /// Two 8-byte loads: a typed load must not be wider than that.
    #[inline(always)]
    pub(crate) fn comm<O: Origin>(task: Object<O>) -> Option<[u8; COMM_LEN]> {
        let comm = task.member(offset!(task_comm))?;
        let halves: [u64; 2] = [comm.get(0)?, comm.get(8)?];
        let mut bytes = [0; COMM_LEN];
        bytes[..8].copy_from_slice(&halves[0].to_ne_bytes());
        bytes[8..].copy_from_slice(&halves[1].to_ne_bytes());
        Some(bytes)
    }

    #[inline(always)]
    pub(crate) fn is_kthread<O: Origin>(task: Object<O>) -> bool {
        task.get::<u32>(offset!(task_flags)).is_some_and(|flags| flags & PF_KTHREAD != 0)
    }

    /// Whether the task exits or was sent SIGKILL, as in `task_is_dying`.
    #[inline(always)]
    pub(crate) fn is_dying<O: Origin>(task: Object<O>) -> bool {
        let has = |flags: Option<u32>, flag: u32| flags.is_some_and(|flags| flags & flag != 0);
        has(task.get(offset!(task_flags)), PF_EXITING)
            || has(signal(task).and_then(|it| it.get(offset!(signal_flags))), SIGNAL_GROUP_EXIT)
    }

    #[inline(always)]
    pub(crate) fn start_boottime<O: Origin>(task: Object<O>) -> Option<u64> {
        task.get(offset!(task_start_boottime))
    }

    /// Whether the task runs on its parent's memory, as in `in_vfork`.
    #[inline(always)]
    pub(crate) fn in_vfork<O: Origin>(task: Object<O>) -> bool {
        if task.get::<u64>(offset!(task_vfork_done)).is_none_or(|done| done == 0) {
            return false;
        }
        let parent = task.follow(offset!(task_real_parent)).and_then(mm).map(Object::address);
        parent.is_some() && parent == mm(task).map(Object::address)
    }

    /// Real user id in the initial user namespace, as the kernel's log prints it.
    #[inline(always)]
    pub(crate) fn uid<O: Origin>(task: Object<O>) -> Option<u32> {
        task.follow(offset!(task_real_cred))?.get(offset!(cred_uid))
    }

    #[inline(always)]
    pub(crate) fn mm<O: Origin>(task: Object<O>) -> Option<Object<O>> {
        task.follow(offset!(task_mm))
    }

    #[inline(always)]
    pub(crate) fn signal<O: Origin>(task: Object<O>) -> Option<Object<O>> {
        task.follow(offset!(task_signal))
    }

    #[inline(always)]
    pub(crate) fn oom_score_adj<O: Origin>(task: Object<O>) -> Option<i32> {
        let adj: i16 = signal(task)?.get(offset!(signal_oom_score_adj))?;
        Some(i32::from(adj))
    }

    /// Number of threads of the process, including those that exited but were not reaped.
    #[inline(always)]
    pub(crate) fn thread_count<O: Origin>(task: Object<O>) -> Option<i32> {
        signal(task)?.get(offset!(signal_nr_threads))
    }

    /// Whether the task is already a victim, as in `tsk_is_oom_victim`.
    #[inline(always)]
    pub(crate) fn is_victim<O: Origin>(task: Object<O>) -> bool {
        signal(task)
            .and_then(|signal| signal.get::<u64>(offset!(signal_oom_mm)))
            .is_some_and(|mm| mm != 0)
    }

    /// The process that created the task, or adopted it.
    #[inline(always)]
    pub(crate) fn real_parent<O: Origin>(task: Object<O>) -> Option<Object<O>> {
        task.follow(offset!(task_real_parent))
    }

    /// Number of threads of the process that have not begun to exit.
    #[inline(always)]
    pub(crate) fn live_threads<O: Origin>(task: Object<O>) -> Option<i32> {
        signal(task)?.get(offset!(signal_live))
    }

    /// Nodes on which the task may allocate: bit n for node n, up to node 63.
    #[inline(always)]
    pub(crate) fn mems_allowed<O: Origin>(task: Object<O>) -> Option<u64> {
        task.get(offset!(task_mems_allowed))
    }

    /// The memcg over its limit from which the task got no memory (cgroup v1).
    #[inline(always)]
    pub(crate) fn memcg_in_oom<O: Origin>(task: Object<O>) -> Option<Object<O>> {
        task.follow(offset!(task_memcg_in_oom))
    }

    /// The memory controller's state of the task's cgroup, `task->cgroups->subsys[memory]`.
    #[inline(always)]
    pub(crate) fn memory_css<O: Origin>(task: Object<O>) -> Option<Object<O>> {
        task.follow(offset!(task_cgroups))?.follow(offset!(css_set_memory))
    }

    /// The cgroup to which the task's memory is charged.
    #[inline(always)]
    pub(crate) fn memory_cgroup<O: Origin>(task: Object<O>) -> Option<Object<O>> {
        memory_css(task)?.follow(offset!(css_cgroup))
    }

    /// Process id in the innermost pid namespace of the task.
    #[inline(always)]
    pub(crate) fn vpid<O: Origin>(task: Object<O>) -> Option<i32> {
        /// The kernel's `MAX_PID_NS_LEVEL`.
        const MAX_LEVEL: u32 = 32;
        let size = offset!(upid_size);
        let numbers = offset!(pid_numbers);
        if size == ABSENT || numbers == ABSENT {
            return None;
        }
        let pid = signal(task)?.follow(offset!(signal_pid_tgid))?;
        let level: u32 = pid.get(offset!(pid_level))?;
        if level > MAX_LEVEL {
            return None;
        }
        // A variable index into a flexible array: no typed load.
        let number = pid.untyped().at(numbers + level * size);
        number.get(offset!(upid_nr))
    }
}

/// Fields of `struct mm_struct`. Counters are in pages.
pub(crate) mod memory {
    use super::{Object, Origin, Untyped, kernel, mm, offset};

    const MMF_OOM_SKIP: u64 = 1 << 21;

    #[inline(always)]
    fn counter_offset(index: usize) -> u32 {
        match index {
            mm::FILE => offset!(mm_rss_file),
            mm::ANON => offset!(mm_rss_anon),
            mm::SWAP => offset!(mm_rss_swap),
            _ => offset!(mm_rss_shmem),
        }
    }

    /// One counter. On kernels with per-CPU counters its shared part, which can be negative.
    #[inline(always)]
    pub(crate) fn count<O: Origin>(memory: Object<O>, index: usize) -> Option<i64> {
        if kernel::typed_counters() {
            memory.get(counter_offset(index))
        } else {
            memory.untyped().get(counter_offset(index))
        }
    }

    /// Fills in all counters, index [`mm`].
    #[inline(always)]
    pub(crate) fn counts<O: Origin>(into: &mut [i64; mm::COUNT], memory: Object<O>) -> Option<()> {
        for index in 0..mm::COUNT {
            into[index] = count(memory, index)?;
        }
        Some(())
    }

    /// The amount that is still in the per-CPU batches of a counter.
    #[inline(always)]
    pub(crate) fn per_cpu<O: Origin>(memory: Object<O>, index: usize) -> Option<i64> {
        let counter = memory.member(counter_offset(index))?;
        kernel::per_cpu_sum(counter.get(offset!(per_cpu_counters))?)
    }

    #[inline(always)]
    pub(crate) fn total_vm<O: Origin>(memory: Object<O>) -> Option<u64> {
        memory.get(offset!(mm_total_vm))
    }

    #[inline(always)]
    pub(crate) fn pgtables_bytes<O: Origin>(memory: Object<O>) -> Option<u64> {
        memory.get(offset!(mm_pgtables_bytes))
    }

    /// Address in user space at which the command line begins.
    #[inline(always)]
    pub(crate) fn arg_start<O: Origin>(memory: Object<O>) -> Option<u64> {
        memory.get(offset!(mm_arg_start))
    }

    /// Address in user space at which the command line ends.
    #[inline(always)]
    pub(crate) fn arg_end<O: Origin>(memory: Object<O>) -> Option<u64> {
        memory.get(offset!(mm_arg_end))
    }

    /// The file that the process executes.
    #[inline(always)]
    pub(crate) fn exe_file<O: Origin>(memory: Object<O>) -> Option<Object<Untyped>> {
        memory.untyped().follow(offset!(mm_exe_file))
    }

    #[inline(always)]
    pub(crate) fn oom_skip<O: Origin>(memory: Object<O>) -> bool {
        memory.get::<u64>(offset!(mm_flags)).is_some_and(|flags| flags & MMF_OOM_SKIP != 0)
    }
}

/// Fields of `struct mem_cgroup` and its `page_counter`s, in pages.
pub(crate) mod memcg {
    use super::{Object, Origin, offset};

    #[inline(always)]
    pub(crate) fn cgroup<O: Origin>(memcg: Object<O>) -> Option<Object<O>> {
        memcg.follow(offset!(memcg_cgroup))
    }

    #[inline(always)]
    pub(crate) fn memory<O: Origin>(memcg: Object<O>) -> Option<Object<O>> {
        memcg.member(offset!(memcg_memory))
    }

    /// The counter of swap; on cgroup v1 that of `memsw`, a union with it.
    #[inline(always)]
    pub(crate) fn swap<O: Origin>(memcg: Object<O>) -> Option<Object<O>> {
        memcg.member(offset!(memcg_swap))
    }

    /// The counter of kernel memory, on cgroup v1.
    #[inline(always)]
    pub(crate) fn kmem<O: Origin>(memcg: Object<O>) -> Option<Object<O>> {
        memcg.member(offset!(memcg_kmem))
    }

    #[inline(always)]
    pub(crate) fn oom_group<O: Origin>(memcg: Object<O>) -> Option<bool> {
        memcg.get::<u8>(offset!(memcg_oom_group)).map(|flag| flag != 0)
    }

    /// Address of the memcg's statistics.
    #[inline(always)]
    pub(crate) fn stat_counters<O: Origin>(memcg: Object<O>) -> Option<u64> {
        if let Some(array) = memcg.member(offset!(memcg_vmstats_array)) {
            return Some(array.address());
        }
        let vmstats = memcg.follow(offset!(memcg_vmstats))?;
        vmstats.member(offset!(vmstats_state)).map(Object::address)
    }

    #[inline(always)]
    pub(crate) fn usage<O: Origin>(counter: Object<O>) -> Option<u64> {
        counter.get(offset!(counter_usage))
    }

    #[inline(always)]
    pub(crate) fn max<O: Origin>(counter: Object<O>) -> Option<u64> {
        counter.get(offset!(counter_max))
    }
}

/// Fields of `struct file` and of the `dentry`s and mounts of its path.
pub(crate) mod file {
    use super::{ABSENT, Object, Untyped, offset};

    #[inline(always)]
    pub(crate) fn dentry(file: Object<Untyped>) -> Option<Object<Untyped>> {
        file.follow(offset!(file_dentry))
    }

    /// The `struct mount` around the `vfsmount` to which the file points.
    #[inline(always)]
    pub(crate) fn mount(file: Object<Untyped>) -> Option<Object<Untyped>> {
        let inside = offset!(mount_mnt);
        if inside == ABSENT {
            return None;
        }
        let vfsmount: u64 = file.get(offset!(file_mnt))?;
        Object::new(vfsmount.checked_sub(u64::from(inside))? as *const u8)
    }

    #[inline(always)]
    pub(crate) fn name(dentry: Object<Untyped>) -> Option<*const u8> {
        dentry.get(offset!(dentry_name))
    }

    /// The parent directory. A root is its own parent.
    #[inline(always)]
    pub(crate) fn parent(dentry: Object<Untyped>) -> Option<Object<Untyped>> {
        dentry.follow(offset!(dentry_parent))
    }

    /// The topmost directory of a mount.
    #[inline(always)]
    pub(crate) fn root_of(mount: Object<Untyped>) -> Option<Object<Untyped>> {
        mount.member(offset!(mount_mnt))?.follow(offset!(vfsmount_root))
    }

    /// The mount on which this one is mounted. The first of a namespace is on itself.
    #[inline(always)]
    pub(crate) fn mount_above(mount: Object<Untyped>) -> Option<Object<Untyped>> {
        mount.follow(offset!(mount_parent))
    }

    /// The directory on which this one is mounted.
    #[inline(always)]
    pub(crate) fn mounted_on(mount: Object<Untyped>) -> Option<Object<Untyped>> {
        mount.follow(offset!(mount_mountpoint))
    }
}

/// Fields of `struct cgroup` and of the `kernfs_node`s of its path.
pub(crate) mod cgroup {
    use super::{Object, Origin, offset};

    #[inline(always)]
    pub(crate) fn node<O: Origin>(cgroup: Object<O>) -> Option<Object<O>> {
        cgroup.follow(offset!(cgroup_kn))
    }

    /// Address of the memory controller's state of the cgroup.
    #[inline(always)]
    pub(crate) fn memory<O: Origin>(cgroup: Object<O>) -> Option<u64> {
        cgroup.get(offset!(cgroup_memory))
    }

    /// The inode number of the cgroup's directory, `kernfs_node.id`.
    #[inline(always)]
    pub(crate) fn id<O: Origin>(cgroup: Object<O>) -> Option<u64> {
        node(cgroup)?.get(offset!(kernfs_id))
    }
}

/// Fields of `struct oom_control`.
pub(crate) mod oom_control {
    use super::{Object, Origin, Untyped, offset};

    #[inline(always)]
    pub(crate) fn totalpages<O: Origin>(oc: Object<O>) -> Option<u64> {
        oc.get(offset!(oc_totalpages))
    }

    /// `None` if the field is unknown, `Some(None)` for a global OOM.
    #[inline(always)]
    #[expect(clippy::option_option, reason = "unknown and none are two answers")]
    pub(crate) fn memcg<O: Origin>(oc: Object<O>) -> Option<Option<Object<O>>> {
        let memcg: *const u8 = oc.get(offset!(oc_memcg))?;
        Some(Object::new(memcg))
    }

    #[inline(always)]
    pub(crate) fn gfp_mask<O: Origin>(oc: Object<O>) -> Option<u32> {
        oc.get(offset!(oc_gfp_mask))
    }

    /// Whether the flags of an allocation have `__GFP_FS`. A page fault that failed before 6.2 has
    /// no flags, and counts as one that has it.
    #[inline(always)]
    pub(crate) fn may_enter_fs(gfp_mask: u32) -> bool {
        const GFP_FS: u32 = 1 << 7;
        gfp_mask == 0 || gfp_mask & GFP_FS != 0
    }

    /// Nodes to which the allocation is bound: bit n for node n, up to node 63. 0 if not bound.
    #[inline(always)]
    pub(crate) fn nodemask<O: Origin>(oc: Object<O>) -> Option<u64> {
        let mask: *const u8 = oc.get(offset!(oc_nodemask))?;
        // nodemask_t is a nameless struct, which verifiers know only some of the time.
        Object::<Untyped>::new(mask).map_or(Some(0), |mask| mask.get(0))
    }

    /// The raw pointer, which may be null or -1.
    #[inline(always)]
    pub(crate) fn chosen<O: Origin>(oc: Object<O>) -> Option<*const u8> {
        oc.get(offset!(oc_chosen))
    }

    /// `oom_evaluate_task` gets its `oom_control` as `void *`.
    #[inline(always)]
    pub(crate) fn from_void(arg: *const u8) -> Option<Object<Untyped>> {
        Object::new(arg)
    }
}
