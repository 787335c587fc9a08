//! The fields that are missing from a report that is made of `oom:mark_victim` alone.

use super::missing::{NO_RECORD, missing};
use crate::model::{
    account::MarkAccount,
    report::{Missing, OomReport, Parent, Who},
};

/// Adds the fields that were lost with a record, and those that /proc no longer had.
pub(super) fn add_missing(report: &mut OomReport, account: &MarkAccount) {
    let MarkAccount { mark, invocation: account } = account;
    let mut note = |field: &str, why: String| report.source.missing.push(missing(field, why));
    if account.invocation.is_none() {
        note("trigger", NO_RECORD.to_owned());
    }
    let Some((_, victim)) = account.victims.first() else {
        let gone = "was gone before /proc was read";
        note("victims", format!("oom:mark_victim passed thread {}, which {gone}", mark.tid));
        return;
    };
    let late = |what: &str| format!("{what} was gone before /proc could be read");
    if victim.memory.is_none() {
        for part in ["total_vm", "anon_rss", "file_rss", "shmem_rss", "swap", "pgtables"] {
            note(&format!("victims.{part}_bytes"), late("the victim's memory"));
        }
    } else if victim.without_swap {
        note("victims.swap_bytes", late("the victim's memory"));
    }
    if victim.task.cgroup_id.is_none() {
        note("victims.cgroup", late("the victim"));
    }
    if victim.task.oom_score_adj.is_none() {
        note("victims.oom_score_adj", late("the victim"));
    }
    let trigger = report.trigger.as_ref().map(|trigger| ("trigger", &trigger.who));
    let victim = report.victims.first().map(|victim| ("victims", &victim.who));
    let processes = trigger.into_iter().chain(victim);
    let unknown: Vec<Missing> = processes.flat_map(|(key, who)| unknown(key, who)).collect();
    report.source.missing.extend(unknown);
}

/// The parts of a process' identity that /proc no longer had: the probe reads none of them.
fn unknown(key: &str, who: &Who) -> Vec<Missing> {
    let is_whole = |parents: &Vec<Parent>| parents.last().is_some_and(|last| last.pid == 1);
    let parts = [
        ("user", who.user.is_some()),
        ("cmdline", who.cmdline.is_some()),
        ("exe", who.exe.is_some()),
        ("start_time", who.start_time.is_some()),
        ("age_ns", who.age_ns.is_some()),
        ("parents", who.parents.as_ref().is_some_and(is_whole)),
    ];
    let why = "it was gone before /proc could be read, as far as /proc says it";
    let absent = parts.into_iter().filter(|(_, is_known)| !is_known);
    absent.map(|(part, _)| missing(format!("{key}.{part}"), why)).collect()
}
