//! `cgroup:cgroup_mkdir`: keeps userspace's map of cgroup paths warm. Attached only where paths
//! cannot be read in the kernel (lockdown=confidentiality).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use oomwhy_common::event::{CgroupEvent, kind};

use crate::{
    emit,
    kernel::{Argument, Object, offset},
    objects::cgroup,
};

// kernel-proto: include/trace/events/cgroup.h cgroup_mkdir(struct cgroup *cgrp, const char *path)
#[btf_tracepoint]
fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    made(&ctx);
    0
}

#[inline(always)]
fn made(ctx: &BtfTracePointContext) -> Option<()> {
    let cgroup = Object::<Argument>::new(ctx.arg(0))?;
    let node = cgroup::node(cgroup)?;
    let id = node.get(offset!(kernfs_id))?;
    let parent_id = node.follow(offset!(kernfs_parent))?.get(offset!(kernfs_id))?;
    emit::reserved(kind::CGROUP, 0, |event: &mut CgroupEvent| {
        event.id = id;
        event.parent_id = parent_id;
        0
    });
    Some(())
}
