//! Records that userspace builds from the maps of the probes. They have the format of the records
//! that the probes write.

use std::fs;

use bytes::Bytes;
use oomwhy_common::{
    event::{
        EndEvent, EventHeader, InvocationEvent, ReclaimedEvent, RepeatsEvent, WaitEvent, end_facts,
        kind,
    },
    valid,
};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes};

use crate::bpf::load::LatestInvocation;

/// The run has this many invocations now.
pub(super) fn repeats(seq: u64, count: u64, last_ns: u64) -> Bytes {
    let header = header::<RepeatsEvent>(kind::REPEATS, seq, last_ns, 0);
    bytes(&RepeatsEvent { header, count, last_ns })
}

/// The wait is over.
pub(super) fn wait_ended(tid: i32, last_ns: u64) -> Bytes {
    let mut record = WaitEvent::new_zeroed();
    record.header = header::<WaitEvent>(kind::WAIT, 0, last_ns, 0);
    record.trigger.tid = tid;
    record.ended = 1;
    bytes(&record)
}

/// An invocation that killed no process, as of its entry.
pub(super) fn described(latest: &LatestInvocation, now_ns: u64) -> Bytes {
    let LatestInvocation { state, event, .. } = latest;
    let valid = state.described | state.shed;
    let header = header::<InvocationEvent>(kind::INVOCATION, state.seq, now_ns, valid);
    // A later read of a /proc/PID/oom_score looks like an evaluation by the OOM killer.
    bytes(&InvocationEvent { header, considered: 0, choice_made: 0, ..*event })
}

/// The invocation is over.
pub(super) fn end(latest: &LatestInvocation, counts_calls: bool, now_ns: u64) -> Bytes {
    let LatestInvocation { state, considered, .. } = latest;
    let mut record = EndEvent::new_zeroed();
    let valid = valid::end::FACTS | valid::end::PROCESSES | state.shed;
    record.header = header::<EndEvent>(kind::END, state.seq, now_ns, valid);
    record.kill_calls = state.kill_calls;
    record.victims = state.victims;
    record.oom_kill_calls = if counts_calls { state.oom_kill_calls } else { u32::MAX };
    let evaluated = if *considered > 0 { end_facts::EVALUATED } else { 0 };
    record.facts = state.facts | evaluated;
    record.facts_known = state.facts_known;
    record.processes = state.processes;
    bytes(&record)
}

/// Whether the task of a call that led to no invocation lives. A task that was killed while it
/// waited for `oom_lock` needed no invocation either, although usage stayed as it was.
pub(super) fn is_of_living_task(call: &[u8]) -> bool {
    let tid = ReclaimedEvent::read_from_bytes(call).map(|call| call.trigger.tid);
    let stat = tid.ok().and_then(|tid| fs::read_to_string(format!("/proc/{tid}/stat")).ok());
    stat.is_some_and(|stat| !is_exiting(&stat))
}

/// Whether a task with this content of /proc/TID/stat exits, by its `flags`.
fn is_exiting(stat: &str) -> bool {
    const PF_EXITING: u64 = 0x4;
    /// Position of the flags after the name, which ends with the last bracket.
    const FLAGS: usize = 6;
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_ascii_whitespace());
    let flags = fields.and_then(|mut fields| fields.nth(FLAGS)?.parse::<u64>().ok());
    flags.is_none_or(|flags| flags & PF_EXITING != 0)
}

/// Whether a report may be closed by this record.
pub(super) fn may_close(record: &Bytes) -> bool {
    EventHeader::read_from_prefix(record)
        .is_ok_and(|(it, _)| matches!(it.kind, kind::VICTIM_GONE | kind::END))
}

fn bytes<T: IntoBytes + zerocopy::Immutable>(record: &T) -> Bytes {
    Bytes::copy_from_slice(record.as_bytes())
}

fn header<T>(kind: u32, seq: u64, boottime_ns: u64, valid: u64) -> EventHeader {
    EventHeader {
        boottime_ns,
        seq,
        valid,
        kind,
        size: u32::try_from(size_of::<T>()).unwrap_or_default(),
        cpu: 0,
        reserved: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::is_exiting;

    #[test]
    fn exiting_task_is_known_by_its_flags() {
        // 4194304 is PF_RANDOMIZE.
        let stat = |flags: u32| format!("7 (a) b) R 1 7 7 0 -1 {flags} 100 0 0 0");
        assert!(!is_exiting(&stat(4_194_304)));
        assert!(is_exiting(&stat(4_194_304 | 4)));
        assert!(is_exiting("7 (a"));
    }
}
