//! Finds the thread of a process that still has its memory, as `find_lock_task_mm` does.

use oomwhy_common::offsets::ABSENT;

use crate::{
    kernel::{Object, Origin, Untyped, offset},
    objects::task,
};

/// Threads that are examined. A leader that has exited stays on the list and any other thread
/// leaves it, so the threads behind the leader are usually alive.
const MAX_THREADS: usize = 16;

/// The first thread with memory in a process whose leader has none. `None` if none is found.
///
/// The result is untyped: a typed load cannot get from a list node to the object around it.
#[inline(always)]
pub(crate) fn with_memory<O: Origin>(leader: Object<O>) -> Option<Object<Untyped>> {
    let node_offset = offset!(task_thread_node);
    if node_offset == ABSENT {
        return None;
    }
    let head = task::signal(leader)?.member(offset!(signal_thread_head))?.untyped();
    let mut node = head;
    for _ in 0..MAX_THREADS {
        // `next` is the first member of a list_head.
        node = node.follow(0)?;
        if node.address() == head.address() {
            return None;
        }
        let thread = node.container(node_offset);
        if task::mm(thread).is_some() {
            return Some(thread);
        }
    }
    None
}
