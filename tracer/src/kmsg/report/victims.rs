//! The killed processes.

use super::{
    super::parser::{bytes, kill::Kill, tasks::TaskRow},
    ReportInput, cgroup,
};
use crate::model::report::{Candidates, Reaped, Victim, lossy};

pub(super) fn victims(input: ReportInput<'_>, candidates: Option<&Candidates>) -> Vec<Victim> {
    let kills = input.block.kills.iter();
    kills.map(|(kill, killed_ns)| victim(input, candidates, kill, *killed_ns)).collect()
}

fn victim(
    input: ReportInput<'_>,
    candidates: Option<&Candidates>,
    kill: &Kill,
    killed_ns: Option<u64>,
) -> Victim {
    let block = input.block;
    let table = block.table.as_ref().filter(|_| !input.is_mixed("candidates"));
    let is_same = |row: &&TaskRow| row.comm == kill.comm || row.comm.is_empty();
    // A different name is that of another task with this id.
    let row = table.and_then(|table| table.find(kill.tid)).filter(is_same);
    let pid = row.map_or(kill.tid, |row| row.tgid);
    let chosen = block.chosen();
    // The other members of a group are killed after the chosen one.
    let is_first = block.kills.first().is_some_and(|(first, _)| first.tid == kill.tid);
    let is_chosen = chosen.map_or(is_first, |it| it == pid);
    let listed = candidates.and_then(|table| table.list.iter().find(|row| row.pid == pid));
    let (comm, comm_hex) = lossy(&bytes::bytes(&kill.comm));
    let kib = |size: Option<u64>| size?.checked_mul(1024);
    let of_limit = block.limit_of.as_ref().map(|(path, _)| path);
    let task_memcg = input.names.task_memcg.as_ref().or(of_limit);
    Victim {
        pid,
        tid: (kill.tid != pid).then_some(kill.tid),
        comm: Some(comm),
        comm_hex,
        uid: kill.uid.or(row.map(|row| row.uid)),
        cgroup: task_memcg.filter(|_| is_chosen && chosen.is_some()).map(|path| cgroup(path)),
        chosen: is_chosen,
        points: listed.and_then(|row| row.points),
        oom_score_adj: kill.oom_score_adj.or(row.map(|row| row.oom_score_adj)),
        total_vm_bytes: kib(kill.total_vm_kib),
        anon_rss_bytes: kib(kill.anon_kib),
        file_rss_bytes: kib(kill.file_kib),
        shmem_rss_bytes: kib(kill.shmem_kib),
        swap_bytes: row.and_then(|row| input.bytes(row.swapents)),
        pgtables_bytes: pgtables_bytes(kill, row),
        reaped: reaped(input, kill, killed_ns),
        ..Victim::default()
    }
}

/// 5.4 prints bytes and calls them kB (fixed in 5.5, 941f762bcb27); the table of tasks is in bytes.
fn pgtables_bytes(kill: &Kill, row: Option<&TaskRow>) -> Option<u64> {
    let printed = kill.pgtables_kib;
    match row {
        Some(row) if printed == Some(row.pgtables_bytes) => printed,
        Some(row) if printed.is_none() => Some(row.pgtables_bytes),
        _ => printed?.checked_mul(1024),
    }
}

fn reaped(input: ReportInput<'_>, kill: &Kill, killed_ns: Option<u64>) -> Option<Reaped> {
    let mut reaped = input.block.reaped.iter();
    let (reaping, at_ns) = reaped.find(|(reaping, _)| reaping.tid == kill.tid)?;
    let before: Option<u64> = [kill.anon_kib, kill.file_kib, kill.shmem_kib].into_iter().sum();
    let after = at_ns.zip(killed_ns).and_then(|(at, killed)| at.checked_sub(killed));
    Some(Reaped {
        finished_after_ns: after,
        bytes: before.and_then(|kib| kib.checked_sub(reaping.left_kib)?.checked_mul(1024)),
        ..Reaped::default()
    })
}
