//! Byte offsets of the kernel fields that the probes read. Userspace resolves the table from the
//! BTF of the running kernel; the probes see it as frozen constants.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The value of an offset whose field this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Declares the table and a list of the names of its fields, for diagnostics.
macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Byte offsets of kernel fields; [`ABSENT`] if this kernel does not have the field.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
        #[repr(C)]
        pub struct KernelOffsets {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl KernelOffsets {
            /// The table in which every offset is unknown.
            pub const NONE: Self = Self { $($field: ABSENT,)* };
            /// The names of the fields, in the order of the table.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field),)*];
        }
    };
}

offsets! {
    /// Offset of `oom_control.memcg`.
    oc_memcg,
    /// Offset of `oom_control.nodemask`.
    oc_nodemask,
    /// Offset of `oom_control.gfp_mask`.
    oc_gfp_mask,
    /// Offset of `oom_control.order`.
    oc_order,
    /// Offset of `oom_control.totalpages`.
    oc_totalpages,
    /// Offset of `oom_control.chosen`.
    oc_chosen,
    /// Offset of `oom_control.chosen_points`.
    oc_chosen_points,
    /// Offset of `oom_control.constraint`.
    oc_constraint,
    /// Offset of `task_struct.pid`.
    task_pid,
    /// Offset of `task_struct.tgid`.
    task_tgid,
    /// Offset of `task_struct.comm`.
    task_comm,
    /// Offset of `task_struct.flags`.
    task_flags,
    /// Offset of `task_struct.mm`.
    task_mm,
    /// Offset of `task_struct.signal`.
    task_signal,
    /// Offset of `task_struct.real_cred`.
    task_real_cred,
    /// Offset of `task_struct.start_boottime`.
    task_start_boottime,
    /// Offset of `task_struct.cgroups`.
    task_cgroups,
    /// Offset of `task_struct.vfork_done`.
    task_vfork_done,
    /// Offset of `task_struct.real_parent`.
    task_real_parent,
    /// Offset of `task_struct.mems_allowed`, its first word.
    task_mems_allowed,
    /// Offset of `task_struct.memcg_in_oom` (kernels with cgroup v1 only).
    task_memcg_in_oom,
    /// Offset of `signal_struct.oom_score_adj`.
    signal_oom_score_adj,
    /// Offset of `signal_struct.nr_threads`.
    signal_nr_threads,
    /// Offset of `signal_struct.live`.
    signal_live,
    /// Offset of `signal_struct.oom_mm`.
    signal_oom_mm,
    /// Offset of `signal_struct.pids[PIDTYPE_TGID]`.
    signal_pid_tgid,
    /// Offset of `pid.level`.
    pid_level,
    /// Offset of `pid.numbers`.
    pid_numbers,
    /// Size of `struct upid`, bytes.
    upid_size,
    /// Offset of `upid.nr`.
    upid_nr,
    /// Offset of `cred.uid`.
    cred_uid,
    /// Offset of `mm_struct.total_vm`.
    mm_total_vm,
    /// Offset of `mm_struct.pgtables_bytes`.
    mm_pgtables_bytes,
    /// Offset of `mm_struct.flags`, its first word.
    mm_flags,
    /// Offset of the plain value of the `MM_FILEPAGES` counter in `mm_struct.rss_stat`.
    mm_rss_file,
    /// Offset of the plain value of the `MM_ANONPAGES` counter in `mm_struct.rss_stat`.
    mm_rss_anon,
    /// Offset of the plain value of the `MM_SWAPENTS` counter in `mm_struct.rss_stat`.
    mm_rss_swap,
    /// Offset of the plain value of the `MM_SHMEMPAGES` counter in `mm_struct.rss_stat`.
    mm_rss_shmem,
    /// Distance from `percpu_counter.count` to `percpu_counter.counters`, on kernels whose rss
    /// counters are per-CPU ones.
    per_cpu_counters,
    /// Offset of `css_set.subsys[memory_cgrp_id]`.
    css_set_memory,
    /// Offset of `cgroup_subsys_state.cgroup`.
    css_cgroup,
    /// Offset of `mem_cgroup.css.cgroup`.
    memcg_cgroup,
    /// Offset of `mem_cgroup.memory`.
    memcg_memory,
    /// Offset of `mem_cgroup.swap`, a union with `memsw`.
    memcg_swap,
    /// Offset of `mem_cgroup.kmem` (kernels with cgroup v1 only).
    memcg_kmem,
    /// Offset of `mem_cgroup.oom_group`.
    memcg_oom_group,
    /// Offset of `mem_cgroup.vmstats` on kernels where it is a pointer.
    memcg_vmstats,
    /// Offset of `mem_cgroup.vmstats` on kernels where it is an array in the memcg.
    memcg_vmstats_array,
    /// Offset of `memcg_vmstats.state`.
    vmstats_state,
    /// Offset of `page_counter.usage`.
    counter_usage,
    /// Offset of `page_counter.max`.
    counter_max,
    /// Offset of `page_counter.high`.
    counter_high,
    /// Offset of `page_counter.low`.
    counter_low,
    /// Offset of `page_counter.min`.
    counter_min,
    /// Offset of `page_counter.parent`.
    counter_parent,
    /// Offset of `cgroup.kn`.
    cgroup_kn,
    /// Offset of `kernfs_node.parent` or `__parent`.
    kernfs_parent,
    /// Offset of `kernfs_node.name`.
    kernfs_name,
    /// Offset of `kernfs_node.id`.
    kernfs_id,
    /// Offset of `signal_struct.flags`.
    signal_flags,
    /// Offset of `signal_struct.thread_head`.
    signal_thread_head,
    /// Offset of `task_struct.thread_node`.
    task_thread_node,
    /// Offset of `task_struct.memcg_oom_gfp_mask` (kernels with cgroup v1 only).
    task_memcg_oom_gfp_mask,
    /// Offset of `task_struct.memcg_oom_order` (kernels with cgroup v1 only).
    task_memcg_oom_order,
    /// Offset of `mm_struct.arg_start`.
    mm_arg_start,
    /// Offset of `mm_struct.arg_end`.
    mm_arg_end,
    /// Offset of `mm_struct.exe_file`.
    mm_exe_file,
    /// Offset of `file.f_path.dentry`.
    file_dentry,
    /// Offset of `file.f_path.mnt`.
    file_mnt,
    /// Offset of `dentry.d_parent`.
    dentry_parent,
    /// Offset of `dentry.d_name.name`.
    dentry_name,
    /// Offset of `vfsmount.mnt_root`.
    vfsmount_root,
    /// Offset of `mount.mnt`: the position of the `vfsmount` in its `mount`.
    mount_mnt,
    /// Offset of `mount.mnt_parent`.
    mount_parent,
    /// Offset of `mount.mnt_mountpoint`.
    mount_mountpoint,
    /// Offset of `cgroup.subsys[memory_cgrp_id]`.
    cgroup_memory,
    /// Offset of `mutex.owner`, with real-time locks that of its `rt_mutex`.
    mutex_owner,
    /// Offset of `blocking_notifier_head.head`.
    notifier_head,
}
