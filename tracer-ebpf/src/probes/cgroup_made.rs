//! `cgroup:cgroup_mkdir`: a container may be starting. Userspace looks up its names at once,
//! because they are gone when it is killed.
//!
//! Emits the path of the cgroup, which the kernel passes to the tracepoint. If text cannot be read
//! in the kernel (lockdown=confidentiality), it emits the ids instead, which keep userspace's map
//! of cgroup paths up to date.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use oomwhy_common::{
    event::{CgroupEvent, KERNEL_PATH_BYTES, PathHead, kind},
    maps::hint,
    valid,
};
use zerocopy::FromBytes;

use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped, offset},
    objects::cgroup,
};

/// The path of a new cgroup as it is emitted.
#[derive(FromBytes)]
#[repr(C)]
struct NewCgroup {
    head: PathHead,
    text: [u8; KERNEL_PATH_BYTES],
}

// kernel-proto: include/trace/events/cgroup.h cgroup_mkdir(struct cgroup *cgrp, const char *path)
#[btf_tracepoint]
fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    let _ = created::<Argument>(ctx.arg(0), ctx.arg(1));
    0
}

// kernel-proto: as above
#[raw_tracepoint]
fn raw_cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    let _ = created::<Untyped>(ctx.arg(0), ctx.arg(1));
    0
}

#[inline(always)]
fn created<O: Origin>(cgroup: *const u8, path: u64) -> Option<()> {
    if !emit::hints_are_wanted() {
        return None;
    }
    let now = emit::now();
    if !emit::may_hint(hint::CGROUP, now) {
        return None;
    }
    let cgroup = Object::<O>::new(cgroup)?;
    let node = cgroup::node(cgroup)?;
    let id = node.get(offset!(kernfs_id))?;
    if kernel::untyped_reads_allowed() {
        emit::filled_hint(|new: &mut NewCgroup| {
            let (size, known) = (size_of::<NewCgroup>(), valid::path::KERNEL_TEXT);
            let header = emit::header(kind::PATH, 0, now, known, size);
            let len = KERNEL_PATH_BYTES as u32;
            let head = &mut new.head;
            *head = PathHead { header, cgroup_id: id, len, truncated: 0 };
            // Copies all bytes, eight at a time: a search for the end of the text takes longer.
            kernel::copy_block(&mut new.text, path)
        });
        return Some(());
    }
    let parent_id = node.follow(offset!(kernfs_parent))?.get(offset!(kernfs_id))?;
    emit::reserved_hint(kind::CGROUP, |event: &mut CgroupEvent| {
        event.id = id;
        event.parent_id = parent_id;
        0
    });
    Some(())
}
