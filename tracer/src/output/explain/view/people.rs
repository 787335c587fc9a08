//! Who: the victims and the task whose allocation it was.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{Fact, fact, moment, safe};
use crate::{
    compose::names,
    fmt::units,
    model::report::{OomReport, Trigger, Victim},
};

/// A process and what is known of it.
#[derive(Clone, Debug)]
pub(in crate::output::explain) struct Person {
    pub(in crate::output::explain) name: String,
    pub(in crate::output::explain) chosen: bool,
    pub(in crate::output::explain) facts: Vec<Fact>,
}

/// The victims, the chosen one first.
pub(in crate::output::explain) fn victims(report: &OomReport, zone: &TimeZone) -> Vec<Person> {
    let mut victims: Vec<&Victim> = report.victims.iter().collect();
    victims.sort_by_key(|victim| !victim.chosen);
    victims.into_iter().map(|victim| person(report, victim, zone)).collect()
}

fn person(report: &OomReport, victim: &Victim, zone: &TimeZone) -> Person {
    let started = victim.who.start_time.map(|start| {
        let age = report.time.map(|time| time.duration_since(start));
        let age = age.and_then(|age| Duration::try_from(age).ok()).map(units::duration);
        let age = age.map(|age| format!(", {age} before")).unwrap_or_default();
        format!("{}{age}", moment(start, zone))
    });
    let facts = [
        fact("command line", victim.who.cmdline.as_deref().map(cmdline)),
        fact("executable", victim.who.exe.as_deref().map(safe)),
        fact("cgroup", victim.cgroup.as_ref().and_then(names::cgroup)),
        fact("user", victim.uid.map(|uid| format!("uid {uid}"))),
        fact("started", started),
        fact("pid", Some(pids(victim.pid, victim.tid, victim.vpid))),
        fact("oom_score_adj", victim.oom_score_adj.map(|adj| adj.to_string())),
        fact("points", victim.points.map(|points| points.to_string())),
        fact("memory", memory(victim)),
        fact("shares memory with", victim.shares_mm_with.map(|pid| format!("pid {pid}"))),
    ];
    Person {
        name: names::victim(victim),
        chosen: victim.chosen,
        facts: facts.into_iter().flatten().collect(),
    }
}

fn pids(pid: i32, tid: Option<i32>, vpid: Option<i32>) -> String {
    let facts = [
        Some(pid.to_string()),
        tid.map(|tid| format!("thread {tid}")),
        vpid.map(|vpid| format!("{vpid} in its own namespace")),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn memory(victim: &Victim) -> Option<String> {
    let known = victim.memory().filter(|(_, size)| *size > 0);
    let told: Vec<String> =
        known.map(|(name, size)| format!("{name} {}", units::bytes(size))).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// The trigger.
pub(in crate::output::explain) fn trigger(report: &OomReport) -> Option<Person> {
    let trigger = report.trigger.as_ref()?;
    let Trigger { pid, tid, uid, oom_score_adj, cgroup, .. } = trigger;
    let facts = [
        fact("command line", trigger.who.cmdline.as_deref().map(cmdline)),
        fact("cgroup", cgroup.as_ref().and_then(names::cgroup)),
        fact("user", uid.map(|uid| format!("uid {uid}"))),
        fact("pid", Some(pids(*pid, *tid, None))),
        fact("oom_score_adj", oom_score_adj.map(|adj| adj.to_string())),
    ];
    Some(Person {
        name: names::trigger(trigger),
        chosen: false,
        facts: facts.into_iter().flatten().chain(request(report)).collect(),
    })
}

/// What the trigger asked for.
pub(in crate::output::explain) fn request(report: &OomReport) -> Vec<Fact> {
    let Some(Trigger { order, gfp_mask, .. }) = &report.trigger else { return Vec::new() };
    let size = order
        .and_then(|order| u32::try_from(order).ok())
        .and_then(|order| 1_u64.checked_shl(order)?.checked_mul(report.page_size?));
    let asked = order.filter(|order| *order >= 0).map(|order| {
        let size = size.map(|size| format!("{}, ", units::bytes(size))).unwrap_or_default();
        format!("{size}order {order}")
    });
    let mask = gfp_mask.as_ref().map(|mask| {
        format!("{:#x} {}", mask.value, safe(&mask.names.join("|"))).trim_end().to_owned()
    });
    [fact("asked for", asked), fact("gfp_mask", mask)].into_iter().flatten().collect()
}

/// Whether the trigger is one of the victims.
pub(in crate::output::explain) fn trigger_is_victim(report: &OomReport) -> bool {
    let pid = report.trigger.as_ref().map(|trigger| trigger.pid);
    report.victims.iter().any(|victim| Some(victim.pid) == pid)
}

/// As a shell would take it, roughly: words with blanks in them are quoted.
fn cmdline(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let needs_quotes = word.contains(' ') || word.is_empty();
        if needs_quotes { format!("'{}'", safe(word)) } else { safe(word) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
