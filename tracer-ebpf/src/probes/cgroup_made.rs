//! `cgroup:cgroup_mkdir`: a container may be starting. Userspace looks up its names at once,
//! because they are gone when it is killed.
//!
//! Emits the path of the cgroup. If names cannot be read in the kernel (lockdown=confidentiality),
//! it emits the ids instead, which keep userspace's map of cgroup paths up to date.
#![expect(unsafe_code, reason = "borrows the scratch area of new cgroups")]

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use oomwhy_common::{
    event::{CgroupEvent, kind},
    maps::hint,
};

use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped, offset},
    maps::NEW_CGROUP,
    objects::cgroup,
    record,
};

// kernel-proto: include/trace/events/cgroup.h cgroup_mkdir(struct cgroup *cgrp, const char *path)
#[btf_tracepoint]
fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    let _ = created::<Argument>(ctx.arg(0));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    let _ = created::<Untyped>(ctx.arg(0));
    0
}

#[inline(always)]
fn created<O: Origin>(cgroup: *const u8) -> Option<()> {
    if !emit::hints_are_wanted() {
        return None;
    }
    let now = emit::now();
    if !emit::may_hint(hint::CGROUP, now) {
        return None;
    }
    let cgroup = Object::<O>::new(cgroup)?;
    if kernel::untyped_reads_allowed() {
        let path = NEW_CGROUP.get_ptr_mut(0)?;
        // SAFETY: the caller holds cgroup_mutex, so nobody else borrows it.
        let path = unsafe { &mut *path };
        record::path_hint(path, now, cgroup);
        return Some(());
    }
    let node = cgroup::node(cgroup)?;
    let id = node.get(offset!(kernfs_id))?;
    let parent_id = node.follow(offset!(kernfs_parent))?.get(offset!(kernfs_id))?;
    emit::reserved_hint(kind::CGROUP, |event: &mut CgroupEvent| {
        event.id = id;
        event.parent_id = parent_id;
        0
    });
    Some(())
}
