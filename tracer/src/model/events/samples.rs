//! Plain events for tests; unknown fields are absent.

use super::{Invocation, Memcg, Name, Task, Victim};

pub(crate) fn task(tgid: i32) -> Task {
    Task {
        tgid,
        tid: tgid,
        comm: Name::default(),
        uid: 0,
        start_boottime_ns: None,
        oom_score_adj: None,
        cgroup_id: None,
    }
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
    Invocation {
        started_ns: 0,
        trigger,
        control: None,
        is_memcg: Some(true),
        oom_memcg: None,
        chosen: None,
        considered: 0,
        choice_made: false,
        nodemask: None,
        mems_allowed: None,
        message: None,
        kernel_stack: None,
        user_stack: None,
    }
}
