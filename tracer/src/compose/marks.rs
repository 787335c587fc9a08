//! What a report lacks that is made of `oom:mark_victim` alone.

use crate::model::{
    account::MarkAccount,
    report::{Missing, OomReport, Parent, Who},
};

/// Names what /proc did not tell any more, or what was lost.
pub(super) fn finish_missing(report: &mut OomReport, account: &MarkAccount) {
    let MarkAccount { mark, invocation: account } = account;
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
    let trigger = report.trigger.as_ref().map(|trigger| ("trigger", &trigger.who));
    let victim = report.victims.first().map(|victim| ("victims", &victim.who));
    let unknown: Vec<Missing> =
        trigger.into_iter().chain(victim).flat_map(|(whose, who)| unknown(whose, who)).collect();
    report.source.missing.extend(unknown);
}

/// What /proc did not tell of a process: nothing of it was taken in the kernel.
fn unknown(whose: &str, who: &Who) -> Vec<Missing> {
    let is_whole = |parents: &Vec<Parent>| parents.last().is_some_and(|last| last.pid == 1);
    let parts = [
        ("user", who.user.is_some()),
        ("cmdline", who.cmdline.is_some()),
        ("exe", who.exe.is_some()),
        ("start_time", who.start_time.is_some()),
        ("age_ns", who.age_ns.is_some()),
        ("parents", who.parents.as_ref().is_some_and(is_whole)),
    ];
    let absent = parts.into_iter().filter(|(_, is_known)| !is_known);
    let missing = absent.map(|(part, _)| Missing {
        field: format!("{whose}.{part}"),
        why: "it was gone before /proc could be read, as far as /proc says it".to_owned(),
    });
    missing.collect()
}
