//! Where the running kernel keeps what the probes read. Userspace resolves the table from BTF;
//! the probes see it as frozen constants.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An offset that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Declares the table and, beside it, the fields' names in order (for diagnostics).
macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Byte offsets of the fields that the probes read; [`ABSENT`] where there is none.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
        #[repr(C)]
        pub struct KernelOffsets {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl KernelOffsets {
            /// A table in which nothing is known.
            pub const NONE: Self = Self { $($field: ABSENT,)* };
            /// Names of the fields, in the order of the table.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field),)*];
        }
    };
}

offsets! {
    /// `oom_control.memcg`
    oc_memcg,
    /// `oom_control.nodemask`
    oc_nodemask,
    /// `oom_control.gfp_mask`
    oc_gfp_mask,
    /// `oom_control.order`
    oc_order,
    /// `oom_control.totalpages`
    oc_totalpages,
    /// `oom_control.chosen`
    oc_chosen,
    /// `oom_control.chosen_points`
    oc_chosen_points,
    /// `oom_control.constraint`
    oc_constraint,
    /// `task_struct.pid`
    task_pid,
    /// `task_struct.tgid`
    task_tgid,
    /// `task_struct.comm`
    task_comm,
    /// `task_struct.flags`
    task_flags,
    /// `task_struct.mm`
    task_mm,
    /// `task_struct.signal`
    task_signal,
    /// `task_struct.real_cred`
    task_real_cred,
    /// `task_struct.start_boottime`
    task_start_boottime,
    /// `task_struct.cgroups`
    task_cgroups,
    /// `task_struct.vfork_done`
    task_vfork_done,
    /// `task_struct.real_parent`
    task_real_parent,
    /// `task_struct.mems_allowed`, its first word
    task_mems_allowed,
    /// `task_struct.memcg_in_oom`, with cgroup v1 only
    task_memcg_in_oom,
    /// `signal_struct.oom_score_adj`
    signal_oom_score_adj,
    /// `signal_struct.nr_threads`
    signal_nr_threads,
    /// `signal_struct.live`
    signal_live,
    /// `signal_struct.oom_mm`
    signal_oom_mm,
    /// `signal_struct.pids[PIDTYPE_TGID]`
    signal_pid_tgid,
    /// `pid.level`
    pid_level,
    /// `pid.numbers`
    pid_numbers,
    /// `sizeof(struct upid)`
    upid_size,
    /// `upid.nr`
    upid_nr,
    /// `cred.uid`
    cred_uid,
    /// `mm_struct.total_vm`
    mm_total_vm,
    /// `mm_struct.pgtables_bytes`
    mm_pgtables_bytes,
    /// `mm_struct.flags`, its first word
    mm_flags,
    /// the plain value of the `MM_FILEPAGES` counter in `mm_struct.rss_stat`
    mm_rss_file,
    /// the same of `MM_ANONPAGES`
    mm_rss_anon,
    /// the same of `MM_SWAPENTS`
    mm_rss_swap,
    /// the same of `MM_SHMEMPAGES`
    mm_rss_shmem,
    /// `percpu_counter.counters` less `percpu_counter.count`, where the counters are per-CPU ones
    per_cpu_counters,
    /// `css_set.subsys[memory_cgrp_id]`
    css_set_memory,
    /// `cgroup_subsys_state.cgroup`
    css_cgroup,
    /// `mem_cgroup.css.cgroup`
    memcg_cgroup,
    /// `mem_cgroup.memory`
    memcg_memory,
    /// `mem_cgroup.swap`, a union with `memsw`
    memcg_swap,
    /// `mem_cgroup.kmem`, with cgroup v1 only
    memcg_kmem,
    /// `mem_cgroup.oom_group`
    memcg_oom_group,
    /// `mem_cgroup.vmstats`, where it is a pointer
    memcg_vmstats,
    /// `mem_cgroup.vmstats`, where it is an array in the memcg itself
    memcg_vmstats_array,
    /// `memcg_vmstats.state`
    vmstats_state,
    /// `page_counter.usage`
    counter_usage,
    /// `page_counter.max`
    counter_max,
    /// `page_counter.high`
    counter_high,
    /// `page_counter.low`
    counter_low,
    /// `page_counter.min`
    counter_min,
    /// `page_counter.parent`
    counter_parent,
    /// `cgroup.kn`
    cgroup_kn,
    /// `kernfs_node.parent` or `__parent`
    kernfs_parent,
    /// `kernfs_node.name`
    kernfs_name,
    /// `kernfs_node.id`
    kernfs_id,
    /// `signal_struct.flags`
    signal_flags,
    /// `signal_struct.thread_head`
    signal_thread_head,
    /// `task_struct.thread_node`
    task_thread_node,
    /// `task_struct.memcg_oom_gfp_mask`, with cgroup v1 only
    task_memcg_oom_gfp_mask,
    /// `task_struct.memcg_oom_order`, with cgroup v1 only
    task_memcg_oom_order,
    /// `mm_struct.arg_start`
    mm_arg_start,
    /// `mm_struct.arg_end`
    mm_arg_end,
    /// `mm_struct.exe_file`
    mm_exe_file,
    /// `file.f_path.dentry`
    file_dentry,
    /// `file.f_path.mnt`
    file_mnt,
    /// `dentry.d_parent`
    dentry_parent,
    /// `dentry.d_name.name`
    dentry_name,
    /// `vfsmount.mnt_root`
    vfsmount_root,
    /// `mount.mnt`: where the `vfsmount` is in its `mount`
    mount_mnt,
    /// `mount.mnt_parent`
    mount_parent,
    /// `mount.mnt_mountpoint`
    mount_mountpoint,
    /// `cgroup.subsys[memory_cgrp_id]`
    cgroup_memory,
}
