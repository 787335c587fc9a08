//! Plain events for tests; unknown fields are absent.

use super::{Invocation, Memcg, Task, Victim};

pub(crate) fn task(tgid: i32) -> Task {
    Task { tgid, tid: tgid, ..Task::default() }
}

pub(crate) fn memcg(id: u64) -> Memcg {
    Memcg { id: Some(id), memory: None, swap: None, oom_group: None }
}

/// A victim that is marked, with unknown memory.
pub(crate) fn victim(task: Task) -> Victim {
    Victim { task, ..Victim::default() }
}

/// An invocation by the limit of a memcg that made no choice.
pub(crate) fn invocation(trigger: Task) -> Invocation {
    Invocation { trigger, is_memcg: Some(true), ..Invocation::default() }
}
