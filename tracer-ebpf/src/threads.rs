//! Which thread of a process has its memory: what `find_lock_task_mm` finds.

use oomwhy_common::offsets::ABSENT;

use crate::{
    kernel::{Object, Origin, Untyped, offset},
    objects::task,
};

/// Threads that are looked at. A leader that has exited stays on the list, any other thread leaves
/// it: those behind the leader are alive, most of the time.
const MAX_THREADS: usize = 16;

/// The first thread with memory of a process whose leader has none; `None` where none is found.
///
/// No typed load comes from a list's node to the object that it is embedded in.
#[inline(always)]
pub(crate) fn with_memory<O: Origin>(leader: Object<O>) -> Option<Object<Untyped>> {
    let place = offset!(task_thread_node);
    if place == ABSENT {
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
        let thread = node.container(place);
        if task::mm(thread).is_some() {
            return Some(thread);
        }
    }
    None
}
