use zerocopy::IntoBytes as _;

use super::*;

const STATUS: &str = "Name:\thog\nTgid:\t40\nNStgid:\t40\t1\nPid:\t41\nUid:\t1000\t0\t0\t0\n\
    VmSize:\t  2048 kB\nRssAnon:\t    64 kB\nRssFile:\t     8 kB\nRssShmem:\t     4 kB\n\
    VmPTE:\t    44 kB\nVmSwap:\t    16 kB\n";

fn mark(known: u64) -> MarkEvent {
    let mut mark = MarkEvent::new_zeroed();
    mark.header.kind = kind::MARK;
    mark.header.seq = 7;
    mark.header.valid = known;
    mark.tid = 41;
    mark
}

fn with_fields() -> MarkEvent {
    let mut mark = mark(valid::mark::FIELDS);
    mark.comm[..5].copy_from_slice(b"hog-2");
    (mark.uid, mark.oom_score_adj, mark.total_vm_kib) = (1001, -5, 4096);
    (mark.anon_kib, mark.file_kib, mark.shmem_kib, mark.pgtables_kib) = (128, 12, 0, 48);
    mark
}

fn found() -> ProcTask {
    ProcTask {
        comm: b"hog".to_vec(),
        oom_score_adj: Some(100),
        ..status_of(STATUS).expect("a status")
    }
}

#[test]
fn mark_with_only_a_thread_id_is_completed_from_proc() {
    let event = victim(&mark(0), Some(&found()), Some(99), 4096).expect("a victim");
    assert_eq!((event.header.kind, event.header.seq), (kind::VICTIM, 7));
    assert_eq!((event.task.tgid, event.task.tid, event.task.uid, event.vpid), (40, 41, 1000, 1));
    assert_eq!((&event.task.comm[..4], event.task.oom_score_adj), (&b"hog\0"[..], 100));
    assert_eq!((event.task.cgroup_id, event.total_vm, event.pgtables_bytes), (99, 512, 44 << 10));
    assert_eq!(event.counts[mm::ANON], 16);
    assert_eq!(event.counts[mm::SWAP], 4);
    let all = valid::victim::ADJ | valid::victim::CGROUP | valid::victim::VPID | valid::victim::MM;
    assert_eq!(event.header.valid, all);
}

#[test]
fn mark_with_fields_overrides_proc() {
    let event = victim(&with_fields(), Some(&found()), None, 4096).expect("a victim");
    assert_eq!((&event.task.comm[..6], event.task.uid), (&b"hog-2\0"[..], 1001));
    assert_eq!((event.task.oom_score_adj, event.total_vm), (-5, 1024));
    assert_eq!((event.counts[mm::ANON], event.counts[mm::SWAP]), (32, 4));
    assert_eq!(event.header.valid & (valid::victim::CGROUP | valid::victim::NO_SWAP), 0);
}

#[test]
fn task_gone_before_reading_leaves_fields_unknown() {
    // Which process was it a thread of?
    assert!(victim(&mark(0), None, None, 4096).is_none());
    assert!(victim(&with_fields(), None, None, 4096).is_none());
    let mut itself = with_fields();
    itself.header.valid |= valid::mark::CURRENT;
    itself.tgid = 40;
    let event = victim(&itself, None, None, 4096).expect("a victim");
    let known = valid::victim::ADJ | valid::victim::MM | valid::victim::NO_SWAP;
    assert_eq!((event.task.tgid, event.header.valid), (40, known));
    // Its memory was gone, it was not.
    let dead = ProcTask { memory: None, ..found() };
    let event = victim(&mark(0), Some(&dead), None, 4096).expect("a victim");
    assert_eq!(event.header.valid & valid::victim::MM, 0);
}

#[test]
fn zombie_status_has_no_memory() {
    let status = STATUS.lines().filter(|line| !line.starts_with("Vm")).collect::<Vec<_>>();
    let task = status_of(&status.join("\n")).expect("a status");
    assert_eq!((task.tgid, task.memory), (40, None));
    assert_eq!(status_of("Name:\thog\n"), None);
}

#[test]
fn mark_with_a_victim_is_not_completed() {
    let unfinished = |event: &MarkEvent| unfinished(event.as_bytes()).is_some();
    assert!(unfinished(&mark(0)) && unfinished(&with_fields()));
    assert!(!unfinished(&mark(valid::mark::VICTIM_REPORTED)));
    let mut other = mark(0);
    other.header.kind = kind::END;
    assert!(!unfinished(&other));
    assert!(super::unfinished(&[1, 2]).is_none());
}

#[test]
fn own_process_is_read() {
    let id = i32::try_from(std::process::id()).expect("a pid");
    let task = read("/proc".as_ref(), id).expect("we live");
    assert_eq!(task.tgid, id);
    assert!(task.memory.is_some_and(|memory| memory.anon > 0 && memory.total_vm > 0));
    assert!(!task.comm.is_empty() && task.oom_score_adj.is_some());
    assert_eq!(read("/nonexistent".as_ref(), 1), None);
}
