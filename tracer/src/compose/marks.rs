//! What a report lacks that is made of `oom:mark_victim` alone.

use crate::{
    assemble::Account,
    events::Mark,
    report::{Missing, OomReport},
};

/// Names what /proc did not tell any more, or what was lost.
pub(super) fn finish_missing(report: &mut OomReport, account: &Account, mark: &Mark) {
    let mut lacks = |field: &str, why: String| {
        report.source.missing.push(Missing { field: field.to_owned(), why });
    };
    if account.invocation.is_none() {
        lacks("trigger", "its record was lost: the ring was full".to_owned());
    }
    let Some((_, victim)) = account.victims.first() else {
        let gone = "was gone before /proc told who it was";
        lacks("victims", format!("oom:mark_victim passed thread {}, which {gone}", mark.tid));
        return;
    };
    let late = |what: &str| format!("{what} was gone before /proc could be read");
    if victim.memory.is_none() {
        for part in ["total_vm", "anon_rss", "file_rss", "shmem_rss", "swap", "pgtables"] {
            lacks(&format!("victims.{part}_bytes"), late("the victim's memory"));
        }
    } else if victim.without_swap {
        lacks("victims.swap_bytes", late("the victim's memory"));
    }
    if victim.task.cgroup_id.is_none() {
        lacks("victims.cgroup", late("the victim"));
    }
    if victim.task.oom_score_adj.is_none() {
        lacks("victims.oom_score_adj", late("the victim"));
    }
}
